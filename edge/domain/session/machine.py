"""`step`: the one way in which an EVSE's state changes.

    step(state, event, terms) -> Step(state, records, effects)

Pure. The caller commits the records together with the new state before it runs an effect (I2). An event that
fits nowhere (a stranger's card, a late reply) changes nothing.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.session import charging, closing, contactor, dating, holding, opening, recovery, settling
from edge.domain.session import events as ev
from edge.domain.session.effects import Step
from edge.domain.session.state import (
    Authorizing,
    AwaitingClock,
    AwaitingPlug,
    Charging,
    EvseState,
    Preparing,
    Resuming,
    Session,
    Settling,
    Stopping,
    find,
)
from edge.domain.session.terms import Terms

#: An end reading that has not come by then never does: the meter's own tries are over (edge/runtime/metering.py).
_END_MAX_S = 180


def step(state: EvseState, event: ev.Event, terms: Terms) -> Step:
    """The next state and what follows from it."""
    outcome = contactor.followed(state, event, _step(state, event, terms), terms)
    if not terms.clock_trusted:
        return outcome
    return replace(outcome, state=dating.timed(outcome.state, event.at))


def _step(state: EvseState, event: ev.Event, terms: Terms) -> Step:  # noqa: PLR0911  (one arm an event)
    match event:
        case ev.Booted():
            return recovery.booted(state, event, terms)
        case ev.CardTapped() | ev.RemoteStarted():
            return opening.wanted(state, event, terms)
        case ev.PilotChanged():
            return _pilot(state, event, terms)
        case ev.MeterIdentified():
            return _identified(state, event, terms)
        case ev.MeterAccepted():
            return _metered(state, event, terms)
        case ev.MeterHaltedNow():
            return _halted(state, event, terms)
        case ev.BeginRead():
            return charging.begun(state, event, terms)
        case ev.ReadFailed():
            return opening.not_prepared(state, event)
        case ev.ContactorOpened() | ev.ContactorSeen() | ev.ContactorReleased():
            return Step(state=state)
        case ev.SigningEnded():
            return _signing_ended(state, event, terms)
        case ev.EndRead():
            return closing.ended(state, event, terms)
        case ev.PaymentAnswered() | ev.HoldLost():
            return _paid(state, event, terms)
        case ev.ClockBecameTrusted():
            return recovery.clock_trusted(state, event, terms)
        case ev.StopRequested():
            return _stop_requested(state, event, terms)
        case ev.CheckpointDue():
            return charging.committed(state, event.at, terms)
        case ev.SettlementDue() | ev.InvoiceNumbered():
            return _behind_the_scene(state, event, terms)
        case ev.Ticked():
            return _ticked(state, event, terms)
        case _:
            assert_never(event)


def _signing_ended(state: EvseState, event: ev.SigningEnded, terms: Terms) -> Step:
    """What flows from now on would not be signed: the session ends here."""
    session = state.session
    if session is None or not isinstance(session.state, Charging | Resuming):
        return Step(state=state)
    return closing.stop(state, session, event.at, "power_cut", terms)


def _behind_the_scene(state: EvseState, event: ev.SettlementDue | ev.InvoiceNumbered, terms: Terms) -> Step:
    if isinstance(event, ev.InvoiceNumbered):
        return Step(state=_numbered(state, event))
    session = next((s for s in state.unsettled if s.session_id == event.session_id), None)
    if session is None:
        return Step(state=state)
    return settling.go_on(state, session, event.at, terms)


def _numbered(state: EvseState, event: ev.InvoiceNumbered) -> EvseState:
    finished, last = state.finished, state.last
    if finished is not None and finished.session_id == event.session_id:
        state = replace(state, finished=replace(finished, invoice_number=event.number))
    if last is not None and last.finished.session_id == event.session_id:
        numbered = replace(last.finished, invoice_number=event.number)
        state = replace(state, last=replace(last, finished=numbered))
    return state


def _pilot(state: EvseState, event: ev.PilotChanged, terms: Terms) -> Step:
    before, state = state, replace(state, pilot=event.pilot, limited=event.limited)
    if before.pilot == "A" and event.pilot != "A" and state.last is not None:
        state = replace(state, last=replace(state.last, replugged=True))
    session = state.session
    if session is None:
        return Step(state=state)
    match session.state:
        case AwaitingPlug() if event.pilot in "BCD":
            return opening.plugged(state, session, event.at)
        case Preparing() if event.pilot == "A":
            unplugged = replace(session, state=AwaitingPlug(since=event.at))
            return Step(state=replace(state, session=unplugged))
        case Preparing() if event.pilot in "EF":
            return settling.give_back(state, session, event.at, outcome="failed", reason="evse_fault")
        case Charging():
            return charging.vehicle_changed(before, state, session, event, terms)
        case Resuming():
            return recovery.resume(state, session, event.at, terms)
        case _:
            return Step(state=state)


def _identified(state: EvseState, event: ev.MeterIdentified, terms: Terms) -> Step:
    state = replace(state, identity=event.identity)
    session = state.session
    if session is None or session.measured is None:
        return Step(state=state)
    match session.state:
        case Resuming():
            return recovery.resume(state, session, event.at, terms)
        case Charging() if event.identity != session.measured.identity:
            return closing.stop(state, session, event.at, "meter_halted", terms)
        case _:
            return Step(state=state)


def _metered(state: EvseState, event: ev.MeterAccepted, terms: Terms) -> Step:
    value, session = event.value, state.session
    register_wh = value.surely_wh
    if session is not None and session.measured is not None and value.energy_wh >= session.measured.last_wh:
        # a coarse register that has not stepped since
        register_wh = max(register_wh, session.measured.last_wh)
    state = replace(
        state, register_wh=register_wh, power_w=value.power_w, meter_seen=value.at, halted=None
    )  # fmt: skip
    if session is None:
        return Step(state=state)
    match session.state:
        case Charging():
            return charging.sampled(state, session, value, terms)
        case Resuming():
            return recovery.resume(state, session, event.at, terms)
        case _:
            return Step(state=state)


def _halted(state: EvseState, event: ev.MeterHaltedNow, terms: Terms) -> Step:
    if state.halted is not None:
        return Step(state=state)
    halted = facts.MeterHalted(evse_id=state.evse_id, reason=event.reason)
    state = replace(state, halted=event.reason)
    session = state.session
    if session is not None and isinstance(session.state, Charging | Resuming):
        stop = closing.stop(state, session, event.at, "meter_halted", terms)
        return replace(stop, records=(halted, *stop.records))
    if session is not None and isinstance(session.state, Stopping) and session.measured is not None:
        end = closing.ended(state, ev.EndRead(at=event.at, value=None, identity=None), terms)
        return replace(end, records=(halted, *end.records))
    return Step(state=state, records=(halted,))


def _paid(state: EvseState, event: ev.PaymentAnswered | ev.HoldLost, terms: Terms) -> Step:
    if isinstance(event, ev.HoldLost):
        return _hold_lost(state, event, terms)
    session = find(state, ref=event.answer.ref)
    if session is None:
        return Step(state=state)
    match session.state:
        case Authorizing():
            return opening.answered(state, session, event, terms)
        case Charging():
            return holding.extended(state, session, event)
        case Settling():
            return settling.answered(state, session, event, terms)
        case _:
            return Step(state=state)


def _hold_lost(state: EvseState, event: ev.HoldLost, terms: Terms) -> Step:
    """Nobody answers for what flows from now on (I1)."""
    session = state.session
    if session is None or session.payment.ref != event.ref:
        return Step(state=state)
    match session.state:
        case Charging() | Resuming():
            return closing.stop(state, session, event.at, "hold_lost", terms)
        case AwaitingPlug() | Preparing():
            return settling.give_back(state, session, event.at, outcome="failed", reason="hold_lost")
        case _:
            return Step(state=state)


def _stop_requested(state: EvseState, event: ev.StopRequested, terms: Terms) -> Step:
    session = state.session
    if session is None:
        return Step(state=state)
    match session.state:
        case Charging() | Resuming():
            return closing.stop(state, session, event.at, event.reason, terms)
        case AwaitingPlug() | Preparing():
            return settling.give_back(state, session, event.at, outcome="no_energy", reason=event.reason)
        case _:
            return Step(state=state)


def _ticked(state: EvseState, event: ev.Ticked, terms: Terms) -> Step:
    finished, rules = state.finished, terms.rules
    if finished is not None and event.at.seconds_since(finished.at) >= rules.show_end_s:
        state = replace(state, finished=None)
    session = state.session
    if session is None:
        return Step(state=state)
    return _timed(state, session, event.at, terms)


def _timed(state: EvseState, session: Session, at: Instant, terms: Terms) -> Step:
    """Deadlines. Each state that waits for somebody has one, so that every session ends by itself."""
    rules = terms.rules
    match session.state:
        case AwaitingPlug(since=since) if at.seconds_since(since) >= rules.plug_timeout_s:
            return settling.give_back(state, session, at, outcome="no_plug", reason="no_plug")
        case Preparing(since=since) if at.seconds_since(since) >= rules.prepare_timeout_s:
            return settling.give_back(state, session, at, outcome="failed", reason="meter_silent")
        case Charging():
            return charging.watched(state, session, at, terms)
        case Resuming(since=since) if at.seconds_since(since) >= rules.resume_wait_s:
            return closing.stop(state, session, at, "power_cut", terms)
        case Authorizing(since=since) if at.seconds_since(since) >= rules.answer_timeout_s:
            return settling.give_back(state, session, at, outcome="failed", reason="no_answer")
        case Stopping(since=since) if at.seconds_since(since) >= _END_MAX_S:
            return closing.ended(state, ev.EndRead(at=at, value=None, identity=None), terms)
        case Settling():
            return settling.waited(state, session, at)
        case AwaitingClock():
            return Step(state=settling.freed(state, session, at))
        case Authorizing() | AwaitingPlug() | Preparing() | Resuming() | Stopping():
            return Step(state=state)
        case _:
            assert_never(session.state)
