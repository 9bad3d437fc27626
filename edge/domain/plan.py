"""Memberships, subscriptions and passes: what a plan changes in a session's price, and its included units.

A plan's JSON is described in `edge/sync/README.md`. Included units are reserved when a session starts and
settled when it ends, so that two sessions of one member never use the same unit; what upstream corrects
meanwhile touches later sessions only. The balance is a fact that the journal keeps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any, Literal, cast

import msgspec

from edge.domain.tariffs.languages import LANGUAGES
from edge.domain.tariffs.loading import read_tariff
from edge.domain.tariffs.model import DIMENSIONS, Dimension, PriceComponent, Tariff, TaxRate
from edge.domain.tariffs.ocpi import VAT
from edge.domain.tariffs.reading import DURATION_MAX_S, Problem, Reader
from edge.domain.tariffs.taxes import exact_decimal, gross_price
from edge.domain.view import PriceLine
from edge.errors import CallError

BillingPeriod = Literal["MONTH", "YEAR"]

#: Accounts and groups that one plan names; larger sets are a group.
_HOLDERS_MAX = 10_000
_PERCENT_MAX = Decimal(100)
#: A price and a percentage of 25 digits each, multiplied, with room to spare.
_DIGITS_MAX = 60


class PlanError(CallError):
    """A plan that cannot be read."""

    code = "plan.invalid"
    hint = "edge/sync/README.md describes a plan"


class Fee(msgspec.Struct, frozen=True, kw_only=True):
    """A fixed amount in the plan's currency, with tax where the tariff's prices include it."""

    price: Decimal
    taxes: tuple[TaxRate, ...] = ()


class DayPass(msgspec.Struct, frozen=True, kw_only=True):
    """A fee that covers every session that starts within `duration_s` of the first one's start."""

    fee: Fee
    duration_s: int


class PlanBalance(msgspec.Struct, frozen=True, kw_only=True):
    """What a member has left of the included units in one billing period, beyond what sessions have reserved.

    `period` is `2026-11` or `2026` in local time; `pass_until` is when the day pass ends.
    """

    period: str
    energy_wh: int = 0
    time_s: int = 0
    reserved_energy_wh: int = 0
    reserved_time_s: int = 0
    pass_until: datetime | None = None


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a session may use of the plan. `buys_pass`: this session pays for the day pass."""

    period: str = ""
    energy_wh: int = 0
    time_s: int = 0
    buys_pass: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A member's plan. `tariff` stands in for the charger's; `percent_off` is taken from its unit prices.

    `included_energy_wh` and `included_time_s` (charging time) are free in each billing period, beyond them
    the price applies. `free` charges nothing at all. The period's own `fee` is billed by the back office.
    """

    id: str
    name: str = ""
    currency: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    period: BillingPeriod = "MONTH"
    fee: Fee | None = None
    tariff: Tariff | None = None
    percent_off: dict[Dimension, Decimal] = {}
    included_energy_wh: int = 0
    included_time_s: int = 0
    free: bool = False
    day_pass: DayPass | None = None
    accounts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    balance: PlanBalance | None = None

    def valid_at(self, at: datetime) -> bool:
        """True inside the plan's validity; its end is exclusive."""
        begun = self.valid_from is None or self.valid_from <= at
        return begun and (self.valid_until is None or at < self.valid_until)

    def holds(self, *, account: str, group: str) -> bool:
        """True when the plan is this account's, or that of its group of tokens."""
        return account in self.accounts or (bool(group) and group in self.groups)

    def covers(self, dimension: Dimension) -> bool:
        """True when units of this dimension are included."""
        energy = dimension == "ENERGY" and self.included_energy_wh > 0
        return energy or (dimension == "TIME" and self.included_time_s > 0)


def member_tariff(tariff: Tariff, plan: Plan | None) -> Tariff:
    """The tariff as the plan's member pays it: the plan's own if it has one, its discounts taken off.

    Free charging has no minimum price either.
    """
    if plan is None:
        return tariff
    base = plan.tariff or tariff
    if not plan.free and not any(plan.percent_off.values()):
        return base
    elements = tuple(
        msgspec.structs.replace(
            element,
            components=tuple(
                msgspec.structs.replace(component, price=_price_left(component, plan))
                for component in element.components
            ),
        )
        for element in base.elements
    )
    return msgspec.structs.replace(base, elements=elements, min_price=None if plan.free else base.min_price)


def _price_left(component: PriceComponent, plan: Plan) -> Decimal:
    if plan.free:
        return Decimal(0)
    off = plan.percent_off.get(component.dimension, Decimal(0))
    with localcontext() as context:
        context.prec = _DIGITS_MAX
        return component.price * (100 - off) / 100


