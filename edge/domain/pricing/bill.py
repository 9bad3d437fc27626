"""The bill of a session: exact lines, the totals within the tariff's limits, and the invoice's figures."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction

import msgspec

from edge.domain.money import round_half_up
from edge.domain.pricing.accrual import Accrual, ChargingState, Period
from edge.domain.pricing.compiled import CompiledTariff, Limits
from edge.domain.pricing.exact import Exact, exact, rational
from edge.domain.pricing.invoice import (
    Category,
    Invoice,
    InvoiceLine,
    Reason,
    Target,
    compose,
)
from edge.domain.pricing.quantities import Quantities, quantities
from edge.domain.pricing.selection import Number
from edge.domain.pricing.wall import from_us
from edge.domain.tariffs.model import DIMENSIONS, Dimension

#: Storage counts time in microseconds, bills in seconds.
_SCALE: dict[Dimension, int] = {"ENERGY": 1, "TIME": 1_000_000, "PARKING_TIME": 1_000_000, "FLAT": 1}


class TaxAmount(msgspec.Struct, frozen=True, kw_only=True):
    """One tax on a line, exactly, in major units."""

    name: str
    percent: Decimal
    amount: Exact


class BillLine(msgspec.Struct, frozen=True, kw_only=True):
    """All that is billed with one dimension, unit price and tax. Amounts are exact major units.

    `quantity` is in Wh, s or 1, with the step's surplus; `reserved` of it was for a reservation. `included` units
    are covered by a plan.
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

    `used_energy_wh` and `used_time_s` are the included units that a plan's balance loses.
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


def payable_minor(compiled: CompiledTariff, accrual: Accrual) -> int:
    """What the invoice would ask for if the session ended now: the live price, in minor units."""
    return _invoice(compiled, quantities(compiled, accrual)).payable_minor


def settle(compiled: CompiledTariff, accrual: Accrual) -> Bill:
    """The bill of a session that has ended: `settle(compiled, accrual).invoice.payable_minor`."""
    billed = quantities(compiled, accrual)
    net, gross, _, _ = _totals(compiled, billed)
    return Bill(
        currency=compiled.currency,
        before_taxes=exact(net / compiled.minor),
        after_taxes=exact(gross / compiled.minor),
        lines=_lines(compiled, billed),
        invoice=_invoice(compiled, billed),
        begin=accrual.begun_at,
        end=accrual.ended_at,
        energy_wh=accrual.energy,
        periods=_periods(accrual),
        used_energy_wh=exact(billed.used_wh),
        used_time_s=exact(Fraction(billed.used_us) / 1_000_000),
    )


def _ordered(compiled: CompiledTariff, billed: Quantities) -> list[int]:
    """Line numbers with a quantity: by dimension, then as the tariff names them."""
    numbers = [number for number, quantity in billed.lines.items() if quantity]
    return sorted(numbers, key=lambda n: (DIMENSIONS.index(compiled.lines[n].dimension), n))


def _lines(compiled: CompiledTariff, billed: Quantities) -> tuple[BillLine, ...]:
    lines = []
    for number in _ordered(compiled, billed):
        price, quantity = compiled.lines[number], billed.lines[number]
        taxes = compiled.taxes[price.taxes]
        net = price.net_minor * quantity / compiled.minor
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


def _totals(
    compiled: CompiledTariff, billed: Quantities
) -> tuple[Fraction, Fraction, Reason | None, tuple[bool, bool]]:
    """Exact net and gross in minor units within the limits, which limit bound, and on which sides.

    Net and gross limits bind independently. A side without a limit follows the other's: its tax share stays. A
    minimum is for a session, not for a reservation that never became one.
    """
    net = sum((compiled.lines[n].net_minor * q for n, q in billed.lines.items()), Fraction(0))
    gross = sum((compiled.lines[n].gross_minor * q for n, q in billed.lines.items()), Fraction(0))
    factor = gross / net if net else compiled.taxes[compiled.default_taxes].factor
    reason: Reason | None = None
    bound = (False, False)
    if billed.session:
        net, gross, bound = _bind(net, gross, compiled.min_price, factor, low=True)
        reason = "minimum price" if any(bound) else None
    net, gross, above = _bind(net, gross, compiled.max_price, factor, low=False)
    if any(above):
        reason, bound = "maximum price", above
    return net, gross, reason, bound


def _bind(
    net: Fraction, gross: Fraction, limits: Limits, factor: Fraction, *, low: bool
) -> tuple[Fraction, Fraction, tuple[bool, bool]]:
    def beyond(value: Fraction, limit: Fraction | None) -> bool:
        return limit is not None and (value < limit if low else value > limit)

    bound = (beyond(net, limits[0]), beyond(gross, limits[1]))
    bound_net = limits[0] if bound[0] and limits[0] is not None else net
    bound_gross = limits[1] if bound[1] and limits[1] is not None else gross
    if bound[0] and limits[1] is None:
        bound_gross = bound_net * factor
    if bound[1] and limits[0] is None:
        bound_net = bound_gross / factor
    return bound_net, bound_gross, bound


def _invoice(compiled: CompiledTariff, billed: Quantities) -> Invoice:
    net, gross, reason, bound = _totals(compiled, billed)
    lines = tuple(
        (
            InvoiceLine(
                dimension=price.dimension,
                unit_price=price.unit_price,
                quantity=_billed(billed.lines[number], price.dimension),
                before_taxes_minor=round_half_up(price.net_minor * billed.lines[number]),
                taxes=compiled.taxes[price.taxes].rates,
                included=price.included,
            ),
            _category(compiled, price.taxes),
        )
        for number in _ordered(compiled, billed)
        for price in (compiled.lines[number],)
    )
    inclusive = compiled.tariff.tax_included == "YES"
    target = Target(
        round_half_up(net) if reason else None,
        round_half_up(gross) if inclusive or bound[1] else None,
        reason or "maximum price",
    )
    return compose(lines, target, _category(compiled, compiled.default_taxes))


def _category(compiled: CompiledTariff, number: int) -> Category:
    taxes = compiled.taxes[number]
    return Category(taxes.rates, taxes.parts, taxes.factor)


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
