"""The guarded bus: one line, shared fairly, that never takes one request's reply for another's.

An RTU reply carries neither an address nor a number, so a late one looks like the reply to a later request.
Five guards stand against it. What came before a request went out is not its reply, also where this process stood still
meanwhile and has not looked at it yet. Consecutive reads of a unit differ in count (a `Span` may have `spare`
registers, which are read along and dropped). The count of a read that went unanswered rests. After any fault or
cancellation the line is quarantined: what comes is discarded until it has been silent for half a second. And an
answer says whether it is sure: a count that went unanswered within the last half minute is used only where no other
is left, and what comes under it may be the reply to the earlier request, so it is not. A sure answer is the reply to
its own request, whatever the line held back, lost or doubled before; one that is not sure is at most `ghost_s` old.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeAlias, TypeVar

import msgspec

from hw.bus import frames
from hw.bus.errors import BackingOff, BadReply, BusError, LineDown, LineUnsettled, NoAnswer, Refused, refusal
from hw.bus.frames import ExceptionReply, Misfit, Reply, Request, Span
from hw.bus.handover import Handover
from hw.bus.line import Line, LineOptions, open_line
from hw.bus.marks import Mark, Plan, Unit

SILENT_BEFORE_BACKOFF = 3  # single losses happen; three in a row mean a dead unit
WAITING_MAX = 256  # 64 EVSEs with two requests each on one line, and as many again
RECEIVED_MAX = 2048  # several frames with their echoes; more without a reply is noise
ATTEMPTS = 2
LOOK_AFTER_S = 0.002  # so short a time after the last reply nothing but its own rest can have come
_DOUBTFUL = 1e12  # ranks after every turn
PLANS_MAX = 4096  # spans times units of a full line, and room

T = TypeVar("T")
Outcome: TypeAlias = tuple[Reply | ExceptionReply | Misfit, T]


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a bus is. Only tests have a reason to change it."""

    quiet_s: float = 0.5
    """Silence that ends a quarantine: longer than a frame at 9600 Bd and than any pause inside one. A reply that comes
    twice does so within this.
    """
    settle_max_s: float = 2.0
    """A line that does not fall silent within this carries somebody else's traffic."""
    ghost_s: float = 30.0
    """How long a reply may be under way: no gateway keeps a request longer. Until then an unanswered signature is
    avoided if it can be, and an answer under it is not sure."""
    ghost_rest_s: float = 3.0
    """How long it is never used."""
    reconnect_s: float = 0.5
    """Between attempts to open the line: back within about a second, without hammering."""
    backoff_s: float = 1.0
    """The first pause of a dead unit; it doubles."""
    backoff_max_s: float = 8.0
    """Below the 10 s after which a reading is stale."""


