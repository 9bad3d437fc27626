"""The bill of a session: exact lines, the totals within the tariff's limits, and the invoice's figures."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import cast

import msgspec

from edge.domain.pricing.compiled import CompiledTariff, Limits
from edge.domain.pricing.exact import Exact, exact, rational
from edge.domain.pricing.facts import Accrual, ChargingState, Period
from edge.domain.pricing.invoice import (
    Invoice,
    InvoiceLine,
    Reason,
    Target,
    compose,
)
from edge.domain.pricing.quantities import Quantities, quantities
from edge.domain.pricing.selection import Number
from edge.domain.tariffs.model import DIMENSIONS, Dimension
from edge.domain.tariffs.wall import from_us

#: Storage counts time in microseconds, bills in seconds.
_SCALE: dict[Dimension, int] = {"ENERGY": 1, "TIME": 1_000_000, "PARKING_TIME": 1_000_000, "FLAT": 1}


class TaxAmount(msgspec.Struct, frozen=True, kw_only=True):
    """One tax on a line, exactly, in major units."""

    name: str
    percent: Decimal
    amount: Exact


class BillLine(msgspec.Struct, frozen=True, kw_only=True):
    """All that is billed with one dimension, unit price and tax. Amounts are exact major units.

    `quantity` is in Wh, s or 1, with the step's surplus; `reserved` of it was for a reservation. `included`
    units are covered by a plan.
    """

    dimension: Dimension
    unit_price: Decimal
    quantity: Exact
    before_taxes: Exact
    after_taxes: Exact
    taxes: tuple[TaxAmount, ...] = ()
    reserved: Exact = 0
    included: bool = False


class BillPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """A charging period of the CDR: from `begin` to the next period, with its exact volumes."""

    begin: datetime
    energy_wh: Exact
    charging_s: Exact
    parking_s: Exact


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What a session costs. `before_taxes` and `after_taxes` are exact and within the tariff's limits.

    `used_energy_wh` and `used_time_s` are the included units that a plan's balance loses; `plan` is its name.
    """

    currency: str
    before_taxes: Exact
    after_taxes: Exact
    lines: tuple[BillLine, ...]
    invoice: Invoice
    begin: datetime
    end: datetime
    energy_wh: Exact
    periods: tuple[BillPeriod, ...] = ()
    used_energy_wh: Exact = 0
    used_time_s: Exact = 0
    plan: str = ""


class Totals(msgspec.Struct, frozen=True):
    """Net and gross within the tariff's limits, exactly: both over `over`, in minor units.

    `reason` is which limit bound, if one did; `fixed_gross` says that the gross is the amount due, not what
    rounded net amounts and taxes come to.
    """

    net: int
    gross: int
    over: int
    reason: Reason | None
    fixed_gross: bool


def payable_minor(compiled: CompiledTariff, accrual: Accrual) -> int:
    """What the invoice would ask for if the session ended now: the live price, in minor units."""
    billed = quantities(compiled, accrual)
    totals = _totals(compiled, billed)
    bases = [0] * len(compiled.taxes)
    for number, quantity in billed.lines.items():
        over = quantity.denominator * compiled.scale
        net = (2 * compiled.net[number] * quantity.numerator + over) // (2 * over)  # rounded half-up
        bases[compiled.lines[number].taxes] += net
    before = sum(bases)
    after = before + sum(
        [sum(taxes.amounts_minor(base)) for base, taxes in zip(bases, compiled.taxes, strict=True) if base]
    )
    target = _target(compiled, billed, totals, before, after)
    if target.net is not None:
        return _invoice(compiled, billed, target).payable_minor
    return after if target.gross is None else target.gross


