"""A clock that runs faster than time, the same one in every process of this computer."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta

from edge.domain.instant import Instant


class VirtualClock:
    """Implements edge.ports.Clock: reads `origin` at boot time `base_ns` and runs `speed` times as fast.

    Its boot id comes from CHARGETILL_BOOT_ID, so that a virtual power cut can bring a new boot.
    """

    def __init__(self, *, speed: int, origin: datetime | None = None, base_ns: int = 0) -> None:
        self._speed = speed
        self.origin = (origin or datetime.now(UTC)).astimezone(UTC)
        self.base_ns = base_ns or time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._boot_id = os.environ.get("CHARGETILL_BOOT_ID", "virtual-boot")

    def now(self) -> Instant:
        elapsed_ns = self.now_ns()
        return Instant(
            utc=self.origin + timedelta(microseconds=elapsed_ns // 1000),
            boot_id=self._boot_id,
            monotonic_ns=elapsed_ns,
        )

    def now_ns(self) -> int:
        """Virtual nanoseconds since the origin."""
        return (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - self.base_ns) * self._speed

    def trusted(self) -> bool:
        return True

    async def sleep(self, seconds: float) -> None:
        """Sleep virtual seconds."""
        await asyncio.sleep(seconds / self._speed)
