"""What the drivers of signing meters share: blocks of text over Modbus, waiting for the meter, checking records."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from edge.domain.instant import Instant
from edge.errors import CallError
from edge.metering.ocmf import der, keys, signature
from edge.metering.ocmf.errors import KeyUnreadable, RecordMalformed
from edge.metering.ocmf.record import HEADER, Record, SignedRecord, parse
from edge.metering.signing import marked_session
from edge.ports import Clock
from hw.bus.budget import Load, read_characters
from hw.bus.bus import Answer, Bus
from hw.bus.errors import BusError, Refused
from hw.bus.frames import Span
from hw.bus.line import Baudrate, LineOptions, Parity, Port
from hw.bus.pool import BusPool
from hw.meters.errors import MeterError, MeterGarbled, MeterRefused
from hw.meters.register import translate

SIGN_MAX_S = 15.0  # what the makers allow for a signature (Bauer, Iskra)
POLL_S = 0.1  # a signature takes a tenth of a second to some seconds
READ_ATTEMPTS = 3
REST_S = 1.6  # twice this is longer than a reply may be late
FETCH_ATTEMPTS = 3  # a record that does not verify three times is not the line's fault
_WORDS = re.compile(rb'("(?:[^"\\]|\\.)*")|[ \t\r\n]+')
_CHUNK_MAX = 110  # below every meter's limit, with room for counts that differ
_WRITE_MAX = 120  # Iskra takes no more in one request, the protocol 123
_SPARE = 6  # a chunk that was lost is asked for again in other lengths

T = TypeVar("T")


class SigningFailed(MeterError):
    """The meter does not sign."""

    code = "meter.signing"
    hint = (
        "check the meter's display for an error; a charge without a signed record cannot be billed as signed"
    )


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a signing meter is. `time_zone` is what its signed times are written in."""

    port: Port
    unit: Annotated[int, Meta(ge=1, le=247)] = 1
    baudrate: Baudrate = 9600
    parity: Parity = "N"
    stopbits: Literal[1, 2] = 1
    timeout_s: Annotated[float, Meta(gt=0, le=10)] = 1.0
    gap_ms: Annotated[int, Meta(ge=0, le=1000)] = 20
    time_zone: Annotated[str, Meta(max_length=64)] = "UTC"

    @property
    def line_gap_ms(self) -> int:
        """The silence between frames; TCP needs none."""
        return 0 if self.port.startswith("tcp://") else self.gap_ms

    @property
    def line(self) -> LineOptions:
        return LineOptions(port=self.port, baudrate=self.baudrate, parity=self.parity, stopbits=self.stopbits)

    def load(self, model: str, *reads: int) -> Load:
        """What one poll, reads of so many registers, costs the line."""
        return Load(
            name=f"{model} unit {self.unit}",
            line=self.line,
            exchanges=tuple(read_characters(count) for count in reads),
            gap_s=self.line_gap_ms / 1000,
            timeout_s=self.timeout_s,
        )

    def zone(self) -> ZoneInfo:
        """Raises CallError for a zone that does not exist."""
        try:
            return ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as e:
            raise CallError(f"no time zone `{self.time_zone}`", hint="a name such as Europe/Berlin") from e


class Registers:
    """The registers of one unit, as bytes. Raises MeterError."""

    def __init__(self, bus: Bus[Instant], options: Line, clock: Clock) -> None:
        self._bus, self._unit, self._timeout_s = bus, options.unit, options.timeout_s
        self._clock = clock

    async def read(
        self, function: Literal[3, 4], address: int, count: int = 1, spare: int = 0, step: int = 1
    ) -> Answer[Instant]:
        """One request. A lost reply is waited out: until it cannot come any more, the bus does not ask again."""
        for left in range(READ_ATTEMPTS - 1, -1, -1):
            try:
                return await self._bus.read(
                    self._unit, Span(function, address, count, spare, step), timeout_s=self._timeout_s
                )
            except BusError as e:
                if not left or isinstance(e, Refused):
                    raise translate(e) from e
            await self._clock.sleep(REST_S)
        raise AssertionError

    async def number(self, function: Literal[3, 4], address: int, spare: int = 0) -> int:
        """One register, unsigned."""
        return (await self.read(function, address, 1, spare)).registers[0]

    async def block(self, function: Literal[3, 4], address: int, count: int) -> bytes:
        """Any number of registers, in requests whose lengths differ from one to the next."""
        data = b""
        done = number = 0
        while done < count:
            size = min(_CHUNK_MAX - number % 2, count - done)
            spare = min(_SPARE, count - done - size)
            data += (await self.read(function, address + done, size, spare)).data
            done, number = done + size, number + 1
        return data

    async def text(self, function: Literal[3, 4], address: int, count: int) -> bytes:
        """A text in up to so many registers, read as far as it goes."""
        data = b""
        number = 0
        while b"\0" not in data and len(data) < 2 * count:
            done = len(data) // 2
            size = min(_CHUNK_MAX - number % 2, count - done)
            spare = min(_SPARE, count - done - size)
            data += (await self.read(function, address + done, size, spare)).data
            number += 1
        return until_zero(data)

    async def write(self, address: int, data: bytes) -> None:
        """Registers with function 16, in as many requests as it takes. An odd byte at the end gets a zero."""
        data += b"\0" * (len(data) % 2)
        values = tuple(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
        for start in range(0, len(values), _WRITE_MAX):
            part = values[start : start + _WRITE_MAX]
            try:
                await self._bus.write_registers(self._unit, address + start, part, timeout_s=self._timeout_s)
            except BusError as e:
                raise translate(e) from e

    async def command(self, address: int, value: int) -> None:
        """One register, asked once: what a command did is read from the meter's state, not from its reply."""
        try:
            await self._bus.write_registers(
                self._unit, address, (value,), timeout_s=self._timeout_s, attempts=1
            )
        except BusError as e:
            raise translate(e) from e


def registers(options: Line, *, clock: Clock, buses: BusPool) -> Registers:
    """The unit's registers on its line. Raises CallError when the line is described in two ways."""
    return Registers(buses.bus(options.line, gap_s=options.line_gap_ms / 1000), options, clock)


async def wait_for(
    ask: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], *, clock: Clock, what: str
) -> T:
    """Ask until the answer is the wanted one. Raises SigningFailed after SIGN_MAX_S, and what `wanted` raises.

    A reply that is lost on the way only costs time.
    """
    began = clock.now()
    error: MeterError | None = None
    while True:
        try:
            answer = await ask()
            if wanted(answer):
                return answer
            error = None
        except SigningFailed:
            raise
        except MeterError as e:
            error = e
        if clock.now().seconds_since(began) > SIGN_MAX_S:
            raise error or SigningFailed(f"{what} within {SIGN_MAX_S:g} s")
        await clock.sleep(POLL_S)


