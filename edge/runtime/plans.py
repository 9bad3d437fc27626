"""Plans on this till: which one a member has, and what is left of its included units.

The balances are the journal's; this copy answers at once and is changed with each record that a step returns, so
that two EVSEs of one member never reserve the same unit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from edge.domain.identity import Member
from edge.domain.ledger.facts import PlanBalanceChanged
from edge.domain.plan import FrozenPlan, PlanBalance, balance_on, correct, freeze_plan
from edge.errors import CallError, ConfigError

#: Plans are a handful of products, not one for each member.
_PLANS_MAX = 1000


class PlanBook:
    """The plans on offer, and every balance by account and plan."""

    def __init__(
        self,
        plans: Iterable[FrozenPlan],
        balances: Mapping[tuple[str, str], PlanBalance],
        statements: Mapping[tuple[str, str], str],
    ) -> None:
        self._plans = tuple(plans)
        self._balances = dict(balances)
        self._statements = dict(statements)

    def offer(self, plans: Iterable[FrozenPlan]) -> tuple[FrozenPlan, ...]:
        """These are on offer from now on; those that were before."""
        old, self._plans = self._plans, tuple(plans)
        return old

    def find(self, member: Member, at: datetime | None, *, known: bool = True) -> FrozenPlan | None:
        """The first plan that is the member's, or its group's, and valid at `at`.

        While the time is not known, `at` is the latest one that has certainly come, if any: a plan that was not over by
        then may be valid. It depends on the clock, so that it is refused.
        """
        for frozen in self._plans:
            plan = frozen.plan
            if not plan.holds(account=member.account, group=member.group):
                continue
            if known and at is not None:
                valid = plan.valid_at(at)
            else:
                valid = at is None or plan.valid_until is None or at < plan.valid_until
            if valid:
                return frozen
        return None

    def balance(self, account: str, plan_id: str) -> PlanBalance | None:
        """What is left; None before the first session of the account on this plan."""
        return self._balances.get((account, plan_id))

    def apply(self, changed: PlanBalanceChanged) -> None:
        """A step's record, in memory before its commit: nothing else may reserve the same units meanwhile."""
        self._balances[changed.account, changed.plan_id] = changed.balance

    def corrections(self, at: datetime) -> tuple[PlanBalanceChanged, ...]:
        """What upstream says is left, each statement once: later sessions use it, running ones keep their grant."""
        found = []
        for frozen in self._plans:
            plan, said = frozen.plan, frozen.plan.balance
            if said is None or not said.period:
                continue
            statement = hashlib.sha256(msgspec.json.encode(said)).hexdigest()
            for account in plan.accounts:
                if self._statements.get((account, plan.id)) == statement:
                    continue
                current = balance_on(plan, self.balance(account, plan.id), at.date())
                corrected = correct(current, period=said.period, energy_wh=said.energy_wh, time_s=said.time_s)
                found.append(
                    PlanBalanceChanged(
                        account=account,
                        plan_id=plan.id,
                        reason="corrected",
                        balance=corrected,
                        statement=statement,
                    )
                )
        return tuple(found)


def load_plans(path: Path) -> tuple[FrozenPlan, ...]:
    """The plans in a JSON file: a list of plan objects. Raises ConfigError with every mistake in it."""
    try:
        return read_plans(path.read_bytes(), str(path))
    except OSError as e:
        raise ConfigError((f"{path}: {e.strerror}",), hint="membership.plans names a list of plans") from e


def read_plans(document: bytes, where: str) -> tuple[FrozenPlan, ...]:
    """The plans in a JSON document that `where` names. Raises ConfigError with every mistake in it."""
    try:
        listed = msgspec.json.decode(document, type=list[dict[str, object]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise ConfigError((f"{where}: {e}",), hint="a JSON list of plans; edge/sync/README.md") from e
    if len(listed) > _PLANS_MAX:
        raise ConfigError((f"{where}: {len(listed)} plans, at most {_PLANS_MAX}",))
    plans, problems = [], []
    for number, value in enumerate(listed):
        try:
            plans.append(freeze_plan(value))
        except CallError as e:
            problems.append(f"{where}: plan {number + 1}: {e.message}")
    if problems:
        raise ConfigError(tuple(problems), hint="edge/sync/README.md describes a plan")
    return tuple(plans)


def require_currency(plans: Iterable[FrozenPlan], currency: str, where: str) -> None:
    """Raises ConfigError for a plan in another currency than the tariff."""
    for frozen in plans:
        tariff = frozen.plan.tariff
        for said in (frozen.plan.currency, tariff and tariff.currency):
            if said is not None and said != currency:
                problem = f"{where}: plan {frozen.plan.id} is in {said}, the tariff in {currency}"
                raise ConfigError((problem,), hint="plans are in the currency of the tariff")
