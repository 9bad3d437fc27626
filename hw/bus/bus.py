"""The guarded bus: one line, shared fairly, that never takes one request's reply for another's.

An RTU reply carries neither an address nor a number, so a late one looks like the reply to a later request.
Three guards stand against it. Consecutive reads of a unit differ in count (a `Span` may have `spare`
registers, which are read along and dropped). The count of a read that went unanswered rests until its reply
cannot come any more. And after any fault or cancellation the line is quarantined: what comes is discarded
until it has been silent for half a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from hw.bus import frames
from hw.bus.errors import BackingOff, BadReply, BusError, LineDown, LineUnsettled, NoAnswer, Refused
from hw.bus.frames import ExceptionReply, Misfit, Reply, Request, Span
from hw.bus.line import Line, LineOptions, open_line

SILENT_BEFORE_BACKOFF = 3  # single losses happen; three in a row mean a dead unit
WAITING_MAX = 256  # 64 EVSEs with two requests each on one line, and as many again
RECEIVED_MAX = 2048  # several frames with their echoes; more without a reply is noise
DISTANCE = 3  # requests between two of one signature, where a span has as many counts
ATTEMPTS = 2

T = TypeVar("T")


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a bus is. Only tests have a reason to change it."""

    quiet_s: float = 0.5
    """Silence that ends a quarantine: longer than a frame at 9600 Bd and than any pause inside one."""
    settle_max_s: float = 2.0
    """A line that does not fall silent within this carries somebody else's traffic."""
    ghost_s: float = 30.0
    """How long an unanswered signature is avoided if it can be: no gateway keeps a request longer."""
    ghost_rest_s: float = 3.0
    """How long it is never used."""
    reconnect_s: float = 0.5
    """Between attempts to open the line: back within about a second, without hammering."""
    backoff_s: float = 1.0
    """The first pause of a dead unit; it doubles."""
    backoff_max_s: float = 8.0
    """Below the 10 s after which a reading is stale."""


class Answer(msgspec.Struct, Generic[T], frozen=True):
    """What a read brought: the bytes of the registers in the order of the wire, and when the reply was
    complete.
    """

    data: bytes
    at: T

    @property
    def registers(self) -> tuple[int, ...]:
        return tuple(int.from_bytes(self.data[i : i + 2], "big") for i in range(0, len(self.data), 2))


class _Used(msgspec.Struct, frozen=True):
    """When a signature (unit, function, count) was last on the line, and whether it was answered."""

    at: float
    turn: int
    answered: bool


class _Unit:
    """What the bus remembers of one unit."""

    __slots__ = ("asked", "resume_at", "silent")

    def __init__(self) -> None:
        self.asked = 0
        self.silent = 0
        self.resume_at = 0.0