def plan_lines(
    plan: Plan, balance: PlanBalance | None, *, tariff: Tariff, language: str = "en"
) -> tuple[PriceLine, ...]:
    """What the plan gives, beside the member's prices: included units that are left, and the day pass."""
    told = LANGUAGES.get(language, LANGUAGES["en"])
    energy_wh = plan.included_energy_wh if balance is None else balance.energy_wh
    time_s = plan.included_time_s if balance is None else balance.time_s
    notes = []
    if plan.included_energy_wh:
        notes.append(told.included_energy.format(told.number(Decimal(energy_wh) / 1000)))
    if plan.included_time_s:
        notes.append(told.included_time.format(told.duration(time_s)))
    if plan.day_pass:
        fee = PriceComponent(dimension="FLAT", price=plan.day_pass.fee.price, taxes=plan.day_pass.fee.taxes)
        gross = exact_decimal(gross_price(tariff, fee)) or fee.price
        amount = told.money(gross, tariff.currency)
        notes.append(told.day_pass.format(amount, told.duration(plan.day_pass.duration_s)))
    return (PriceLine(label=told.labels["PLAN"], amount=plan.name or plan.id, note=", ".join(notes)),)


def billing_period(plan: Plan, local_day: date) -> str:
    """The name of the billing period that a local day lies in."""
    return f"{local_day:%Y-%m}" if plan.period == "MONTH" else f"{local_day:%Y}"


def balance_on(plan: Plan, balance: PlanBalance | None, local_day: date) -> PlanBalance:
    """The balance on a local day: a new billing period has all included units and nothing reserved."""
    period = billing_period(plan, local_day)
    if balance is not None and balance.period == period:
        return balance
    return PlanBalance(
        period=period,
        energy_wh=plan.included_energy_wh,
        time_s=plan.included_time_s,
        pass_until=balance.pass_until if balance else None,
    )


def reserve(
    plan: Plan, balance: PlanBalance | None, *, at: datetime, local_day: date
) -> tuple[Grant, PlanBalance]:
    """At the start of a session: all that is left goes to it, and a day pass if none is valid."""
    current = balance_on(plan, balance, local_day)
    buys = plan.day_pass is not None and (current.pass_until is None or current.pass_until <= at)
    until = at + timedelta(seconds=plan.day_pass.duration_s) if plan.day_pass and buys else current.pass_until
    grant = Grant(period=current.period, energy_wh=current.energy_wh, time_s=current.time_s, buys_pass=buys)
    left = msgspec.structs.replace(
        current,
        energy_wh=0,
        time_s=0,
        reserved_energy_wh=current.reserved_energy_wh + grant.energy_wh,
        reserved_time_s=current.reserved_time_s + grant.time_s,
        pass_until=until,
    )
    return grant, left


def settle_grant(
    plan: Plan, balance: PlanBalance, grant: Grant, *, used_energy_wh: int, used_time_s: int
) -> PlanBalance:
    """At the end of a session: what it did not use comes back, unless its billing period is over.

    `used_*` are the bill's used units rounded up. A pass that was bought for a session that never started is
    given back with `cancel_grant`.
    """
    if grant.period != balance.period:
        return balance
    return msgspec.structs.replace(
        balance,
        energy_wh=min(plan.included_energy_wh, balance.energy_wh + max(0, grant.energy_wh - used_energy_wh)),
        time_s=min(plan.included_time_s, balance.time_s + max(0, grant.time_s - used_time_s)),
        reserved_energy_wh=max(0, balance.reserved_energy_wh - grant.energy_wh),
        reserved_time_s=max(0, balance.reserved_time_s - grant.time_s),
    )


def cancel_grant(plan: Plan, balance: PlanBalance, grant: Grant) -> PlanBalance:
    """A session that never charged gives everything back, the pass that it would have bought included."""
    settled = settle_grant(plan, balance, grant, used_energy_wh=0, used_time_s=0)
    return msgspec.structs.replace(settled, pass_until=None) if grant.buys_pass else settled


def correct(balance: PlanBalance, *, period: str, energy_wh: int, time_s: int) -> PlanBalance:
    """Upstream says what settled sessions left of a period; running ones keep what they reserved."""
    if period != balance.period:
        return balance
    return msgspec.structs.replace(
        balance,
        energy_wh=max(0, energy_wh - balance.reserved_energy_wh),
        time_s=max(0, time_s - balance.reserved_time_s),
    )


