"""From the open contactor to the price; what is done about the money is in edge/domain/session/settling.py."""

from __future__ import annotations

from msgspec.structs import replace

from edge.domain import pricing
from edge.domain.energy import MeterValue
from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.payment import due
from edge.domain.session import events as ev
from edge.domain.session import flow, measuring, membership, settling
from edge.domain.session.effects import OpenContactor, ReadEnd, Record, Step
from edge.domain.session.state import (
    Charging,
    EvseState,
    Measured,
    Outcome,
    Resuming,
    Session,
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
        effects=(
            OpenContactor(),
            ReadEnd(session_id=session.session_id, tariff_text=session.tariff_text),
        ),
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
        and not session.state.outdated
        and not _flows_on(state, value, terms)
        and event.identity == measured.identity
        and measuring.plausible(
            session, measured, value.energy_wh, event.at, terms, step_wh=value.resolution_wh
        )
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


def _flows_on(state: EvseState, value: MeterValue, terms: Terms) -> bool:
    """Energy of a contactor that has not opened is none of the session's: it ends at its last good value."""
    if state.opened is None or not flow.settled(state.opened, value.at):
        return False
    return flow.flows(value, own_power_w=terms.own_power_w)


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
        step = settling.give_back(state, session, at, outcome=outcome, reason=reason)
    else:
        amount = due(total_minor=figures.payable_minor, hold_minor=payment.hold_minor)
        step = settling.capture(state, session, at, amount_minor=amount, reason=reason)
    return replace(step, records=records + step.records)
