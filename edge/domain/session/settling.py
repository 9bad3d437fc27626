"""From the wish to end a hold to its one end, and to the invoice (I2, I4).

The driver waits a moment at the screen. What takes longer goes on behind the scene (`EvseState.unsettled`), and the
EVSE is free: a capture in doubt, a terminal that says no, a clock that is not right yet. Every hold ends captured,
reversed or expired; after `_SETTLE_MAX_S` no acquirer has it any more.
"""

from __future__ import annotations

from msgspec.structs import replace

from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.ledger.facts import PaymentFact
from edge.domain.payment import Captured, Declined, Expired, InDoubt, Payment, Reversed
from edge.domain.session import dating, invoicing, membership
from edge.domain.session import events as ev
from edge.domain.session.effects import Capture, OpenContactor, Record, Reverse, Step
from edge.domain.session.state import (
    AwaitingClock,
    EvseState,
    Finished,
    LastSession,
    Outcome,
    Session,
    Settling,
)
from edge.domain.session.terms import Terms

#: How long an EVSE waits for the end of a hold before it is free for the next driver: a capture takes a few seconds.
_SHOWN_S = 10

#: Between two requests: twice as long each time, up to an hour.
_RETRY_MIN_S = 15
_RETRY_MAX_S = 3600

#: So many plain noes to a capture (about half a day) are a no for good: the driver's money is given free.
_REFUSALS_MAX = 16

#: No hold lives longer: 30 days is the most that card schemes allow for a pre-authorization.
_SETTLE_MAX_S = 30 * 86_400

#: What an EVSE carries behind the scene; nothing more is sold there until some of it has ended.
UNSETTLED_MAX = 32


def capture(state: EvseState, session: Session, at: Instant, *, amount_minor: int, reason: str) -> Step:
    """Take what is due."""
    payment = replace(session.payment, status="capturing", due_minor=amount_minor, in_doubt=False)
    settling = Settling(since=at, asked=at, outcome="invoiced", reason=reason)
    session = replace(session, payment=payment, state=settling)
    wanted = facts.CaptureRequested(
        session_id=session.session_id, payment_ref=payment.ref, amount_minor=amount_minor
    )
    return Step(state=placed(state, session), records=(wanted,), effects=(request(session),))


def give_back(state: EvseState, session: Session, at: Instant, *, outcome: Outcome, reason: str) -> Step:
    """Nothing to pay: the hold is reversed, and the driver sees why."""
    step = _reverse(state, session, at, outcome=outcome, reason=reason, loss_minor=0)
    return replace(step, effects=(OpenContactor(), *step.effects))


def _reverse(
    state: EvseState, session: Session, at: Instant, *, outcome: Outcome, reason: str, loss_minor: int
) -> Step:
    payment = replace(session.payment, status="reversing", due_minor=loss_minor, in_doubt=False)
    settling = Settling(since=at, asked=at, outcome=outcome, reason=reason)
    session = replace(session, payment=payment, state=settling)
    wanted = facts.ReversalRequested(
        session_id=session.session_id, payment_ref=payment.ref, loss_minor=loss_minor
    )
    return Step(state=placed(state, session), records=(wanted,), effects=(request(session),))


def request(session: Session) -> Capture | Reverse:
    """What still has to be done with the hold; the same thing after a crash, under the same reference."""
    payment = session.payment
    if payment.status == "reversing":
        return Reverse(ref=payment.ref, method=payment.method)
    assert payment.due_minor is not None
    return Capture(
        ref=payment.ref, method=payment.method, amount_minor=payment.due_minor, currency=payment.currency
    )


