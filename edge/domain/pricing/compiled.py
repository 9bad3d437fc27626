"""A tariff made ready for pricing: compiled once, used for many sessions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import lcm
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from edge.domain.money import exponent, round_half_up
from edge.domain.plan import DayPass, Plan, PlanError, member_tariff
from edge.domain.pricing.exact import rational
from edge.domain.pricing.facts import Tally
from edge.domain.pricing.invoice import Reason
from edge.domain.pricing.selection import Number, Selection
from edge.domain.tariffs.model import (
    DIMENSIONS,
    Dimension,
    EvseKind,
    PriceComponent,
    PriceLimit,
    Tariff,
    TariffElement,
    TaxRate,
)
from edge.domain.tariffs.taxes import Taxes, stacked
from edge.errors import TariffError

#: Units of a quantity in one unit of its price: Wh in a kWh, microseconds in an hour, one fee.
UNITS: dict[Dimension, int] = {
    "ENERGY": 1000,
    "TIME": 3_600_000_000,
    "PARKING_TIME": 3_600_000_000,
    "FLAT": 1,
}


class LinePrice(msgspec.Struct, frozen=True):
    """What one line of the bill costs: all quantities with this dimension, price and taxes stand on it.

    `net` and `gross` are minor currency units per Wh, microsecond or fee, exactly.
    """

    dimension: Dimension
    unit_price: Decimal
    taxes: int
    included: bool
    net: Fraction
    gross: Fraction


class Slot(msgspec.Struct, frozen=True):
    """What a quantity can be counted under: a component, or the same covered by a plan's included units.

    `step` is in the quantity's unit (Wh, us). `covered` is the slot for included units, or -1.
    """

    dimension: Dimension
    line: int
    step: int
    covered: int


class CompiledTariff:
    """Tables of one tariff in one time zone, with one plan. Holds caches, but answers alike for ever.

    `net[line]` and `gross[line]` are integers: minor units times `scale` per Wh, microsecond or fee.
    """

    __slots__ = (
        "_full_price",
        "_tallied",
        "bounds",
        "currency",
        "gross",
        "lines",
        "max_price",
        "min_price",
        "minor",
        "net",
        "pass_slot",
        "plan",
        "reservation",
        "scale",
        "session",
        "session_taxes",
        "slots",
        "tariff",
        "taxes",
        "time_zone",
    )

    def __init__(
        self, tariff: Tariff, *, zone: ZoneInfo, plan: Plan | None, evse_kind: EvseKind | None
    ) -> None:
        self.tariff = tariff
        self.time_zone = zone
        self.plan = plan
        self.currency = tariff.currency
        self.minor = 10 ** exponent(tariff.currency)
        self.lines: list[LinePrice] = []
        self.slots: list[Slot] = []
        self.taxes: list[Taxes] = []
        self._full_price: dict[int, int] = {}
        self._tallied: tuple[tuple[Tally, ...], dict[int, Number]] = ((), {})
        usable = [e for e in tariff.elements if e.restrictions.evse_kind in (None, evse_kind)]
        self.session = Table(self, [e for e in usable if e.restrictions.reservation is None], covered=True)
        expired = [e for e in usable if e.restrictions.reservation == "RESERVATION_EXPIRES"]
        reserved = [e for e in usable if e.restrictions.reservation == "RESERVATION"]
        self.reservation = Table(self, expired + reserved, covered=False, expired=len(expired))
        self.pass_slot = -1
        if plan is not None and plan.day_pass is not None:
            self.pass_slot = self._pass_slot(plan.day_pass)
        ordered = sorted(self.lines, key=lambda line: DIMENSIONS.index(line.dimension))
        numbers = dict.fromkeys(line.taxes for line in ordered) or (self.taxes_of(()),)
        self.session_taxes = tuple(self.taxes[number] for number in numbers)
        self.scale = lcm(*(n.denominator for line in self.lines for n in (line.net, line.gross)))
        self.net = [int(line.net * self.scale) for line in self.lines]
        self.min_price = limit(tariff.min_price, self.minor)
        self.max_price = limit(tariff.max_price, self.minor)
        self.gross = [int(line.gross * self.scale) for line in self.lines]
        self.bounds = tuple(
            bound
            for bound in (
                _bound("maximum price", 1, self.max_price),
                _bound("minimum price", -1, self.min_price),
            )
            if bound[2:] != (None, None)
        )

    def slot_of(self, component: PriceComponent, *, covered: bool) -> int:
        """The slot that counts a component's quantities."""
        price = component.price
        scale = 1 if component.dimension in ("ENERGY", "FLAT") else 1_000_000
        free = -1
        if covered and price and self.plan is not None and self.plan.covers(component.dimension):
            free = len(self.slots)
            line = self._line(component, Decimal(0), included=True)
            self.slots.append(Slot(component.dimension, line, component.step * scale, -1))
        line = self._line(component, price, included=False)
        self.slots.append(Slot(component.dimension, line, component.step * scale, free))
        slot = len(self.slots) - 1
        self._full_price[slot] = slot
        if free >= 0:
            self._full_price[free] = slot
        return slot

    def _pass_slot(self, day_pass: DayPass) -> int:
        """The slot of a day pass; what its fee is does not depend on the plan's discounts."""
        component = PriceComponent(dimension="FLAT", price=day_pass.fee.price, taxes=day_pass.fee.taxes)
        self.slots.append(Slot("FLAT", self._line(component, component.price, included=False), 0, -1))
        self._full_price[len(self.slots) - 1] = len(self.slots) - 1
        return len(self.slots) - 1

    def is_included(self, slot: int) -> bool:
        """True for a slot that counts a plan's included units."""
        return self.plan is not None and slot >= 0 and self._full_price[slot] != slot

    def full_price(self, slot: int) -> int:
        """The slot that counts what exceeds the included units of this one."""
        return self._full_price[slot]

    def taxes_of(self, rates: tuple[TaxRate, ...]) -> int:
        """The number of a set of taxes."""
        for i, taxes in enumerate(self.taxes):
            if taxes.rates == rates:
                return i
        self.taxes.append(stacked(rates))
        return len(self.taxes) - 1

    def remember(self, tallies: tuple[Tally, ...], numbers: dict[int, Number]) -> None:
        """Keep the numbers behind tallies, which will be asked for next."""
        self._tallied = tallies, numbers

    def tallied(self, tallies: tuple[Tally, ...]) -> dict[int, Number]:
        """The numbers behind tallies. The last answer is kept: they only change when a run ends."""
        if self._tallied[0] is not tallies:
            self._tallied = tallies, {tally.slot: rational(tally.quantity) for tally in tallies}
        return self._tallied[1]

    def _line(self, component: PriceComponent, price: Decimal, *, included: bool) -> int:
        taxes = self.taxes_of(component.taxes)
        for i, line in enumerate(self.lines):
            if (line.dimension, line.unit_price, line.taxes) == (component.dimension, price, taxes):
                return i
        stated = Fraction(price) * self.minor / UNITS[component.dimension]
        factor = self.taxes[taxes].factor
        inclusive = self.tariff.tax_included == "YES"
        self.lines.append(
            LinePrice(
                component.dimension,
                price,
                taxes,
                included,
                stated / factor if inclusive else stated,
                stated if inclusive else stated * factor,
            )
        )
        return len(self.lines) - 1


