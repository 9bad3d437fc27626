"""From the open contactor to the sealed invoice, or to the hold given back. Every path ends in one final state."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from edge.domain import pricing
from edge.domain.energy import MeterValue
from edge.domain.instant import Instant
from edge.domain.invoice import InvoiceDraft, MeterRecord, Paid, TariffText
from edge.domain.ledger import facts
from edge.domain.payment import Captured, Reversed, due
from edge.domain.session import dating, measuring, membership
from edge.domain.session import events as ev
from edge.domain.session.effects import Capture, OpenContactor, ReadEnd, Record, Reverse, Step
from edge.domain.session.state import (
    AwaitingClock,
    Charging,
    EvseState,
    Finished,
    LastSession,
    Measured,
    Outcome,
    Resuming,
    Session,
    Settling,
    Stopping,
    StopReason,
)
from edge.domain.session.terms import Terms


def stop(state: EvseState, session: Session, at: Instant, reason: StopReason, terms: Terms) -> Step:
    """Open the contactor and confirm the end reading. Time until now counts in the state that it was in."""
    measured = session.measured
    assert measured is not None
    if isinstance(session.state, Charging):
        kind = measuring.charging_state(state, session.state)
        measured = measuring.advance(session, measured, at, kind, terms)
    unwatched = isinstance(session.state, Resuming)
    stopping = Stopping(since=at, reason=reason, unwatched=unwatched)
    session = replace(session, measured=measured, state=stopping)
    return Step(
        state=replace(state, session=session),
        records=(facts.SessionStopping(session_id=session.session_id, reason=reason),),
        effects=(OpenContactor(), ReadEnd(session_id=session.session_id)),
    )


def ended(state: EvseState, event: ev.EndRead, terms: Terms) -> Step:
    """The end reading, or the last good value where the meter is silent, another one, or not believed."""
    session = state.session
    if session is None or not isinstance(session.state, Stopping) or session.measured is None:
        return Step(state=state)
    measured = session.measured
    value = event.value
    believed = (
        value is not None
        and event.identity == measured.identity
        and measuring.plausible(session, measured, value.energy_wh, event.at, terms)
    )
    if value is None or not believed:
        measured = replace(measured, estimated=True)
    else:
        signed_wh = _register_signed(measured, value, event.signed_wh)
        measured = measuring.lump(measured, value.energy_wh if signed_wh is None else signed_wh, terms)
        measured = replace(measured, signed=signed_wh is not None)
    if session.state.unwatched and not session.adrift:
        measured = measuring.advance(session, measured, event.at, "SuspendedEVSE", terms)
    end = replace(event.at, utc=measured.accrual.ended_at)
    measured = replace(measured, ended=end)
    return _settle(
        state, replace(session, measured=measured), measured, session.state.reason, event.at, terms
    )


def _register_signed(measured: Measured, value: MeterValue, signed_wh: int | None) -> int | None:
    """The end register by what the meter signed, where that agrees with what it showed; its step may be coarser."""
    if signed_wh is None:
        return None
    register_wh = measured.begin_wh + signed_wh
    if abs(register_wh - value.energy_wh) > 2 * value.resolution_wh or register_wh < measured.last_wh:
        return None
    return register_wh


def _settle(
    state: EvseState, session: Session, measured: Measured, reason: str, at: Instant, terms: Terms
) -> Step:
    payment = session.payment
    assert payment.hold_minor is not None
    assert measured.ended is not None
    bill = pricing.settle(terms.compiled, measured.accrual, cap_minor=payment.hold_minor)
    energy_wh = measured.last_wh - measured.begin_wh
    figures = bill.invoice
    records: tuple[Record, ...] = (
        facts.EnergyEnded(
            session_id=session.session_id,
            register_wh=measured.last_wh,
            energy_wh=energy_wh,
            ended_at=measured.ended.utc,
            estimated=measured.estimated,
            reason=reason,
        ),
        facts.SessionSettled(
            session_id=session.session_id,
            currency=bill.currency,
            payable_minor=figures.payable_minor,
            accrual=measured.accrual,
            bill=bill,
        ),
        *membership.settle(session, bill, terms),
    )
    if figures.payable_minor == 0:
        outcome: Outcome = "no_energy" if energy_wh == 0 else "free"
        back = give_back(state, session, at, outcome=outcome, reason=reason)
        return replace(back, records=records + back.records)
    amount = due(total_minor=figures.payable_minor, hold_minor=payment.hold_minor)
    session = replace(
        session,
        payment=replace(payment, status="capturing", due_minor=amount),
        state=Settling(since=at, outcome="invoiced", reason=reason),
    )
    wanted = facts.CaptureRequested(
        session_id=session.session_id, payment_ref=payment.ref, amount_minor=amount
    )
    return Step(
        state=replace(state, session=session), records=(*records, wanted), effects=(settlement(session),)
    )


def give_back(state: EvseState, session: Session, at: Instant, *, outcome: Outcome, reason: str) -> Step:
    """Nothing to pay: the hold is reversed, and the driver sees why."""
    payment = replace(session.payment, status="reversing", due_minor=0)
    session = replace(session, payment=payment, state=Settling(since=at, outcome=outcome, reason=reason))
    wanted = facts.ReversalRequested(session_id=session.session_id, payment_ref=payment.ref)
    return Step(
        state=replace(state, session=session),
        records=(wanted,),
        effects=(OpenContactor(), settlement(session)),
    )


def asked_again(state: EvseState, session: Session, at: Instant) -> Step:
    """No answer yet about the end of the hold: the same request under the same reference."""
    assert isinstance(session.state, Settling)
    session = replace(session, state=replace(session.state, since=at))
    return Step(state=replace(state, session=session), effects=(settlement(session),))


def settlement(session: Session) -> Capture | Reverse:
    """What still has to be done with the hold; the same thing after a crash, under the same reference."""
    payment = session.payment
    if payment.status == "reversing":
        return Reverse(ref=payment.ref, method=payment.method)
    assert payment.due_minor is not None
    return Capture(
        ref=payment.ref, method=payment.method, amount_minor=payment.due_minor, currency=payment.currency
    )


def answered(state: EvseState, session: Session, event: ev.PaymentAnswered, terms: Terms) -> Step:
    """The hold has ended. Captured money gets its invoice as soon as the time can date it."""
    settling, payment = session.state, session.payment
    assert isinstance(settling, Settling)
    match event.answer:
        case Captured(amount_minor=amount) if payment.status == "capturing":
            captured = facts.PaymentCaptured(
                session_id=session.session_id, payment_ref=payment.ref, amount_minor=amount
            )
            session = replace(
                session,
                payment=replace(payment, status="captured", due_minor=amount),
                state=AwaitingClock(since=event.at, reason=settling.reason),
            )
            sealed = seal_if_dated(replace(state, session=session), session, event.at, terms)
            return replace(sealed, records=(captured, *sealed.records))
        case Reversed() if payment.status == "reversing":
            finished = _finished(session, event.at, settling.outcome, settling.reason)
            return Step(
                state=_idle(state, session, finished),
                records=(
                    facts.PaymentReversed(session_id=session.session_id, payment_ref=payment.ref),
                    *membership.cancel(session, terms),
                    facts.SessionEnded(
                        session_id=session.session_id, outcome=settling.outcome, reason=settling.reason
                    ),
                ),
            )
        case _:
            return Step(state=state)


def seal_if_dated(state: EvseState, session: Session, at: Instant, terms: Terms) -> Step:
    """The invoice, where the clock is trusted; else the session goes on waiting and the receipt is provisional."""
    waiting = session.state
    assert isinstance(waiting, AwaitingClock)
    if not terms.clock_trusted:
        return Step(state=state)
    session = dating.dated(session, at)
    ended_fact = facts.SessionEnded(session_id=session.session_id, outcome="invoiced", reason=waiting.reason)
    finished = _finished(session, at, "invoiced", waiting.reason)
    return Step(
        state=_idle(state, session, finished),
        records=(_draft(session, waiting.reason, terms), ended_fact),
    )


def _idle(state: EvseState, session: Session, finished: Finished) -> EvseState:
    """The EVSE after the session; its own card may ask for the receipt once more."""
    last = None if session.measured is None else LastSession(token=session.token, finished=finished)
    return replace(state, session=None, finished=finished, last=last)


def _finished(session: Session, at: Instant, outcome: Outcome, reason: str) -> Finished:
    measured = session.measured
    if measured is None or measured.ended is None:
        return Finished(at=at, outcome=outcome, reason=reason)
    return Finished(
        at=at,
        outcome=outcome,
        reason=reason,
        energy_wh=measured.last_wh - measured.begin_wh,
        seconds=int((measured.ended.utc - measured.began.utc).total_seconds()),
        paid_minor=session.payment.due_minor,
        method=session.payment.method,
        estimated=measured.estimated,
    )


def _draft(session: Session, reason: str, terms: Terms) -> InvoiceDraft:
    measured, payment = session.measured, session.payment
    assert measured is not None
    assert measured.ended is not None
    assert payment.due_minor is not None
    shift = timedelta(microseconds=session.shift_us)
    bill = pricing.settle(terms.compiled, measured.accrual, cap_minor=payment.hold_minor)
    return InvoiceDraft(
        session_id=session.session_id,
        seller=terms.seller,
        place=terms.place,
        begin=measured.began.utc + shift,
        end=measured.ended.utc + shift,
        dated=session.dated,
        energy_wh=measured.last_wh - measured.begin_wh,
        meter=MeterRecord(
            begin_wh=measured.begin_wh,
            end_wh=measured.last_wh,
            serial=measured.identity.serial,
            signed=measured.signed,
        ),
        ended_by=reason,
        estimated=measured.estimated,
        currency=bill.currency,
        tax_included=terms.compiled.tariff.tax_included == "YES",
        figures=bill.invoice,
        paid=Paid(
            method=payment.method,
            hold_minor=payment.hold_minor,
            captured_minor=payment.due_minor,
            status="captured",
        ),
        tariff=TariffText(hash=terms.tariff_hash, text=session.tariff_text),
        plan=_plan_text(terms),
        account=session.account,
    )


def _plan_text(terms: Terms) -> TariffText | None:
    if terms.plan is None:
        return None
    return TariffText(hash=terms.plan.hash, text=terms.plan.plan.name or terms.plan.plan.id)