def grant_of(plan: Plan, *, at: datetime, local_day: date) -> Grant:
    """What a session gets that starts at `at`, of the balance that the plan's JSON brings.

    A balance without a period is one of the period in which the session starts; without a balance all
    included units are left.
    """
    balance = plan.balance
    if balance is not None and not balance.period:
        balance = msgspec.structs.replace(balance, period=billing_period(plan, local_day))
    return reserve(plan, balance, at=at, local_day=local_day)[0]


def load_plan(value: object) -> Plan:
    """A plan from its JSON object. Raises PlanError with the place of the first mistake."""
    if not isinstance(value, Mapping):
        raise PlanError("a plan is a JSON object")
    problems: list[Problem] = []
    plan = _read(Reader(value, "plan", problems), value)
    if problems:
        raise PlanError(str(problems[0]))
    return plan


def _read(r: Reader, value: Mapping[str, Any]) -> Plan:
    name = r.text("name", length_max=100)
    period = r.text("period", length_max=5, choices=("MONTH", "YEAR"))
    included = r.object("included")
    energy = included.whole("energy_wh", at_most=DURATION_MAX_S) if included else None
    time_s = included.whole("time_s", at_most=DURATION_MAX_S) if included else None
    if included:
        included.close()
    percent_off: dict[Dimension, Decimal] = {}
    off = r.object("percent_off")
    if off:
        for dimension in DIMENSIONS:
            percent = off.number(dimension, at_most=_PERCENT_MAX)
            if percent is not None:
                percent_off[dimension] = percent
        off.close()
    tariff = None
    if r.object("tariff"):
        tariff, problems = read_tariff(cast("Mapping[str, object]", value["tariff"]))
        for problem in problems:
            r.wrong(f"tariff.{problem.place}" if problem.place else "tariff", problem.reason)
    fee, day_pass = r.object("fee"), r.object("day_pass")
    plan = Plan(
        id=r.text("id", length_max=60, required=True) or "",
        name=name or "",
        currency=r.text("currency", length_max=3),
        valid_from=r.instant("valid_from"),
        valid_until=r.instant("valid_until"),
        period=cast("BillingPeriod", period or "MONTH"),
        fee=_fee(fee, close=True) if fee else None,
        tariff=tariff,
        percent_off=percent_off,
        included_energy_wh=energy or 0,
        included_time_s=time_s or 0,
        free=r.flag("free") or False,
        day_pass=_day_pass(day_pass) if day_pass else None,
        accounts=r.texts("accounts", at_most=_HOLDERS_MAX, length_max=60),
        groups=r.texts("groups", at_most=_HOLDERS_MAX, length_max=60),
        balance=_balance(r.object("balance")),
    )
    r.close()
    return plan


def _fee(r: Reader, *, close: bool) -> Fee:
    price = r.number("price", required=True)
    vat = r.number("vat", at_most=_PERCENT_MAX)
    if close:
        r.close()
    return Fee(price=price or Decimal(0), taxes=() if vat is None else (TaxRate(name=VAT, percent=vat),))


def _day_pass(r: Reader) -> DayPass:
    fee = _fee(r, close=False)
    duration = r.whole("duration_s", at_most=DURATION_MAX_S)
    r.close()
    if not duration:
        r.wrong("duration_s", "is required")
    return DayPass(fee=fee, duration_s=duration or 0)


def _balance(r: Reader | None) -> PlanBalance | None:
    if r is None:
        return None
    period = r.text("period", length_max=7)
    energy = r.whole("energy_wh", at_most=DURATION_MAX_S)
    time_s = r.whole("time_s", at_most=DURATION_MAX_S)
    until = r.instant("pass_until")
    r.close()
    return PlanBalance(period=period or "", energy_wh=energy or 0, time_s=time_s or 0, pass_until=until)


class FrozenPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan as a session began with it. `document` is canonical JSON without whom it belongs to or what is
    left.
    """

    hash: str
    document: str
    plan: Plan


#: What a plan's JSON says beside the plan itself.
_NOT_FROZEN = ("accounts", "groups", "balance")


def freeze_plan(value: Mapping[str, object]) -> FrozenPlan:
    """The plan in a JSON object, with the SHA-256 of its canonical form. Raises PlanError."""
    plan = load_plan(value)
    kept = {name: part for name, part in value.items() if name not in _NOT_FROZEN}
    document = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return FrozenPlan(hash=hashlib.sha256(document.encode()).hexdigest(), document=document, plan=plan)


def depends_on_clock(plan: Plan) -> bool:
    """True when the plan means something else at another time: validity, billing periods, passes.

    Such a plan is not sold while the clock is untrusted.
    """
    validity = plan.valid_from is not None or plan.valid_until is not None
    units = plan.included_energy_wh > 0 or plan.included_time_s > 0 or plan.day_pass is not None
    return validity or units
