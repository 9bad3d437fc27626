"""An EVSE whose session ends the process again and again stands aside, so that the others go on selling.

An exception that nobody expected ends the process, and recovery is the ordinary way to start. Where recovery meets the
same exception, that would go on for ever, and for every EVSE of the till. So each end is counted to the EVSE in whose
tasks it arose, in a file beside the database: no transaction may be possible any more.

What is owed is settled also by an EVSE that stands aside, without its devices (I2): no error in it ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from edge import log
from edge.domain.instant import Instant
from edge.domain.session import effects as fx
from edge.domain.session import events as ev
from edge.domain.session.machine import step
from edge.domain.session.settling import is_due
from edge.domain.session.state import EvseState, Resuming, Session, Stopping, find
from edge.domain.view import View
from edge.errors import HardwareError, StoreError, TillError
from edge.runtime.calls import Calls
from edge.runtime.controller import EvseController, Options, World

#: A process may end once for what is gone the next time; three ends of one EVSE are its own doing.
CRASHES_MAX = 3

#: A controller that has run for so long has left behind what ended the process before. Real seconds.
CALM_S = 600.0

#: How often a charge point that stands aside is told to give nothing. Many a lease is shorter than the next start.
_REVOKE_S = 10.0

#: For so long an EVSE stands aside for whoever may mend it. Then its open session ends at its last commit, without the
#: meter, as no hold lives for ever; and the next start tries the EVSE once more.
PATIENCE_S = 24 * 3600.0

#: How often what is owed is looked at, and a session again whose step failed: it fails the same way each time.
_LOOK_S = 10.0
_AGAIN_S = 3600.0


class EvseQuarantined(TillError):
    """Nothing is done on this EVSE: its session has ended the process too often."""

    code = "evse.quarantined"
    hint = "report the log of `till.crashed`; after an update, or when the till was stopped in order, it is tried again"


class _Ends(msgspec.Struct, frozen=True):
    """How often, and when last (wall time, Unix seconds)."""

    times: int
    last_s: int


class _Counted(msgspec.Struct, frozen=True):
    version: str
    crashes: dict[str, _Ends]


class Crashes:
    """How often each EVSE has ended the process, under this version, since the last ordered stop or calm stretch.

    An EVSE whose last end is a day ago at the start is tried once more. A wrong clock costs or gains one try.
    """

    def __init__(self, database: Path, version: str, *, now: Callable[[], datetime]) -> None:
        self._path, self._version = database.with_name(database.name + ".crashes"), version
        self._now = now
        self._crashes: dict[str, _Ends] = {}
        with contextlib.suppress(OSError, msgspec.DecodeError):  # what cannot be read counts nothing
            counted = msgspec.json.decode(self._path.read_bytes(), type=_Counted)
            if counted.version == version:
                self._crashes = {evse_id: self._aged(ends) for evse_id, ends in counted.crashes.items()}

    def quarantined(self, evse_id: str) -> bool:
        ends = self._crashes.get(evse_id)
        return ends is not None and ends.times >= CRASHES_MAX

    def note(self, evse_id: str) -> None:
        """Now the process ends by what arose in this EVSE."""
        before = self._crashes.get(evse_id)
        times = before.times if before is not None else 0
        self._crashes[evse_id] = _Ends(times=times + 1, last_s=self._now_s())
        self._keep()

    def calm(self) -> None:
        """Whoever runs by now may start from nothing again."""
        running = [evse_id for evse_id in self._crashes if not self.quarantined(evse_id)]
        for evse_id in running:
            del self._crashes[evse_id]
        if running:
            self._keep()

    def forget(self) -> None:
        """An ordered stop: whoever asked for it wants a new beginning."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _aged(self, ends: _Ends) -> _Ends:
        if self._now_s() - ends.last_s < PATIENCE_S:
            return ends
        return replace(ends, times=min(ends.times, CRASHES_MAX - 1))

    def _now_s(self) -> int:
        return int(self._now().timestamp())

    def _keep(self) -> None:
        """A disk that takes nothing costs the count, no more."""
        new = self._path.with_name(self._path.name + ".new")
        counted = _Counted(version=self._version, crashes=self._crashes)
        with contextlib.suppress(OSError), new.open("wb") as file:
            file.write(msgspec.json.encode(counted))
            file.flush()
            os.fsync(file.fileno())
            new.replace(self._path)


async def counted(controller: EvseController, crashes: Crashes) -> None:
    """Run an EVSE; what nobody expected in it is counted, and goes on to end the process."""
    try:
        await controller.run()
    except Exception as e:
        if _unforeseen(e):
            crashes.note(controller.evse_id)
        raise


def _unforeseen(error: BaseException) -> bool:
    """A disk or a device that fails is not the doing of the EVSE's session."""
    if isinstance(error, BaseExceptionGroup):
        return any(_unforeseen(e) for e in error.exceptions)
    return not isinstance(error, StoreError | HardwareError | asyncio.CancelledError)


async def calmed(crashes: Crashes) -> None:
    """Forget, after a while in which nothing ended the process, what did before."""
    await asyncio.sleep(CALM_S)
    crashes.calm()


