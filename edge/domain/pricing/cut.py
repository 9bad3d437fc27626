"""Cuts an interval wherever the choice of prices changes, and counts what each piece brings."""

from __future__ import annotations

from fractions import Fraction

from edge.domain.pricing.compiled import CompiledTariff
from edge.domain.pricing.exact import ceil_div, exact, rational
from edge.domain.pricing.facts import (
    SESSION_US_MAX,
    Accrual,
    ChargingState,
    Period,
    PricingError,
    Run,
    Tally,
)
from edge.domain.pricing.selection import NEVER, Number

#: Periods kept for the CDR, about 60 bytes each in a checkpoint; no price uses them, the last ones merge.
PERIODS_MAX = 96


class Cut:
    """An accrual on its way through intervals: a mutable copy that becomes an accrual again at the end.

    `at_us` and `at_wh` are where it stands. `charging_us`, `parking_us`, `left_wh` and `left_us` are as of
    the start of the open run, as in the accrual. No `state`: nothing has happened yet.
    """

    def __init__(self, compiled: CompiledTariff, accrual: Accrual) -> None:
        self.compiled = compiled
        self.table = compiled.session
        self.base = accrual
        self.at_us: Number = accrual.ended_us
        self.at_wh: Number = rational(accrual.energy)
        self.flat_slot = accrual.flat_slot
        self.last_energy, self.last_time = accrual.last_energy, accrual.last_time
        self.last_parking = accrual.last_parking
        self.charging_us = rational(accrual.charging_us)
        self.parking_us = rational(accrual.parking_us)
        self.left_wh, self.left_us = rational(accrual.left_wh), rational(accrual.left_us)
        self.tallies = {tally.slot: rational(tally.quantity) for tally in accrual.tallies}
        self.periods = list(accrual.periods)
        run = accrual.run
        self.state: ChargingState | None = run.state if run else None
        self.started_us = rational(run.started_us) if run else self.at_us
        self.started_wh = rational(run.started_wh) if run else self.at_wh
        self.energy_slot = run.energy_slot if run else -1
        self.time_slot = run.time_slot if run else -1
        self.bands: int | None = run.bands if run else 0
        self.until_us: Number = run.until_us if run else 0
        self.until_wh: Number = run.until_wh if run else 0
        self.power_w: Number | None = None
        self.current_ma: Number | None = None

    def through(
        self,
        end_us: int,
        energy_wh: Number,
        state: ChargingState,
        power_w: Number | None,
        current_ma: Number | None,
    ) -> None:
        """Walk to the end of an interval, ending a run wherever the choice of prices changes."""
        if end_us < self.at_us:
            raise PricingError("an interval ends before it begins")
        if end_us - self.base.begun_us > SESSION_US_MAX:
            raise PricingError("a session lasts longer than a year")
        if energy_wh < 0:
            raise PricingError("an interval has negative energy")
        if end_us == self.at_us and not energy_wh:
            return
        self.power_w, self.current_ma = power_w, current_ma
        self.bands = None
        end_wh = self.at_wh + energy_wh
        while True:
            self._enter(state)
            in_time, in_energy = self.until_us < end_us, self.until_wh < end_wh
            if not in_time and not in_energy:
                break
            span_us, span_wh = end_us - self.at_us, end_wh - self.at_wh
            to_us, to_wh = self.until_us - self.at_us, self.until_wh - self.at_wh
            order = to_us * span_wh - to_wh * span_us if in_time and in_energy else -1 if in_time else 1
            if order < 0:
                self.at_us, self.at_wh = self.until_us, self.at_wh + _share(span_wh, to_us, span_us)
            elif order > 0:
                self.at_us, self.at_wh = self.at_us + _share(span_us, to_wh, span_wh), self.until_wh
            else:
                self.at_us, self.at_wh = self.until_us, self.until_wh
        self.at_us, self.at_wh = end_us, end_wh

    def fences(self) -> tuple[ChargingState | None, Number, Number, Number, Number, Number]:
        """What the next interval must have to be priced as the open run, beside its energy: the state, its
        end before an instant, and power and current from one value to below another.
        """
        rules = self.table.selection
        power, current = rules.power_w.around(self.power_w), rules.current_ma.around(self.current_ma)
        return (self.state, self.until_us, *power, *current)

    def accrual(self) -> Accrual:
        """The accrual as of here."""
        run = None
        if self.state is not None:
            run = Run(
                self.state,
                self.table.selection.bands(self.power_w, self.current_ma)
                if self.bands is None
                else self.bands,
                exact(self.started_us),
                exact(self.started_wh),
                self.energy_slot,
                self.time_slot,
                ceil_div(self.until_us.numerator, self.until_us.denominator),
                ceil_div(self.until_wh.numerator, self.until_wh.denominator),
            )
        tallies = tuple([Tally(slot, exact(self.tallies[slot])) for slot in sorted(self.tallies)])
        self.compiled.remember(tallies, dict(self.tallies))
        return Accrual(
            begun_us=self.base.begun_us,
            ended_us=int(self.at_us),
            energy=exact(self.at_wh),
            reservation=self.base.reservation,
            flat_slot=self.flat_slot,
            last_energy=self.last_energy,
            last_time=self.last_time,
            last_parking=self.last_parking,
            charging_us=exact(self.charging_us),
            parking_us=exact(self.parking_us),
            left_wh=exact(self.left_wh),
            left_us=exact(self.left_us),
            buys_pass=self.base.buys_pass,
            run=run,
            tallies=tallies,
            periods=tuple(self.periods),
        )

    def close(self) -> None:
        """Count what the open run brought, up to here."""
        if self.state is None:
            return
        elapsed, energy = self.at_us - self.started_us, self.at_wh - self.started_wh
        if self.energy_slot >= 0 and energy:
            self._count(self.energy_slot, energy)
            self.last_energy = self.energy_slot
            if self.compiled.is_included(self.energy_slot):
                self.left_wh -= energy
        if self.time_slot >= 0 and elapsed:
            self._count(self.time_slot, elapsed)
            if self.compiled.is_included(self.time_slot):
                self.left_us -= elapsed
            if self.state == "Charging":
                self.last_time = self.time_slot
            else:
                self.last_parking = self.time_slot
        if self.table.selection.by_state:
            self.charging_us += elapsed if self.state == "Charging" else 0
            self.parking_us += elapsed if self.state == "SuspendedEV" else 0
        self._keep(
            Period(
                exact(self.started_us),
                exact(energy),
                exact(elapsed) if self.state == "Charging" else 0,
                exact(elapsed) if self.state == "SuspendedEV" else 0,
            )
        )

    def _count(self, slot: int, quantity: Number) -> None:
        counted = self.tallies.get(slot)
        self.tallies[slot] = quantity if counted is None else counted + quantity

    def _keep(self, period: Period) -> None:
        if len(self.periods) < PERIODS_MAX:
            self.periods.append(period)
            return
        last = self.periods[-1]
        self.periods[-1] = Period(
            last.start_us,
            exact(rational(last.energy_wh) + rational(period.energy_wh)),
            exact(rational(last.charging_us) + rational(period.charging_us)),
            exact(rational(last.parking_us) + rational(period.parking_us)),
        )

    def _enter(self, state: ChargingState) -> None:
        """Choose the prices from here on and how far they hold; a run that is priced otherwise ends here."""
        active, until_us, until_wh = self._active(state)
        energy_slot, charging_slot, parking_slot, flat_slot = self.table.chosen(active)
        if self.flat_slot < 0:
            self.flat_slot = flat_slot
        time_slot = charging_slot if state == "Charging" else parking_slot if state == "SuspendedEV" else -1
        if self.compiled.plan is not None:
            energy_slot, until_wh = self._covered_energy(energy_slot, until_wh)
            time_slot, until_us = self._covered_time(time_slot, until_us)
        if (self.state, self.energy_slot, self.time_slot) != (state, energy_slot, time_slot):
            self.close()
            self.state, self.energy_slot, self.time_slot = state, energy_slot, time_slot
            self.started_us, self.started_wh = self.at_us, self.at_wh
        self.until_us = min(until_us, self.base.begun_us + SESSION_US_MAX + 1)
        self.until_wh = until_wh

    def _active(self, state: ChargingState) -> tuple[int, Number, Number]:
        """The elements that apply here (bits), and the next instant and energy where others may."""
        rules = self.table.selection
        until: Number
        active, until = rules.wall_mask(self.at_us)
        if rules.by_power:
            active &= rules.power_w.mask(self.power_w) & rules.current_ma.mask(self.current_ma)
        if rules.duration_us.cuts:
            mask, limit = rules.duration_us.look(self.at_us - self.base.begun_us)
            active &= mask
            until = min(until, self.base.begun_us + limit)
        if rules.by_state:
            active, until = self._by_state(active, until, state)
        if self.state is not None:
            active &= rules.not_at_start
        if not rules.energy_wh.cuts:
            return active, until, NEVER
        mask, until_wh = rules.energy_wh.look(self.at_wh)
        return active & mask, until, until_wh

    def _by_state(self, active: int, until: Number, state: ChargingState) -> tuple[int, Number]:
        """What limits on charging time and idle time leave (OCPP 2.1)."""
        rules = self.table.selection
        elapsed = self.at_us - self.started_us
        charging = self.charging_us + (elapsed if self.state == "Charging" else 0)
        parking = self.parking_us + (elapsed if self.state == "SuspendedEV" else 0)
        by_charging, next_charging = rules.charging_us.look(charging)
        by_idle, next_idle = rules.idle_us.look(parking)
        if state == "Charging":
            until = min(until, self.at_us + next_charging - charging)
        elif state == "SuspendedEV":
            until = min(until, self.at_us + next_idle - parking)
        return active & by_charging & by_idle, until

    def _covered_energy(self, slot: int, until_wh: Number) -> tuple[int, Number]:
        """The slot of included units while some are left, and the energy at which they end."""
        included = self.compiled.is_included(self.energy_slot)
        left = self.left_wh - (self.at_wh - self.started_wh if included else 0)
        covered = self.compiled.slots[slot].covered if slot >= 0 else -1
        if covered < 0 or left <= 0:
            return slot, until_wh
        return covered, min(until_wh, self.at_wh + left)

    def _covered_time(self, slot: int, until_us: Number) -> tuple[int, Number]:
        """The slot of included seconds while some are left, and the instant at which they end."""
        included = self.compiled.is_included(self.time_slot)
        left = self.left_us - (self.at_us - self.started_us if included else 0)
        covered = self.compiled.slots[slot].covered if slot >= 0 else -1
        if covered < 0 or left <= 0:
            return slot, until_us
        return covered, min(until_us, self.at_us + left)


def _share(whole: Number, part: Number, of: Number) -> Number:
    """`whole * part / of`, as an integer where it is one."""
    share = Fraction(whole * part) / of
    return share.numerator if share.denominator == 1 else share
