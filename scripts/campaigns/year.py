#!/usr/bin/env python3
"""A year of a till in minutes: sessions every day, and the question whether anything grows that should not.

    .venv/bin/python scripts/campaigns/year.py --days 365 --sessions 20 --json

The whole till in virtual time (scripts/campaigns/till.py) without faults, in one life: each day's members, bank cards
and phones one after the other, from minutes to an hour; then a night that passes at once, in which the till prunes what
the back office has acknowledged, forgets what is old, and hands in its terminal. Each week prints a line. Memory and
file descriptors are those of this process, the site's books included; what the till keeps is bounded by `keep_days` and
`documents_days`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent))

from parts.till_life import CampaignLoop
from parts.till_story import Driver, Visit
from parts.till_trial import Trial, folder_of_trial

from edge.store.connection import open_reader

#: Entries are kept so long after their acknowledgement, documents and tokens so long after their day.
_KEEP_DAYS: Final = 1
_DOCUMENTS_DAYS: Final = 30

#: From this day on the tables are full: what goes each night is what came in a day.
_FULL_DAYS: Final = _DOCUMENTS_DAYS + 5

#: Memory is compared with that after the first week, in which everything has happened that ever does, but that
#: documents go; the database with that of the day when its tables were full.
_WARM_DAYS: Final = 7
_GROWTH_MAX: Final = 1.10

_DAY_S: Final = 86_400.0

#: What a night takes, beside the leap: a terminal ends its wait for a card (a minute) before it hands in the day.
_NIGHT_S: Final = 90.0

_WEEK_DAYS: Final = 7

#: How long drivers stay: mostly a minute, once in a while an hour. What costs is each poll of a car that charges.
_STAYS_S: Final = ((20, 90), (90, 400), (400, 1200), (1200, 3600))
_STAYS_WEIGHTS: Final = (86, 10, 3, 1)
_PAYS: Final = ("member", "bank card", "phone")


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The evening of a day. `*_kept`: rows of the till's tables."""

    day: int
    sessions: int
    rss_kb: int
    descriptors: int
    database_kb: int
    entries_kept: int
    sessions_kept: int
    invoices_kept: int


