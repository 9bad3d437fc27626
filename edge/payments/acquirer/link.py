"""The line to the acquirer's host: TLS, frames, sign-on, echo, and which answer belongs to which question.

One connection, used by any number of questions at once. Whoever asks gets the answer, or None when none came in
time or the connection ended: then nobody knows what the host did.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final, NoReturn

from edge import log
from edge.errors import ConfigError
from edge.payments.acquirer import messages
from edge.payments.acquirer.codes import APPROVED
from edge.payments.acquirer.errors import (
    AcquirerFailed,
    AcquirerGarbled,
    AcquirerRefused,
    AcquirerUnreachable,
)
from edge.payments.acquirer.fields import MESSAGE_MAX, Codec
from edge.payments.acquirer.handle import STAN_MAX
from edge.payments.acquirer.messages import Key, Messages, Reply, Request
from edge.payments.acquirer.options import AcquirerOptions, Tls, Wire
from edge.ports import Clock

#: TCP and TLS are set up within this on any network that a card payment works on.
_CONNECT_MAX_S: Final = 10.0

#: A till has a few EVSEs; more questions at once than this are a fault, and the host's patience is bounded too.
WAITING_MAX: Final = 64

#: A host that sends so many messages in a row that nobody asked for is broken; the line is dropped.
_UNASKED_MAX: Final = 1000


class Backoff:
    """A random part of a bound that doubles with each failure, so that a city of chargers does not come at once."""

    def __init__(self, base_s: float, cap_s: float, draw: random.Random) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._draw = draw
        self._bound_s = base_s

    def next_s(self) -> float:
        wait_s = self._draw.uniform(0, self._bound_s)
        self._bound_s = min(self._cap_s, 2 * self._bound_s)
        return wait_s

    def reset(self) -> None:
        self._bound_s = self._base_s


class AcquirerLink:
    """`serve` runs in the till's task group and keeps the line up; `ask` is for edge.payments.acquirer.payment."""

    def __init__(self, options: AcquirerOptions, *, clock: Clock, draw: random.Random | None = None) -> None:
        """Raises ConfigError: plain TCP to another computer, or TLS files that cannot be used."""
        if options.tls is None and not _on_loopback(options.host):
            raise ConfigError(
                (f"acquirer.host: {options.host} is another computer, and there is no [acquirer.tls]",),
                hint="card data travels on this line: give it TLS",
            )
        self._options = options
        self._clock = clock
        self._draw = draw or random.SystemRandom()
        self._context = _context(options.tls) if options.tls is not None else None
        self._codec = Codec(options.wire)
        self._frames = _Frames(options.wire)
        self._messages = Messages(options)
        self._waiting: dict[Key, asyncio.Future[Reply | None]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._ready = asyncio.Event()
        self._stan = self._draw.randrange(STAN_MAX)
        self._heard_at = 0.0
        #: answers that nobody waited for any more: late ones and doubles
        self.late = 0
        #: why there is no connection; None while there is one, and before the first try has failed
        self.trouble: AcquirerFailed | None = None

    @property
    def connected(self) -> bool:
        """The host has taken our sign-on, and the line is up as far as we know."""
        return self._ready.is_set()

    async def ready(self, within_s: float) -> bool:
        """True as soon as the line is up; False when it is not within that time."""
        try:
            async with asyncio.timeout(within_s):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    async def ask(self, request: Request, *, within_s: float) -> Reply | None:
        """The answer, or None when it did not come. Raises AcquirerUnreachable: nothing was sent."""
        if not self._ready.is_set():
            raise AcquirerUnreachable("no connection to the acquirer")
        return await self._exchange(request, within_s)

    async def serve(self) -> NoReturn:
        """Connect, sign on, read; again after a growing random wait. Until cancelled."""
        backoff = Backoff(self._options.retry_s, self._options.retry_max_s, self._draw)
        while True:
            self.trouble = await self._connection(backoff.reset)
            wait_s = backoff.next_s()
            log.warning("acquirer.lost", error=self.trouble, retry_s=round(wait_s, 1))
            await self._clock.sleep(wait_s)

    async def _connection(self, signed_on: Callable[[], None]) -> AcquirerFailed:
        """One connection from its beginning to its end; why it ended."""
        try:
            reader, writer = await self._connect()
        except AcquirerFailed as e:
            return e
        self._writer = writer
        reading = asyncio.create_task(self._read(reader))
        talking = asyncio.create_task(self._talk(signed_on))
        try:
            await asyncio.wait((reading, talking), return_when=asyncio.FIRST_COMPLETED)
            return (reading if reading.done() else talking).result()
        except AcquirerFailed as e:
            return e
        finally:
            self._ready.clear()
            self._writer = None
            for task in (reading, talking):
                task.cancel()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_result(None)
            await asyncio.gather(reading, talking, return_exceptions=True)
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        where = f"{self._options.host}:{self._options.port}"
        name = self._options.tls.server_name if self._options.tls is not None else None
        try:
            async with asyncio.timeout(_CONNECT_MAX_S):
                return await asyncio.open_connection(
                    self._options.host,
                    self._options.port,
                    ssl=self._context,
                    server_hostname=(name or self._options.host) if self._context is not None else None,
                    limit=MESSAGE_MAX,
                )
        except ssl.SSLCertVerificationError as e:
            raise AcquirerRefused(f"{where}: its certificate: {e.verify_message}") from e
        except ssl.SSLError as e:
            raise AcquirerRefused(f"{where}: TLS: {e.reason or e}") from e
        except TimeoutError as e:
            raise AcquirerUnreachable(f"{where} does not answer") from e
        except OSError as e:
            raise AcquirerUnreachable(f"{where}: {e.strerror or e}") from e

    async def _talk(self, signed_on: Callable[[], None]) -> AcquirerFailed:
        """Sign on, then ask for an echo whenever nothing was heard for a while. Returns why it ended."""
        reply = await self._network(messages.SIGN_ON)
        if reply is None:
            return AcquirerUnreachable("the host does not answer the sign-on")
        if reply.code not in APPROVED:
            return AcquirerRefused(f"the host refused the sign-on: {reply.code}")
        signed_on()
        self.trouble = None
        self._ready.set()
        log.event("acquirer.ready", host=self._options.host)
        loop = asyncio.get_running_loop()
        while True:
            quiet_s = loop.time() - self._heard_at
            if quiet_s < self._options.echo_s:
                await asyncio.sleep(self._options.echo_s - quiet_s)
            elif await self._network(messages.ECHO) is None:
                return AcquirerUnreachable("the host does not answer an echo request")

    async def _network(self, what: str) -> Reply | None:
        self._stan = self._stan % STAN_MAX + 1
        at_s = int(self._clock.now().utc.timestamp())
        request = self._messages.network(what, stan=self._stan, at_s=at_s)
        return await self._exchange(request, self._options.answer_s)

    async def _exchange(self, request: Request, within_s: float) -> Reply | None:
        writer = self._writer
        if writer is None or len(self._waiting) >= WAITING_MAX:
            raise AcquirerUnreachable("no connection to the acquirer")
        frame = self._frames.frame(self._codec.encode(request.mti, request.fields))
        name = messages.key(request.mti, request.fields)
        answer: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self._waiting[name] = answer
        try:
            async with asyncio.timeout(within_s):
                writer.write(frame)
                await writer.drain()
                return await answer
        except (TimeoutError, OSError):
            return None
        finally:
            self._waiting.pop(name, None)

    async def _read(self, reader: asyncio.StreamReader) -> AcquirerFailed:
        unasked = 0
        try:
            while unasked < _UNASKED_MAX:
                mti, fields = self._codec.decode(await self._frames.read(reader))
                self._heard_at = asyncio.get_running_loop().time()
                if not messages.is_answer(mti):
                    unasked += 1
                    self._asked_by_host(mti, fields)
                elif self._answered(mti, fields):
                    unasked = 0
                else:
                    unasked += 1
                    self.late += 1
        except AcquirerFailed as e:
            return e
        except (OSError, EOFError):
            return AcquirerUnreachable("the host ended the connection")
        return AcquirerGarbled("the host sends what nobody asked for")

    def _answered(self, mti: str, fields: dict[int, str]) -> bool:
        """Hand an answer to whoever waits for it. False: nobody does, or it is another terminal's."""
        waiting = self._waiting.get(messages.key(mti, fields))
        ours = fields.get(41, self._options.terminal_id).strip() == self._options.terminal_id.strip()
        if waiting is None or waiting.done() or not ours:
            return False
        waiting.set_result(Reply(fields, self._options.reference_field))
        return True

    def _asked_by_host(self, mti: str, fields: dict[int, str]) -> None:
        """Hosts may ask for an echo too; whatever else they ask is not for a terminal to do."""
        if mti == "0800" and fields.get(70) == messages.ECHO and self._writer is not None:
            back = {number: fields[number] for number in (7, 11, 41, 70) if number in fields} | {39: "00"}
            self._writer.write(self._frames.frame(self._codec.encode("0810", back)))


class _Frames:
    """The length before each message, as the host counts it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._extra = wire.length_bytes if wire.length_counts_itself else 0

    def frame(self, message: bytes) -> bytes:
        length = len(message) + self._extra
        width = self._wire.length_bytes
        match self._wire.length:
            case "binary":
                prefix = length.to_bytes(width, "big")
            case "text":
                prefix = b"%0*d" % (width, length)
            case "bcd":
                prefix = bytes.fromhex(f"{length:0{2 * width}}")
        if len(prefix) != width:
            raise AcquirerGarbled(f"a message of {length} bytes does not fit into its length")
        return prefix + message

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """One message. Raises EOFError, AcquirerGarbled."""
        prefix = await reader.readexactly(self._wire.length_bytes)
        if self._wire.length == "binary":
            length = int.from_bytes(prefix, "big")
        else:
            digits = prefix if self._wire.length == "text" else prefix.hex().encode()
            if not digits.isdigit():
                raise AcquirerGarbled("a length that is no number")
            length = int(digits)
        length -= self._extra
        if not 0 < length <= MESSAGE_MAX:
            raise AcquirerGarbled(f"a message of {length} bytes")
        return await reader.readexactly(length)


def _context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or later, the host checked by name; our own certificate where the acquirer wants one."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as e:
        raise ConfigError(
            (f"acquirer.tls: a file cannot be used: {e}",), hint="PEM files, readable by the service user"
        ) from e
    return context


def _on_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
