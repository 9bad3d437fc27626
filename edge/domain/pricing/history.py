"""Sessions that are history: many intervals at once, the same as one by one but much faster.

Readings stand in columns of plain integers, so that stretches which are priced alike are found by searching
the columns, not by looking at each reading.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import le
from typing import cast

import msgspec

from edge.domain.pricing.compiled import CompiledTariff
from edge.domain.pricing.cut import Cut
from edge.domain.pricing.facts import Accrual, ChargingState, PricingError
from edge.domain.pricing.selection import NEVER, Number


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Intervals in columns of one length, in the order of time; an interval starts where the last one ended.

    `end_us` counts microseconds since 1970 UTC, `register_wh` the energy since the session began.
    """

    end_us: tuple[int, ...]
    register_wh: tuple[int, ...]
    state: tuple[ChargingState, ...]
    power_w: tuple[int | None, ...]
    current_ma: tuple[int | None, ...]

    def __post_init__(self) -> None:
        """Raises PricingError where the columns run backwards or differ in length."""
        columns = (self.register_wh, self.state, self.power_w, self.current_ma)
        if any(len(column) != len(self.end_us) for column in columns):
            raise PricingError("the columns of a history differ in length")
        for column in (self.end_us, self.register_wh):
            if not all(map(le, column, column[1:])):
                raise PricingError("time or energy of a history runs backwards")


def extend_all(compiled: CompiledTariff, accrual: Accrual, history: History) -> Accrual:
    """The accrual with a whole history: `extend_all(compiled, begin(compiled, at=at), history)`.

    Raises PricingError where it begins before the accrual ends.
    """
    ends, register, states = history.end_us, history.register_wh, history.state
    count = len(ends)
    cut = Cut(compiled, accrual)
    at = 0
    while at < count:
        alike = _alike(cut, history, at)
        if alike > at:
            cut.at_us, cut.at_wh = ends[alike - 1], register[alike - 1]
        if alike < count:
            gained = register[alike] - cut.at_wh
            cut.through(ends[alike], gained, states[alike], history.power_w[alike], history.current_ma[alike])
        at = alike + 1
    return cut.accrual()


def _alike(cut: Cut, history: History, at: int) -> int:
    """The first interval from `at` on that is not priced as the open run."""
    state, until_us, *bands = cut.fences()
    if state != history.state[at] or history.end_us[at] < cut.at_us or history.register_wh[at] < cut.at_wh:
        return at
    end = bisect_left(history.end_us, until_us, at)
    end = bisect_left(history.register_wh, cut.until_wh, at, end)
    end = _first_other(history.state, state, at, end)
    if cut.compiled.session.selection.by_power:
        low_w, high_w, low_ma, high_ma = bands
        end = _first_outside(history.power_w, low_w, high_w, at, end)
        end = _first_outside(history.current_ma, low_ma, high_ma, at, end)
    return end


def _first_other(column: tuple[ChargingState, ...], state: ChargingState, begin: int, end: int) -> int:
    """Where a column first is not `state`, or `end`."""
    while begin < end and column[begin:end].count(state) != end - begin:
        middle = (begin + end) // 2
        if column[begin:middle].count(state) == middle - begin:
            begin = middle
            if column[middle] != state:
                return middle
        else:
            end = middle
    return end


def _first_outside(column: tuple[int | None, ...], low: Number, high: Number, begin: int, end: int) -> int:
    """Where a column first is below `low` or not below `high`, or `end`; an unknown value is outside."""
    while begin < end and not _inside(column[begin:end], low, high):
        middle = (begin + end) // 2
        if middle > begin and _inside(column[begin:middle], low, high):
            begin = middle
        elif middle > begin:
            end = middle
        else:
            return begin
    return end


def _inside(values: tuple[int | None, ...], low: Number, high: Number) -> bool:
    known = cast("tuple[int, ...]", values)
    try:
        return (low == -NEVER or low <= min(known)) and (high == NEVER or max(known) < high)
    except TypeError:  # an unknown value among them cannot be compared
        return False