class Year(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured: memory after a week (or the first day of fewer) and at the end, the database when it was
    full and at the end.
    """

    days: int
    sessions: int
    invoices: int
    energy_wh: int
    rss_kb: tuple[int, int]
    rss_peak_kb: int
    descriptors: tuple[int, int]
    database_kb: tuple[int, int]
    entries_kept: int
    sessions_kept: int
    kept_max: int
    cpu_s: float
    problems: tuple[str, ...]

    @property
    def fine(self) -> bool:
        """Books that agree, and nothing that has grown by more than a tenth."""
        grown = [self.rss_kb, self.descriptors, self.database_kb]
        bounded = self.sessions_kept <= self.kept_max
        return not self.problems and bounded and all(end <= _GROWTH_MAX * full for full, end in grown)


class _Story:
    """One EVSE, day after day. `told` is called with each week's figures."""

    def __init__(self, trial: Trial, days: int, sessions: int, told: Callable[[Measured], None]) -> None:
        self.trial, self.days, self.sessions, self._told = trial, days, sessions, told
        self.rng = random.Random(trial.seed)  # noqa: S311  (a campaign must be repeatable)
        self.measured: dict[int, Measured] = {}
        self.played = 0
        self._driver = Driver(trial, 0, [])

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for day in range(1, self.days + 1):
            began = loop.time()
            for _ in range(self.sessions):
                await self._driver.visit(self._visit())
                self.played += 1
            await self._night(_DAY_S - (loop.time() - began))
            if day % _WEEK_DAYS == 0 or day in (1, _FULL_DAYS, self.days):
                self.measured[day] = self._measure(day)
                self._told(self.measured[day])

    def _visit(self) -> Visit:
        rng = self.rng
        (stays,) = rng.choices(_STAYS_S, _STAYS_WEIGHTS)
        return Visit(
            pays=_PAYS[self.played % 3],
            card=self.played // 3 % 2,  # never the last one's, which would ask for its receipt
            plugs_after_s=rng.uniform(2, 10),
            stays_s=rng.uniform(*stays),
            current_a=16,
            wants_wh=None,
            pauses=rng.random() < 0.1,
            stops="unplug",
            limit_minor=5000,
        )

    async def _night(self, seconds: float) -> None:
        life = self.trial.life
        assert life is not None
        await asyncio.sleep(15)
        life.heads[:-1] = []
        self.trial.site.leap(max(0.0, seconds))
        assert life.till._books is not None  # noqa: SLF001
        for _ in range(2):
            await asyncio.sleep(_NIGHT_S / 2)
            await life.till._books.keeper._tidy()  # noqa: SLF001

    def _measure(self, day: int) -> Measured:
        life = self.trial.life
        assert life is not None
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (their names do not matter)
        database = life.config.database
        size = sum(p.stat().st_size for p in database.parent.glob("till.db*") if p.is_file())
        with contextlib.closing(open_reader(database)) as db:
            kept = [
                db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
                for table in ("entry", "session", "invoice")
            ]
        return Measured(
            day=day, sessions=self.played, rss_kb=pages * os.sysconf("SC_PAGESIZE") // 1024,
            descriptors=descriptors, database_kb=size // 1024,
            entries_kept=kept[0], sessions_kept=kept[1], invoices_kept=kept[2],
        )  # fmt: skip


def play(days: int, sessions: int, seed: int = 1, told: Callable[[Measured], None] = lambda _: None) -> Year:
    """A till's days, and what they left behind."""

    async def year(folder: Path) -> Year:
        trial = Trial(seed, folder, calm=True)
        trial.forgetful = True
        config = folder / "config.toml"
        bounds = f"documents_days = {_DOCUMENTS_DAYS}\n[privacy]\ntoken_days = {_DOCUMENTS_DAYS}\n"
        config.write_text(
            config.read_text().replace("keep_days = 1\n", f"keep_days = {_KEEP_DAYS}\n{bounds}")
        )
        story = _Story(trial, days, sessions, told)
        try:
            await trial.play(story.run())
            count = trial.site.books.db.execute
            (booked,) = count("SELECT count(*) FROM session").fetchone()
            (invoices,) = count("SELECT count(*) FROM invoice").fetchone()
        finally:
            await trial.site.close()
        if booked != story.played:
            trial.site.problems.append(f"{story.played} drivers came, {booked} sessions are booked")
        warm = story.measured.get(_WARM_DAYS, story.measured[1])
        full = story.measured.get(_FULL_DAYS, story.measured[max(story.measured)])
        end = story.measured[days]
        return Year(
            days=days, sessions=booked, invoices=invoices, energy_wh=trial.site.stands[0].outlet.energy_wh(),
            rss_kb=(warm.rss_kb, end.rss_kb), rss_peak_kb=max(m.rss_kb for m in story.measured.values()),
            descriptors=(warm.descriptors, end.descriptors),
            database_kb=(full.database_kb, end.database_kb), entries_kept=end.entries_kept,
            sessions_kept=end.sessions_kept, kept_max=(_DOCUMENTS_DAYS + 2) * sessions,
            cpu_s=round(sum(os.times()[:2]), 1), problems=tuple(trial.site.problems),
        )  # fmt: skip

    with folder_of_trial() as folder, asyncio.Runner(loop_factory=CampaignLoop) as runner:
        found: Any = runner.run(year(folder))
    assert isinstance(found, Year)
    return found


def main() -> None:
    """Print a line a week and the figures; exit 1 when something grew, or a promise broke."""
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
    found = play(
        given.days, given.sessions, given.seed,
        lambda week: print(msgspec.json.encode(week).decode(), flush=True),
    )  # fmt: skip
    print(msgspec.json.encode({**msgspec.structs.asdict(found), "fine": found.fine}).decode())
    if not found.fine:
        sys.exit(1)


if __name__ == "__main__":
    main()