class Answer(msgspec.Struct, Generic[T], frozen=True):
    """What a read brought: the bytes of the registers in the order of the wire, and when the reply was complete. Not
    `sure` where it may be a late reply to an earlier read of this unit with the same function and count. The profiles
    ask for energy and serial number in counts that nothing else has, so there it is an older one of the same registers.
    """

    data: bytes
    at: T
    sure: bool = True

    @property
    def registers(self) -> tuple[int, ...]:
        return tuple(int.from_bytes(self.data[i : i + 2], "big") for i in range(0, len(self.data), 2))


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
        self._is_tcp, self._character_s = options.is_tcp, options.wire_s(1)
        self._timing = timing
        self.gap_s = gap_s
        self._now = now
        self._line: Line | None = None
        self._turn = asyncio.Lock()  # asyncio's locks are first come, first served
        self._waiting = 0
        self._units: dict[int, Unit] = {}
        self._marks: dict[tuple[int, int, int], Mark] = {}  # 247 units x 7 functions x 125 counts at most
        self._plans: dict[tuple[int, Span], Plan] = {}
        self._received = bytearray()
        self._request: Request | None = None
        self._deadline = 0.0
        self._watchdog: asyncio.TimerHandle | None = None
        self._tid = 0
        self._done: Handover[Outcome[T]] | None = None
        self._echo = False
        self._unsettled = False
        self._last_byte = self._last_frame = -1e9
        self._retry_at = 0.0
        self._down, self._remedy = "", LineDown.hint

    async def read(
        self, unit: int, span: Span, *, timeout_s: float = 1.0, attempts: int = ATTEMPTS
    ) -> Answer[T]:
        """What `span` holds. Raises BusError. Between attempts the line is free for others."""
        plan = self._plans.get((unit, span))
        if plan is None:
            counts = range(span.count, span.count + span.spare + 1, span.step)
            asked = (frames.request(unit, span.function, span.address, count) for count in reversed(counts))
            requests = list({request.length: request for request in asked}.values())  # 8 bits look like 1
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            # not where the process before began, whose replies may be late
            first = int(monotonic()) % len(requests)
            plan = self._plans[unit, span] = self._plan(requests[first:] + requests[:first])
        reply, at, sure = await self._attempt(plan, timeout_s, attempts)
        width = 2 * span.count if span.function >= frames.READ_HOLDING else (span.count + 7) // 8
        return Answer(reply.data[:width], at, sure)

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
        request = frames.request(unit, 16, address, len(values), values)
        await self._attempt(self._plan([request]), timeout_s, attempts)

    async def write_register(
        self, unit: int, address: int, value: int, *, timeout_s: float = 1.0, attempts: int = ATTEMPTS
    ) -> None:
        """Function 6, whose reply looks like an echo: read back what matters. Raises BusError."""
        request = frames.request(unit, 6, address, 1, (value,))
        await self._attempt(self._plan([request]), timeout_s, attempts)

    async def write_coil(
        self, unit: int, address: int, *, on: bool, timeout_s: float = 1.0, attempts: int = ATTEMPTS
    ) -> None:
        """Function 5, whose reply looks like an echo: read back what matters. Raises BusError."""
        request = frames.request(unit, 5, address, 1, (int(on),))
        await self._attempt(self._plan([request]), timeout_s, attempts)

    async def close(self) -> None:
        """Close the line; the next request opens it again."""
        self._drop_line()
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def _plan(self, requests: list[Request]) -> Plan:
        variants = tuple((r, self._mark(r.unit, r.function, r.count)) for r in requests)
        return Plan(self._units.setdefault(requests[0].unit, Unit()), variants)

    def _mark(self, unit: int, function: int, count: int) -> Mark:
        return self._marks.setdefault((unit, function, count), Mark())

    def _choose(self, plan: Plan, now: float) -> tuple[Request, Mark, bool]:
        """The variant that a stray reply is least likely to fit, and whether none can. Raises LineUnsettled when
        there is none, or soon is one.

        A signature that went unanswered must rest, and for a moment so must one that others were not asked after: a
        reply may come twice. Of the rest the one is taken that was used longest ago, and never the last one, as far as
        there are two others. Of those that a late reply may still fit the ones are taken that failed longest ago: they
        are the least likely to meet it, and the others come to rest, which two that take turns never would. Over TCP
        replies say what they answer.
        """
        count, asked, timing = len(plan.variants), plan.unit.asked, self._timing
        first, mark = plan.variants[plan.turn]
        plan.turn = (plan.turn + 1) % count
        if first.function > frames.READ_INPUT:
            return first, mark, True  # the reply to a write repeats it; and what matters is read back
        if now >= mark.ghost_until and 1 <= count - 1 <= asked - mark.turn:
            return first, mark, True  # as nearly always: all others have been asked since
        best, best_rank, rest_s, soon = None, 0.0, timing.ghost_rest_s, False
        for request, mark in plan.variants:
            if mark.turn == asked and count > 2:
                continue
            doubtful, pause_s = now < mark.ghost_until and not self._is_tcp, 0.0
            if not (mark.answered or self._is_tcp):
                pause_s = timing.ghost_rest_s
            elif asked - mark.turn < count - 1 and not self._is_tcp:
                pause_s = timing.quiet_s
            if now < mark.at + pause_s:
                rest_s, soon = min(rest_s, mark.at + pause_s - now), soon or not doubtful
                continue
            rank: float = _DOUBTFUL + mark.lost_at if doubtful else mark.turn
            if best is None or rank < best_rank:
                best, best_rank = (request, mark, not doubtful), rank
        if best is None or (soon and not best[2]):
            where = f"{self.options.port} unit {first.unit}"
            raise LineUnsettled(f"{where}: a late reply may still come", rest_s=rest_s)
        return best

    async def _attempt(self, plan: Plan, timeout_s: float, attempts: int) -> tuple[Reply, T, bool]:
        """Raises what went wrong first: that a late reply may still come tells nobody what to look for."""
        cause: BusError | None = None
        for left in range(attempts - 1, -1, -1):
            try:
                if not (self._is_tcp or plan.unit.known):
                    await self._forerun(plan, timeout_s)
                return await self._one(plan, timeout_s)
            except (Refused, BackingOff):
                raise
            except LineUnsettled as e:
                if cause is not None and not left:
                    raise cause from e
                if not left or not e.rest_s:
                    raise
                await asyncio.sleep(e.rest_s)  # the line is free for others meanwhile
            except BusError as e:
                cause = e
                if not left:
                    raise
        raise AssertionError

    async def _forerun(self, plan: Plan, timeout_s: float) -> None:
        """A unit's first answer may be the late one to a request of the process before, of which this one knows
        nothing. It is dropped, and then its own comes while another count is asked for.
        """
        if len(plan.variants) > 1:
            await self._one(plan, timeout_s)
            plan.unit.known = True

    async def _one(self, plan: Plan, timeout_s: float) -> tuple[Reply, T, bool]:
        if self._waiting >= WAITING_MAX:
            waiting = f"{self.options.port}: {WAITING_MAX} requests wait already"
            raise LineUnsettled(waiting, hint="poll less often")
        self._waiting += 1
        try:
            async with self._turn:
                unit, line, now = plan.unit, self._line, monotonic()
                if unit.silent and now < unit.resume_at:
                    where = f"{self.options.port} unit {plan.variants[0][0].unit}"
                    raise BackingOff(f"{where}: silent {unit.silent} times in a row")
                if line is not None and now > self._last_byte + LOOK_AFTER_S:
                    self._look(line)
                if line is None or self._unsettled or now < self._last_frame + self.gap_s:
                    line, now = await self._ready(), monotonic()
                request, mark, sure = self._choose(plan, now)
                outcome, at = await self._exchange(line, unit, request, mark, now, timeout_s)
        finally:
            self._waiting -= 1
        if isinstance(outcome, Reply):
            return outcome, at, sure
        if isinstance(outcome, ExceptionReply):
            raise refusal(self.options.port, request.unit, outcome.exception)
        raise BadReply(f"{self.options.port} unit {request.unit}: {outcome.reason}")

    async def _ready(self) -> Line:
        """The open, quiet line, with the gap since the last frame kept. Raises LineDown or LineUnsettled."""
        line = self._line or await self._open()
        deadline = monotonic() + self._timing.settle_max_s
        while True:
            if self._unsettled:
                free_at = max(self._last_byte, self._last_frame) + self._timing.quiet_s
            else:
                free_at = self._last_frame + self.gap_s
            now = monotonic()
            if free_at > now:
                if now > deadline:
                    raise LineUnsettled(f"{self.options.port}: the line does not fall silent")
                await asyncio.sleep(free_at - now)
            elif self._unsettled:
                self._unsettled = False
            else:
                self._look(line)
                if not self._unsettled:
                    break
        if self._line is not line:
            raise LineDown(f"{self.options.port}: {self._down}")
        return line

    def _look(self, line: Line) -> None:
        """What has come already is nobody's reply. Over TCP each says whose it is."""
        if not self._is_tcp:
            line.look()

    async def _open(self) -> Line:
        if monotonic() < self._retry_at:
            raise LineDown(f"{self.options.port}: {self._down}", hint=self._remedy)
        try:
            line = await open_line(self.options, received=self._on_bytes, lost=self._on_lost)
        except LineDown as e:
            self._retry_at = monotonic() + self._timing.reconnect_s
            self._down, self._remedy = e.message.removeprefix(f"{self.options.port}: "), e.hint
            raise
        self._line = line
        return line

    async def _exchange(
        self, line: Line, unit: Unit, request: Request, mark: Mark, now: float, timeout_s: float
    ) -> Outcome[T]:
        """Send and wait. Whatever ends the wait without a reply leaves the line unsettled."""
        if self._is_tcp:
            self._tid = self._tid % 0xFFFF + 1
            sent = frames.tcp_frame(request, self._tid)
        else:
            sent = request.rtu
            timeout_s += self._character_s * (2 * len(sent) + request.length + 3)
        self._request = request
        done: Handover[Outcome[T]] = Handover(asyncio.get_running_loop())
        self._done = done
        self._expect(now + timeout_s)
        answered, stray = False, 0
        try:
            line.write(sent)
            outcome, at = await done
            answered = not isinstance(outcome, Misfit)
            stray = outcome.count if isinstance(outcome, Misfit) else 0
        except TimeoutError as e:
            self._silence(unit, monotonic())
            where = f"{self.options.port} unit {request.unit}"
            raise NoAnswer(f"{where}: no reply within {timeout_s:.2g} s") from e
        else:
            unit.silent = 0
            return outcome, at
        finally:
            self._request = self._done = None
            self._received.clear()
            self._last_frame = monotonic()
            unit.asked += 1
            mark.used(self._last_frame, unit.asked, self._timing.ghost_s, answered=answered)
            if not answered:
                self._fault(unit, request, stray)

    def _fault(self, unit: Unit, request: Request, stray: int) -> None:
        """The line is unsettled, over TCP broken off. A frame of another count (`stray`) may come again,
        too.
        """
        if stray:
            mark = self._mark(request.unit, request.function, stray)
            mark.used(self._last_frame, unit.asked, self._timing.ghost_s, answered=False)
        self._unsettled = True
        if self._is_tcp:
            self._drop_line()

    def _expect(self, deadline: float) -> None:
        """A time-out at `deadline`. One timer serves many requests: it looks again when it was too early."""
        self._deadline = deadline
        if self._watchdog is not None and self._watchdog.when() > deadline:
            self._watchdog.cancel()
            self._watchdog = None
        if self._watchdog is None:
            self._watchdog = asyncio.get_running_loop().call_at(deadline, self._watch)

    def _watch(self) -> None:
        self._watchdog = None
        if self._done is None or self._done.done():
            return
        if monotonic() >= self._deadline:
            self._done.fail(TimeoutError())
        else:
            self._expect(self._deadline)

    def _silence(self, unit: Unit, time: float) -> None:
        unit.silent += 1
        if unit.silent >= SILENT_BEFORE_BACKOFF and len(self._units) > 1:  # alone it keeps nobody waiting
            doubled = 1 << min(unit.silent - SILENT_BEFORE_BACKOFF, 10)
            unit.resume_at = time + min(self._timing.backoff_max_s, self._timing.backoff_s * doubled)

    def _on_bytes(self, data: bytes) -> None:
        self._last_byte = monotonic()
        request, done = self._request, self._done
        if request is None or done is None or done.done():
            self._unsettled = True  # nobody asked
            if self._is_tcp:
                self._drop_line()
            return
        if self._received:
            data = bytes(self._received) + data
        judgment: frames.Judgment
        if len(data) > RECEIVED_MAX:
            judgment = Misfit("a flood of bytes")
        elif self._is_tcp:
            judgment = frames.judge_tcp(request, self._tid, data)
        else:
            judgment = frames.judge_rtu(request, data, echo=self._echo)
            if isinstance(judgment, Reply) and request.function <= frames.READ_INPUT:
                self._echo = judgment.echoed
        if judgment is None:
            self._received[:] = data
        else:
            done.set((judgment, self._now()))

    def _on_lost(self, reason: str) -> None:
        self._line = None
        self._down = reason
        if self._done is not None and not self._done.done():
            self._done.fail(LineDown(f"{self.options.port}: {reason}"))

    def _drop_line(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()
        self._received.clear()
