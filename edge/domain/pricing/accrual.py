"""What a session has used so far, sorted by what prices it: grows by intervals, in constant time for each.

An interval is cut at every local time, duration and kWh at which the choice of prices changes; energy is linear
between its ends, and pieces are differences of the cumulative register, so that they sum exactly and the result
does not depend on how often the meter was read. Neighbours that are priced alike are one run.
"""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import Literal

import msgspec

from edge.domain.plan import Grant
from edge.domain.pricing.compiled import CompiledTariff
from edge.domain.pricing.exact import Exact, ceil_div, exact, rational
from edge.domain.pricing.selection import Number
from edge.domain.pricing.wall import from_us, to_us
from edge.errors import CallError

#: `SuspendedEV` is parking; `SuspendedEVSE` (load management) is neither charging nor parking time.
ChargingState = Literal["Charging", "SuspendedEV", "SuspendedEVSE"]

#: Periods kept for the CDR (about 60 bytes each in a checkpoint); the last ones merge beyond. Prices do not use them.
PERIODS_MAX = 96


class PricingError(CallError):
    """Intervals or quantities that cannot be priced."""

    code = "pricing.invalid"


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """What happened since the last interval: `energy_wh` of its own, the state, and what the meter said meanwhile.

    `current_ma` is the sum over the phases; None where it is not known. An interval without length may carry
    energy (the register after a power cut).
    """

    end: datetime
    energy_wh: Number
    state: ChargingState = "Charging"
    current_ma: Number | None = None
    power_w: Number | None = None


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A reservation before the session, or instead of it when it expired."""

    begin: datetime
    end: datetime
    expired: bool = False


class Run(msgspec.Struct, frozen=True, array_like=True):
    """The stretch that goes on: priced alike from its start until the next limit in time or energy."""

    state: ChargingState
    bands: int
    started_us: Exact
    started_wh: Exact
    energy_slot: int
    time_slot: int
    until_us: int
    until_wh: int


class Tally(msgspec.Struct, frozen=True, array_like=True):
    """What runs that have ended brought to a slot, in Wh or microseconds."""

    slot: int
    quantity: Exact


class Period(msgspec.Struct, frozen=True, array_like=True):
    """A charging period of the CDR: from its start to that of the next, with its volumes."""

    start_us: Exact
    energy_wh: Exact
    charging_us: Exact
    parking_us: Exact


class Accrual(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the price of a session follows from. Goes through JSON unchanged; its size is bounded.

    `charging_us`, `parking_us`, `left_wh` and `left_us` (included units not used) are as of the run's start.
    """

    begun_us: int
    ended_us: int
    energy: Exact = 0
    reservation: Reservation | None = None
    flat_slot: int = -1
    last_energy: int = -1
    last_time: int = -1
    last_parking: int = -1
    charging_us: Exact = 0
    parking_us: Exact = 0
    left_wh: Exact = 0
    left_us: Exact = 0
    buys_pass: bool = False
    run: Run | None = None
    tallies: tuple[Tally, ...] = ()
    periods: tuple[Period, ...] = ()

    @property
    def begun_at(self) -> datetime:
        return from_us(self.begun_us)

    @property
    def ended_at(self) -> datetime:
        return from_us(self.ended_us)

    @property
    def energy_wh(self) -> Number:
        """Energy of the session so far, exactly."""
        return rational(self.energy)

    @property
    def duration_s(self) -> Number:
        """Seconds of the session so far, exactly."""
        return rational(exact(Fraction(self.ended_us - self.begun_us, 1_000_000)))


def begin(
    compiled: CompiledTariff,
    *,
    at: datetime,
    reservation: Reservation | None = None,
    grant: Grant | None = None,
) -> Accrual:
    """Start a session: `begin(compiled, at=now)`. A `grant` is what the plan reserved for it."""
    us = to_us(at)
    covers = compiled.plan is not None and grant is not None
    if reservation is not None and reservation.end < reservation.begin:
        raise PricingError("the reservation ends before it begins")
    return Accrual(
        begun_us=us,
        ended_us=us,
        reservation=reservation,
        left_wh=grant.energy_wh if covers and grant else 0,
        left_us=grant.time_s * 1_000_000 if covers and grant else 0,
        buys_pass=grant.buys_pass if covers and grant else False,
    )


