"""A clock that runs faster than time, the same one in every process of this computer."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta

from edge.domain.instant import Instant


class VirtualClock:
    """Implements edge.ports.Clock: reads `origin` at boot time `base_ns` and runs `speed` times as fast.

    Its boot id comes from CHARGETILL_BOOT_ID, so that a virtual power cut can bring a new boot. Without origin and
    base it reads the time of now; `since_boot` lets its monotonic count begin at the computer's boot, so that a process
    that is started again counts on.
    """

    def __init__(
        self, *, speed: int, origin: datetime | None = None, base_ns: int = 0, since_boot: bool = False
    ) -> None:
        self._speed, self._since_boot = speed, since_boot
        self.origin = (origin or datetime.now(UTC)).astimezone(UTC)
        self.base_ns = base_ns or time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._boot_id = os.environ.get("CHARGETILL_BOOT_ID", "virtual-boot")

    def now(self) -> Instant:
        elapsed_ns = self.now_ns()
        return Instant(
            utc=self.origin + timedelta(microseconds=elapsed_ns // 1000),
            boot_id=self._boot_id,
            monotonic_ns=elapsed_ns + (self.base_ns * self._speed if self._since_boot else 0),
        )

    def now_ns(self) -> int:
        """Virtual nanoseconds since the origin."""
        return (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - self.base_ns) * self._speed

    def trusted(self) -> bool:
        return True

    async def sleep(self, seconds: float) -> None:
        """Sleep virtual seconds."""
        await asyncio.sleep(seconds / self._speed)
