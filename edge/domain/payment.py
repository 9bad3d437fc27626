"""One payment: a hold that ends exactly once (I2). Intents are durable before anyone is asked to act on them."""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["requested", "authorized", "declined", "capturing", "captured", "reversing", "reversed"]
Method = Literal["account", "terminal", "card", "upstream"]


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts in minor units of `currency`. `ref` is ours, made before the request and kept for every retry."""

    ref: str
    method: Method
    currency: str
    requested_minor: int
    status: Status = "requested"
    hold_minor: int | None = None
    due_minor: int | None = None


class Authorized(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Money is held: at most `hold_minor` can be captured."""

    ref: str
    hold_minor: int


class Declined(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A plain no; nothing is held. `reason` is a code that the screen has words for."""

    ref: str
    reason: str


class Captured(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    ref: str
    amount_minor: int


class Reversed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    ref: str


Answer = Authorized | Declined | Captured | Reversed


def due(*, total_minor: int, hold_minor: int) -> int:
    """What may be captured of a total: never more than the hold (I2)."""
    return min(total_minor, hold_minor)
