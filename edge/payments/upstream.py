"""Charging by leave of the back office: it is asked with a deadline, and its own books are the acquirer.

The permission is no money that somebody has to give back: the journal tells the back office what became of it under
the same reference, a decline included. So no answer is a plain no, and nothing is ever in doubt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

from edge import log
from edge.domain.identity import IdToken
from edge.domain.instant import Instant
from edge.domain.payment import Authorized, Captured, Declined, Reversed
from edge.ports import Upstream
from edge.sync.contract.authorization import AuthorizationRequest, Granted, NoAnswer, Refused

#: How long a driver waits for the back office before another way to pay is offered.
WAIT_S = 10


class UpstreamPayment:
    """Implements edge.ports.PaymentMethod for one EVSE. What the back office starts itself is not asked for.

    `granted` keeps, by a reference, to whose account the permission was given, before the answer counts.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        evse_id: str,
        now: Callable[[], Instant],
        granted: Callable[[str, str], Awaitable[None]],
        wait_s: int = WAIT_S,
    ) -> None:
        self._upstream = upstream
        self._evse_id = evse_id
        self._now = now
        self._granted = granted
        self._wait_s = wait_s

    async def preauthorize(
        self, ref: str, *, amount_minor: int, currency: str, token: IdToken
    ) -> Authorized | Declined:
        """Asked under the same reference after a crash, the back office gives the same answer."""
        answer = await self._upstream.authorize(
            AuthorizationRequest(
                id=ref,
                at=self._now().utc,
                within_s=self._wait_s,
                evse_id=self._evse_id,
                token=token.value,
                token_kind=token.kind,
                key_id=token.key_id,
                amount_minor=amount_minor,
                currency=currency,
            )
        )
        match answer:
            case Granted() if answer.currency != currency:
                return Declined(ref=ref, reason="currency")
            case Granted(limit_minor=limit_minor, account=account):
                await self._granted(ref, account)
                return Authorized(ref=ref, hold_minor=min(amount_minor, limit_minor))
            case Refused(reason=reason):
                return Declined(ref=ref, reason=reason)
            case NoAnswer(why=why):
                log.warning("authorization.unanswered", ref=ref, why=why)
                return Declined(ref=ref, reason="no_answer")
            case _:
                assert_never(answer)

    async def capture(self, ref: str, *, amount_minor: int, currency: str) -> Captured:  # noqa: ARG002  (its own)
        return Captured(ref=ref, amount_minor=amount_minor)

    async def reverse(self, ref: str) -> Reversed:
        return Reversed(ref=ref)
