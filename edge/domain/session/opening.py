"""From the tap to the confirmed begin reading. Nothing is energized here (I1)."""

from __future__ import annotations

from msgspec.structs import replace

from edge.domain.buyer import Invoicing
from edge.domain.identity import IdToken, Member, commitment, receipt_token_hash
from edge.domain.instant import Instant, Timeline
from edge.domain.ledger import facts
from edge.domain.payment import Authorized, Declined, InDoubt, Payment
from edge.domain.plan import Grant
from edge.domain.session import closing, membership, settling
from edge.domain.session import events as ev
from edge.domain.session.effects import (
    FreezeTariff,
    Personal,
    Preauthorize,
    ReadBegin,
    Record,
    Step,
    Tell,
)
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
    if state.welded is not None:
        return "contactor_welded"
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
    if len(state.unsettled) >= settling.UNSETTLED_MAX:
        return "unsettled"
    return terms.refusal


def wanted(state: EvseState, event: ev.CardTapped | ev.RemoteStarted, terms: Terms) -> Step:
    """Somebody wants to charge: whoever stands there, or the back office for somebody."""
    if isinstance(event, ev.CardTapped):
        return _tapped(state, event, terms)
    return _started(state, event, terms)


def _tapped(state: EvseState, event: ev.CardTapped, terms: Terms) -> Step:
    """A tap opens a session, ends the card's own one, or changes nothing."""
    session = state.session
    if session is not None:
        return _tapped_again(state, session, event, terms)
    if (shown := _last_receipt(state, event)) is not None:
        return shown
    member = event.member
    if event.method == "account":
        if member is None:
            return Step(state=state, effects=(Tell(code="card_unknown"),))
        if member.blocked:
            return Step(state=state, effects=(Tell(code="card_blocked"),))
        if _is_over(member, event.at, terms):
            return Step(state=state, effects=(Tell(code="card_expired"),))
    if out_of_order(state, terms, event.at) is not None or event.method not in terms.methods:
        return Step(state=state, effects=(Tell(code="not_available"),))
    hold_minor = terms.hold_minor if member is None else min(terms.hold_minor, member.limit_minor)
    payment = Payment(
        ref=event.payment_ref, method=event.method, currency=terms.currency, requested_minor=hold_minor
    )
    account = None if member is None else member.account
    invoicing = Invoicing() if member is None else member.invoicing
    step, session = _open(state, event, event.token, payment, terms, account=account, invoicing=invoicing)
    return replace(step, effects=(preauthorize(session),))


def _is_over(member: Member, at: Instant, terms: Terms) -> bool:
    """Whether a card's time has certainly run out. A clock that is wrong neither revives it nor ends it: without the
    time the last one that is known counts.
    """
    now = at.utc if terms.clock_trusted else terms.known_at
    return member.valid_until is not None and now is not None and now >= member.valid_until


def _started(state: EvseState, event: ev.RemoteStarted, terms: Terms) -> Step:
    """The back office answers for a session: its permission is the hold, and the session's commit the booking."""
    if state.session is not None:
        return Step(state=state)
    if out_of_order(state, terms, event.at) is not None:
        return Step(state=state, effects=(Tell(code="not_available"),))
    limit_minor = min(event.limit_minor, terms.hold_minor)
    payment = Payment(
        ref=event.payment_ref, method="upstream", currency=terms.currency, requested_minor=limit_minor
    )
    opened, session = _open(
        state,
        event,
        event.token,
        payment,
        terms,
        account=event.account,
        invoicing=Invoicing(collective=event.collective and event.account is not None),
        authorization_id=event.authorization_id,
    )
    granted = Authorized(ref=payment.ref, hold_minor=limit_minor)
    held = answered(opened.state, session, ev.PaymentAnswered(at=event.at, answer=granted), terms)
    return replace(held, records=(*opened.records, *held.records), personal=opened.personal)


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


