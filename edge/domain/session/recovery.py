"""After a restart, and when the time becomes right: recovery is the ordinary way to start."""

from __future__ import annotations

from msgspec.structs import replace

from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.session import closing, dating, holding, measuring, opening, settling
from edge.domain.session import events as ev
from edge.domain.session.effects import Effect, Energize, OpenContactor, ReadEnd, Record, Step
from edge.domain.session.state import (
    Authorizing,
    AwaitingClock,
    AwaitingPlug,
    Charging,
    EvseState,
    Measured,
    Preparing,
    Resuming,
    Session,
    Settling,
    Stopping,
)
from edge.domain.session.terms import Terms


def booted(state: EvseState, event: ev.Booted, terms: Terms) -> Step:
    """What was under way goes on where its last commit left it; what devices said is asked again.

    Whatever is asked anew has its whole time for an answer: another boot's clock may have been wrong.
    """
    unsettled = tuple(_asked_anew(_in_this_boot(s, event.at, terms), event.at) for s in state.unsettled)
    state = EvseState(
        evse_id=state.evse_id,
        session=state.session,
        unsettled=unsettled,
        last=state.last,
        booted=event.at,
        welded=state.welded,
    )
    asked = tuple(settling.request(s) for s in unsettled if isinstance(s.state, Settling))
    session = state.session
    if session is None:
        return Step(state=state, effects=(OpenContactor(), *asked))
    session = _asked_anew(_in_this_boot(session, event.at, terms), event.at)
    more: tuple[Effect, ...] = ()
    match session.state:
        case Authorizing():
            session = replace(session, state=Authorizing(since=event.at))
            more = (opening.preauthorize(session),)
        case AwaitingPlug() | Preparing():
            session = replace(session, state=AwaitingPlug(since=event.at))
        case Charging() | Resuming():
            session = replace(session, state=Resuming(since=event.at))
        case Stopping() as stopping:
            assert session.measured is not None
            session = replace(session, state=replace(stopping, since=event.at))
            more = (ReadEnd(session_id=session.session_id, tariff_text=session.tariff_text),)
        case Settling():
            more = (settling.request(session),)
        case AwaitingClock():
            pass
    state = replace(state, session=session)
    records: tuple[Record, ...] = ()
    if session.payment.extending_minor is not None:
        refused = holding.refused(state, session, "no_answer")
        state, records = refused.state, refused.records
    return Step(state=state, records=records, effects=(OpenContactor(), *asked, *more))


def _in_this_boot(session: Session, at: Instant, terms: Terms) -> Session:
    if session.timeline.anchor.boot_id != at.boot_id:
        session = dating.rebooted(session, at, trusted=terms.clock_trusted)
    return dating.dated(session, at) if terms.clock_trusted else session


def _asked_anew(session: Session, at: Instant) -> Session:
    """Every start asks for the end of a hold once more. Since when that is waited for is counted anew where the boot in
    which the wait began never knew the time.
    """
    settling = session.state
    if not isinstance(settling, Settling):
        return session
    lost = not settling.timed and settling.since.boot_id != at.boot_id
    return replace(session, state=replace(settling, asked=at, since=at if lost else settling.since))


def resume(state: EvseState, session: Session, at: Instant, terms: Terms) -> Step:
    """Once vehicle, meter and clock have answered: go on, or close at the register.

    Energy since the checkpoint is billed by the register; time since then is not (nobody watched it).
    """
    measured, rules = session.measured, terms.rules
    assert measured is not None
    assert isinstance(session.state, Resuming)
    if state.pilot is None or state.register_wh is None or state.identity is None:
        return Step(state=state)
    if session.adrift and session.dated:
        return Step(state=state)
    interrupted_s = (measuring.session_time(session, at) - measured.accrual.ended_at).total_seconds()
    fits = (
        state.pilot in ("B", "C", "D")
        and state.identity == measured.identity
        and not session.adrift
        and interrupted_s <= rules.resume_max_s
        and measuring.plausible(session, measured, state.register_wh, at, terms)
    )
    if not fits:
        return closing.stop(state, session, at, "power_cut", terms)
    measured = measuring.lump(measured, state.register_wh, terms)
    measured = measuring.advance(session, measured, at, "SuspendedEVSE", terms)
    charging = Charging(checkpoint=at, limited=state.limited)
    session = replace(session, measured=measured, state=charging)
    fact = facts.SessionResumed(session_id=session.session_id, register_wh=measured.last_wh)
    return Step(state=replace(state, session=session), records=(fact,), effects=(Energize(),))


def awaited(state: EvseState) -> Measured | None:
    """Which meter at which register a session waits for, to go on after a restart; None where none does."""
    session = state.session
    return session.measured if session is not None and isinstance(session.state, Resuming) else None


def clock_trusted(state: EvseState, event: ev.ClockBecameTrusted, terms: Terms) -> Step:
    """The times of a session that began before the clock was right follow from monotonic time."""
    session = state.session
    if session is None:
        return Step(state=state)
    session = dating.dated(session, event.at)
    state = replace(state, session=session)
    if isinstance(session.state, Resuming):
        return resume(state, session, event.at, terms)
    return Step(state=state)
