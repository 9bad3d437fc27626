#!/usr/bin/env python3
"""Break the terminal, its line and the till at every step, many times, and look whether a cent is missing.

    .venv/bin/python scripts/campaigns/payments.py --trials 2000 --seed 1 --json --state FILE

A trial is some hours at a charger, in virtual time: the terminal desk, the real ZVT driver and the virtual terminal,
drivers who tap, plug in and leave, scripted faults, holds that lapse, and a till that is cancelled or loses power at
any step and comes back with what its journal has. At the end the terminal's books must say what our answers said, to
the cent, with no hold left open. One line of JSON per trial; a campaign with `--state` goes on where it ended.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent))

from parts.payment_trial import Trial, run


def _summary(trials: list[Trial]) -> dict[str, Any]:
    ends: Counter[str] = Counter()
    for trial in trials:
        ends.update(trial.ends)
    return {
        "trials": len(trials),
        "payments": sum(ends.values()),
        "ends": dict(ends),
        "crashes": sum(trial.crashes for trial in trials),
        "faults": sum(trial.faults for trial in trials),
        "days_handed_in": sum(trial.days for trial in trials),
        "with_problems": sum(bool(trial.problems) for trial in trials),
    }


def main() -> None:
    """Run the campaign; exit 1 if a promise was broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--state", type=Path, help="keep each trial's line here, and go on after the last one"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    logging.disable(logging.CRITICAL)  # what goes wrong here is meant to
    trials: list[Trial] = []
    if arguments.state is not None and arguments.state.exists():
        trials = [msgspec.json.decode(line, type=Trial) for line in arguments.state.read_bytes().splitlines()]
    for number in range(len(trials), arguments.trials):
        trial, _ = run(arguments.seed * 1_000_000 + number)
        trials.append(trial)
        line = msgspec.json.encode(trial).decode()
        if arguments.state is not None:
            with arguments.state.open("a") as file:
                file.write(line + "\n")
        print(line if arguments.json else f"{number + 1}/{arguments.trials} {line}", flush=True)
    summary = _summary(trials)
    print(msgspec.json.encode(summary).decode())
    if summary["with_problems"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
