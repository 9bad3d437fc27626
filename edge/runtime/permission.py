"""Permission to charge at one EVSE: granted, renewed while the till lives, and taken back (I1, I8).

One request at a time. Permission is called off before the contactor is to open: a request that is repeated because its
reply was lost would close it again afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

from edge import log
from edge.errors import HardwareError
from edge.ports import Clock, Evse
from edge.runtime.calls import CALL_MAX_S, Calls

#: Between two tries to open a contactor that did not answer; its own lease runs out meanwhile.
_OPEN_RETRY_S = 1

#: No charge point keeps its contactor closed longer than this without us (Options of the drivers, `lease_s`).
LEASE_MAX_S = 60

Start = Callable[[Coroutine[None, None, None]], asyncio.Task[None]]


class Permission:
    """See the module. `alive` says whether events are being handled; `opened` is told when the contactor is open."""

    def __init__(
        self,
        evse: Evse,
        calls: Calls,
        *,
        evse_id: str,
        current_a: int,
        clock: Clock,
        start: Start,
        opened: Callable[[], Awaitable[None]],
    ) -> None:
        self._evse = evse
        self._calls = calls
        self._evse_id = evse_id
        self._current_a = current_a
        self._clock = clock
        self._start = start
        self._opened = opened
        self._granted = False
        self._opening: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None

    def grant(self) -> None:
        """From now on, until it is taken back."""
        self._granted = True
        self._asked()

    def take_back(self) -> None:
        """Open the contactor, and try until it is open."""
        self._granted = False
        if self._asking is not None:
            self._asking.cancel()
        if self._opening is None or self._opening.done():
            self._opening = self._start(self._open(self._asking))

    async def renew(self, every_s: float, alive: Callable[[], bool]) -> None:
        """For ever. Permission lives only while events are being handled; a stuck consumer lets it lapse."""
        while True:
            await self._clock.sleep(every_s)
            if self._granted and alive():
                await asyncio.wait({self._asked()})

    async def over(self) -> None:
        """Once the contactor is open, or its lease has run out."""
        if self._opening is None:
            return
        lease = asyncio.ensure_future(self._clock.sleep(LEASE_MAX_S))
        await asyncio.wait({self._opening, lease}, return_when=asyncio.FIRST_COMPLETED)
        lease.cancel()

    def _asked(self) -> asyncio.Task[None]:
        if self._asking is None or self._asking.done():
            self._asking = self._start(self._ask())
        return self._asking

    async def _ask(self) -> None:
        if self._opening is not None:
            await asyncio.wait({self._opening})
        if not self._granted:
            return
        try:
            await self._calls.within(CALL_MAX_S, self._evse.permit(current_a=self._current_a))
        except HardwareError as e:
            log.event("evse.not_permitted", evse_id=self._evse_id, error=str(e))

    async def _open(self, called_off: asyncio.Task[None] | None) -> None:
        if called_off is not None:
            await asyncio.wait({called_off})
        failing: str | None = None
        while not self._granted:
            try:
                await self._calls.within(CALL_MAX_S, self._evse.revoke())
            except HardwareError as e:
                if failing != e.code:
                    log.warning("evse.not_opened", evse_id=self._evse_id, error=e)
                failing = e.code
                await self._clock.sleep(_OPEN_RETRY_S)
            else:
                await self._opened()
                return
