"""A contactor that was told to open: whether it did, as far as meter and charge point can tell.

Welded contacts let a car go on charging after its session. What counts as a flow stands in
edge/domain/session/flow.py.

Once found it stays found, over restarts too: only an operator's word ends it (`ContactorReleased`), and only while
nothing flows. Pure.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.session import closing, flow, settling
from edge.domain.session import events as ev
from edge.domain.session.effects import Energize, ReadBegin, Step
from edge.domain.session.state import (
    AwaitingPlug,
    Charging,
    Evidence,
    EvseState,
    Opened,
    Preparing,
    Resuming,
    Welded,
)
from edge.domain.session.terms import Terms

#: For so long nothing may have flowed before an operator's word counts.
QUIET_S: Final = 60
_FRESH_S: Final = 10


def followed(before: EvseState, event: ev.Event, done: Step, terms: Terms) -> Step:
    """What a step comes to once the contactor is looked at, too. `before` is the state that the step began with."""
    state = done.state
    if isinstance(event, ev.ContactorSeen):
        state = replace(state, stuck=event.welded)
        done = replace(done, state=state)
    if _permitted(state) and not state.stuck:
        return done if state.opened is None else replace(done, state=replace(state, opened=None))
    opened = state.opened
    if opened is None or isinstance(event, ev.Booted):
        opened = Opened(at=event.at)
    if before.identity is not None and state.identity != before.identity:
        opened = replace(opened, window=None)  # another meter counts from another register
    match event:
        case ev.ContactorOpened() if opened.done is None:
            opened = replace(opened, done=event.at)
        case ev.MeterHaltedNow():
            opened = replace(opened, window=None, drawing=None, drawn=0)
        case ev.MeterAccepted(value=value):
            opened = flow.read(
                opened, value, rated_power_w=terms.rated_power_w, own_power_w=terms.own_power_w
            )
        case _:
            pass
    done = replace(done, state=replace(state, opened=opened))
    evidence: Evidence | None = "charge_point" if done.state.stuck else flow.evidence(opened, event.at)
    if evidence is not None and state.welded is None:
        done = _found(done, event.at, evidence)
    if isinstance(event, ev.ContactorReleased):
        done = _released(done, event.at)
    return done if done.state.welded is None else _refused(done, event.at, terms)


def not_released(state: EvseState, at: Instant) -> str | None:
    """Why an operator's word does not count now, in words, or None."""
    if state.welded is None:
        return "its contactor is not known to be welded"
    if state.stuck:
        return "the charge point says that its contactor stays closed"
    opened, seen = state.opened, state.meter_seen
    if seen is None or at.seconds_since(seen) > _FRESH_S:
        return "the meter does not answer"
    if opened is None or opened.quiet is None or at.seconds_since(opened.quiet) < QUIET_S:
        return f"the meter has not shown for {QUIET_S} s that nothing flows"
    return None


def _permitted(state: EvseState) -> bool:
    session = state.session
    return session is not None and isinstance(session.state, Charging) and session.state.open_since is None


def _found(done: Step, at: Instant, evidence: Evidence) -> Step:
    state = done.state
    register_wh = state.register_wh
    fact = facts.ContactorWelded(evse_id=state.evse_id, evidence=evidence, register_wh=register_wh)
    welded = Welded(since=at, evidence=evidence, register_wh=register_wh)
    return replace(done, state=replace(state, welded=welded), records=(*done.records, fact))


def _released(done: Step, at: Instant) -> Step:
    state = done.state
    if not_released(state, at) is not None:
        return done
    assert state.welded is not None
    before_wh, now_wh = state.welded.register_wh, state.register_wh
    leaked_wh = None if before_wh is None or now_wh is None or now_wh < before_wh else now_wh - before_wh
    fact = facts.ContactorReleased(evse_id=state.evse_id, leaked_wh=leaked_wh)
    opened = state.opened and replace(state.opened, window=None, gained=False)
    state = replace(state, welded=None, opened=opened)
    return replace(done, state=state, records=(*done.records, fact))


def _refused(done: Step, at: Instant, terms: Terms) -> Step:
    """No session begins or goes on behind such a contactor; what is held is given back."""
    state = done.state
    session = state.session
    if session is None:
        return done
    match session.state:
        case AwaitingPlug() | Preparing():
            more = settling.give_back(state, session, at, outcome="failed", reason="contactor_welded")
        case Charging() | Resuming():
            more = closing.stop(state, session, at, "contactor_welded", terms)
        case _:
            return done
    kept = tuple(e for e in done.effects if not isinstance(e, Energize | ReadBegin))
    return replace(more, records=(*done.records, *more.records), effects=(*kept, *more.effects))
