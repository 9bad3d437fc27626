"""What became known of the time: of this boot, and of boots that ended before they knew it."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from edge.domain.ledger.facts.base import Fact


class ClockTrusted(Fact, frozen=True, kw_only=True):
    """From here on the wall clock of this boot is right; earlier instants of it follow from monotonic time.

    `zero_at`: when the monotonic clock of `boot_id` stood at 0, so that an entry of that boot was written its
    `monotonicns` later; the last one of a boot counts. `error_ms`: the clock is off by so much at most, as the kernel
    says; None where nobody says.
    """

    TYPE: ClassVar[str] = "chargetill.clock.trusted.v1"
    source: str
    boot_id: str | None = None
    zero_at: datetime | None = None
    error_ms: int | None = None


class BootBounded(Fact, frozen=True, kw_only=True):
    """A boot that ended without knowing the time, by what the journal holds before and after it.

    The monotonic clock of `boot_id` stood at 0 no earlier than `not_before` (None: nothing before it knew the time) and
    no later than `not_after`.
    """

    TYPE: ClassVar[str] = "chargetill.clock.bounded.v1"
    boot_id: str
    not_before: datetime | None
    not_after: datetime
