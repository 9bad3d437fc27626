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


class VehicleWatch:
    """Runs until cancelled. A charge point that stays silent for `stale_s` counts as broken; `look` says so also while
    a call into its driver hangs. A time in which the till itself stood still is no silence of the charge point.
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
        self._welded = False

    async def run(self) -> None:
        """For ever."""
        prepared = False
        self._seen = self._looked = self._awake = self._clock.now()
        while True:
            try:
                if not prepared:
                    await self._calls.within(LONG_CALL_MAX_S, self._evse.prepare())
                    prepared = True
                status = await self._calls.within(CALL_MAX_S, self._evse.status())
            except HardwareError as e:
                prepared = False
                if isinstance(e, ContactorWelded):
                    await self._weld(welded=True)
                await self.look(error=e)
            else:
                await self._tell(status)
            await self._clock.sleep(self._poll_s)

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
        self._told = ("F", False)
        await self._post(ev.PilotChanged(at=now, pilot="F", limited=False))

    async def _tell(self, status: EvseStatus) -> None:
        self._seen = status.at
        if self._told != (status.pilot, status.limited):
            self._told = (status.pilot, status.limited)
            await self._post(ev.PilotChanged(at=status.at, pilot=status.pilot, limited=status.limited))
        await self._weld(welded=status.welded)

    async def _weld(self, *, welded: bool) -> None:
        if self._welded != welded:
            self._welded = welded
            await self._post(ev.ContactorSeen(at=self._clock.now(), welded=welded))