class Bus(Generic[T]):
    """One line and its units. `now` stamps each reply at its arrival; `gap_s` is kept between frames."""

    def __init__(
        self,
        options: LineOptions,
        *,
        now: Callable[[], T],
        gap_s: float = 0.0,
        timing: Timing = Timing(),  # noqa: B008  # frozen
    ) -> None:
        self.options = options
        self._timing = timing
        self.gap_s = gap_s
        self._now = now
        self._line: Line | None = None
        self._turn = asyncio.Lock()  # asyncio's locks are first come, first served
        self._waiting = 0
        self._units: dict[int, _Unit] = {}
        self._used: dict[tuple[int, int, int], _Used] = {}  # 247 units x 4 functions x 125 counts at most
        self._received = bytearray()
        self._request: Request | None = None
        self._sent = b""
        self._tid = 0
        self._done: asyncio.Future[tuple[Reply | ExceptionReply | Misfit, T]] | None = None
        self._echo = False
        self._unsettled = False
        self._last_byte = self._last_frame = -1e9
        self._retry_at = 0.0
        self._down = ""

    async def read(
        self, unit: int, span: Span, *, timeout_s: float = 1.0, attempts: int = ATTEMPTS
    ) -> Answer[T]:
        """What `span` holds. Raises BusError. Between attempts the line is free for others."""

        def vary() -> Request:
            return Request(unit, span.function, span.address, self._count(unit, span))

        reply, at = await self._attempt(unit, vary, timeout_s, attempts)
        width = 2 * span.count if span.function >= frames.READ_HOLDING else (span.count + 7) // 8
        return Answer(reply.data[:width], at)

    async def write_registers(
        self,
        unit: int,
        address: int,
        values: tuple[int, ...],
        *,
        timeout_s: float = 1.0,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Write registers with function 16. A retry writes the same values again. Raises BusError."""
        request = Request(unit, 16, address, len(values), values)
        await self._attempt(unit, lambda: request, timeout_s, attempts)

    async def write_register(
        self, unit: int, address: int, value: int, *, timeout_s: float = 1.0, attempts: int = ATTEMPTS
    ) -> None:
        """Write one register with function 6, whose reply is an echo: read back what matters. Raises
        BusError.
        """
        request = Request(unit, 6, address, 1, (value,))
        await self._attempt(unit, lambda: request, timeout_s, attempts)

    async def write_coil(
        self, unit: int, address: int, *, on: bool, timeout_s: float = 1.0, attempts: int = ATTEMPTS
    ) -> None:
        """Function 5, whose reply looks like an echo: read back what matters. Raises BusError."""
        request = Request(unit, 5, address, 1, (int(on),))
        await self._attempt(unit, lambda: request, timeout_s, attempts)

    async def close(self) -> None:
        """Close the line; the next request opens it again."""
        self._drop_line()

    def _count(self, unit: int, span: Span) -> int:
        """The count that a stray reply is least likely to fit. Raises LineUnsettled when there is none.

        A signature that went unanswered must rest, and one that was answered is not used again for a few
        requests: a reply may come twice.
        """
        time = asyncio.get_running_loop().time()
        asked = self._unit(unit).asked
        distance = min(span.spare // span.step, DISTANCE)
        rested: dict[int, tuple[bool, int]] = {}
        for count in range(span.count, span.count + span.spare + 1, span.step):
            used = self._used.get((unit, span.function, count))
            if used is None:
                return count
            age_s = time - used.at
            if (used.answered and asked - used.turn >= distance) or (
                not used.answered and age_s >= self._timing.ghost_rest_s
            ):
                rested[count] = (not used.answered and age_s < self._timing.ghost_s, used.turn)
        if not rested:
            raise LineUnsettled(f"{self.options.port} unit {unit}: a late reply may still come")
        return min(rested, key=rested.__getitem__)

    async def _attempt(
        self, unit: int, vary: Callable[[], Request], timeout_s: float, attempts: int
    ) -> tuple[Reply, T]:
        for left in range(attempts - 1, -1, -1):
            try:
                return await self._one(unit, vary, timeout_s)
            except (Refused, BackingOff, LineUnsettled):
                raise
            except BusError:
                if not left:
                    raise
        raise AssertionError

    async def _one(self, unit: int, vary: Callable[[], Request], timeout_s: float) -> tuple[Reply, T]:
        state = self._unit(unit)
        if self._waiting >= WAITING_MAX:
            raise LineUnsettled(
                f"{self.options.port}: {WAITING_MAX} requests wait already", hint="poll less often"
            )
        self._waiting += 1
        try:
            async with self._turn:
                loop = asyncio.get_running_loop()
                if loop.time() < state.resume_at:
                    raise BackingOff(f"{self.options.port} unit {unit}: silent {state.silent} times in a row")
                line = await self._ready()
                outcome, at = await self._exchange(line, vary(), timeout_s)
        finally:
            self._waiting -= 1
        match outcome:
            case Reply():
                return outcome, at
            case ExceptionReply(exception=code):
                raise _refusal(self.options.port, unit, code)
            case Misfit(reason=reason):
                raise BadReply(f"{self.options.port} unit {unit}: {reason}")

    def _unit(self, unit: int) -> _Unit:
        return self._units.setdefault(unit, _Unit())

    async def _ready(self) -> Line:
        """The open, quiet line, with the gap since the last frame kept. Raises LineDown or LineUnsettled."""
        loop = asyncio.get_running_loop()
        line = self._line or await self._open(loop)
        line.drain()
        deadline = loop.time() + self._timing.settle_max_s
        while True:
            if self._unsettled:
                wait = max(self._last_byte, self._last_frame) + self._timing.quiet_s - loop.time()
                if wait <= 0:
                    self._unsettled = False
                    continue
            else:
                wait = self._last_frame + self.gap_s - loop.time()
                if wait <= 0:
                    break
            if loop.time() > deadline:
                raise LineUnsettled(f"{self.options.port}: the line does not fall silent")
            await asyncio.sleep(wait)
        if self._line is not line:
            raise LineDown(f"{self.options.port}: {self._down}")
        return line

    async def _open(self, loop: asyncio.AbstractEventLoop) -> Line:
        if loop.time() < self._retry_at:
            raise LineDown(f"{self.options.port}: {self._down}")
        try:
            line = await open_line(self.options, received=self._on_bytes, lost=self._on_lost)
        except LineDown as e:
            self._retry_at = loop.time() + self._timing.reconnect_s
            self._down = e.message.removeprefix(f"{self.options.port}: ")
            raise
        self._line = line
        return line

    async def _exchange(
        self, line: Line, request: Request, timeout_s: float
    ) -> tuple[Reply | ExceptionReply | Misfit, T]:
        """Send and wait. Whatever ends the wait without a reply leaves the line unsettled."""
        loop = asyncio.get_running_loop()
        state = self._unit(request.unit)
        if self.options.is_tcp:
            self._tid = self._tid % 0xFFFF + 1
            self._sent = frames.tcp_frame(request, self._tid)
        else:
            self._sent = frames.rtu_frame(request)
        limit_s = timeout_s + self.options.wire_s(2 * len(self._sent) + frames.reply_bytes(request) + 3)
        self._request = request
        self._done = done = loop.create_future()
        timer = loop.call_later(limit_s, _expire, done)
        answered, stray = False, 0
        try:
            line.write(self._sent)
            outcome, at = await done
            answered = not isinstance(outcome, Misfit)
            stray = outcome.count if isinstance(outcome, Misfit) else 0
        except TimeoutError as e:
            self._silence(state, loop.time())
            raise NoAnswer(f"{self.options.port} unit {request.unit}: no reply within {limit_s:.2g} s") from e
        else:
            state.silent = 0
            return outcome, at
        finally:
            timer.cancel()
            self._request = self._done = None
            self._received.clear()
            self._last_frame = loop.time()
            if done.done() and not done.cancelled():
                done.exception()  # seen, also where the request was cancelled meanwhile
            self._remember(request, stray, answered=answered)

    def _remember(self, request: Request, stray: int, *, answered: bool) -> None:
        """What a later reply could be taken for, be it one of another count that came instead (`stray`).

        A fault unsettles the line; over TCP it begins a new connection.
        """
        unit = self._unit(request.unit)
        unit.asked += 1
        for count in {request.count, stray or request.count}:
            self._used[request.unit, request.function, count] = _Used(self._last_frame, unit.asked, answered)
        if not answered:
            self._unsettled = True
            if self.options.is_tcp:
                self._drop_line()

    def _silence(self, state: _Unit, time: float) -> None:
        state.silent += 1
        if state.silent >= SILENT_BEFORE_BACKOFF:
            doubled = 1 << min(state.silent - SILENT_BEFORE_BACKOFF, 10)
            state.resume_at = time + min(self._timing.backoff_max_s, self._timing.backoff_s * doubled)

    def _on_bytes(self, data: bytes) -> None:
        self._last_byte = asyncio.get_running_loop().time()
        request, done = self._request, self._done
        if request is None or done is None or done.done():
            self._unsettled = True  # nobody asked
            if self.options.is_tcp:
                self._drop_line()
            return
        self._received += data
        judgment: frames.Judgment
        if len(self._received) > RECEIVED_MAX:
            judgment = Misfit("a flood of bytes")
        elif self.options.is_tcp:
            judgment = frames.judge_tcp(request, self._tid, bytes(self._received))
        else:
            judgment = frames.judge_rtu(request, self._sent, bytes(self._received), echo=self._echo)
            if isinstance(judgment, Reply) and request.function <= frames.READ_INPUT:
                self._echo = judgment.echoed
        if judgment is not None:
            done.set_result((judgment, self._now()))

    def _on_lost(self, reason: str) -> None:
        self._line = None
        self._down = reason
        if self._done is not None and not self._done.done():
            self._done.set_exception(LineDown(f"{self.options.port}: {reason}"))

    def _drop_line(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()
        self._received.clear()


def _expire(done: asyncio.Future[object]) -> None:
    if not done.done():
        done.set_exception(TimeoutError())


_BUSY = {5, 6}  # acknowledge, busy
_GATEWAY = {10, 11}  # no path, target silent


def _refusal(port: str, unit: int, code: int) -> BusError:
    where = f"{port} unit {unit}"
    if code in _GATEWAY:
        return NoAnswer(f"{where}: the gateway has no reply from it (exception {code})")
    if code in _BUSY:
        return NoAnswer(f"{where}: busy (exception {code})", hint="poll less often")
    return Refused(f"{where}: Modbus exception {code}", exception=code)