def _open(
    state: EvseState,
    event: ev.Fresh,
    token: IdToken,
    payment: Payment,
    terms: Terms,
    *,
    account: str | None,
    invoicing: Invoicing,
    authorization_id: str | None = None,
) -> tuple[Step, Session]:
    """A session at the price that is on the screen, and the wish for its hold."""
    grant: Grant | None = None
    reserved: tuple[Record, ...] = ()
    if account is not None:
        grant, reserved = membership.reserve(account, event.session_id, event.at.utc, terms)
    session = Session(
        session_id=event.session_id,
        state=Authorizing(since=event.at),
        opened=event.at,
        timeline=Timeline(anchor=event.at),
        tariff_hash=terms.tariff_hash,
        tariff_text=terms.price_text,
        fallback=terms.fallback,
        plan_hash=terms.plan.hash if terms.plan else None,
        grant=grant,
        token=token,
        account=account,
        invoicing=invoicing,
        stop_code=event.stop_code,
        receipt_token=event.receipt_token,
        payment=payment,
        dated=terms.clock_trusted,
    )
    records: tuple[Record, ...] = (
        FreezeTariff(hash=terms.tariff_hash, document=terms.tariff_document),
        facts.SessionOpened(
            session_id=event.session_id,
            evse_id=state.evse_id,
            tariff_hash=terms.tariff_hash,
            time_zone=terms.place.time_zone,
            evse_kind=terms.evse_kind,
            method=payment.method,
            token_commitment=commitment(token, event.salt),
            account=account,
            plan_hash=session.plan_hash,
            authorization_id=authorization_id,
            receipt_token_hash=event.receipt_token and receipt_token_hash(event.receipt_token),
            fallback=terms.fallback,
        ),
        *reserved,
        facts.PaymentRequested(
            session_id=event.session_id,
            payment_ref=payment.ref,
            method=payment.method,
            amount_minor=payment.requested_minor,
            currency=payment.currency,
        ),
    )
    step = Step(
        state=replace(state, session=session, finished=None, last=None),
        records=records,
        personal=Personal(session_id=event.session_id, token=token, salt=event.salt, buyer=invoicing.buyer),
    )
    return step, session


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
    """The answer to the request for a hold. One that is in doubt buys nothing: it is given back once it is found."""
    payment = session.payment
    match event.answer:
        case Authorized():
            return _held(state, session, event.answer, event.at)
        case Declined(reason=reason):
            finished = Finished(session_id=session.session_id, at=event.at, outcome="declined", reason=reason)
            return Step(
                state=replace(state, session=None, finished=finished),
                records=(
                    facts.PaymentDeclined(
                        session_id=session.session_id, payment_ref=payment.ref, reason=reason
                    ),
                    *membership.cancel(session, terms),
                    facts.SessionEnded(session_id=session.session_id, outcome="declined", reason=reason),
                ),
                effects=(Tell(code="declined"),),
            )
        case InDoubt(why=why):
            doubt = facts.PaymentInDoubt(
                session_id=session.session_id, payment_ref=payment.ref, asked="reserve", why=why
            )
            back = settling.give_back(state, session, event.at, outcome="failed", reason="in_doubt")
            state, wished = back.state, back.state.session
            assert wished is not None
            return replace(
                back, state=settling.freed(state, wished, event.at), records=(doubt, *back.records)
            )
        case _:
            return Step(state=state)


def _held(state: EvseState, session: Session, answer: Authorized, at: Instant) -> Step:
    payment = replace(session.payment, status="authorized", hold_minor=answer.hold_minor)
    waiting = replace(session, payment=payment, state=AwaitingPlug(since=at))
    fact = facts.PaymentAuthorized(
        session_id=session.session_id,
        payment_ref=payment.ref,
        hold_minor=answer.hold_minor,
        deferred=answer.deferred,
    )
    state = replace(state, session=waiting)
    if state.pilot is not None and state.pilot in "BCD":
        plug = plugged(state, waiting, at)
        return replace(plug, records=(fact, *plug.records))
    return Step(state=state, records=(fact,))


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
    return settling.give_back(state, session, event.at, outcome="failed", reason=event.reason)
