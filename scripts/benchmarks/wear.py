#!/usr/bin/env python3
"""What one session of an hour writes to the disk, from the tap to the back office's last acknowledgement.

.venv/bin/python scripts/benchmarks/wear.py --json

The whole till in virtual time on the virtual disk (hw/virtual/disk.py), which counts the bytes of every write that
SQLite makes: the log's pages with their headers, and the pages that go from there into the database. What a file
system and a card's controller add to that is theirs. Idle hours are counted beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "campaigns"))

from parts.till_life import CampaignLoop
from parts.till_trial import Trial

GOAL_BYTES: Final = 400_000
_HOUR_S: Final = 3600
_READY_S: Final = 30


async def _hours(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    trial = Trial(1, folder, calm=True)

    async def story() -> None:
        await asyncio.sleep(_READY_S)
        life, site = trial.life, trial.site
        assert life is not None
        await asyncio.sleep(60)

        def counted() -> tuple[int, int]:
            return life.volume.written_bytes, life.volume.syncs

        begin = counted()
        site.tap(0)
        await asyncio.sleep(5)
        site.plug(0, current_a=16, wants_wh=None)
        await asyncio.sleep(_HOUR_S)
        site.unplug(0)
        await asyncio.sleep(60)
        end = counted()
        await asyncio.sleep(_HOUR_S)
        idle = counted()
        energy_wh = site.stands[0].outlet.energy_wh()
        found.update(
            session_bytes=end[0] - begin[0], session_syncs=end[1] - begin[1], energy_wh=energy_wh,
            idle_hour_bytes=idle[0] - end[0], idle_hour_syncs=idle[1] - end[1],
        )  # fmt: skip

    try:
        await trial.play(story())
    finally:
        await trial.site.close()
    found["problems"] = trial.site.problems
    return found


def measure() -> dict[str, Any]:
    """The figures, with their goal."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=CampaignLoop) as runner:
        found: dict[str, Any] = runner.run(_hours(Path(folder)))
    found["goal_bytes"] = GOAL_BYTES
    found["ok"] = found["session_bytes"] <= GOAL_BYTES and not found["problems"]
    return found


def main() -> None:
    """Print the figures; exit 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure()
    if given.json:
        print(json.dumps(found))
    else:
        print(
            f"a session of an hour ({found['energy_wh'] / 1000:.1f} kWh): {found['session_bytes'] / 1000:.0f} KB "
            f"written, {found['session_syncs']} syncs (goal: {GOAL_BYTES / 1000:.0f} KB)"
        )
        print(
            f"an hour without anybody: {found['idle_hour_bytes'] / 1000:.0f} KB, {found['idle_hour_syncs']} syncs"
        )
    if not found["ok"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
