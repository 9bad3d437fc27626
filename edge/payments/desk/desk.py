"""One arbiter per terminal: who gets it next, whether it can be used, and when its day is handed in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from edge import log
from edge.domain.identity import IdToken
from edge.domain.instant import Instant
from edge.domain.payment import Authorized, Captured, Declined, Expired, InDoubt, Reversed
from edge.domain.terminal import Answer, Done, Presented, Reason
from edge.domain.terminal import InDoubt as Doubt
from edge.errors import HardwareError
from edge.payments.desk.cards import Cards
from edge.payments.desk.holds import Holds
from edge.payments.desk.queue import DeskUnavailable, Job, Queue, Rank
from edge.ports import Clock, PaymentJournal, PaymentTerminal

#: A driver who has tapped is told that the terminal is busy rather than kept waiting longer.
_RESERVE_WAIT_S: Final = 15.0

#: How often a desk that has nothing to do looks around.
_IDLE_S: Final = 1.0

#: How often a terminal that nobody uses is asked how it is: what is broken should be known before somebody taps.
_STATUS_S: Final = 60.0

#: Between tries to reach a terminal that is away, and to settle what is still in doubt.
_AWAY_S: Final = 1.0
_AWAY_MAX_S: Final = 30.0

#: How often a day that is due is tried: whether all holds have ended costs a question; a try that failed has reasons
#: that take their time.
_DAY_CHECK_S: Final = 60.0
_DAY_RETRY_S: Final = 600.0

#: A terminal may refuse now and then (it is busy, a card was unreadable); one that only refuses is broken.
_REFUSED: Final = "terminal.refused"
_REFUSALS_MAX: Final = 5

#: Error codes of a terminal that cannot be talked to.
_AWAY: Final = frozenset(("terminal.unreachable", "terminal.silent", "terminal.lost"))

_HOUR_S: Final = 3600.0


_CLOSED: Final = "the till was stopped in the middle of it"


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When captures are handed in (end of day). From `end_of_day_h` hours on, at the first moment without a hold;
    from `drain_h` hours on no new hold is taken until it is done. None: the terminal does it by itself.
    """

    end_of_day_h: Annotated[int, Meta(ge=1, le=720)] | None = 24
    drain_h: Annotated[int, Meta(ge=1, le=744)] = 48


