"""Looking ahead with the same engine: quotes, how far an amount goes, when prices may change."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction

import msgspec

from edge.domain.plan import Grant
from edge.domain.pricing.accrual import begin, extend
from edge.domain.pricing.bill import Bill, payable_minor, settle
from edge.domain.pricing.compiled import CompiledTariff
from edge.domain.pricing.exact import rational
from edge.domain.pricing.facts import Accrual, ChargingState, Interval
from edge.domain.pricing.selection import NEVER, Number
from edge.domain.tariffs.wall import from_us, to_us

#: Weekdays repeat after a week; a session that has not reached an amount by then never will.
HORIZON_S = 8 * 86_400
_HORIZON_US = HORIZON_S * 1_000_000
_US_PER_H = 3_600_000_000


class Remaining(msgspec.Struct, frozen=True, kw_only=True):
    """How far an amount goes: whole Wh and whole seconds; None where nothing within the time reaches it."""

    energy_wh: int | None
    seconds: int | None


def quote(
    compiled: CompiledTariff,
    *,
    at: datetime,
    energy_wh: int,
    duration_s: int,
    grant: Grant | None = None,
) -> Bill:
    """What charging would cost that starts at `at` and takes this energy evenly over this time."""
    start = begin(compiled, at=at, grant=grant)
    power_w = Fraction(energy_wh * 3600, duration_s) if duration_s else None
    interval = Interval(end=at + timedelta(seconds=duration_s), energy_wh=energy_wh, power_w=power_w)
    return settle(compiled, extend(compiled, start, interval))


def next_boundary(compiled: CompiledTariff, at: datetime) -> datetime | None:
    """The next instant after `at` at which the wall clock changes the choice of prices.

    None where it does not within a week.
    """
    rules = compiled.session.selection
    now = to_us(at)
    mask, until = rules.wall_mask(now)
    while until < min(NEVER, now + _HORIZON_US):
        other, later = rules.wall_mask(until)
        if other != mask:
            return from_us(int(until))
        until = later
    return None


def remaining(
    compiled: CompiledTariff,
    accrual: Accrual,
    *,
    amount_minor: int,
    power_w: int,
    state: ChargingState = "Charging",
    current_ma: int | None = None,
    within_s: int = HORIZON_S,
) -> Remaining:
    """The most whole Wh, and the most whole seconds, for which the live price stays within `amount_minor`.

    Looks ahead at constant power in one state: `remaining(compiled, accrual, amount_minor=4000,
    power_w=11000)`. One Wh or one second more would pass the amount. 0 where it has been passed already. Who
    only asks whether the amount lasts for a while says so with `within_s`: that is much cheaper.
    """
    ahead = _Ahead(compiled, accrual, amount_minor, power_w, state, current_ma, within_s * 1_000_000)
    if payable_minor(compiled, accrual) > amount_minor:
        return Remaining(energy_wh=0, seconds=0)
    low, high = ahead.bracket()
    if high is None:
        return Remaining(energy_wh=None, seconds=None)
    seconds = ahead.last_within(low, high, Fraction(1_000_000))
    if power_w <= 0:
        return Remaining(energy_wh=None, seconds=seconds)
    return Remaining(energy_wh=ahead.last_within(low, high, Fraction(_US_PER_H, power_w)), seconds=seconds)


class _Ahead:
    """The session continued in thought; between two changes of prices its price only rises."""

    def __init__(
        self,
        compiled: CompiledTariff,
        accrual: Accrual,
        amount_minor: int,
        power_w: int,
        state: ChargingState,
        current_ma: int | None,
        horizon_us: int,
    ) -> None:
        self.compiled = compiled
        self.accrual = accrual
        self.amount_minor = amount_minor
        self.power_w = power_w
        self.state: ChargingState = state
        self.current_ma = current_ma
        self.horizon_us = horizon_us

    def after(self, us: Number) -> Accrual:
        """The accrual this many microseconds later. Rounds the clock down, never the energy."""
        whole = int(us // 1)
        energy = Fraction(self.power_w) * us / _US_PER_H
        interval = Interval(
            end=from_us(self.accrual.ended_us + whole),
            energy_wh=energy.numerator if energy.denominator == 1 else energy,
            state=self.state,
            current_ma=self.current_ma,
            power_w=self.power_w,
        )
        return extend(self.compiled, self.accrual, interval)

    def within(self, us: Number) -> bool:
        return payable_minor(self.compiled, self.after(us)) <= self.amount_minor

    def bracket(self) -> tuple[int, int | None]:
        """A stretch without a change of prices; the amount holds at its start, not at its end."""
        at = 0
        while at < self.horizon_us:
            later = self._next_change(at)
            if not self.within(at + 1):
                return at, at + 1
            if not self.within(later):
                return at, later
            at = later
        return at, None

    def _next_change(self, us: int) -> int:
        accrual = self.after(us + 1)
        run = accrual.run
        assert run is not None  # a session that has gone on for a microsecond has a run
        limit = run.until_us - self.accrual.ended_us
        if self.power_w > 0 and run.until_wh < NEVER:
            missing = run.until_wh - rational(accrual.energy)
            limit = min(limit, us + 1 + int(Fraction(missing) * _US_PER_H / self.power_w))
        return max(us + 2, min(limit, self.horizon_us))

    def last_within(self, low: int, high: int, unit_us: Fraction) -> int:
        """The most whole units (of `unit_us` microseconds) at which the amount still holds."""
        least, most = int(low // unit_us), int(high // unit_us) + 1
        while most - least > 1:
            middle = (least + most) // 2
            if self.within(middle * unit_us):
                least = middle
            else:
                most = middle
        return least
