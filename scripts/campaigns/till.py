#!/usr/bin/env python3
"""Break everything around a whole till, many times, and look whether a promise breaks.

    .venv/bin/python scripts/campaigns/till.py --trials 5000 --seed 1 --json --state FILE
    .venv/bin/python scripts/campaigns/till.py --only 1000017          # one trial again, by its number

A trial is some minutes to days at a charger in virtual time: the real composition root with its controllers, drivers,
terminal desk, store and sender on virtual hardware, within one process. Drivers come with member cards, bank cards,
phones and remote starts. The till is killed, or loses power with torn and missing writes, at any step; lines, meters,
terminal, broker, clock and disk fail meanwhile. Then everything is mended, and once all is at rest the books of till,
terminal, meter and back office are compared. A seed gives the same trial again.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent))

from parts.till_points import coverage
from parts.till_protections import Protection
from parts.till_site import Layout
from parts.till_trial import Result, run

#: Numbers of trials between two seeds.
_SEED_TRIALS = 1_000_000


def summary(results: list[Result]) -> dict[str, Any]:
    """What a campaign did, in figures."""
    deaths: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for result in results:
        deaths.update(result.deaths)
        faults.update(result.faults)
    layouts = Counter(kind for r in results for kind in {r.layout.pays, *r.layout.meters})
    failed = [result.seed for result in results if result.problems]
    return {
        "trials": len(results),
        "first": results[0].seed if results else None,
        "last": results[-1].seed if results else None,
        "broken": len(failed),
        "failed": failed[:100],
        "lives": sum(result.lives for result in results),
        "deaths": dict(sorted(deaths.items())),
        "faults": dict(sorted(faults.items())),
        "sessions": sum(result.sessions for result in results),
        "invoices": sum(result.invoices for result in results),
        "entries": sum(result.entries for result in results),
        "energy_wh": sum(result.energy_wh for result in results),
        **coverage((r.passed for r in results), (r.died_at() for r in results)),
        "layouts": dict(sorted(layouts.items())),
        "hours": round(sum(result.minutes for result in results) / 60, 1),
    }


def played(number: int, protection: Protection | None) -> Result:
    """One trial. One that cannot be played to its end is broken, and the campaign goes on."""
    try:
        return run(number, protection)
    except Exception as e:  # noqa: BLE001  (whatever it is, it is what was found)
        return Result(
            seed=number, lives=0, deaths={}, faults={}, sessions=0, invoices=0, entries=0, energy_wh=0, minutes=0.0,
            layout=Layout(), passed=(), problems=(f"the trial ended with {e!r}",),
        )  # fmt: skip


def main() -> None:
    """Run the campaign; exit 1 if a promise was broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="this trial alone, by its number, with the till's log")
    parser.add_argument(
        "--without", choices=get_args(Protection), help="the till goes without this protection"
    )
    parser.add_argument(
        "--state", type=Path, help="keep each trial's line here, and go on after the last one"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if given.only is None:
        logging.disable(logging.CRITICAL)
    results: list[Result] = []
    if given.state is not None and given.state.exists():
        results = [msgspec.json.decode(line, type=Result) for line in given.state.read_bytes().splitlines()]
    first = given.seed * _SEED_TRIALS
    numbers = [given.only] if given.only is not None else range(first + len(results), first + given.trials)
    for number in numbers:
        began = time.process_time()
        results.append(result := played(number, given.without))
        line = msgspec.json.encode(result).decode()
        if given.state is not None:
            with given.state.open("a") as file:
                file.write(line + "\n")
        print(line if given.json else f"{time.process_time() - began:.2f} s {line}", flush=True)
    found = summary(results)
    print(msgspec.json.encode(found).decode())
    if found["broken"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