class StandingAside(EvseController):
    """An EVSE in quarantine: its contactor is kept open, and what is owed is settled. Its devices are not asked.

    A session in the middle of charging waits for PATIENCE_S, or until it is told to end.
    """

    def __init__(self, options: Options, world: World, *, state: EvseState) -> None:
        super().__init__(options, world, state=state)
        self._charge_point, self._opening = world.evse, Calls(f"{options.evse_id} charge point")
        self._failed: dict[str, Instant] = {}
        self._left: str | None = None
        self._ending = False

    async def run(self) -> None:
        """Until cancelled, or until the store fails."""
        log.error("evse.quarantined", evse_id=self.evse_id)
        self._show()
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._trusted = self._clock.trusted()
            tasks.create_task(self._keep_open(), name=f"{self.evse_id} evse")
            await self._recover(self._clock.now())
            tasks.create_task(self._consume(), name=f"{self.evse_id} events")
            tasks.create_task(self._tick(), name=f"{self.evse_id} tick")

    async def _keep_open(self) -> None:
        said = ""
        while True:
            try:
                await self._opening.within(_REVOKE_S, self._charge_point.revoke())
            except Exception as e:  # noqa: BLE001  (what ended the process may lie in this driver)
                if said != str(e):
                    log.error("evse.not_opened", evse_id=self.evse_id, error=e)
                said = str(e)
            await self._clock.sleep(_REVOKE_S)

    async def _recover(self, at: Instant) -> None:
        """As any start; where that fails, at least the sessions that no longer need the EVSE."""
        session = self.state.session
        if await self._taken(ev.Booted(at=at)) or session is None:
            return
        self._left = session.session_id
        try:
            terms = self._offers.on_sale(None, now=at, clock_trusted=self._trusted)
            outcome = step(replace(self.state, session=None), ev.Booted(at=at), terms)
        except Exception as e:  # noqa: BLE001
            log.error("evse.not_settled", evse_id=self.evse_id, error=e)
            return
        self.state = replace(outcome.state, session=session)
        for effect in outcome.effects:
            self._perform(effect, at)

    async def _apply(self, event: ev.Event) -> None:
        await self._taken(event)

    async def _taken(self, event: ev.Event) -> bool:
        """Take a step. False where it cannot be taken: that is said, and costs nothing else."""
        try:
            await super()._apply(event)
        except StoreError:
            raise
        except Exception as e:  # noqa: BLE001  (it would end the process again)
            session = self._about(event)
            session_id = session.session_id if session is not None else None
            if session_id is not None:
                self._failed[session_id] = self._clock.now()
            log.error("evse.not_settled", evse_id=self.evse_id, session_id=session_id, error=e)
            return False
        return True

    def _about(self, event: ev.Event) -> Session | None:
        match event:
            case ev.PaymentAnswered(answer=answer):
                return find(self.state, ref=answer.ref)
            case ev.SettlementDue(session_id=session_id):
                return next((s for s in self.state.unsettled if s.session_id == session_id), None)
            case _:
                return self.state.session

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        return super()._start(self._survived(work))

    async def _survived(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except StoreError:
            raise
        except Exception as e:  # noqa: BLE001  (it is asked for again when it is due)
            log.error("evse.not_settled", evse_id=self.evse_id, error=e)

    def _perform(self, effect: fx.Effect, at: Instant) -> None:
        """Payments alone: the contactor is kept open all the time, and no device is asked for anything."""
        if isinstance(effect, fx.Preauthorize | fx.Extend | fx.Capture | fx.Reverse):
            super()._perform(effect, at)

    async def _tick(self) -> None:
        began = self._clock.now()
        while True:
            await self._clock.sleep(_LOOK_S)
            now = self._clock.now()
            if not self._trusted and self._clock.trusted():
                if self._left is None:
                    await super().post(ev.ClockBecameTrusted(at=now))
                else:
                    self._trusted = True  # the session that is left as it was is not dated by another boot
            self._ending = self._ending or now.seconds_since(began) >= PATIENCE_S
            session = self.state.session
            if session is not None and self._goes_on(session, now):
                await super().post(_next(session, now))
            for session in self.state.unsettled:
                due = is_due(session, now, clock_trusted=self._trusted)
                if due and not self._fails(session, now):
                    await super().post(ev.SettlementDue(at=now, session_id=session.session_id))

    def _goes_on(self, session: Session, now: Instant) -> bool:
        """Whether the session at the EVSE comes to its end now."""
        if session.session_id == self._left or self._fails(session, now):
            return False
        return self._ending or not isinstance(session.state, Resuming | Stopping)

    def _fails(self, session: Session, now: Instant) -> bool:
        failed = self._failed.get(session.session_id)
        return failed is not None and now.seconds_since(failed) < _AGAIN_S

    async def post(self, event: ev.Event) -> None:
        """Raises EvseQuarantined for all but what becomes of a payment."""
        if not isinstance(event, ev.PaymentAnswered):
            raise EvseQuarantined(f"{self.evse_id}: {type(event).__name__} is not handled")
        await super().post(event)

    async def request_stop(self, reason: Literal["remote", "screen"]) -> None:
        """End the session at its last commit: nothing flows, and its meter is not asked."""
        session = self.state.session
        if session is None or session.session_id == self._left:
            log.error("evse.quarantined", evse_id=self.evse_id, asked=reason)
            return
        self._ending = True
        await super().post(ev.StopRequested(at=self._clock.now(), reason=reason))

    async def checkpoint(self) -> None:
        """What was committed stands."""

    def silent_s(self) -> float:
        return 0.0

    @property
    def wants_cards(self) -> bool:
        return False

    @property
    def meter_read_at(self) -> datetime | None:
        return None

    def _show(self) -> None:
        reason = "quarantined"
        label = self._options.label
        self.shown = View(evse_id=self.evse_id, label=label, kind="out_of_order", reason=reason)
        self._display.show(self.shown)


def _next(session: Session, now: Instant) -> ev.Event:
    """What brings a session towards its end while no meter answers."""
    if isinstance(session.state, Stopping):
        return ev.EndRead(at=now, value=None, identity=None)
    return ev.Ticked(at=now)
