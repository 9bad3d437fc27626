#!/usr/bin/env python3
"""An 8 h session of 480 one-minute periods under a tariff with every kind of restriction, and the live price.

Beside the engine runs a straightforward implementation that looks at each period as it comes: rules one after the
other, Decimals throughout. It cuts nothing, so its total is only near the right one.

    .venv/bin/python scripts/benchmarks/pricing.py --json
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import accumulate
from time import perf_counter
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from edge.domain.pricing import (
    Accrual,
    ChargingState,
    CompiledTariff,
    History,
    Interval,
    begin,
    compile_tariff,
    extend,
    extend_all,
    payable_minor,
    remaining,
    settle,
)
from edge.domain.tariffs import Restrictions, Tariff, load_tariff

ZONE = "Europe/Berlin"
START = datetime(2026, 11, 24, 19, tzinfo=UTC)
_WORKDAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]


def _component(kind: str, price: str, vat: int = 19, step: int = 1) -> dict[str, Any]:
    return {"type": kind, "price": price, "vat": vat, "step_size": step}


DOCUMENT = {
    "id": "bench",
    "currency": "EUR",
    "min_price": {"excl_vat": "1", "incl_vat": "1.19"},
    "max_price": {"excl_vat": "100", "incl_vat": "119"},
    "elements": [
        {
            "price_components": [_component("ENERGY", "0.39")],
            "restrictions": {"start_time": "22:00", "end_time": "06:00", "max_power": 50},
        },
        {
            "price_components": [_component("ENERGY", "0.69"), _component("TIME", "0.60", 19, 60)],
            "restrictions": {
                "min_kwh": 20,
                "min_current": 16,
                "day_of_week": _WORKDAYS,
                "start_date": "2026-01-01",
            },
        },
        {
            "price_components": [_component("PARKING_TIME", "6.00", 7, 300)],
            "restrictions": {"min_duration": 14400},
        },
        {"price_components": [_component("ENERGY", "0.49"), _component("FLAT", "1.00")]},
    ],
}


class Figure(NamedTuple):
    """One figure in microseconds, and the design's goal for it."""

    what: str
    value_us: float
    goal_us: float | None = None


def measure() -> Iterator[Figure]:
    """A whole session, the live price early and late in one, and what else the till asks while it charges."""
    tariff = load_tariff(DOCUMENT)
    compiled = compile_tariff(tariff, time_zone=ZONE)
    history = _history(480)
    accrual = extend_all(compiled, begin(compiled, at=START), history)
    yield Figure(
        "straightforward reference, 480 periods", _best_us(lambda: _straightforward(tariff, history), 20)
    )
    yield Figure(
        "480 periods in columns, all restrictions", _best_us(lambda: _session(compiled, history)), 100
    )
    for count in (10, 10_000):
        grown = _grown(compiled, count)
        end = grown.ended_at + timedelta(seconds=1)
        more = Interval(end=end, energy_wh=3, power_w=11_000, current_ma=48_000)
        live = _best_us(partial(_live, compiled, grown, more), 2000)
        yield Figure(f"live price of one more sample at period {count:,}", live, 10)
    yield Figure("settle: exact lines, invoice, periods", _best_us(lambda: settle(compiled, accrual)))
    amount_minor = payable_minor(compiled, accrual) + 1000
    ahead = partial(remaining, compiled, accrual, amount_minor=amount_minor, power_w=11_000)
    yield Figure("how far a hold goes", _best_us(ahead, 20))
    yield Figure("whether a hold lasts for two minutes", _best_us(partial(ahead, within_s=120), 200))
    yield Figure(
        "load and compile", _best_us(lambda: compile_tariff(load_tariff(DOCUMENT), time_zone=ZONE), 50)
    )


def _session(compiled: CompiledTariff, history: History) -> int:
    return payable_minor(compiled, extend_all(compiled, begin(compiled, at=START), history))


def _live(compiled: CompiledTariff, accrual: Accrual, interval: Interval) -> int:
    return payable_minor(compiled, extend(compiled, accrual, interval))


def _history(count: int) -> History:
    """Minutes of charging at about 11 kW, the last sixth of them parked."""
    start_us = int(START.timestamp()) * 1_000_000
    charging = count * 5 // 6
    parked = count - charging
    return History(
        end_us=tuple(start_us + (i + 1) * 60_000_000 for i in range(count)),
        register_wh=tuple(accumulate(180 + i * 7 % 11 if i < charging else 0 for i in range(count))),
        state=_states(charging, "Charging") + _states(parked, "SuspendedEV"),
        power_w=tuple(10_800 + i % 60 for i in range(charging)) + (0,) * parked,
        current_ma=tuple(47_000 + i % 100 for i in range(charging)) + (0,) * parked,
    )