def answered(state: EvseState, session: Session, event: ev.PaymentAnswered, terms: Terms) -> Step:
    """What was asked for has an answer, a doubt included."""
    settling, payment, at = session.state, session.payment, event.at
    assert isinstance(settling, Settling)
    match event.answer:
        case Captured(amount_minor=amount) if payment.status == "capturing":
            fact: PaymentFact = facts.PaymentCaptured(
                session_id=session.session_id, payment_ref=payment.ref, amount_minor=amount
            )
            paid = replace(payment, status="captured", due_minor=amount, in_doubt=False)
            return _over(state, session, paid, fact, at, terms)
        case Reversed() if payment.status == "reversing":
            fact = facts.PaymentReversed(session_id=session.session_id, payment_ref=payment.ref)
            freed = replace(payment, status="reversed", in_doubt=False)
            return _over(state, session, freed, fact, at, terms)
        case Expired(reason=reason):
            return _expired(state, session, reason, at, terms)
        case Declined(reason=reason):
            return _refused(state, session, settling, reason, at)
        case InDoubt(why=why):
            return _doubted(state, session, why, at)
        case _:
            return Step(state=state)


def _expired(state: EvseState, session: Session, reason: str, at: Instant, terms: Terms) -> Step:
    payment = session.payment
    assert payment.due_minor is not None
    fact = facts.PaymentExpired(
        session_id=session.session_id, payment_ref=payment.ref, reason=reason, loss_minor=payment.due_minor
    )
    return _over(state, session, replace(payment, status="expired", in_doubt=False), fact, at, terms)


def _over(
    state: EvseState, session: Session, payment: Payment, fact: PaymentFact, at: Instant, terms: Terms
) -> Step:
    """The hold has ended. What was charged gets its invoice as soon as the time can date it."""
    settling = session.state
    assert isinstance(settling, Settling)
    session = replace(session, payment=payment)
    if settling.outcome == "invoiced":
        session = replace(session, state=AwaitingClock(since=at, reason=settling.reason))
        sealed = seal_if_dated(placed(state, session), session, at, terms)
        if sealed.records:
            return replace(sealed, records=(fact, *sealed.records))
        return Step(state=freed(sealed.state, session, at), records=(fact,))
    ended = facts.SessionEnded(
        session_id=session.session_id, outcome=settling.outcome, reason=settling.reason
    )
    finished = _finished(session, at, settling.outcome, settling.reason, pending=False)
    records: tuple[Record, ...] = (fact, *membership.cancel(session, terms), ended)
    return Step(state=_dropped(state, session, finished), records=records)


def _refused(state: EvseState, session: Session, settling: Settling, reason: str, at: Instant) -> Step:
    """The hold stands. A capture that is refused for good gives the money back, and the loss is written down."""
    refusals = settling.refusals + 1
    payment = session.payment
    if payment.status == "capturing" and refusals >= _REFUSALS_MAX:
        assert payment.due_minor is not None
        return _reverse(
            state, session, at, outcome="invoiced", reason=settling.reason, loss_minor=payment.due_minor
        )
    records: tuple[Record, ...] = ()
    if settling.refused != reason:
        records = (
            facts.SettlementRefused(
                session_id=session.session_id, payment_ref=session.payment.ref, reason=reason
            ),
        )
    session = replace(session, state=replace(settling, refusals=refusals, refused=reason))
    return Step(state=freed(placed(state, session), session, at), records=records)


def _doubted(state: EvseState, session: Session, why: str, at: Instant) -> Step:
    """The doubt is written down once; it is resolved behind the scene."""
    payment = session.payment
    if payment.in_doubt:
        return Step(state=freed(state, session, at))
    fact = facts.PaymentInDoubt(
        session_id=session.session_id,
        payment_ref=payment.ref,
        asked="capture" if payment.status == "capturing" else "reverse",
        why=why,
    )
    session = replace(session, payment=replace(payment, in_doubt=True))
    return Step(state=freed(placed(state, session), session, at), records=(fact,))


def waited(state: EvseState, session: Session, at: Instant) -> Step:
    """At the EVSE: the driver has waited long enough; the next one may come."""
    settling = session.state
    assert isinstance(settling, Settling)
    if at.seconds_since(settling.asked) < _SHOWN_S:
        return Step(state=state)
    return Step(state=freed(state, session, at))


def is_due(session: Session, at: Instant, *, clock_trusted: bool) -> bool:
    """Whether something can be done for a session behind the scene."""
    match session.state:
        case Settling(asked=asked, tries=tries):
            return at.seconds_since(asked) >= min(_RETRY_MIN_S << min(tries, 16), _RETRY_MAX_S)
        case AwaitingClock():
            return clock_trusted
        case _:
            return False