def settle(compiled: CompiledTariff, accrual: Accrual, *, cap_minor: int | None = None) -> Bill:
    """The bill of a session that has ended: `settle(compiled, accrual).invoice.payable_minor`.

    What passes `cap_minor`, the amount held, is given away as an allowance over the VAT categories (I2); the exact
    figures stay those of the tariff.
    """
    billed = quantities(compiled, accrual)
    totals = _totals(compiled, billed)
    major = totals.over * compiled.minor
    plain = _invoice(compiled, billed, Target())
    before, after = plain.total_before_taxes_minor, plain.total_after_taxes_minor
    target = _target(compiled, billed, totals, before, after)
    invoice = plain if target == Target() else _invoice(compiled, billed, target)
    if cap_minor is not None and invoice.payable_minor > cap_minor:
        net = _half_up(invoice.total_before_taxes_minor * cap_minor, invoice.payable_minor)
        invoice = _invoice(compiled, billed, Target(net, cap_minor, "amount held"))
    return Bill(
        currency=compiled.currency,
        before_taxes=exact(Fraction(totals.net, major)),
        after_taxes=exact(Fraction(totals.gross, major)),
        lines=_lines(compiled, billed),
        invoice=invoice,
        begin=accrual.begun_at,
        end=accrual.ended_at,
        energy_wh=accrual.energy,
        periods=_periods(accrual),
        used_energy_wh=exact(billed.used_wh),
        used_time_s=exact(Fraction(billed.used_us) / 1_000_000),
        plan="" if compiled.plan is None else compiled.plan.name or compiled.plan.id,
    )


def _line_minor(compiled: CompiledTariff, number: int, quantity: Number) -> int:
    """The net amount of a line, rounded."""
    return _half_up(compiled.net[number] * quantity.numerator, quantity.denominator * compiled.scale)


def _half_up(numerator: int, denominator: int) -> int:
    """A quotient that is never negative, rounded half-up."""
    return (2 * numerator + denominator) // (2 * denominator)


def _ordered(compiled: CompiledTariff, billed: Quantities) -> list[int]:
    """Line numbers with a quantity: by dimension, then as the tariff names them."""
    numbers = [number for number, quantity in billed.lines.items() if quantity]
    return sorted(numbers, key=lambda n: (DIMENSIONS.index(compiled.lines[n].dimension), n))


def _lines(compiled: CompiledTariff, billed: Quantities) -> tuple[BillLine, ...]:
    lines = []
    for number in _ordered(compiled, billed):
        price, quantity = compiled.lines[number], billed.lines[number]
        taxes = compiled.taxes[price.taxes]
        net = price.net * quantity / compiled.minor
        lines.append(
            BillLine(
                dimension=price.dimension,
                unit_price=price.unit_price,
                quantity=_billed(quantity, price.dimension),
                before_taxes=exact(net),
                after_taxes=exact(net * taxes.factor),
                taxes=tuple(
                    TaxAmount(name=rate.name, percent=rate.percent, amount=exact(net * part))
                    for rate, part in zip(taxes.rates, taxes.parts, strict=True)
                ),
                reserved=_billed(billed.reserved.get(number, 0), price.dimension),
                included=price.included,
            )
        )
    return tuple(lines)


def _billed(quantity: Number, dimension: Dimension) -> Exact:
    return exact(Fraction(quantity) / _SCALE[dimension])


def _totals(compiled: CompiledTariff, billed: Quantities) -> Totals:
    """The sums of the lines, within the limits if the tariff has some."""
    net, gross, over = 0, 0, 1
    for number, quantity in billed.lines.items():
        numerator, denominator = quantity.numerator * over, quantity.denominator
        if denominator != 1:
            net, gross, over = net * denominator, gross * denominator, over * denominator
        net += compiled.net[number] * numerator
        gross += compiled.gross[number] * numerator
    over *= compiled.scale
    inclusive = compiled.tariff.tax_included == "YES"
    least = compiled.min_price if billed.session else (None, None)
    most = compiled.max_price
    low = _beyond(least[0], net, over, below=True), _beyond(least[1], gross, over, below=True)
    high = _beyond(most[0], net, over, below=False), _beyond(most[1], gross, over, below=False)
    if not (any(low) or any(high)):
        return Totals(net, gross, over, None, inclusive)
    return _limited(compiled, Totals(net, gross, over, None, inclusive), least, most)


