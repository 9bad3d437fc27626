"""The quantities that are billed: what was used, rounded up by `step_size`, and the reservation's.

`step_size` (OCPI mod_cdrs): once per session for ENERGY, and once for TIME and PARKING_TIME together. The session
total of what was priced is rounded up with the step of the last component that priced it; the surplus is billed
at that component's price. With any priced parking only parking is rounded.
"""

from __future__ import annotations

from fractions import Fraction

import msgspec

from edge.domain.pricing.accrual import Accrual, Reservation, close_run
from edge.domain.pricing.compiled import CompiledTariff, Slot
from edge.domain.pricing.exact import rational
from edge.domain.pricing.selection import Number
from edge.domain.pricing.wall import to_us
from edge.domain.tariffs.model import Dimension


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
    counted: dict[int, Number] = {tally.slot: rational(tally.quantity) for tally in accrual.tallies}
    last = [accrual.last_energy, accrual.last_time, accrual.last_parking]
    left_wh, left_us = rational(accrual.left_wh), rational(accrual.left_us)
    run = accrual.run
    if run is not None:
        elapsed = accrual.ended_us - rational(run.started_us)
        energy = rational(accrual.energy) - rational(run.started_wh)
        counted, last = close_run(run, elapsed, energy, counted, last)
        if compiled.plan is not None:
            left_wh -= energy if compiled.is_included(run.energy_slot) else 0
            left_us -= elapsed if compiled.is_included(run.time_slot) else 0
    if accrual.flat_slot >= 0:
        counted[accrual.flat_slot] = 1
    if accrual.buys_pass and run is not None:
        counted[compiled.pass_slot] = 1
    left_wh = _round_up(compiled, counted, last[0], "ENERGY", left_wh)
    if last[2] >= 0:
        _round_up(compiled, counted, last[2], "PARKING_TIME", 0)
    else:
        left_us = _round_up(compiled, counted, last[1], "TIME", left_us)
    lines: dict[int, Number] = {}
    _add(lines, slots, counted)
    reserved: dict[int, Number] = {}
    if accrual.reservation is not None:
        brought = _reservation(compiled, accrual.reservation)
        _add(lines, slots, brought)
        _add(reserved, slots, brought)
    used_wh = used_us = 0
    if compiled.plan is not None:
        used_wh = sum(
            q for s, q in counted.items() if slots[s].dimension == "ENERGY" and compiled.is_included(s)
        )
        used_us = sum(
            q for s, q in counted.items() if slots[s].dimension == "TIME" and compiled.is_included(s)
        )
    return Quantities(lines, reserved, used_wh, used_us, run is not None)


def _round_up(
    compiled: CompiledTariff, counted: dict[int, Number], last: int, dimension: Dimension, left: Number
) -> Number:
    """Add the surplus of the last step to what is counted; included units that are left cover it first.

    Returns the included units left then.
    """
    if last < 0:
        return left
    slots = compiled.slots
    step = slots[last].step
    if not step:
        return left
    total = sum(q for s, q in counted.items() if slots[s].dimension == dimension)
    surplus = -total % step
    if not surplus:
        return left
    covered = min(surplus, left) if compiled.is_included(last) else 0
    counted[last] += covered
    if surplus > covered:
        paid = compiled.full_price(last)
        counted[paid] = counted.get(paid, 0) + surplus - covered
    return left - covered


def _add(lines: dict[int, Number], slots: list[Slot], counted: dict[int, Number]) -> None:
    for slot, quantity in counted.items():
        line = slots[slot].line
        lines[line] = lines.get(line, 0) + quantity


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
        active &= rules.energy_wh.mask(0) & rules.duration_us.mask(at - begin)
        active &= rules.power_w.mask(None) & rules.current_ma.mask(None)
        active &= rules.charging_us.mask(0) & rules.idle_us.mask(0)
        if at > begin:
            active &= rules.not_at_start
        until = min(end, until, begin + int(rules.duration_us.next_cut(at - begin)))
        slots = [table.slot(active & kind, "TIME") for kind in kinds]
        slot = next((s for s in slots if s >= 0), -1)
        if slot >= 0 and until > at:
            counted[slot] = counted.get(slot, 0) + until - at
            last = slot
        for i, kind in enumerate(kinds):
            flats[i] = flats[i] if flats[i] >= 0 else table.slot(active & kind, "FLAT")
        at = max(until, begin + 1)
    _round_up(compiled, counted, last, "TIME", Fraction(0))
    flat = next((s for s in flats if s >= 0), -1)
    if flat >= 0:
        counted[flat] = 1
    return counted
