"""How the way up goes, for the screen, the metrics and people."""

from __future__ import annotations

import msgspec


class UplinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How it goes. `trouble` is the last thing that went wrong, in words; None while all is well.

    `waiting` entries are not acknowledged; `under_way` of them are sent.
    """

    connected: bool
    broker: str | None
    epoch: str | None
    last: int
    acknowledged: int
    waiting: int
    under_way: int
    rolled_back: bool
    trouble: str | None
