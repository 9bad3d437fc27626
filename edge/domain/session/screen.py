"""What the driver sees of an EVSE's state. Derived, never stored."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_never

from msgspec.structs import replace

from edge.domain import pricing
from edge.domain.instant import Instant
from edge.domain.money import exponent
from edge.domain.session import measuring, opening
from edge.domain.session.state import (
    Authorizing,
    AwaitingClock,
    AwaitingPlug,
    Charging,
    EvseState,
    Finished,
    Preparing,
    Resuming,
    Session,
    Settling,
    Stopping,
)
from edge.domain.session.terms import Terms
from edge.domain.view import Notice, View

#: Reasons that pass by themselves within seconds of a start, and what they mean when they do not.
_STARTING = {"meter_unknown": "meter_silent", "evse_unknown": "evse_failed"}

#: A meter on a slow line and a charge point that restarts have answered by then.
_START_MAX_S = 30


#: The code to stop with is shown to who started the session, not to who passes by later.
_CODE_SHOWN_S = 60


def view(
    state: EvseState,
    terms: Terms,
    now: Instant,
    *,
    online: bool | None,
    notice: Notice | None,
    choosing: bool,
) -> View:
    """One EVSE's screen now. `choosing`: a tap waits for its driver to choose an EVSE.

    A card that pays has money held: how much is shown before the tap. A member's account holds nothing back.
    """
    blank = View(
        evse_id=state.evse_id,
        label=terms.place.label,
        kind="idle",
        vehicle_connected=None if state.pilot is None else state.pilot in "BCD",
        price=dict(terms.price),
        currency=terms.currency,
        exponent=exponent(terms.currency),
        online=online,
        notice=notice,
        offered_hold_minor=terms.hold_minor if terms.methods & {"terminal", "card"} else None,
        terminal="terminal" in terms.methods,
        fallback=terms.fallback,
    )
    if state.session is not None:
        return _running(blank, state, state.session, now, terms)
    if state.finished is not None:
        return _finished(blank, state.finished, terms)
    reason = opening.out_of_order(state, terms, now)
    if reason is None:
        return replace(blank, choosing=choosing)
    if reason in _STARTING and (state.booted is None or now.seconds_since(state.booted) < _START_MAX_S):
        return replace(blank, kind="starting_up", reason=reason)
    return replace(blank, kind="out_of_order", reason=_STARTING.get(reason, reason))


def _receipt_url(token: str | None, terms: Terms) -> str | None:
    """The address in the QR code: nobody else is shown the token."""
    return None if token is None or terms.receipt_url is None else terms.receipt_url + token


def _finished(blank: View, finished: Finished, terms: Terms) -> View:
    return replace(
        blank,
        kind="paid" if finished.outcome in ("invoiced", "stated") else "ended",
        reason=finished.reason,
        energy_wh=finished.energy_wh,
        seconds=finished.seconds,
        cost_minor=finished.paid_minor,
        hold_minor=finished.hold_minor,
        paid_method=finished.method,
        invoice_number=finished.invoice_number,
        receipt_url=_receipt_url(finished.receipt_token, terms),
        pending=finished.pending,
        estimated=finished.estimated,
    )


def _running(blank: View, state: EvseState, session: Session, now: Instant, terms: Terms) -> View:
    blank = _measured(replace(blank, hold_minor=session.payment.hold_minor), session, terms)
    match session.state:
        case Authorizing():
            return replace(blank, kind="authorizing")
        case AwaitingPlug(since=since):
            left = terms.rules.plug_timeout_s - int(now.seconds_since(since))
            return replace(blank, kind="plug_in", seconds_left=max(0, left), stop_code=session.stop_code)
        case Preparing() | Resuming():
            return replace(blank, kind="preparing", stop_code=session.stop_code)
        case Charging() as running:
            kind = measuring.charging_state(state, running)
            began = session.measured.began if session.measured is not None else now
            code = session.stop_code if now.seconds_since(began) < _CODE_SHOWN_S else None
            blank = replace(blank, power_w=state.power_w, stoppable=True, stop_code=code)
            match kind:
                case "Charging":
                    return replace(blank, kind="charging")
                case "SuspendedEV":
                    return replace(blank, kind="suspended", by="ev")
                case "SuspendedEVSE":
                    return replace(blank, kind="suspended", by="evse")
                case _:
                    assert_never(kind)
        case Stopping(reason=reason):
            return replace(blank, kind="stopping", reason=reason)
        case Settling(reason=reason):
            return replace(blank, kind="stopping", reason=reason)
        case AwaitingClock(reason=reason):
            return replace(
                blank,
                kind="paid",
                reason=reason,
                paid_method=session.payment.method,
                receipt_url=_receipt_url(session.receipt_token, terms),
                pending=True,
            )
        case _:
            assert_never(session.state)


def _measured(blank: View, session: Session, terms: Terms) -> View:
    measured = session.measured
    if measured is None:
        return blank
    due, hold = session.payment.due_minor, session.payment.hold_minor
    cost_minor = pricing.payable_minor(terms.compiled, measured.accrual) if due is None else due
    return replace(
        blank,
        began=(measured.began.utc + timedelta(microseconds=session.shift_us)).isoformat(),
        energy_wh=measured.last_wh - measured.begin_wh,
        seconds=int((measured.accrual.ended_at - measured.began.utc).total_seconds()),
        # as on the invoice: what goes beyond the hold becomes an allowance (I2, I3)
        cost_minor=cost_minor if hold is None else min(cost_minor, hold),
        estimated=measured.estimated,
    )