def _beyond(limit: Fraction | None, value: int, over: int, *, below: bool) -> bool:
    if limit is None:
        return False
    difference = value * limit.denominator - limit.numerator * over
    return difference < 0 if below else difference > 0


def _limited(compiled: CompiledTariff, free: Totals, least: Limits, most: Limits) -> Totals:
    """Net and gross limits bind independently; a side without a limit follows the other: its tax share stays.

    A minimum is for a session, not for a reservation that never became one.
    """
    net, gross = Fraction(free.net, free.over), Fraction(free.gross, free.over)
    factor = gross / net if net else compiled.session_taxes[0].factor
    fixed_gross = free.fixed_gross
    reason: Reason | None = None
    for limits, why in ((least, "minimum price"), (most, "maximum price")):
        side = max if why == "minimum price" else min
        bound_net = net if limits[0] is None else side(net, limits[0])
        bound_gross = gross if limits[1] is None else side(gross, limits[1])
        binds = bound_net != net, bound_gross != gross
        if binds[0] and limits[1] is None:
            bound_gross = bound_net * factor
        if binds[1] and limits[0] is None:
            bound_net = bound_gross / factor
        if any(binds):
            reason = cast("Reason", why)
            fixed_gross = free.fixed_gross or binds[1]
        net, gross = bound_net, bound_gross
    over = lcm(net.denominator, gross.denominator)
    return Totals(int(net * over), int(gross * over), over, reason, fixed_gross)


def _invoice(compiled: CompiledTariff, billed: Quantities, target: Target) -> Invoice:
    lines = tuple(
        (
            InvoiceLine(
                dimension=price.dimension,
                unit_price=price.unit_price,
                quantity=_billed(billed.lines[number], price.dimension),
                before_taxes_minor=_line_minor(compiled, number, billed.lines[number]),
                taxes=compiled.taxes[price.taxes].rates,
                included=price.included,
            ),
            compiled.taxes[price.taxes],
        )
        for number in _ordered(compiled, billed)
        for price in (compiled.lines[number],)
    )
    return compose(lines, target, compiled.session_taxes)


def _target(compiled: CompiledTariff, billed: Quantities, totals: Totals, before: int, after: int) -> Target:
    """What the invoice must come to, given what its rounded lines and taxes come to.

    Where prices include tax, or a gross limit binds, the gross is due. A limit that only the rounding of
    lines would pass binds too.
    """
    gross = _half_up(totals.gross, totals.over) if totals.fixed_gross else None
    if totals.reason is not None:
        return Target(_half_up(totals.net, totals.over), gross, totals.reason)
    due = after if gross is None else gross
    for reason, sign, net_limit, gross_limit in compiled.bounds:
        if reason == "minimum price" and not billed.session:
            continue
        over_net = net_limit is not None and before * sign > net_limit * sign
        over_gross = gross_limit is not None and due * sign > gross_limit * sign
        if over_net or over_gross:
            net = net_limit if over_net and net_limit is not None else before
            return Target(net, gross_limit if over_gross else gross, reason)
    return Target(None, gross)


def _periods(accrual: Accrual) -> tuple[BillPeriod, ...]:
    periods = list(accrual.periods)
    run = accrual.run
    if run is not None:
        elapsed = exact(accrual.ended_us - rational(run.started_us))
        state: ChargingState = run.state
        periods.append(
            Period(
                run.started_us,
                exact(rational(accrual.energy) - rational(run.started_wh)),
                elapsed if state == "Charging" else 0,
                elapsed if state == "SuspendedEV" else 0,
            )
        )
    return tuple(
        BillPeriod(
            begin=_instant(period.start_us),
            energy_wh=period.energy_wh,
            charging_s=_billed(rational(period.charging_us), "TIME"),
            parking_s=_billed(rational(period.parking_us), "TIME"),
        )
        for period in periods
    )


def _instant(us: Exact) -> datetime:
    """A cut at a kWh may fall inside a microsecond: the one in which it lies."""
    return from_us(int(rational(us) // 1))
