"""What a session's times are worth: over restarts, and from the moment at which the clock is found right."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from edge.domain.instant import Instant, Timeline
from edge.domain.session.state import EvseState, Session, Settling


def rebooted(session: Session, at: Instant, *, trusted: bool) -> Session:
    """The session in the boot of `at`. How long nobody watched is known only when both boots' clocks were right;
    else it is adrift. A clock that lies before what the session has seen was wrong in one of the two.
    """
    if session.measured is None:
        return replace(session, timeline=Timeline(anchor=at), dated=trusted)
    shift = timedelta(microseconds=session.shift_us)
    own = replace(at, utc=at.utc - shift)
    timeline = session.timeline.reboot(own, not_before=session.measured.accrual.ended_at)
    known = trusted and session.dated and own.utc >= session.measured.accrual.ended_at
    return replace(session, timeline=timeline, adrift=not known)


def timed(state: EvseState, now: Instant) -> EvseState:
    """The EVSE at a time that is known: so is the beginning of each wait for money in this boot."""
    if state.session is not None:
        state = replace(state, session=_timed(state.session, now))
    if state.unsettled:
        state = replace(state, unsettled=tuple(_timed(s, now) for s in state.unsettled))
    return state


def _timed(session: Session, now: Instant) -> Session:
    settling = session.state
    if not isinstance(settling, Settling) or settling.timed or settling.since.boot_id != now.boot_id:
        return session
    utc = now.utc - timedelta(seconds=now.seconds_since(settling.since))
    return replace(session, state=replace(settling, since=replace(settling.since, utc=utc), timed=True))


def dated(session: Session, now: Instant) -> Session:
    """The session once the clock is right, as `now` is.

    Times of this boot are off by what its clock was off; nothing can be said of another boot's.
    """
    measured = session.measured
    if measured is None:
        return replace(session, timeline=Timeline(anchor=now), dated=True)
    if measured.began.boot_id == now.boot_id:
        if session.dated:
            return session
        shift = now.utc - session.timeline.at(now)
        return replace(session, dated=True, shift_us=shift // timedelta(microseconds=1))
    if session.adrift and session.dated:
        return rebooted(session, now, trusted=True)
    return session
