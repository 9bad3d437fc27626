"""Which price components apply: for each dimension the first element whose restrictions all hold.

The rule is that of OCPI mod_tariffs, Tariff object.

Every restriction becomes a table from a band of its quantity to the elements that it allows (bits), so that
the choice at an instant is a few look-ups and an AND.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from fractions import Fraction
from zoneinfo import ZoneInfo

from edge.domain.tariffs.model import Dimension, Restrictions, TariffElement
from edge.domain.tariffs.wall import DAY_US, WallClock

#: Later than the year 9999 in microseconds, more than every quantity: no limit ahead.
NEVER = 1 << 62
_US = 1_000_000

Number = int | Fraction


class Bands:
    """A quantity cut at the limits that restrictions name; minima include their value, maxima exclude it."""

    __slots__ = ("cuts", "masks", "unknown")

    def __init__(self, limits: Sequence[tuple[Number | None, Number | None]]) -> None:
        self.cuts: list[Number] = sorted({limit for pair in limits for limit in pair if limit is not None})
        lows: list[Number] = [-1, *self.cuts]
        self.masks = [
            sum(
                1 << i
                for i, (least, most) in enumerate(limits)
                if (least is None or least <= low) and (most is None or low < most)
            )
            for low in lows
        ]
        self.unknown = sum(1 << i for i, pair in enumerate(limits) if pair == (None, None))

    def mask(self, value: Number | None) -> int:
        return self.unknown if value is None else self.masks[bisect_right(self.cuts, value)]

    def look(self, value: Number) -> tuple[int, Number]:
        """The elements that a known value allows, and the first limit above it."""
        i = bisect_right(self.cuts, value)
        return self.masks[i], self.cuts[i] if i < len(self.cuts) else NEVER

    def around(self, value: Number | None) -> tuple[Number, Number]:
        """The band of a value, from and to. An unknown value lies in none, if there are limits at all."""
        if not self.cuts:
            return -NEVER, NEVER
        if value is None:
            return NEVER, -NEVER
        i = bisect_right(self.cuts, value)
        return self.cuts[i - 1] if i else -NEVER, self.cuts[i] if i < len(self.cuts) else NEVER

    def band(self, value: Number | None) -> int:
        return -1 if value is None else bisect_right(self.cuts, value)


class Selection:
    """The tables of the elements that compete with each other. Elements are numbered in list order."""

    def __init__(self, elements: Sequence[TariffElement], zone: ZoneInfo) -> None:
        rules = [element.restrictions for element in elements]
        self.wall = WallClock(rules, zone) if any(r.wall_clock for r in rules) else None
        self.energy_wh = Bands([(_number(r.min_energy_wh), _number(r.max_energy_wh)) for r in rules])
        self.power_w = Bands([(_number(r.min_power_w), _number(r.max_power_w)) for r in rules])
        self.current_ma = Bands([(_milli(r.min_current_a), _milli(r.max_current_a)) for r in rules])
        self.duration_us = _times(rules, lambda r: (r.min_duration_s, r.max_duration_s))
        self.charging_us = _times(rules, lambda r: (r.min_charging_s, r.max_charging_s))
        self.idle_us = _times(rules, lambda r: (r.min_idle_s, r.max_idle_s))
        self.not_at_start = sum(1 << i for i, r in enumerate(rules) if not r.at_start)
        self.by_power = bool(self.power_w.cuts or self.current_ma.cuts)
        self.by_state = bool(self.charging_us.cuts or self.idle_us.cuts)
        self.dimensions: dict[Dimension, int] = {}
        for i, element in enumerate(elements):
            for component in element.components:
                dimension = component.dimension
                self.dimensions[dimension] = self.dimensions.get(dimension, 0) | (1 << i)

    def bands(self, power_w: Number | None, current_ma: Number | None) -> int:
        """One number for the bands of power and current; equal numbers select alike."""
        if not self.by_power:
            return 0
        return self.power_w.band(power_w) * 65_536 + self.current_ma.band(current_ma)

    def wall_mask(self, us: Number) -> tuple[int, int]:
        """What the wall clock allows at `us`, and until when, looking no further than the UTC day."""
        if self.wall is None:
            return -1, NEVER
        number = int(us // DAY_US)
        starts, masks = self.wall.day(number)
        i = bisect_right(starts, us)
        return masks[i - 1], starts[i] if i < len(starts) else (number + 1) * DAY_US

    def first(self, active: int, dimension: Dimension) -> int:
        """The element that prices a dimension, or -1."""
        candidates = active & self.dimensions.get(dimension, 0)
        return (candidates & -candidates).bit_length() - 1


def _number(value: object) -> Number | None:
    if value is None:
        return None
    number = Fraction(str(value))
    return number.numerator if number.denominator == 1 else number


def _milli(value: object) -> Number | None:
    number = _number(value)
    if number is None:
        return None
    thousandfold = Fraction(number) * 1000
    return thousandfold.numerator if thousandfold.denominator == 1 else thousandfold


def _times(
    rules: Sequence[Restrictions], limits: Callable[[Restrictions], tuple[int | None, int | None]]
) -> Bands:
    return Bands([_in_us(*limits(r)) for r in rules])


def _in_us(least: int | None, most: int | None) -> tuple[int | None, int | None]:
    return None if least is None else least * _US, None if most is None else most * _US
