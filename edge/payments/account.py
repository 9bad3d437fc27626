"""Charging on account: a member's own limit is the hold, and the books of the back office are the acquirer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import assert_never

import msgspec

from edge.domain import risk
from edge.domain.identity import IdToken
from edge.domain.payment import Authorized, Captured, Declined, Refunded, Reversed
from edge.domain.risk import Exposed, Policy
from edge.ports import MemberList

#: What is left below this is not worth plugging in for.
_LEAST_MINOR = 100

#: How many sessions a token has opened in the last 24 hours, the one that asks included.
Recent = Callable[[IdToken], Awaitable[int]]


class Caution(msgspec.Struct, frozen=True, kw_only=True):
    """What a card may do that is only known by its UID: anyone can copy one.

    `uid_limit_minor` caps a session below the member's own limit; None leaves that.
    """

    uid_limit_minor: int | None = None
    uid_sessions_per_day: int = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """What is accepted while the back office cannot be asked. `exposed` tells what is at risk, and by one card."""

    policy: Policy
    cut_off: Callable[[], bool]
    exposed: Callable[[IdToken], Awaitable[Exposed]]


class AccountPayment:
    """Implements edge.ports.RefundingMethod. Nothing leaves the device: the journal itself is the booking."""

    def __init__(
        self, members: MemberList, *, caution: Caution, recent: Recent, offline: Offline | None = None
    ) -> None:
        self._members = members
        self._caution = caution
        self._recent = recent
        self._offline = offline

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
        hold_minor = min(amount_minor, member.limit_minor)
        if token.kind == "uid":
            if await self._recent(token) > self._caution.uid_sessions_per_day:
                return Declined(ref=ref, reason="limit_reached")
            if self._caution.uid_limit_minor is not None:
                hold_minor = min(hold_minor, self._caution.uid_limit_minor)
        offline = self._offline
        if offline is None or not offline.cut_off():
            return Authorized(ref=ref, hold_minor=hold_minor)
        decision = risk.decide(
            offline.policy,
            await offline.exposed(token),
            amount_minor=hold_minor,
            least_minor=min(hold_minor, _LEAST_MINOR),
        )
        match decision:
            case risk.Accepted(amount_minor=accepted_minor):
                return Authorized(ref=ref, hold_minor=accepted_minor, deferred=True)
            case risk.Refused(reason=reason):
                return Declined(ref=ref, reason=reason)
            case _:
                assert_never(decision)

    async def capture(self, ref: str, *, amount_minor: int, currency: str) -> Captured:  # noqa: ARG002  (its own)
        return Captured(ref=ref, amount_minor=amount_minor)

    async def reverse(self, ref: str) -> Reversed:
        return Reversed(ref=ref)

    async def refund(self, ref: str, *, refund_ref: str, amount_minor: int, currency: str) -> Refunded:  # noqa: ARG002
        """At once: the account owes less, and the credit note in the journal says so."""
        return Refunded(ref=ref, refund_ref=refund_ref, amount_minor=amount_minor)