def _states(count: int, state: ChargingState) -> tuple[ChargingState, ...]:
    return (state,) * count


def _grown(compiled: CompiledTariff, count: int) -> Accrual:
    """A session that has seen this many samples, with cuts and changes of state behind it."""
    accrual = begin(compiled, at=START)
    for i in range(count):
        state: ChargingState = "SuspendedEV" if i % 500 == 250 else "Charging"
        accrual = extend(
            compiled,
            accrual,
            Interval(
                end=START + timedelta(seconds=i + 1),
                energy_wh=3 if state == "Charging" else 0,
                state=state,
                power_w=11_000,
                current_ma=48_000,
            ),
        )
    return accrual


def _best_us(run: Callable[[], object], runs: int = 200, rounds: int = 9) -> float:
    """Microseconds of one run in the best round: the machine's own noise only adds."""
    gc.disable()
    try:
        best = float("inf")
        for _ in range(rounds):
            start = perf_counter()
            for _ in range(runs):
                run()
            best = min(best, perf_counter() - start)
        return best / runs * 1e6
    finally:
        gc.enable()


def _straightforward(tariff: Tariff, history: History) -> Decimal:
    """The tariff's price as one would write it down first."""
    zone = ZoneInfo(ZONE)
    total, energy, started, flat = Decimal(0), 0, START, False
    at = started
    columns = (history.end_us, history.register_wh, history.state, history.power_w, history.current_ma)
    for end_us, register, state, power_w, current_ma in zip(*columns, strict=True):
        added = register - energy
        end = datetime.fromtimestamp(end_us / 1e6, tz=UTC)
        hours = Decimal((end - at).total_seconds()) / 3600
        duration_s = (at - started).total_seconds()
        local = at.astimezone(zone)
        seen = set()
        for element in tariff.elements:
            if not _holds(element.restrictions, local, energy, duration_s, power_w, current_ma):
                continue
            for component in element.components:
                if component.dimension in seen:
                    continue
                seen.add(component.dimension)
                quantity = {
                    "ENERGY": Decimal(added) / 1000,
                    "TIME": hours if state == "Charging" else Decimal(0),
                    "PARKING_TIME": hours if state == "SuspendedEV" else Decimal(0),
                    "FLAT": Decimal(0 if flat else 1),
                }[component.dimension]
                flat = flat or component.dimension == "FLAT"
                factor = 1 + sum((rate.percent for rate in component.taxes), Decimal(0)) / 100
                total += component.price * quantity * factor
        energy, at = energy + added, end
    return total.quantize(Decimal("0.01"))


def _holds(
    r: Restrictions,
    local: datetime,
    energy_wh: int,
    duration_s: float,
    power_w: int | None,
    current_ma: int | None,
) -> bool:
    minute = local.hour * 60 + local.minute
    if r.start_minute is not None and r.end_minute is not None:
        wraps = r.end_minute < r.start_minute
        inside = (
            minute >= r.start_minute or minute < r.end_minute
            if wraps
            else r.start_minute <= minute < r.end_minute
        )
        if not inside:
            return False
    if r.weekdays and local.weekday() not in r.weekdays:
        return False
    if (r.start_date and local.date() < r.start_date) or (r.end_date and local.date() >= r.end_date):
        return False
    for least, most, value in (
        (r.min_energy_wh, r.max_energy_wh, energy_wh),
        (r.min_power_w, r.max_power_w, power_w),
        (r.min_current_a, r.max_current_a, None if current_ma is None else Decimal(current_ma) / 1000),
        (r.min_duration_s, r.max_duration_s, duration_s),
    ):
        if least is not None and (value is None or value < least):
            return False
        if most is not None and (value is None or value >= most):
            return False
    return True


def main() -> None:
    """Measure and print; exit 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description="how fast sessions are priced")
    parser.add_argument("--json", action="store_true")
    figures = list(measure())
    if parser.parse_args().json:
        print(json.dumps({"figures": [figure._asdict() for figure in figures]}))
    else:
        for figure in figures:
            goal = "" if figure.goal_us is None else f"  (goal <= {figure.goal_us:g} us)"
            print(f"{figure.what:55} {figure.value_us:10,.2f} us{goal}")
    missed = any(figure.goal_us is not None and figure.value_us > figure.goal_us for figure in figures)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
