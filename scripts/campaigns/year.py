#!/usr/bin/env python3
"""A year of a till in minutes: sessions every day, and the question whether anything grows that should not.

    .venv/bin/python scripts/campaigns/year.py --days 365 --sessions 20 --json

The whole till in virtual time (scripts/campaigns/till.py) without faults: each day's sessions one after the other, then
a night that passes at once, in which the till prunes what the back office has acknowledged and forgets what is old.
Memory and file descriptors are those of this process; the till's own tables are bounded by `documents_days`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent))

from parts.till_life import CampaignLoop
from parts.till_trial import Trial

#: What grows with every day until the oldest documents go is measured from this day on.
_FULL_DAYS: Final = 35
_GROWTH_MAX: Final = 1.10
_DAY_S: Final = 86_400.0
_IDLE_MAX_S: Final = 120


class Year(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured at the day when the tables were full, and at the end."""

    days: int
    sessions: int
    invoices: int
    energy_wh: int
    rss_kb: tuple[int, int]
    descriptors: tuple[int, int]
    database_kb: tuple[int, int]
    entries_kept: int
    problems: tuple[str, ...]

    @property
    def fine(self) -> bool:
        grown = [self.rss_kb, self.descriptors, self.database_kb]
        return not self.problems and all(end <= _GROWTH_MAX * full for full, end in grown)


class _Story:
    """One EVSE, day after day."""

    def __init__(self, trial: Trial, days: int, sessions: int) -> None:
        self.trial, self.days, self.sessions = trial, days, sessions
        self.rng = random.Random(trial.seed)  # noqa: S311  (a campaign must be repeatable)
        self.measured: list[tuple[int, int, int]] = []

    async def run(self) -> None:
        for day in range(1, self.days + 1):
            for number in range(self.sessions):
                await self._session(number % 3)
            await self._night()
            if day in (min(_FULL_DAYS, self.days), self.days):
                self.measured.append(self._measure())

    async def _session(self, card: int) -> None:
        site, rng = self.trial.site, self.rng
        for _ in range(_IDLE_MAX_S):
            controller = self.trial.controller(0)
            if controller is not None and controller.shown is not None and controller.shown.kind == "idle":
                break
            await asyncio.sleep(1)
        site.tap(card)  # not the last one, which would ask for its receipt
        await asyncio.sleep(3)
        site.plug(0, current_a=16, wants_wh=None)
        await asyncio.sleep(rng.uniform(15, 40))
        site.unplug(0)
        await asyncio.sleep(10)

    async def _night(self) -> None:
        life = self.trial.life
        assert life is not None
        await asyncio.sleep(15)
        life.heads[:-1] = []
        self.trial.site.leap(_DAY_S)
        await asyncio.sleep(2)
        assert life.till._books is not None  # noqa: SLF001
        await life.till._books.keeper._tidy()  # noqa: SLF001

    def _measure(self) -> tuple[int, int, int]:
        life = self.trial.life
        assert life is not None
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (their names do not matter)
        database = life.config.database
        size = sum(p.stat().st_size for p in database.parent.glob("till.db*") if p.is_file())
        return pages * os.sysconf("SC_PAGESIZE") // 1024, descriptors, size // 1024


def play(days: int, sessions: int, seed: int = 1) -> Year:
    """A till's days, and what they left behind."""

    async def year(folder: Path) -> Year:
        trial = Trial(seed, folder, calm=True)
        config = folder / "config.toml"
        bounds = "keep_days = 1\ndocuments_days = 30\n[privacy]\ntoken_days = 30\n"
        config.write_text(config.read_text().replace("keep_days = 1\n", bounds))
        story = _Story(trial, days, sessions)
        try:
            await trial.play(story.run())
            count = trial.site.books.db.execute
            (booked,) = count("SELECT count(*) FROM session").fetchone()
            (invoices,) = count("SELECT count(*) FROM invoice").fetchone()
            kept = trial.kept_entries()
        finally:
            await trial.site.close()
        (rss, fds, size), (rss_end, fds_end, size_end) = story.measured[0], story.measured[-1]
        return Year(
            days=days, sessions=booked, invoices=invoices, energy_wh=trial.site.stands[0].outlet.energy_wh(),
            rss_kb=(rss, rss_end), descriptors=(fds, fds_end), database_kb=(size, size_end), entries_kept=kept,
            problems=tuple(trial.site.problems),
        )  # fmt: skip

    with (
        tempfile.TemporaryDirectory(prefix="year-") as folder,
        asyncio.Runner(loop_factory=CampaignLoop) as runner,
    ):
        found: Any = runner.run(year(Path(folder)))
    assert isinstance(found, Year)
    return found


def main() -> None:
    """Print the figures; exit 1 when something grew, or a promise broke."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--sessions", type=int, default=20, help="a day")
    parser.add_argument("--trials", type=int, default=1, help="ignored: there is one year a seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state", type=Path, help="ignored: a year is one trial")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    logging.disable(logging.CRITICAL)
    found = play(given.days, given.sessions, given.seed)
    print(msgspec.json.encode({**msgspec.structs.asdict(found), "fine": found.fine}).decode())
    if not found.fine:
        sys.exit(1)


if __name__ == "__main__":
    main()
