"""Charging on account: a member's own limit is the hold, and the books of the back office are the acquirer."""

from __future__ import annotations

from edge.domain.identity import IdToken
from edge.domain.payment import Authorized, Captured, Declined, Reversed
from edge.ports import MemberList


class AccountPayment:
    """Implements edge.ports.PaymentMethod. Nothing leaves the device: the journal itself is the booking."""

    def __init__(self, members: MemberList) -> None:
        self._members = members

    async def preauthorize(
        self, ref: str, *, amount_minor: int, currency: str, token: IdToken
    ) -> Authorized | Declined:
        """The account's limit for one session, asked again at the moment of use: a block counts at once."""
        member = self._members.find(token)
        if member is None:
            return Declined(ref=ref, reason="card_unknown")
        if member.blocked:
            return Declined(ref=ref, reason="card_blocked")
        if member.currency != currency:
            return Declined(ref=ref, reason="currency")
        return Authorized(ref=ref, hold_minor=min(amount_minor, member.limit_minor))

    async def capture(self, ref: str, *, amount_minor: int, currency: str) -> Captured:  # noqa: ARG002  (its own)
        return Captured(ref=ref, amount_minor=amount_minor)

    async def reverse(self, ref: str) -> Reversed:
        return Reversed(ref=ref)
