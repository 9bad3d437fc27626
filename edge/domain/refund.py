"""One refund: money that went to the seller goes back once, the way it came (I2 for credit notes).

    requested -> refunded
              -> declined     whoever holds the money said no
              -> due          this way to pay cannot give money back by itself

`declined` and `due` are the till's last word: the operator pays it back and has the credit note to show for it. A
doubt changes nothing: the same refund is asked for again under the same reference.
"""

from __future__ import annotations

from typing import Literal, assert_never

import msgspec

from edge.domain.ledger import facts
from edge.domain.payment import Declined, InDoubt, Method, Refunded

RefundStatus = Literal["requested", "refunded", "declined", "due"]

Answer = Refunded | Declined | InDoubt
#: What ends a refund.
Ended = facts.PaymentRefunded | facts.RefundDeclined | facts.RefundDue


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """`refund_ref` is the number of its credit note: unique, and known before anyone is asked."""

    refund_ref: str
    payment_ref: str
    session_id: str
    method: Method
    amount_minor: int
    currency: str
    status: RefundStatus = "requested"


def request(refund: Refund) -> facts.RefundRequested:
    """The intent, for the commit that seals the credit note."""
    return facts.RefundRequested(
        session_id=refund.session_id,
        payment_ref=refund.payment_ref,
        refund_ref=refund.refund_ref,
        method=refund.method,
        amount_minor=refund.amount_minor,
        currency=refund.currency,
    )


def answered(refund: Refund, answer: Answer) -> Ended | None:
    """What the journal learns; None while it is not known, and after the end.

    An answer about another amount proves nothing: a person has to look.
    """
    if refund.status != "requested" or answer.ref != refund.payment_ref:
        return None
    match answer:
        case Refunded(refund_ref=refund.refund_ref, amount_minor=refund.amount_minor):
            return facts.PaymentRefunded(
                session_id=refund.session_id,
                payment_ref=refund.payment_ref,
                refund_ref=refund.refund_ref,
                amount_minor=answer.amount_minor,
            )
        case Refunded():
            return unable(refund, f"answered with {answer.amount_minor} of {refund.amount_minor}")
        case Declined(reason=reason):
            return facts.RefundDeclined(
                session_id=refund.session_id,
                payment_ref=refund.payment_ref,
                refund_ref=refund.refund_ref,
                reason=reason,
            )
        case InDoubt():
            return None
        case _:
            assert_never(answer)


def unable(refund: Refund, reason: str) -> facts.RefundDue:
    """No way to pay can do it: it is the operator's to pay back."""
    return facts.RefundDue(
        session_id=refund.session_id,
        payment_ref=refund.payment_ref,
        refund_ref=refund.refund_ref,
        reason=reason,
    )