class TerminalDesk:
    """Implements edge.ports.PaymentMethod over one terminal, and tells who stands before it.

    `wanted` is True while somebody may buy. `name` tells this terminal from others, always in the same words.
    `day_began` is when the day was last handed in, None where that is not known (then it is handed in as soon as
    possible); `day_ended` is awaited when it was.
    """

    def __init__(
        self,
        terminal: PaymentTerminal,
        journal: PaymentJournal,
        *,
        currency: str,
        clock: Clock,
        wanted: Callable[[], bool],
        name: str = "terminal",
        options: Options | None = None,
        day_began: Instant | None = None,
        day_ended: Callable[[Instant], Awaitable[None]] | None = None,
    ) -> None:
        self._terminal = terminal
        self._currency = currency
        self._clock = clock
        self._options = options or Options()
        self._holds = Holds(terminal, journal, name=name)
        self._queue = Queue()
        self._cards = Cards(terminal, wanted)
        self._day_ended = day_ended
        self._day_began, self._started_at = day_began, clock.now()
        self._lines: tuple[str, ...] = ()
        self._shown: tuple[str, ...] = ()
        self._running = False
        self._failing: HardwareError | None = None
        self._refusals = 0
        self._closing = False
        self._stranded: Callable[[], frozenset[str]] = frozenset
        self._waiting: frozenset[str] = frozenset()
        self._out_of_order = False
        self._away_s = _AWAY_S
        self._next_try_s = self._next_status_s = self._next_day_s = 0.0

    @property
    def ready(self) -> bool:
        """True while a driver who taps now would be served."""
        return self.reason is None

    @property
    def reason(self) -> Reason | None:
        """Why not, in codes that the screen has words for."""
        job = self._queue.running
        if not self._running or self._out_of_order or self._holds.overgrown:
            return "terminal_fault"
        if self._failing is not None:
            return "no_connection" if self._failing.code in _AWAY else "terminal_fault"
        if (
            self._holds.blocked
            or self._closing
            or self.draining
            or (job is not None and job.rank is Rank.RESERVE)
        ):
            return "terminal_busy"
        return None

    @property
    def orphans(self) -> tuple[int, ...]:
        """Receipts of holds at the terminal that belong to no payment in the journal. An operator decides."""
        return tuple(sorted(self._holds.orphans))

    def lost(self, ref: str) -> bool:
        """True once the terminal's complete list has shown that it has this hold no more."""
        return ref in self._holds.missing

    @property
    def end_of_day_due(self) -> bool:
        """True when the day should be handed in at the next moment without a hold."""
        hours = self._options.end_of_day_h
        return hours is not None and (self._day_began is None or self._hours_since(self._day_began) >= hours)

    @property
    def draining(self) -> bool:
        """True while no new hold is taken, so that the day can be handed in. It waits for none that may never end."""
        return self._overdue and not self._holds.open_of(self._stranded())

    @property
    def _overdue(self) -> bool:
        began = self._day_began or self._started_at
        return self.end_of_day_due and self._hours_since(began) >= self._options.drain_h

    def set_aside(self, refs: Callable[[], frozenset[str]]) -> None:
        """Payments whose holds may never end, by reference: beside them new ones are taken, however old the day is."""
        self._stranded = refs

    def presented(self) -> AsyncIterator[Presented]:
        """Cards as they come, while somebody may buy and the consumer waits for the next one."""
        return self._cards.presented()

    def go_on(self) -> None:
        """The last bank card will not be charged: the terminal may do something else at once."""
        self._cards.go_on()

    def display(self, *lines: str) -> None:
        """What the terminal's own display says while it has nothing to do; up to eight lines."""
        self._lines = lines

    async def preauthorize(
        self, ref: str, *, amount_minor: int, currency: str, token: IdToken
    ) -> Authorized | Declined | InDoubt:
        del token  # the terminal knows the card
        if currency != self._currency:
            return Declined(ref=ref, reason="currency")
        answer: Authorized | Declined | InDoubt = await self._ask(
            Rank.RESERVE,
            f"reserve {ref}",
            partial(self._reserve, ref, amount_minor),
            broken=_broken(ref),
            within_s=_RESERVE_WAIT_S,
            late=self._withdrawn(ref, "terminal_busy"),
        )
        self._cards.go_on()
        return answer

    async def capture(
        self, ref: str, *, amount_minor: int, currency: str
    ) -> Captured | Declined | Expired | InDoubt:
        if currency != self._currency:
            return Declined(ref=ref, reason="currency")
        run = partial(self._holds.finish, ref, amount_minor)
        answer: Captured | Declined | Expired | InDoubt
        answer = await self._ask(Rank.END, f"capture {ref} {amount_minor}", run, broken=_broken(ref))
        return answer

    async def reverse(self, ref: str) -> Reversed | Declined | InDoubt:
        """Also while the reservation is being asked for: that is called off first."""
        reservation = f"reserve {ref}"
        self._queue.withdraw(reservation, self._withdrawn(ref, "cancelled"))
        running = self._queue.running
        if running is not None and running.name == reservation:
            await self._terminal.abort()
        answer: Reversed | Declined | InDoubt
        run = partial(self._holds.finish, ref, 0)
        answer = await self._ask(Rank.END, f"reverse {ref}", run, broken=_broken(ref))
        return answer

    async def release(self, receipt_no: int) -> Answer:
        """Give back a hold that belongs to nobody, by an operator's decision. Raises HardwareError."""
        return await self.book(receipt_no, 0)

    async def book(self, receipt_no: int, amount_minor: int) -> Answer:
        """Take `amount_minor` of a hold that belongs to nobody, by an operator's decision. Raises HardwareError."""
        run = partial(self._holds.end_orphan, receipt_no, amount_minor)
        name = f"orphan {receipt_no} {amount_minor}"
        answer: Answer = await self._ask(Rank.OPERATOR, name, run, broken=Doubt(why=_CLOSED))
        return answer

    async def run(self) -> None:
        """Serve until cancelled. A command that is under way then is in doubt; the next run settles it."""
        await self._holds.load()
        self._running = True
        try:
            while True:
                job = self._queue.take()
                if job is None:
                    await self._rest()
                else:
                    await self._work(job)
        finally:
            self._running = False
            self._queue.fail(DeskUnavailable("the terminal's desk has been closed"))

    async def _ask(
        self,
        rank: Rank,
        name: str,
        run: Callable[[], Awaitable[object]],
        *,
        broken: object,
        within_s: float | None = None,
        late: object = None,
    ) -> Any:
        if not self._running:
            raise DeskUnavailable("the terminal's desk is closed")
        return await self._queue.ask(rank, name, run, broken=broken, within_s=within_s, late=late)

    async def _work(self, job: Job) -> None:
        try:
            job.tell(await job.run())
        except HardwareError as e:
            self._lost(e)
            job.fail(e)
        except BaseException:
            job.tell(job.broken)
            raise
        else:
            self._met()
            if self._holds.doubtful:
                self._next_try_s = 0.0  # one hold less: what was unclear may be clear now
        finally:
            self._queue.running = None

    async def _reserve(self, ref: str, amount_minor: int) -> Authorized | Declined | InDoubt:
        if self.draining and not self._holds.asked(ref):
            return Declined(ref=ref, reason="terminal_busy")
        return await self._holds.reserve(ref, amount_minor)

    def _withdrawn(self, ref: str, reason: Reason) -> Declined | InDoubt:
        """The answer to a reservation that is not begun: a no, unless an earlier run has sent it."""
        if self._holds.asked(ref):
            return InDoubt(ref=ref, why="it was asked for before, and has not been looked for yet")
        return Declined(ref=ref, reason=reason)

    async def _rest(self) -> None:
        """What is to be done while no money waits; the most pressing first, one thing at a time."""
        now_s = asyncio.get_running_loop().time()
        wanting = self._holds.unclear or self._holds.doubtful
        try:
            if self._cards.kept:
                await self._wait()
            elif wanting and now_s >= self._next_try_s:
                await self._reconcile(now_s)
            elif not self._holds.reconciled:
                await self._wait()
            elif self.end_of_day_due and now_s >= self._next_day_s:
                await self._close_day(now_s)
            elif now_s >= self._next_status_s:
                await self._look(now_s)
            elif self._lines != self._shown:
                await self._show()
            elif self._cards.due and not self._out_of_order:
                await self._cards.read(self._queue.filled)
                self._met()
            else:
                await self._wait()
        except HardwareError as e:
            self._lost(e)

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_S):
                await self._queue.filled.wait()

    async def _reconcile(self, now_s: float) -> None:
        self._next_try_s = now_s + _AWAY_MAX_S
        await self._holds.reconcile()
        self._met()
        if self._holds.unclear:
            self._next_try_s = now_s + _AWAY_S

    async def _look(self, now_s: float) -> None:
        """Ask the terminal how it is."""
        self._next_status_s = now_s + _STATUS_S
        state = await self._terminal.status()
        if state.ready == self._out_of_order:
            log.warning("terminal.state", ready=state.ready, code=state.code, text=state.text)
        self._out_of_order = not state.ready
        if self._out_of_order:
            self._next_status_s = now_s + _AWAY_MAX_S

    async def _show(self) -> None:
        """A terminal whose display cannot be written to is as good as any other."""
        self._shown = self._lines
        try:
            await self._terminal.show(self._lines, for_s=0)
        except HardwareError as e:
            log.debug("terminal.not_shown", error=e)

    async def _close_day(self, now_s: float) -> None:
        """End of day, unless anything is held: some terminals release what is."""
        self._next_day_s = now_s + _DAY_CHECK_S
        self._closing = True
        try:
            if not await self._holds.settled():
                self._say_waiting()
                return
            answer = await self._holds.end_of_day()
        finally:
            self._closing = False
            self._next_try_s = 0.0  # what it has on its books now is asked at once
        if isinstance(answer, Done):
            self._day_began = self._clock.now()
            log.event("terminal.day_ended", amount_minor=answer.amount_minor)
            if self._day_ended is not None:
                await self._day_ended(self._day_began)
        else:
            self._next_day_s = now_s + _DAY_RETRY_S
            log.warning("terminal.day_not_ended", answer=answer)

    def _say_waiting(self) -> None:
        """Once for each set of holds that keeps an overdue day open."""
        waiting = self._holds.open_of(self._stranded()) if self._overdue else frozenset()
        if waiting - self._waiting:
            log.error("terminal.day_overdue", refs=sorted(waiting))
        self._waiting = waiting

    def _met(self) -> None:
        """The terminal is there."""
        if self._failing is not None:
            log.event("terminal.recovered")
            self._shown = ()
        self._failing, self._away_s, self._refusals = None, _AWAY_S, 0

    def _lost(self, e: HardwareError) -> None:
        """The terminal is away, or does not do what it is asked for again and again."""
        now_s = asyncio.get_running_loop().time()
        self._refusals += 1
        if e.code == _REFUSED and self._refusals < _REFUSALS_MAX:
            log.debug("terminal.refused", error=e)
        elif self._failing is None or self._failing.code != e.code:
            log.warning("terminal.failed", error=e)
            self._failing = e
        self._holds.reconciled = False
        self._next_try_s = now_s + self._away_s
        self._away_s = min(2 * self._away_s, _AWAY_MAX_S)

    def _hours_since(self, earlier: Instant) -> float:
        return self._clock.now().seconds_since(earlier) / _HOUR_S


def _broken(ref: str) -> InDoubt:
    return InDoubt(ref=ref, why=_CLOSED)
