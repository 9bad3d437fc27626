"""What a session has used so far, sorted by what prices it: grows by intervals, in constant time for each.

An interval is cut at every local time, duration and kWh at which the choice of prices changes; energy is
linear between its ends, and pieces are differences of the cumulative register, so that they sum exactly and
the result does not depend on how often the meter was read. Neighbours that are priced alike are one run.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from edge.domain.plan import Grant
from edge.domain.pricing.compiled import CompiledTariff
from edge.domain.pricing.cut import Cut
from edge.domain.pricing.facts import SESSION_US_MAX, Accrual, Interval, PricingError, Reservation
from edge.domain.tariffs.wall import YEARS, to_us


def begin(
    compiled: CompiledTariff,
    *,
    at: datetime,
    reservation: Reservation | None = None,
    grant: Grant | None = None,
) -> Accrual:
    """Start a session: `begin(compiled, at=now)`. A `grant` is what the plan reserved for it."""
    if at.year not in YEARS:
        raise PricingError(f"a session cannot begin in the year {at.year}")
    us = to_us(at)
    covers = compiled.plan is not None and grant is not None
    if reservation is not None and reservation.end < reservation.begin:
        raise PricingError("the reservation ends before it begins")
    if reservation is not None and not (
        reservation.begin.year in YEARS
        and to_us(reservation.end) - to_us(reservation.begin) <= SESSION_US_MAX
    ):
        raise PricingError("the reservation lasts longer than a year")
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
    cut = Cut(compiled, accrual)
    cut.through(end_us, added, interval.state, interval.power_w, interval.current_ma)
    return cut.accrual()
