"""The quantities that are billed: what was used, rounded up by `step_size`, and the reservation's.

`step_size` (OCPI mod_cdrs): once per session for ENERGY, and once for TIME and PARKING_TIME together. The
session total of what was priced is rounded up with the step of the last component that priced it; the surplus
is billed at that component's price. With any priced parking only parking is rounded.
"""

from __future__ import annotations

import msgspec

from edge.domain.pricing.compiled import CompiledTariff, Slot
from edge.domain.pricing.exact import ceil_div, rational
from edge.domain.pricing.facts import Accrual, Reservation
from edge.domain.pricing.selection import Number
from edge.domain.tariffs.model import Dimension
from edge.domain.tariffs.wall import to_us


class Quantities(msgspec.Struct, frozen=True):
    """Per line of the tariff: billed quantity (Wh, us, fees), and which part of it the reservation brought.

    `used_wh` and `used_us` are the included units that the session took.
    """

    lines: dict[int, Number]
    reserved: dict[int, Number]
    used_wh: Number
    used_us: Number
    session: bool


def quantities(compiled: CompiledTariff, accrual: Accrual) -> Quantities:
    """What is billed if the session ends now."""
    slots = compiled.slots
    counted = dict(compiled.tallied(accrual.tallies))
    last_energy, last_time, last_parking = accrual.last_energy, accrual.last_time, accrual.last_parking
    run = accrual.run
    if run is not None:
        elapsed = accrual.ended_us - rational(run.started_us)
        energy = rational(accrual.energy) - rational(run.started_wh)
        if run.energy_slot >= 0 and energy:
            counted[run.energy_slot] = counted.get(run.energy_slot, 0) + energy
            last_energy = run.energy_slot
        if run.time_slot >= 0 and elapsed:
            counted[run.time_slot] = counted.get(run.time_slot, 0) + elapsed
            if run.state == "Charging":
                last_time = run.time_slot
            else:
                last_parking = run.time_slot
        if accrual.flat_slot >= 0:
            counted[accrual.flat_slot] = 1
        if accrual.buys_pass:
            counted[compiled.pass_slot] = 1
    left_wh, left_us = _left(compiled, accrual, counted)
    _round_up(compiled, counted, last_energy, "ENERGY", left_wh)
    if last_parking >= 0:
        _round_up(compiled, counted, last_parking, "PARKING_TIME", 0)
    else:
        _round_up(compiled, counted, last_time, "TIME", left_us)
    lines: dict[int, Number] = {}
    _add(lines, slots, counted)
    reserved: dict[int, Number] = {}
    if accrual.reservation is not None:
        brought = _reservation(compiled, accrual.reservation)
        _add(lines, slots, brought)
        _add(reserved, slots, brought)
    return Quantities(
        lines,
        reserved,
        _included(compiled, counted, "ENERGY"),
        _included(compiled, counted, "TIME"),
        run is not None,
    )


def _left(compiled: CompiledTariff, accrual: Accrual, counted: dict[int, Number]) -> tuple[Number, Number]:
    """Included units (Wh, us) that are left, the open run considered."""
    left_wh, left_us = rational(accrual.left_wh), rational(accrual.left_us)
    if compiled.plan is None:
        return left_wh, left_us
    closed = compiled.tallied(accrual.tallies)
    for slot, quantity in counted.items():
        if compiled.is_included(slot):
            used = quantity - closed.get(slot, 0)
            if compiled.slots[slot].dimension == "ENERGY":
                left_wh -= used
            else:
                left_us -= used
    return left_wh, left_us


def _included(compiled: CompiledTariff, counted: dict[int, Number], dimension: Dimension) -> Number:
    """The quantity of one dimension that a plan covers."""
    used: Number = 0
    if compiled.plan is not None:
        for slot, quantity in counted.items():
            if compiled.slots[slot].dimension == dimension and compiled.is_included(slot):
                used += quantity
    return used


def _round_up(
    compiled: CompiledTariff, counted: dict[int, Number], last: int, dimension: Dimension, left: Number
) -> None:
    """Add the surplus of the last step to what is counted; included units that are left cover it first."""
    slots = compiled.slots
    if last < 0 or not slots[last].step:
        return
    others: Number = 0
    for slot, quantity in counted.items():
        if slot != last and slots[slot].dimension == dimension:
            others += quantity
    step, total = slots[last].step, counted[last] + others if others else counted[last]
    billed = ceil_div(total.numerator, total.denominator * step) * step
    if compiled.is_included(last):
        covered = min(billed - total, left)
        counted[last] += covered
        if billed - total > covered:
            paid = compiled.full_price(last)
            counted[paid] = counted.get(paid, 0) + billed - total - covered
    else:
        counted[last] = billed - others if others else billed


def _add(lines: dict[int, Number], slots: list[Slot], counted: dict[int, Number]) -> None:
    for slot, quantity in counted.items():
        line = slots[slot].line
        lines[line] = lines[line] + quantity if line in lines else quantity


def _reservation(compiled: CompiledTariff, reservation: Reservation) -> dict[int, Number]:
    """What the reservation is billed: TIME is its duration, FLAT once, steps of its own.

    For an expired one the elements for expired reservations come first, dimension by dimension.
    """
    table = compiled.reservation
    rules = table.selection
    begin, end = to_us(reservation.begin), to_us(reservation.end)
    counted: dict[int, Number] = {}
    kinds = (table.expired_mask, table.used_mask) if reservation.expired else (table.used_mask,)
    flats = [-1] * len(kinds)
    last, at = -1, begin
    while at < end or at == begin:
        active, until = rules.wall_mask(at)
        by_duration, next_duration = rules.duration_us.look(at - begin)
        active &= rules.energy_wh.mask(0) & by_duration
        active &= rules.power_w.mask(None) & rules.current_ma.mask(None)
        active &= rules.charging_us.mask(0) & rules.idle_us.mask(0)
        if at > begin:
            active &= rules.not_at_start
        until = min(end, until, begin + int(next_duration))
        slots = [table.slot(active & kind, "TIME") for kind in kinds]
        slot = next((s for s in slots if s >= 0), -1)
        if slot >= 0 and until > at:
            counted[slot] = counted.get(slot, 0) + until - at
            last = slot
        for i, kind in enumerate(kinds):
            flats[i] = flats[i] if flats[i] >= 0 else table.slot(active & kind, "FLAT")
        at = max(until, begin + 1)
    _round_up(compiled, counted, last, "TIME", 0)
    flat = next((s for s in flats if s >= 0), -1)
    if flat >= 0:
        counted[flat] = 1
    return counted
