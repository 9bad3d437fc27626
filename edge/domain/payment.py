"""One payment: a hold that ends exactly once (I2). Intents are durable before anyone is asked to act on them.

    requested -> authorized -> capturing -> captured | expired
              -> declined   -> reversing -> reversed

Every call may be in doubt: it went out and its answer is lost. A doubt is no state of its own. The status says what
is being asked for, the same request is resolved under the same reference, and nothing else is asked meanwhile.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal[
    "requested", "authorized", "declined", "capturing", "captured", "reversing", "reversed", "expired"
]
Method = Literal["account", "terminal", "card", "upstream"]


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts in minor units of `currency`. `ref` is ours, made before the request and kept for every retry.

    `in_doubt`: the answer to what the status asks for was lost. `extending_minor`: what the hold is asked to grow to;
    once that was refused it is `grown`, as far as it goes. `due_minor`: what is to be captured, or is lost.
    """

    ref: str
    method: Method
    currency: str
    requested_minor: int
    status: Status = "requested"
    hold_minor: int | None = None
    due_minor: int | None = None
    in_doubt: bool = False
    extending_minor: int | None = None
    grown: bool = False


class Authorized(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Money is held: at most `hold_minor` can be captured. Also the answer to an extension, with the whole hold.

    `deferred`: accepted without asking the issuer; the risk is ours until it is settled.
    """

    ref: str
    hold_minor: int
    deferred: bool = False


class Declined(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A plain no: nothing has changed. `reason` is a code that the screen has words for."""

    ref: str
    reason: str


class Captured(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The hold has ended: `amount_minor` was taken, the rest is free."""

    ref: str
    amount_minor: int


class Reversed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The hold has ended (or never was): nothing was taken."""

    ref: str


class Expired(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The hold is gone, as whoever held it proves, before it was captured: what was due is lost."""

    ref: str
    reason: str


class InDoubt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The request went out and its answer is lost; it may or may not have taken effect."""

    ref: str
    why: str


class Refunded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Captured money went back. `refund_ref` names this refund of the payment `ref`."""

    ref: str
    refund_ref: str
    amount_minor: int


Answer = Authorized | Declined | Captured | Reversed | Expired | InDoubt


class OpenPayment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment that has not ended, as the journal has it. `handle`: what its way to pay calls it, once it said so."""

    ref: str
    session_id: str
    status: Status
    requested_minor: int
    hold_minor: int | None
    handle: str | None


def due(*, total_minor: int, hold_minor: int) -> int:
    """What may be captured of a total: never more than the hold (I2)."""
    return min(total_minor, hold_minor)
