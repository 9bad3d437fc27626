"""The session's energy and time: what counts as charging, and how the accrual moves on."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from edge.domain import pricing
from edge.domain.instant import Instant
from edge.domain.pricing import ChargingState, Interval
from edge.domain.session.state import Charging, EvseState, Measured, Session
from edge.domain.session.terms import Terms

#: After the till's last word energy may still flow: until the lease runs out (60 s at most), and as long as polls
#: and a restart take.
_LAST_FLOW_S = 120


#: Prices are for sessions of a year at most. Only a clock that was set by years between two boots comes near it.
_LONGEST = timedelta(days=365)


def session_time(session: Session, at: Instant) -> datetime:
    """Session time of an instant: never before what is already measured, nor so late that no price is known for it."""
    time = session.timeline.at(at)
    if (measured := session.measured) is not None:
        return max(min(time, measured.began.utc + _LONGEST), measured.accrual.ended_at)
    return time


def charging_state(state: EvseState, charging: Charging) -> ChargingState:
    """Who withholds power: nobody, the car (parking), or we (counts as neither time nor parking)."""
    if charging.limited or charging.open_since is not None or state.pilot in (None, "E", "F"):
        return "SuspendedEVSE"
    if state.pilot in ("C", "D"):
        return "Charging"
    return "SuspendedEV"


def advance(session: Session, measured: Measured, at: Instant, kind: ChargingState, terms: Terms) -> Measured:
    """Time passed until `at` in one state; what the register gained meanwhile comes with its next reading."""
    interval = Interval(end=session_time(session, at), energy_wh=0, state=kind)
    return replace(measured, accrual=pricing.extend(terms.compiled, measured.accrual, interval))


def lump(measured: Measured, register_wh: int, terms: Terms) -> Measured:
    """Energy whose time is not known (a power cut, the end reading) counts where the accrual stands."""
    gained_wh = register_wh - measured.last_wh
    interval = Interval(end=measured.accrual.ended_at, energy_wh=gained_wh, state="Charging")
    accrual = pricing.extend(terms.compiled, measured.accrual, interval)
    return replace(measured, accrual=accrual, last_wh=register_wh)


def plausible(
    session: Session, measured: Measured, register_wh: int, at: Instant, terms: Terms, *, step_wh: int = 1
) -> bool:
    """Whether the register can have come to this since the session's last reading: forward, and no faster than the
    meter can measure (by a tenth, and two of its steps), as long as energy can have flowed.
    """
    gained_wh = register_wh - measured.last_wh
    flowed_s = terms.rules.checkpoint_s
    if not session.adrift:
        elapsed_s = (session_time(session, at) - measured.accrual.ended_at).total_seconds()
        flowed_s = min(flowed_s, int(elapsed_s))
    flowed_s += terms.rules.stale_s + _LAST_FLOW_S
    return gained_wh >= 0 and 36_000 * (gained_wh - 2 * step_wh) <= 11 * terms.rated_power_w * flowed_s
