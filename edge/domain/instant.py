"""When something happened: the wall clock's reading beside a clock that cannot jump."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec


class Instant(msgspec.Struct, frozen=True):
    """One reading of both clocks.

    `utc` is aware and may be wrong until the time is trusted; `monotonic_ns` counts through suspend and never
    jumps, but only means something within one boot, which `boot_id` names.
    """

    utc: datetime
    boot_id: str
    monotonic_ns: int

    def seconds_since(self, earlier: Instant) -> float:
        """Elapsed seconds: monotonic within a boot, else by the wall clock, never negative."""
        if self.boot_id == earlier.boot_id:
            return (self.monotonic_ns - earlier.monotonic_ns) / 1e9
        return max(0.0, (self.utc - earlier.utc).total_seconds())


class Timeline(msgspec.Struct, frozen=True):
    """The time of a session: wall time at its anchor, plus monotonic time since.

    A clock that is stepped while a session runs moves no period of it. A new boot brings a new anchor, which
    never lies before what the session has seen.
    """

    anchor: Instant

    def at(self, now: Instant) -> datetime:
        """Session time of `now`, which must be of the anchor's boot. UTC."""
        elapsed_us = (now.monotonic_ns - self.anchor.monotonic_ns) // 1000
        return (self.anchor.utc + timedelta(microseconds=elapsed_us)).astimezone(UTC)

    def reboot(self, now: Instant, *, not_before: datetime) -> Timeline:
        """The timeline that goes on in the boot of `now`."""
        utc = max(now.utc, not_before)
        return Timeline(Instant(utc=utc, boot_id=now.boot_id, monotonic_ns=now.monotonic_ns))