def go_on(state: EvseState, session: Session, at: Instant, terms: Terms) -> Step:
    """Ask again under the same reference, seal what can be dated, give up what no acquirer can have any more."""
    settling = session.state
    if isinstance(settling, AwaitingClock):
        return seal_if_dated(state, session, at, terms)
    if not isinstance(settling, Settling):
        return Step(state=state)
    if terms.clock_trusted and at.seconds_since(settling.since) >= _SETTLE_MAX_S:
        return _expired(state, session, "unresolved", at, terms)
    session = replace(session, state=replace(settling, asked=at, tries=settling.tries + 1))
    return Step(state=placed(state, session), effects=(request(session),))


def seal_if_dated(state: EvseState, session: Session, at: Instant, terms: Terms) -> Step:
    """The invoice or statement, where the clock is trusted; else the session waits and the receipt is provisional."""
    waiting = session.state
    assert isinstance(waiting, AwaitingClock)
    if not terms.clock_trusted:
        return Step(state=state)
    session = dating.dated(session, at)
    outcome: Outcome = "stated" if session.invoicing.collective else "invoiced"
    ended = facts.SessionEnded(session_id=session.session_id, outcome=outcome, reason=waiting.reason)
    finished = _finished(session, at, outcome, waiting.reason, pending=False)
    return Step(
        state=_dropped(state, session, finished),
        records=(invoicing.draft(session, waiting.reason, terms), ended),
    )


def placed(state: EvseState, session: Session) -> EvseState:
    """The session where it stands, at the EVSE or behind the scene."""
    if state.session is not None and state.session.session_id == session.session_id:
        return replace(state, session=session)
    others = tuple(session if s.session_id == session.session_id else s for s in state.unsettled)
    return replace(state, unsettled=others)


def freed(state: EvseState, session: Session, at: Instant) -> EvseState:
    """The EVSE without the session, which goes on behind the scene; its own card may ask for the receipt."""
    if state.session is None or state.session.session_id != session.session_id:
        return state
    match session.state:
        case Settling(outcome=outcome, reason=reason):
            finished = _finished(session, at, outcome, reason, pending=True)
        case AwaitingClock(reason=reason):
            finished = _finished(session, at, "invoiced", reason, pending=True)
        case _:
            return state
    return replace(
        state,
        session=None,
        unsettled=(*state.unsettled, session),
        finished=finished,
        last=_last(session, finished),
    )


def _dropped(state: EvseState, session: Session, finished: Finished) -> EvseState:
    """The state without a session that has ended."""
    if state.session is not None and state.session.session_id == session.session_id:
        return replace(state, session=None, finished=finished, last=_last(session, finished))
    left = tuple(s for s in state.unsettled if s.session_id != session.session_id)
    state = replace(state, unsettled=left)
    shown, last = state.finished, state.last
    if shown is not None and shown.session_id == session.session_id:
        state = replace(state, finished=replace(finished, at=shown.at))
    if last is not None and last.finished.session_id == session.session_id:
        state = replace(state, last=replace(last, finished=replace(finished, at=last.finished.at)))
    return state


def _last(session: Session, finished: Finished) -> LastSession | None:
    return None if session.measured is None else LastSession(token=session.token, finished=finished)


def _finished(session: Session, at: Instant, outcome: Outcome, reason: str, *, pending: bool) -> Finished:
    measured, payment = session.measured, session.payment
    shown = Finished(session_id=session.session_id, at=at, outcome=outcome, reason=reason, pending=pending)
    if measured is None or measured.ended is None:
        return shown
    return replace(
        shown,
        energy_wh=measured.last_wh - measured.begin_wh,
        seconds=int((measured.ended.utc - measured.began.utc).total_seconds()),
        paid_minor=0 if payment.status in ("reversing", "reversed", "expired") else payment.due_minor,
        hold_minor=payment.hold_minor,
        method=payment.method,
        receipt_token=session.receipt_token if outcome in ("invoiced", "stated") else None,
        estimated=measured.estimated,
    )