#: Sets of elements whose prices are remembered; a tariff has a handful, one of 2,000 elements some thousands.
_CHOICES_KEPT = 1000


class Table:
    """The elements of a session, or of a reservation, with the slots of their components."""

    __slots__ = ("_chosen", "expired_mask", "selection", "slots", "used_mask")

    def __init__(
        self, compiled: CompiledTariff, elements: list[TariffElement], *, covered: bool, expired: int = 0
    ) -> None:
        self.selection = Selection(elements, compiled.time_zone)
        self.slots: list[dict[Dimension, int]] = [
            {c.dimension: compiled.slot_of(c, covered=covered) for c in element.components}
            for element in elements
        ]
        self._chosen: dict[int, tuple[int, int, int, int]] = {}
        self.expired_mask = (1 << expired) - 1
        self.used_mask = ((1 << len(elements)) - 1) ^ self.expired_mask

    def slot(self, active: int, dimension: Dimension) -> int:
        """The slot that prices a dimension while the elements `active` apply, or -1."""
        element = self.selection.first(active, dimension)
        return -1 if element < 0 else self.slots[element][dimension]

    def chosen(self, active: int) -> tuple[int, int, int, int]:
        """The slots of energy, time, parking time and fee while the elements `active` apply."""
        known = self._chosen.get(active)
        if known is None:
            if len(self._chosen) >= _CHOICES_KEPT:
                self._chosen.clear()
            energy, time = self.slot(active, "ENERGY"), self.slot(active, "TIME")
            known = energy, time, self.slot(active, "PARKING_TIME"), self.slot(active, "FLAT")
            self._chosen[active] = known
        return known


def compile_tariff(
    tariff: Tariff, *, time_zone: str, plan: Plan | None = None, evse_kind: EvseKind | None = None
) -> CompiledTariff:
    """Make a tariff ready: `compile_tariff(load_tariff(document), time_zone="Europe/Berlin")`.

    Wall-clock rules hold in the IANA zone. A plan that brings its own tariff replaces the one given. Raises
    TariffError for an unknown zone, and where prices depend on AC or DC and the EVSE's kind is not told;
    PlanError for a day pass in another currency.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as e:
        raise TariffError(
            f"{time_zone[:60]!r} is no time zone", hint="use an IANA name such as Europe/Berlin"
        ) from e
    paid = member_tariff(tariff, plan)
    if evse_kind is None and any(e.restrictions.evse_kind is not None for e in paid.elements):
        raise TariffError("has prices for AC or for DC only, and the kind of the EVSE is not known")
    if plan is not None and plan.day_pass is not None and plan.currency not in (None, tariff.currency):
        raise PlanError(f"the day pass costs {plan.currency}, the tariff {tariff.currency}")
    return CompiledTariff(paid, zone=zone, plan=plan, evse_kind=evse_kind)


#: Why a limit is met, on which side of it totals must not lie, and its net and gross in whole minor units.
Bound = tuple[Reason, int, int | None, int | None]


def _bound(reason: Reason, sign: int, limits: Limits) -> Bound:
    net, gross = (None if side is None else round_half_up(side) for side in limits)
    return reason, sign, net, gross


#: Net and gross limit in minor units; None does not bind.
Limits = tuple[Fraction | None, Fraction | None]


def limit(price: PriceLimit | None, minor: int) -> Limits:
    if price is None:
        return None, None
    before, after = price.before_taxes, price.after_taxes
    return (
        None if before is None else Fraction(before) * minor,
        None if after is None else Fraction(after) * minor,
    )
