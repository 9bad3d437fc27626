"""The one task that asks an EVSE's charge point for the vehicle's state, and what it says as events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from edge import log
from edge.domain.instant import Instant
from edge.domain.session import events as ev
from edge.errors import ContactorWelded, HardwareError
from edge.ports import Clock, Evse, EvseStatus
from edge.runtime.calls import CALL_MAX_S, LONG_CALL_MAX_S, Calls

Post = Callable[[ev.Event], Awaitable[None]]

#: A restart of the charge point may be too short to be noticed by its silence.
_CHECK_S = 60

#: A status that is not sure is true of some moment within this (hw/bus/bus.py, `ghost_s`).
_LATE_MAX_S = 30


class VehicleWatch:
    """Runs until cancelled. A charge point that stays silent for `stale_s` counts as broken; `look` says so also while
    a call into its driver hangs. A time in which the till itself stood still is no silence of the charge point.

    A lost reply interrupts no charge: after it the failsafe is looked at, and set anew only where it is gone.
    """

    def __init__(
        self,
        evse: Evse,
        calls: Calls,
        *,
        evse_id: str,
        clock: Clock,
        poll_s: float,
        stale_s: float,
        post: Post,
    ) -> None:
        self._evse = evse
        self._calls = calls
        self._evse_id = evse_id
        self._clock = clock
        self._poll_s = poll_s
        self._stale_s = stale_s
        self._post = post
        self._seen: Instant = clock.now()
        self._looked = self._awake = self._seen
        self._told: tuple[str, bool] | None = None
        self._unsure: tuple[tuple[str, bool], Instant] | None = None
        """What may be a late reply, and since when nothing else was heard."""
        self._welded = self._prepared = False
        self._checked: Instant | None = None

    async def run(self) -> None:
        """For ever."""
        self._seen = self._looked = self._awake = self._clock.now()
        while True:
            try:
                await self._ready()
                status = await self._calls.within(CALL_MAX_S, self._evse.status())
            except HardwareError as e:
                self._checked = None
                if isinstance(e, ContactorWelded):
                    await self._weld(welded=True)
                await self.look(error=e)
            else:
                await self._tell(status)
            await self._clock.sleep(self._poll_s)

    async def _ready(self) -> None:
        """The failsafe stands: set at first, and where the charge point has lost it. Raises HardwareError."""
        now = self._clock.now()
        if self._checked is not None and now.seconds_since(self._checked) < _CHECK_S:
            return
        if self._prepared and not await self._calls.within(LONG_CALL_MAX_S, self._evse.intact()):
            log.event("evse.restarted", evse_id=self._evse_id)
            self._prepared = False
        if not self._prepared:
            await self._calls.within(LONG_CALL_MAX_S, self._evse.prepare())
            self._prepared = True
        self._checked = now

    async def look(self, *, error: HardwareError | None = None) -> None:
        """Whether the last answer is too old. Asked for every second, and after each failure."""
        now = self._clock.now()
        if now.seconds_since(self._looked) > self._stale_s / 2:
            self._awake = now
        self._looked = now
        silent_s = min(now.seconds_since(self._seen), now.seconds_since(self._awake))
        if self._told == ("F", False) or silent_s <= self._stale_s:
            return
        log.event("evse.failed", evse_id=self._evse_id, error=str(error or "no answer"))
        self._told, self._unsure = ("F", False), None
        await self._post(ev.PilotChanged(at=now, pilot="F", limited=False))

    async def _tell(self, status: EvseStatus) -> None:
        self._seen = status.at
        if self._believed(status):
            self._told, self._unsure = (status.pilot, status.limited), None
            await self._post(ev.PilotChanged(at=status.at, pilot=status.pilot, limited=status.limited))
        await self._weld(welded=status.welded)

    def _believed(self, status: EvseStatus) -> bool:
        """Whether this is news. A fault is at once. Anything else that may be a late reply begins or ends no session,
        until nothing else was heard for longer than a reply can be late: then it is of a moment after all others.
        """
        said = (status.pilot, status.limited)
        if said == self._told:
            self._unsure = None
            return False
        if status.sure or status.pilot in "EF":
            return True
        if self._unsure is None or self._unsure[0] != said:
            self._unsure = (said, status.at)
        return status.at.seconds_since(self._unsure[1]) > _LATE_MAX_S

    async def _weld(self, *, welded: bool) -> None:
        if self._welded != welded:
            self._welded = welded
            await self._post(ev.ContactorSeen(at=self._clock.now(), welded=welded))
