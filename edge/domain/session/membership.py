"""A member's plan in a session: included units are reserved at its start and settled at its end."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from edge.domain import plan as plans
from edge.domain.ledger.facts import PlanBalanceChanged
from edge.domain.plan import Grant, PlanBalance
from edge.domain.pricing import Bill, rational
from edge.domain.session.effects import FreezePlan, Record
from edge.domain.session.state import Session
from edge.domain.session.terms import Terms


def reserve(
    account: str, session_id: str, at: datetime, terms: Terms
) -> tuple[Grant | None, tuple[Record, ...]]:
    """What the session may use of the plan, and the records that keep it from every other session."""
    if terms.plan is None:
        return None, ()
    plan = terms.plan.plan
    grant, left = plans.reserve(plan, terms.balance, at=at, local_day=_local_day(at, terms))
    frozen = FreezePlan(hash=terms.plan.hash, document=terms.plan.document)
    return grant, (
        frozen,
        PlanBalanceChanged(
            account=account, plan_id=plan.id, reason="reserved", balance=left, session_id=session_id
        ),
    )


def settle(session: Session, bill: Bill, terms: Terms) -> tuple[Record, ...]:
    """What the session did not use goes back. Used units are rounded up to whole Wh and seconds."""
    if terms.plan is None or session.grant is None:
        return ()
    left = plans.settle_grant(
        terms.plan.plan,
        _balance(session.grant, terms),
        session.grant,
        used_energy_wh=-int(-rational(bill.used_energy_wh) // 1),
        used_time_s=-int(-rational(bill.used_time_s) // 1),
    )
    return (_changed(session, "settled", left, terms),)


def cancel(session: Session, terms: Terms) -> tuple[Record, ...]:
    """The session never charged: everything goes back, the day pass that it would have bought included."""
    if terms.plan is None or session.grant is None or session.measured is not None:
        return ()
    left = plans.cancel_grant(terms.plan.plan, _balance(session.grant, terms), session.grant)
    return (_changed(session, "cancelled", left, terms),)


def _balance(grant: Grant, terms: Terms) -> PlanBalance:
    """The balance now. Without one (its table was lost) only the session's own reservation is known."""
    if terms.balance is not None:
        return terms.balance
    return PlanBalance(period=grant.period, reserved_energy_wh=grant.energy_wh, reserved_time_s=grant.time_s)


def _changed(
    session: Session, reason: Literal["settled", "cancelled"], left: PlanBalance, terms: Terms
) -> PlanBalanceChanged:
    assert terms.plan is not None
    assert session.account is not None
    return PlanBalanceChanged(
        account=session.account,
        plan_id=terms.plan.plan.id,
        reason=reason,
        balance=left,
        session_id=session.session_id,
    )


def _local_day(at: datetime, terms: Terms) -> date:
    return at.astimezone(ZoneInfo(terms.place.time_zone)).date()