def extend(compiled: CompiledTariff, accrual: Accrual, interval: Interval) -> Accrual:
    """The accrual with one more interval, which starts where the last one ended. Raises PricingError."""
    end_us = to_us(interval.end)
    added = interval.energy_wh
    run = accrual.run
    energy = accrual.energy
    if (
        run is not None
        and type(energy) is int
        and type(added) is int
        and accrual.ended_us <= end_us < run.until_us
        and 0 <= added < run.until_wh - energy
        and run.state == interval.state
        and run.bands == compiled.session.selection.bands(interval.power_w, interval.current_ma)
    ):
        return msgspec.structs.replace(accrual, ended_us=end_us, energy=energy + added)
    if end_us < accrual.ended_us:
        raise PricingError("an interval ends before it begins")
    if added < 0:
        raise PricingError("an interval has negative energy")
    if end_us == accrual.ended_us and not added:
        return accrual
    return _Cut(compiled, accrual).through(end_us, interval)


class _Cut:
    """One interval on its way through the limits: a mutable copy of the accrual that is written back at the end."""

    def __init__(self, compiled: CompiledTariff, accrual: Accrual) -> None:
        self.table = compiled.session
        self.compiled = compiled
        self.slots = compiled.slots
        self.base = accrual
        self.at_us: Number = accrual.ended_us
        self.at_wh: Number = rational(accrual.energy)
        self.run = accrual.run
        self.flat_slot = accrual.flat_slot
        self.last = [accrual.last_energy, accrual.last_time, accrual.last_parking]
        self.charging_us = rational(accrual.charging_us)
        self.parking_us = rational(accrual.parking_us)
        self.left_wh = rational(accrual.left_wh)
        self.left_us = rational(accrual.left_us)
        self.tallies = {tally.slot: rational(tally.quantity) for tally in accrual.tallies}
        self.periods = accrual.periods

    def through(self, end_us: int, interval: Interval) -> Accrual:
        """Walk to the end of the interval, closing a run wherever the choice of prices changes."""
        end_wh = self.at_wh + interval.energy_wh
        bands = self.table.selection.bands(interval.power_w, interval.current_ma)
        while True:
            until_us, until_wh = self._enter(interval, bands)
            if until_us >= end_us and until_wh >= end_wh:
                break
            span_us, span_wh = end_us - self.at_us, end_wh - self.at_wh
            in_time = Fraction(until_us - self.at_us) / span_us if until_us < end_us else None
            in_energy = Fraction(until_wh - self.at_wh) / span_wh if until_wh < end_wh else None
            share = min(s for s in (in_time, in_energy) if s is not None)
            self.at_us = until_us if share == in_time else self.at_us + span_us * share
            self.at_wh = until_wh if share == in_energy else self.at_wh + span_wh * share
        self.at_us, self.at_wh = end_us, end_wh
        return self._accrual(end_us)

    def _enter(self, interval: Interval, bands: int) -> tuple[Number, Number]:
        """Choose the prices at this point, end the run if they differ, and say how far they hold."""
        run, state = self.run, interval.state
        charging, parking = self.charging_us, self.parking_us
        used_wh: Number = 0
        used_us: Number = 0
        if run is not None:
            elapsed = self.at_us - rational(run.started_us)
            charging += elapsed if run.state == "Charging" else 0
            parking += elapsed if run.state == "SuspendedEV" else 0
            if self.compiled.is_included(run.energy_slot):
                used_wh = self.at_wh - rational(run.started_wh)
            if self.compiled.is_included(run.time_slot):
                used_us = elapsed
        active, until_us, until_wh = self._active(interval, charging, parking)
        if self.flat_slot < 0:
            self.flat_slot = self.table.slot(active, "FLAT")
        energy_slot = self.table.slot(active, "ENERGY")
        time_slot = -1
        if state == "Charging":
            time_slot = self.table.slot(active, "TIME")
        elif state == "SuspendedEV":
            time_slot = self.table.slot(active, "PARKING_TIME")
        left_wh, left_us = self.left_wh - used_wh, self.left_us - used_us
        if energy_slot >= 0 and left_wh > 0 and self.slots[energy_slot].covered >= 0:
            energy_slot = self.slots[energy_slot].covered
            until_wh = min(until_wh, self.at_wh + left_wh)
        if time_slot >= 0 and left_us > 0 and self.slots[time_slot].covered >= 0:
            time_slot = self.slots[time_slot].covered
            until_us = min(until_us, self.at_us + left_us)
        started_us, started_wh = exact(self.at_us), exact(self.at_wh)
        if run is not None:
            if (run.state, run.energy_slot, run.time_slot) == (state, energy_slot, time_slot):
                started_us, started_wh = run.started_us, run.started_wh
            else:
                self._close(run)
                self.charging_us, self.parking_us = charging, parking
                self.left_wh, self.left_us = left_wh, left_us
        self.run = Run(
            state, bands, started_us, started_wh, energy_slot, time_slot, _up(until_us), _up(until_wh)
        )
        return until_us, until_wh

    def _active(
        self, interval: Interval, charging_us: Number, parking_us: Number
    ) -> tuple[int, Number, Number]:
        """The elements that apply at this point (bits), and the next instant and energy where others may."""
        rules, state = self.table.selection, interval.state
        duration_us = self.at_us - self.base.begun_us
        active, until_us = rules.wall_mask(self.at_us)
        active &= rules.energy_wh.mask(self.at_wh) & rules.duration_us.mask(duration_us)
        active &= rules.charging_us.mask(charging_us) & rules.idle_us.mask(parking_us)
        active &= rules.power_w.mask(interval.power_w) & rules.current_ma.mask(interval.current_ma)
        if self.run is not None:
            active &= rules.not_at_start
        until = min(until_us, self.at_us + rules.duration_us.next_cut(duration_us) - duration_us)
        if state == "Charging":
            until = min(until, self.at_us + rules.charging_us.next_cut(charging_us) - charging_us)
        elif state == "SuspendedEV":
            until = min(until, self.at_us + rules.idle_us.next_cut(parking_us) - parking_us)
        return active, until, rules.energy_wh.next_cut(self.at_wh)

    def _close(self, run: Run) -> None:
        """Count a run that ends here."""
        elapsed = self.at_us - rational(run.started_us)
        energy = self.at_wh - rational(run.started_wh)
        self.tallies, self.last = close_run(run, elapsed, energy, self.tallies, self.last)
        period = Period(
            run.started_us,
            exact(energy),
            exact(elapsed) if run.state == "Charging" else 0,
            exact(elapsed) if run.state == "SuspendedEV" else 0,
        )
        self.periods = _with_period(self.periods, period)

    def _accrual(self, end_us: int) -> Accrual:
        return Accrual(
            begun_us=self.base.begun_us,
            ended_us=end_us,
            energy=exact(self.at_wh),
            reservation=self.base.reservation,
            flat_slot=self.flat_slot,
            last_energy=self.last[0],
            last_time=self.last[1],
            last_parking=self.last[2],
            charging_us=exact(self.charging_us),
            parking_us=exact(self.parking_us),
            left_wh=exact(self.left_wh),
            left_us=exact(self.left_us),
            buys_pass=self.base.buys_pass,
            run=self.run,
            tallies=tuple(Tally(slot, exact(quantity)) for slot, quantity in sorted(self.tallies.items())),
            periods=self.periods,
        )


