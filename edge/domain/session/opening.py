"""From the tap to the confirmed begin reading. Nothing is energized here (I1)."""

from __future__ import annotations

from msgspec.structs import replace

from edge.domain.identity import commitment
from edge.domain.instant import Instant, Timeline
from edge.domain.ledger import facts
from edge.domain.payment import Authorized, Declined, Payment
from edge.domain.session import closing, membership
from edge.domain.session import events as ev
from edge.domain.session.effects import FreezeTariff, Personal, Preauthorize, ReadBegin, Step, Tell
from edge.domain.session.state import (
    Authorizing,
    AwaitingPlug,
    Charging,
    EvseState,
    Finished,
    Preparing,
    Resuming,
    Session,
)
from edge.domain.session.terms import Terms

#: A card that stays near the reader, or is put back at once, must not stop what it just started.
_SAME_CARD_IGNORED_S = 5

#: After a session its own card asks for the receipt rather than for a new session.
_RECEIPT_S = 300


def out_of_order(state: EvseState, terms: Terms, at: Instant) -> str | None:
    """Why nothing is sold here at this moment, as a code, or None. The first that applies, worst first."""
    if state.pilot in ("E", "F"):
        return "evse_fault"
    if state.halted is not None:
        return "meter_halted"
    if state.register_wh is None or state.identity is None:
        return "meter_unknown"
    if state.meter_seen is None or at.seconds_since(state.meter_seen) > terms.rules.stale_s:
        return "meter_silent"
    if state.pilot is None:
        return "evse_unknown"
    return terms.refusal


def tapped(state: EvseState, event: ev.CardTapped, terms: Terms) -> Step:
    """A tap opens a session, ends the card's own one, or changes nothing."""
    session = state.session
    if session is not None:
        return _tapped_again(state, session, event, terms)
    if (shown := _last_receipt(state, event)) is not None:
        return shown
    if event.member is None:
        return Step(state=state, effects=(Tell(code="card_unknown"),))
    if event.member.blocked:
        return Step(state=state, effects=(Tell(code="card_blocked"),))
    if out_of_order(state, terms, event.at) is not None:
        return Step(state=state, effects=(Tell(code="not_available"),))
    return _open(state, event, event.member.account, min(terms.hold_minor, event.member.limit_minor), terms)


def _last_receipt(state: EvseState, event: ev.CardTapped) -> Step | None:
    """The card of the session before, and no car plugged in since: its receipt, and only then a new session."""
    last = state.last
    if last is None or last.token != event.token or last.replugged:
        return None
    if event.at.seconds_since(last.finished.at) > _RECEIPT_S:
        return None
    if last.asked is not None and event.at.seconds_since(last.asked) >= _SAME_CARD_IGNORED_S:
        return None
    shown = replace(last.finished, at=event.at)
    last = replace(last, asked=last.asked or event.at)
    return Step(state=replace(state, finished=shown, last=last))


def _tapped_again(state: EvseState, session: Session, event: ev.CardTapped, terms: Terms) -> Step:
    if event.token != session.token:
        return Step(state=state, effects=(Tell(code="other_card"),))
    match session.state:
        case Charging() | Resuming():
            began = session.measured.began if session.measured else session.opened
            if event.at.seconds_since(began) < _SAME_CARD_IGNORED_S:
                return Step(state=state)
            return closing.stop(state, session, event.at, "card", terms)
        case _:
            return Step(state=state)


def _open(state: EvseState, event: ev.CardTapped, account: str, amount_minor: int, terms: Terms) -> Step:
    payment = Payment(
        ref=event.payment_ref, method="account", currency=terms.currency, requested_minor=amount_minor
    )
    grant, reserved = membership.reserve(account, event.session_id, event.at.utc, terms)
    session = Session(
        session_id=event.session_id,
        state=Authorizing(since=event.at),
        opened=event.at,
        timeline=Timeline(anchor=event.at),
        tariff_hash=terms.tariff_hash,
        tariff_text=terms.price_text,
        plan_hash=terms.plan.hash if terms.plan else None,
        grant=grant,
        token=event.token,
        account=account,
        stop_code=event.stop_code,
        payment=payment,
        dated=terms.clock_trusted,
    )
    return Step(
        state=replace(state, session=session, finished=None, last=None),
        records=(
            FreezeTariff(hash=terms.tariff_hash, document=terms.tariff_document),
            facts.SessionOpened(
                session_id=event.session_id,
                evse_id=state.evse_id,
                tariff_hash=terms.tariff_hash,
                time_zone=terms.place.time_zone,
                evse_kind=terms.evse_kind,
                method=payment.method,
                token_commitment=commitment(event.token, event.salt),
                account=account,
                plan_hash=session.plan_hash,
            ),
            *reserved,
            facts.PaymentRequested(
                session_id=event.session_id,
                payment_ref=payment.ref,
                method=payment.method,
                amount_minor=amount_minor,
                currency=terms.currency,
            ),
        ),
        effects=(preauthorize(session),),
        personal=Personal(session_id=event.session_id, token=event.token, salt=event.salt),
    )


def preauthorize(session: Session) -> Preauthorize:
    """The request for the session's hold; the same one after a crash."""
    payment = session.payment
    return Preauthorize(
        ref=payment.ref,
        method=payment.method,
        amount_minor=payment.requested_minor,
        currency=payment.currency,
        token=session.token,
    )


def answered(state: EvseState, session: Session, event: ev.PaymentAnswered, terms: Terms) -> Step:
    """The answer to the request for a hold."""
    match event.answer:
        case Authorized(hold_minor=hold):
            payment = replace(session.payment, status="authorized", hold_minor=hold)
            waiting = replace(session, payment=payment, state=AwaitingPlug(since=event.at))
            fact = facts.PaymentAuthorized(
                session_id=session.session_id, payment_ref=payment.ref, hold_minor=hold
            )
            state = replace(state, session=waiting)
            if state.pilot is not None and state.pilot in "BCD":
                plug = plugged(state, waiting, event.at)
                return replace(plug, records=(fact, *plug.records))
            return Step(state=state, records=(fact,))
        case Declined(reason=reason):
            return Step(
                state=replace(
                    state, session=None, finished=Finished(at=event.at, outcome="declined", reason=reason)
                ),
                records=(
                    facts.PaymentDeclined(
                        session_id=session.session_id, payment_ref=session.payment.ref, reason=reason
                    ),
                    *membership.cancel(session, terms),
                    facts.SessionEnded(session_id=session.session_id, outcome="declined", reason=reason),
                ),
                effects=(Tell(code="declined"),),
            )
        case _:
            return Step(state=state)


def plugged(state: EvseState, session: Session, at: Instant) -> Step:
    """The cable is in: confirm a begin reading before anything flows."""
    preparing = replace(session, state=Preparing(since=at))
    return Step(
        state=replace(state, session=preparing),
        records=(facts.VehicleConnected(session_id=session.session_id),),
        effects=(ReadBegin(session_id=session.session_id, tariff_text=session.tariff_text),),
    )


def not_prepared(state: EvseState, event: ev.ReadFailed) -> Step:
    """No begin reading, no price: the hold goes back."""
    session = state.session
    if session is None or not isinstance(session.state, Preparing):
        return Step(state=state)
    return closing.give_back(state, session, event.at, outcome="failed", reason=event.reason)
