"""What may be charged on account while the back office cannot be asked: how much of whose money is at risk.

A member may have been blocked, or have charged elsewhere, since the list was made. Without a connection each card,
each day and the whole device have limits; with one, the list alone decides.
"""

from __future__ import annotations

import msgspec


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Limits in minor units; hours for the age of the list. 0 accepts nothing."""

    session_minor: int
    card_minor_per_day: int
    day_minor: int
    device_minor: int
    list_age_max_h: int


class Exposed(msgspec.Struct, frozen=True, kw_only=True):
    """What is at risk already (edge/store/payments.py), and how old the list is; None is not known."""

    device_minor: int
    day_minor: int
    card_minor: int
    list_age_s: int | None


class Accepted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Up to `amount_minor` may be charged, at our risk."""

    amount_minor: int


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Why not, as a code that the screen has words for."""

    reason: str


def decide(policy: Policy, exposed: Exposed, *, amount_minor: int, least_minor: int) -> Accepted | Refused:
    """What of `amount_minor` is accepted without a connection; less than `least_minor` is not worth a session."""
    if exposed.list_age_s is None or exposed.list_age_s > policy.list_age_max_h * 3600:
        return Refused(reason="list_too_old")
    left_minor = min(
        amount_minor,
        policy.session_minor,
        policy.card_minor_per_day - exposed.card_minor,
        policy.day_minor - exposed.day_minor,
        policy.device_minor - exposed.device_minor,
    )
    if left_minor < max(1, least_minor):
        return Refused(reason="offline_limit")
    return Accepted(amount_minor=left_minor)
