"""The price in a driver's words: complete, with tax, in the order of AFIR Art. 5 (kWh, minute, session,
other).

What the wall clock decides is told by time: the price now, and the next one with when it starts. Limits on energy,
power and duration stand beside each line.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec

from edge.domain.tariffs.languages import LANGUAGES, VAT_NAMES, Language
from edge.domain.tariffs.model import (
    Dimension,
    PriceComponent,
    PriceLimit,
    Restrictions,
    Tariff,
    TariffElement,
)
from edge.domain.tariffs.ocpi import VAT
from edge.domain.tariffs.taxes import exact_decimal, gross_price
from edge.domain.tariffs.wall import DAY_US, WallClock, from_us, to_us
from edge.domain.view import PriceLine

#: AFIR Art. 5(4): price per kWh, per minute, per session, then any other.
_ORDER: tuple[Dimension, ...] = ("ENERGY", "TIME", "PARKING_TIME", "FLAT")
#: A price that starts later than in a day does not concern who stands at the charger.
_AHEAD_US = DAY_US
#: Drivers read a few lines; more sections than this are a table for the web page of the tariff.
_SECTIONS_MAX = 4


class PriceSection(msgspec.Struct, frozen=True, kw_only=True):
    """The lines that hold from `begin` on; `heading` says so: "now", "from 22:00"."""

    heading: str
    begin: datetime
    lines: tuple[PriceLine, ...]


def words(tariff: Tariff, *, at: datetime, time_zone: str, language: str = "en") -> tuple[PriceSection, ...]:
    """The price at `at` and those that follow within a day: `words(tariff, at=now,
    time_zone="Europe/Berlin")`.

    An unknown language is told in English.
    """
    told = _Telling(tariff, LANGUAGES.get(language, LANGUAGES["en"]), VAT_NAMES.get(language, VAT))
    zone = ZoneInfo(time_zone)
    clock = WallClock([element.restrictions for element in tariff.elements], zone)
    sections: list[PriceSection] = []
    for begin, mask in _stretches(clock, to_us(at)):
        lines = told.lines([e for i, e in enumerate(tariff.elements) if mask >> i & 1])
        if sections and sections[-1].lines == lines:
            continue
        instant = from_us(begin).astimezone(zone)
        heading = told.heading(instant, at.astimezone(zone)) if sections else told.language.now
        sections.append(PriceSection(heading=heading, begin=instant, lines=lines))
        if len(sections) == _SECTIONS_MAX:
            break
    return tuple(sections)


def price_lines(
    tariff: Tariff, *, at: datetime, time_zone: str, language: str = "en"
) -> tuple[PriceLine, ...]:
    """The same as one list: the lines of now, then what differs in the next price, with its start."""
    sections = words(tariff, at=at, time_zone=time_zone, language=language)
    now = sections[0].lines
    later = [
        msgspec.structs.replace(line, note=", ".join(filter(None, (section.heading, line.note))))
        for section in sections[1:2]
        for line in section.lines
        if line not in now
    ]
    return (*now, *later)


def _stretches(clock: WallClock, start: int) -> Iterator[tuple[int, int]]:
    """Where the wall clock's choice begins to hold, and the elements that it allows, for a day ahead."""
    day = start // DAY_US
    for number in range(day, day + 2 + _AHEAD_US // DAY_US):
        starts, masks = clock.day(number)
        ends = [*starts[1:], (number + 1) * DAY_US]
        for begin, end, mask in zip(starts, ends, masks, strict=True):
            if end > start and begin < start + _AHEAD_US:
                yield max(begin, start), mask


class _Telling:
    """One tariff in one language."""

    def __init__(self, tariff: Tariff, language: Language, vat_name: str) -> None:
        self.tariff = tariff
        self.language = language
        self.vat_name = vat_name

    def heading(self, begin: datetime, now: datetime) -> str:
        time = f"{begin:%H:%M}"
        if begin.date() == now.date() or begin - now < timedelta(hours=12):
            return self.language.from_time.format(time)
        return self.language.from_day.format(self.language.weekdays[begin.weekday()], time)

    def lines(self, elements: list[TariffElement]) -> tuple[PriceLine, ...]:
        """Everything that can cost while these elements are allowed."""
        session = [e for e in elements if e.restrictions.reservation is None]
        lines = [line for dimension in _ORDER for line in self._dimension(session, dimension, "")]
        if not any(component.price for e in session for component in e.components) and not _least(
            self.tariff.min_price
        ):
            lines = [PriceLine(label=self.language.no_price, amount=self.language.free)]
        for kind in ("RESERVATION", "RESERVATION_EXPIRES"):
            reserved = [e for e in elements if e.restrictions.reservation == kind]
            for dimension in ("TIME", "FLAT"):
                lines += self._dimension(reserved, dimension, f"{kind}_")
        for name, limit in (("MIN", self.tariff.min_price), ("MAX", self.tariff.max_price)):
            lines += self._limit(name, limit)
        return tuple(lines)

    def _dimension(self, elements: list[TariffElement], dimension: Dimension, prefix: str) -> list[PriceLine]:
        lines = []
        for element in elements:
            component = next((c for c in element.components if c.dimension == dimension), None)
            if component is None:
                continue
            notes = [*self._conditions(element.restrictions), *self._step(component), *self._taxes(component)]
            lines.append(
                PriceLine(
                    label=self.language.labels[prefix + dimension],
                    amount=self._amount(component),
                    note=", ".join(notes),
                )
            )
            if not _conditional(element.restrictions):
                break
        return lines

    def _amount(self, component: PriceComponent) -> str:
        if not component.price:
            return self.language.free
        gross = gross_price(self.tariff, component)
        unit: str = component.dimension
        if component.dimension in ("TIME", "PARKING_TIME"):
            unit = "HOUR" if exact_decimal(gross / 60) is None else "MINUTE"
            gross = gross if unit == "HOUR" else gross / 60
        amount = exact_decimal(gross)
        assert amount is not None  # a price and its tax rates are finite decimals
        return self.language.units[unit].format(self.language.money(amount, self.tariff.currency))

    def _conditions(self, r: Restrictions) -> list[str]:
        phrases = self.language.limits

        def between(least: str | None, most: str | None, unit: str) -> Iterator[str]:
            if least is not None:
                yield self.language.least.format(f"{least} {unit}")
            if most is not None:
                yield self.language.most.format(f"{most} {unit}")

        def number(value: Decimal | None, divisor: int) -> str | None:
            return None if value is None else self.language.number(value / divisor)

        def duration(seconds: int | None) -> str | None:
            return None if seconds is None else self.language.duration(seconds)

        return [
            *between(number(r.min_energy_wh, 1000), number(r.max_energy_wh, 1000), phrases["energy"]),
            *between(number(r.min_power_w, 1000), number(r.max_power_w, 1000), phrases["power"]),
            *between(number(r.min_current_a, 1), number(r.max_current_a, 1), phrases["current"]),
            *between(duration(r.min_duration_s), duration(r.max_duration_s), phrases["duration"]),
            *between(duration(r.min_charging_s), duration(r.max_charging_s), phrases["charging"]),
            *between(duration(r.min_idle_s), duration(r.max_idle_s), phrases["idle"]),
            *([r.evse_kind] if r.evse_kind else []),
        ]

    def _step(self, component: PriceComponent) -> list[str]:
        if component.step <= 1 or not component.price:
            return []
        if component.dimension == "ENERGY":
            return [self.language.steps["ENERGY"].format(self.language.number(Decimal(component.step)))]
        return [self.language.steps["TIME"].format(self.language.duration(component.step))]

    def _taxes(self, component: PriceComponent) -> list[str]:
        if not component.taxes or not component.price:
            return []
        return [
            self.language.vat.format(
                self.language.number(rate.percent), self.vat_name if rate.name == VAT else rate.name
            )
            for rate in component.taxes
        ]

    def _limit(self, name: str, limit: PriceLimit | None) -> list[PriceLine]:
        amount = _gross_limit(self.tariff, limit)
        if amount is None or (name == "MIN" and not amount):
            return []
        label = self.language.labels[name]
        return [PriceLine(label=label, amount=self.language.money(amount, self.tariff.currency))]


def _least(limit: PriceLimit | None) -> bool:
    return limit is not None and bool(limit.before_taxes or limit.after_taxes)


def _gross_limit(tariff: Tariff, limit: PriceLimit | None) -> Decimal | None:
    """What the driver pays at the limit: its gross, or its net with the tax of the first price."""
    if limit is None:
        return None
    if limit.after_taxes is not None or limit.before_taxes is None:
        return limit.after_taxes
    first = next((c for e in tariff.elements for c in e.components if c.taxes), None)
    if first is None:
        return limit.before_taxes
    net = msgspec.structs.replace(first, price=limit.before_taxes)
    return exact_decimal(gross_price(msgspec.structs.replace(tariff, tax_included="NO"), net))


def _conditional(r: Restrictions) -> bool:
    """True when something beside the wall clock decides."""
    by_wall_clock = ("start_minute", "end_minute", "start_date", "end_date", "weekdays", "reservation")
    return any(
        getattr(r, name) not in (None, ())
        for name in Restrictions.__struct_fields__
        if name not in (*by_wall_clock, "at_start")
    )
