"""What the till knows of the time: recalled from the journal at the start, and written into it when it is found right.

Part of the composition root.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from functools import partial

from edge.domain.instant import Instant
from edge.domain.ledger.boots import Boots
from edge.ports import Clock
from edge.runtime.clock import SystemClock
from edge.store.boots import note_trusted
from edge.store.store import Store


class Timekeeper:
    """The time across boots and restarts. `source` is whom the clock is believed for."""

    def __init__(self, clock: Clock, *, source: str) -> None:
        self._clock = clock
        self._source = source
        self._last: tuple[datetime, Instant] | None = None

    def recall(self, boots: Boots, now: Instant) -> None:
        """What the journal knows at the start. A boot that knew the time still does, whoever keeps the clock now."""
        zero_at = boots.exact(now.boot_id)
        if zero_at is not None and isinstance(self._clock, SystemClock):
            self._clock.recall(zero_at)
        known = boots.known()
        self._last = None if known is None else (known, now)

    def known(self) -> datetime | None:
        """The latest time that has certainly come: now, or where that is not known the journal's last word and what
        passed since the start. It may be early, and is never late.
        """
        now = self._clock.now()
        if self._clock.trusted():
            return now.utc
        if self._last is None:
            return None
        known, since = self._last
        return known + timedelta(seconds=now.seconds_since(since))

    async def watch(self, store: Store) -> None:
        """The moment from which the wall clock may be believed stands in the journal, once a run."""
        while not self._clock.trusted():
            await self._clock.sleep(1)
        error_ms = self._clock.error_ms if isinstance(self._clock, SystemClock) else None
        at = self._clock.now()
        await store.tx(partial(note_trusted, source=self._source, error_ms=error_ms, at=at))
        await asyncio.Event().wait()
