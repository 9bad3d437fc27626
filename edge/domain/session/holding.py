"""What a session may still cost: it stops before the hold is used up, or the hold grows where its method allows."""

from __future__ import annotations

from msgspec.structs import replace

from edge.domain import pricing
from edge.domain.ledger import facts
from edge.domain.payment import Authorized, Declined, InDoubt
from edge.domain.pricing import ChargingState
from edge.domain.session import events as ev
from edge.domain.session.effects import Extend, Step
from edge.domain.session.state import EvseState, Measured, Session
from edge.domain.session.terms import Terms

#: How long before the stop a hold is asked to grow: a queue at the acquirer, a time-out and a lost connection fit in.
_ASK_AHEAD_S = 90


def seconds_left(
    session: Session, measured: Measured, kind: ChargingState, power_w: int | None, terms: Terms
) -> int | None:
    """Until the session has to stop, None when that is out of sight. A power that is not known is the most that it
    can be.
    """
    hold, tail_s = session.payment.hold_minor, terms.rules.tail_s
    if hold is None:
        return 0
    ahead_s = _ASK_AHEAD_S if _may_grow(session, terms) else 1
    left = pricing.remaining(
        terms.compiled,
        measured.accrual,
        amount_minor=hold,
        power_w=terms.rated_power_w if power_w is None else power_w,
        state=kind,
        within_s=tail_s + ahead_s,
    )
    return None if left.seconds is None else max(0, int(left.seconds) - tail_s)


def _may_grow(session: Session, terms: Terms) -> bool:
    payment = session.payment
    return (
        payment.method in terms.extending
        and not payment.grown
        and payment.extending_minor is None
        and payment.hold_minor is not None
        and payment.hold_minor < terms.hold_max_minor
    )


def grow(state: EvseState, session: Session, left_s: int | None, terms: Terms) -> Step | None:
    """Ask for a larger hold while there is time, or None. The wish is durable first."""
    payment = session.payment
    if left_s is None or left_s > _ASK_AHEAD_S or not _may_grow(session, terms):
        return None
    assert payment.hold_minor is not None
    amount_minor = min(payment.hold_minor + terms.hold_minor, terms.hold_max_minor)
    session = replace(session, payment=replace(payment, extending_minor=amount_minor))
    wanted = facts.ExtensionRequested(
        session_id=session.session_id, payment_ref=payment.ref, amount_minor=amount_minor
    )
    effect = Extend(
        ref=payment.ref, method=payment.method, amount_minor=amount_minor, currency=payment.currency
    )
    return Step(state=replace(state, session=session), records=(wanted,), effects=(effect,))


def extended(state: EvseState, session: Session, event: ev.PaymentAnswered) -> Step:
    """The larger hold, or the one that was known: what is in doubt is not ours to spend."""
    payment = session.payment
    if payment.extending_minor is None:
        return Step(state=state)
    fact: facts.HoldExtended | facts.ExtensionRefused
    match event.answer:
        case Authorized(hold_minor=hold) if payment.hold_minor is not None and hold > payment.hold_minor:
            payment = replace(payment, hold_minor=hold, extending_minor=None)
            fact = facts.HoldExtended(session_id=session.session_id, payment_ref=payment.ref, hold_minor=hold)
        case Authorized():
            return refused(state, session, "amount_refused")
        case Declined(reason=reason):
            return refused(state, session, reason)
        case InDoubt():
            return refused(state, session, "no_answer")
        case _:
            return Step(state=state)
    return Step(state=replace(state, session=replace(session, payment=payment)), records=(fact,))


def refused(state: EvseState, session: Session, reason: str) -> Step:
    """The hold does not grow any more."""
    payment = replace(session.payment, extending_minor=None, grown=True)
    fact = facts.ExtensionRefused(session_id=session.session_id, payment_ref=payment.ref, reason=reason)
    return Step(state=replace(state, session=replace(session, payment=payment)), records=(fact,))