async def confirmed(command: Awaitable[None]) -> None:
    """A command whose reply may be lost: what it did is asked afterwards. Raises MeterRefused."""
    try:
        await command
    except MeterRefused:
        raise
    except MeterError:
        pass


async def fetched(
    get: Callable[[], Awaitable[tuple[bytes, bytes]]], *, signs_compact: bool = False
) -> SignedRecord:
    """The record and key that `get` reads, read again while they do not fit each other.

    `signs_compact`: the meter signs its JSON without white space and then gives it with some; what verifies
    anywhere is what it signed, and so that is kept.
    """
    attempt = 1
    while True:
        ocmf, public_key = await get()
        record = parsed(ocmf)
        verified = record is not None and _verifies(record, public_key)
        if record is not None and not verified and signs_compact:
            compact = parsed(_compact(record))
            if compact is not None and _verifies(compact, public_key):
                ocmf, record, verified = compact.raw, compact, True
        if verified or attempt == FETCH_ATTEMPTS:
            return SignedRecord(
                ocmf=ocmf,
                public_key=public_key,
                session_id=None if record is None else session_of(record),
                verified=verified,
            )
        attempt += 1


async def readable(get: Callable[[], Awaitable[bytes]]) -> Record | None:
    """The record that `get` reads, read again while it is none: a charge whose record exists is not written off for one
    bad reply. None where the meter says the same each time. Raises MeterGarbled.
    """
    seen = set()
    for _ in range(FETCH_ATTEMPTS):
        ocmf = await get()
        record = parsed(ocmf)
        if record is not None:
            return record
        seen.add(ocmf)
    if len(seen) > 1:
        raise MeterGarbled("the signed record is another one at every reading")
    return None


def of_session(record: SignedRecord, session_id: str | None = None) -> SignedRecord:
    """The record, which is of this session, or of one of ours. Raises SigningFailed where a power cut took it."""
    if record.session_id is None or session_id not in {None, record.session_id}:
        raise SigningFailed("the record does not name its session any more")
    return record


def without_filling(key: bytes) -> bytes:
    """A key in DER out of registers that it does not fill."""
    try:
        _, filling = der.element(key, der.SEQUENCE)
    except der.NotDer:
        return key
    return key[: len(key) - len(filling)]


def parsed(ocmf: bytes) -> Record | None:
    """The record, or None when it is none."""
    try:
        return parse(ocmf)
    except RecordMalformed:
        return None


def session_of(record: Record) -> str | None:
    """The session of ours that a record is marked with, in the tariff text or in the identification."""
    return marked_session(record.tariff_text) or marked_session(record.identification)


def chars(text: str | bytes, registers_count: int) -> bytes:
    """A text in so many registers: cut, ended by a zero, filled up with zeros."""
    raw = text.encode("ascii", "replace") if isinstance(text, str) else text
    return raw[: 2 * registers_count - 1].ljust(2 * registers_count, b"\0")


def until_zero(data: bytes) -> bytes:
    """A text in registers, without its filling."""
    return data.split(b"\0", 1)[0].strip()


def offset_min(at: Instant, zone: ZoneInfo) -> int:
    """Minutes that local time is ahead of UTC."""
    return (at.utc.astimezone(zone).utcoffset() or timedelta()) // timedelta(minutes=1)


def _compact(record: Record) -> bytes:
    """The record without white space between the words of its payload's JSON; every text stays as it is."""
    payload = _WORDS.sub(lambda found: found[1] or b"", record.payload)
    return HEADER + payload + record.raw[len(HEADER) + len(record.payload) :]


def _verifies(record: Record, public_key: bytes) -> bool:
    try:
        return signature.verify(record, keys.from_bytes(public_key)).status == "valid"
    except KeyUnreadable:
        return False
