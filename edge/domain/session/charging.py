"""While energy flows: samples, live cost, checkpoints, and every reason to open the contactor."""

from __future__ import annotations

from msgspec.structs import replace

from edge.domain import pricing
from edge.domain.energy import MeterValue
from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.pricing import Interval
from edge.domain.session import closing, holding, measuring, settling
from edge.domain.session import events as ev
from edge.domain.session.effects import Energize, OpenContactor, Step
from edge.domain.session.state import Charging, EvseState, Measured, Preparing, Session
from edge.domain.session.terms import Terms

#: A car that flickers between B and C must not wear out the SD card: state changes are committed this often.
_CHANGE_COMMIT_MIN_S = 60


def begun(state: EvseState, event: ev.BeginRead, terms: Terms) -> Step:
    """The begin reading is confirmed: it becomes durable, then the contactor closes.

    Not where the price needs a time that is not known, nor where the hold would be used up at once.
    """
    session = state.session
    if session is None or not isinstance(session.state, Preparing):
        return Step(state=state)
    if state.pilot is None or state.pilot not in "BCD":
        return Step(state=state)
    if terms.refusal == "clock_untrusted":
        return settling.give_back(state, session, event.at, outcome="failed", reason=terms.refusal)
    at = measuring.session_time(session, event.at)
    began = Instant(utc=at, boot_id=event.at.boot_id, monotonic_ns=event.at.monotonic_ns)
    measured = Measured(
        identity=event.identity,
        begin_wh=event.value.energy_wh,
        last_wh=event.value.energy_wh,
        began=began,
        accrual=pricing.begin(terms.compiled, at=at, grant=session.grant),
    )
    if holding.seconds_left(session, measured, "Charging", None, terms) == 0:
        return settling.give_back(state, session, event.at, outcome="no_energy", reason="limit")
    charging = Charging(checkpoint=event.at, limited=state.limited)
    session = replace(session, state=charging, measured=measured)
    fact = facts.EnergyBegan(
        session_id=session.session_id,
        register_wh=measured.begin_wh,
        meter=event.identity,
        began_at=at,
    )
    return Step(
        state=replace(state, session=session, identity=event.identity, meter_seen=event.value.at),
        records=(fact,),
        effects=(Energize(),),
    )


def sampled(state: EvseState, session: Session, value: MeterValue, terms: Terms) -> Step:
    """One accepted reading: cost goes on; a checkpoint where one is due; the limit stops it."""
    charging, measured = session.state, session.measured
    assert isinstance(charging, Charging)
    assert measured is not None
    if value.energy_wh < measured.last_wh:
        return Step(state=state)
    reached_wh = max(measured.last_wh, value.surely_wh)
    before = measured.accrual.ended_at
    kind = measuring.charging_state(state, charging)
    interval = Interval(
        end=measuring.session_time(session, value.at),
        energy_wh=reached_wh - measured.last_wh,
        state=kind,
        current_ma=None if value.current_ma is None else sum(value.current_ma),
        power_w=value.power_w,
    )
    accrual = pricing.extend(terms.compiled, measured.accrual, interval)
    measured = replace(measured, accrual=accrual, last_wh=reached_wh)
    session = replace(session, measured=measured)
    left_s = holding.seconds_left(session, measured, kind, value.power_w, terms)
    if left_s == 0:
        return closing.stop(replace(state, session=session), session, value.at, "limit", terms)
    if (grown := holding.grow(state, session, left_s, terms)) is not None:
        return grown
    if charging.open_since is not None:
        session = replace(session, state=replace(charging, open_since=None))
        saved = _checkpoint(state, session, measured, value.at, terms)
        return replace(saved, effects=(Energize(),))
    boundary = pricing.next_boundary(terms.compiled, before)
    crossed = boundary is not None and boundary <= accrual.ended_at
    if crossed or value.at.seconds_since(charging.checkpoint) >= terms.rules.checkpoint_s:
        return _checkpoint(state, session, measured, value.at, terms)
    return Step(state=replace(state, session=session))


def _checkpoint(state: EvseState, session: Session, measured: Measured, at: Instant, terms: Terms) -> Step:
    assert isinstance(session.state, Charging)
    session = replace(session, state=replace(session.state, checkpoint=at))
    fact = facts.SessionCheckpoint(
        session_id=session.session_id,
        register_wh=measured.last_wh,
        reached_at=measured.accrual.ended_at,
        cost_minor=pricing.payable_minor(terms.compiled, measured.accrual),
        accrual=measured.accrual,
    )
    return Step(state=replace(state, session=session), records=(fact,))


def committed(state: EvseState, at: Instant, terms: Terms) -> Step:
    """Commit a running session where its last reading left it; the next start goes on from there."""
    session = state.session
    if session is None or not isinstance(session.state, Charging) or session.measured is None:
        return Step(state=state)
    return _checkpoint(state, session, session.measured, at, terms)


def vehicle_changed(
    before: EvseState, state: EvseState, session: Session, event: ev.PilotChanged, terms: Terms
) -> Step:
    """Unplugged or broken: stop. Else the time until now was in the state before, the rest is in the new one."""
    charging, measured = session.state, session.measured
    assert isinstance(charging, Charging)
    assert measured is not None
    was = measuring.charging_state(before, charging)
    measured = measuring.advance(session, measured, event.at, was, terms)
    changed = replace(charging, limited=event.limited)
    session = replace(session, measured=measured, state=changed)
    state = replace(state, session=session)
    if event.pilot == "A":
        return closing.stop(state, session, event.at, "unplugged", terms)
    if event.pilot in "EF":
        return closing.stop(state, session, event.at, "evse_fault", terms)
    if (
        measuring.charging_state(state, changed) != was
        and event.at.seconds_since(charging.checkpoint) >= _CHANGE_COMMIT_MIN_S
    ):
        return _checkpoint(state, session, measured, event.at, terms)
    return Step(state=state)


def watched(state: EvseState, session: Session, at: Instant, terms: Terms) -> Step:
    """No fresh reading: the contactor opens; when the silence lasts, the session ends at the last good value."""
    charging = session.state
    assert isinstance(charging, Charging)
    if charging.open_since is not None:
        if at.seconds_since(charging.open_since) >= terms.rules.silence_max_s:
            return closing.stop(state, session, at, "meter_silent", terms)
        return Step(state=state)
    seen = state.meter_seen
    if seen is not None and at.seconds_since(seen) <= terms.rules.stale_s:
        return Step(state=state)
    session = replace(session, state=replace(charging, open_since=at))
    return Step(state=replace(state, session=session), effects=(OpenContactor(),))