def close_run(
    run: Run, elapsed_us: Number, energy_wh: Number, tallies: dict[int, Number], last: list[int]
) -> tuple[dict[int, Number], list[int]]:
    """The tallies and last slots (energy, time, parking) with what a run brought."""
    tallies, last = dict(tallies), list(last)
    if run.energy_slot >= 0 and energy_wh:
        tallies[run.energy_slot] = tallies.get(run.energy_slot, 0) + energy_wh
        last[0] = run.energy_slot
    if run.time_slot >= 0 and elapsed_us:
        tallies[run.time_slot] = tallies.get(run.time_slot, 0) + elapsed_us
        last[1 if run.state == "Charging" else 2] = run.time_slot
    return tallies, last


def _with_period(periods: tuple[Period, ...], period: Period) -> tuple[Period, ...]:
    if len(periods) < PERIODS_MAX:
        return (*periods, period)
    last = periods[-1]
    merged = Period(
        last.start_us,
        exact(rational(last.energy_wh) + rational(period.energy_wh)),
        exact(rational(last.charging_us) + rational(period.charging_us)),
        exact(rational(last.parking_us) + rational(period.parking_us)),
    )
    return (*periods[:-1], merged)


def _up(limit: Number) -> int:
    return ceil_div(limit.numerator, limit.denominator)
