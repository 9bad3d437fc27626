"""One trial: a site, its drivers and its troubles, and one life of the till after the other until all is at rest."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, get_args

import msgspec
from parts.till_audit import audit
from parts.till_life import CampaignLoop, Life
from parts.till_operator import look_after, refunds_open, takes_back
from parts.till_place import build, draw, learn_tariffs
from parts.till_points import EVENTS, Fuse, Kind
from parts.till_protections import Protection, without
from parts.till_scene import Scene
from parts.till_site import Layout, Site
from parts.till_story import Driver, Troubles, visits
from parts.till_wiring import wired

from edge import inventory
from edge.domain.session.state import open_sessions
from edge.store.connection import open_reader
from hw.virtual.disk import install

#: Steps of a life after which nobody is made to die any more: the trial has to come to an end.
_STEPS_MAX: Final = 2_000
_LIVES_MAX: Final = 60

#: systemd waits so long before it starts the till again.
_RESTART_S: Final = 2.0

#: How long the site may take to come to rest; every so often an hour passes at once, for what is asked again hourly.
_REST_S: Final = 3_600.0
_REST_LOOK_S: Final = 5.0
_REST_LEAP_S: Final = 120.0

#: How long the power is off in a story.
_OFF_S: Final = 60.0

#: A contactor's lease, and a poll of the world's own.
_LEASE_S: Final = 12.0

Death = Literal["killed", "power of the till", "power of the site"]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one trial did and found."""

    seed: int
    lives: int
    deaths: dict[str, int]
    faults: dict[str, int]
    sessions: int
    invoices: int
    entries: int
    energy_wh: int
    minutes: float
    layout: Layout
    passed: tuple[str, ...]
    problems: tuple[str, ...]

    def died_at(self) -> set[str]:
        """The points at which its till died."""
        return {where.partition(": ")[2] for where in self.deaths}


class Trial(Scene):
    """See the module."""

    def __init__(self, seed: int, folder: Path, *, calm: bool = False, layout: Layout | None = None) -> None:
        """`calm`: one EVSE, plain prices, and nobody dies. `forgetful`: the disk's writes are not kept in memory.
        `next_death`: how it ends the next time, which is drawn otherwise.
        """
        self.rng = rng = random.Random(seed)  # noqa: S311  (a campaign must be repeatable)
        super().__init__(seed, Site(seed, folder, layout or (Layout() if calm else draw(rng))))
        self.folder = folder
        self.eventful = self.eventful and not calm
        build(self.site, rng, calm=calm)
        self.lives = 0
        self.deaths: dict[str, int] = {}
        self.passed: set[str] = set()
        self.forgetful = False
        self.next_death: Death | None = None
        self.heads: list[tuple[str, int, str]] = []
        self._deaths_left = 0 if calm else rng.choice((0, 1, 1, 2, 3, 5))
        self._over = asyncio.Event()
        self._next = folder / "life-0"

    async def run(self) -> Result:
        """The drivers' story, with everything that the seed breaks."""
        troubles = Troubles(self)
        drivers = [Driver(self, n, visits(self.rng)) for n in range(len(self.site.stands))]

        async def story() -> None:
            told = [asyncio.ensure_future(each) for each in (troubles.run(), *(d.run() for d in drivers))]
            try:
                await asyncio.gather(*told)
            finally:
                for task in told:
                    task.cancel()

        await self.play(story(), heal=troubles.heal)
        return self._result(troubles)

    async def play(
        self, story: Coroutine[Any, Any, None], *, heal: Callable[[], None] = lambda: None
    ) -> None:
        """A story, then rest, then the audit: what is wrong stands in the site's problems."""
        with wired(self._life, lambda: self.site.clock, random.Random(self.seed)):  # noqa: S311
            lives = asyncio.ensure_future(self._lives())
            operators = [asyncio.ensure_future(each) for each in (look_after(self), takes_back(self))]
            told = asyncio.ensure_future(story)
            await asyncio.wait((lives, told), return_when=asyncio.FIRST_COMPLETED)
            self.resting = True
            if self.life is not None:
                self.life.fuse = Fuse()
            heal()
            for number in range(len(self.site.stands)):
                self.site.unplug(number)
            rested = not lives.done() and await self._rest()
            self._over.set()
            if self.life is not None:
                self.life.stop()
            await lives
            for task in (*operators, told):
                task.cancel()
            await asyncio.wait((*operators, told))
            if (error := None if told.cancelled() else told.exception()) is not None:
                raise error
        if rested and not self._life().where:
            self.site.problems += audit(self.site, self._database(), self.heads)

    def _life(self) -> Life:
        assert self.life is not None
        return self.life

    def _database(self) -> Path:
        assert self.life is not None
        return self.life.config.database

    async def _lives(self) -> None:
        """One after the other, until the trial is over."""
        while not self._over.is_set():
            self.lives += 1
            if self.lives > _LIVES_MAX:
                self.site.problems.append(f"it never comes up: {self._life().where}")
                return
            life = self._born()
            await life.run()
            self.heads += life.heads
            self.passed |= life.passed
            if self._over.is_set():
                if life.where:
                    self.site.problems.append(f"the last stop: {life.where}")
                return
            await self._died(life)

    def _born(self) -> Life:
        config = inventory.load(self.folder / "config.toml")
        learn_tariffs(self.site)
        self._next.mkdir(exist_ok=True)
        config = replace(config, database=self._next / "till.db")
        fuse = Fuse()
        if self._deaths_left > 0 and not self.resting:
            fuse = Fuse.drawn(self.rng, _STEPS_MAX, self._kinds(), eventful=self.eventful)
            events = random.Random(f"event {self.seed} {self.lives}")  # noqa: S311  (a campaign must be repeatable)
            if self.eventful and events.random() < 0.5:
                fuse = Fuse(points=dict.fromkeys(events.sample(EVENTS, 3), 1))
        self.life = life = Life(self.site, config, fuse=fuse)
        life.volume.fault = None if self.resting else self.disk_fault
        life.volume.remembers = not self.forgetful
        return life

    def _kinds(self) -> list[Kind]:
        """The kinds of points that this site has."""
        gone = ("iso8583", "card") if self.site.acquirer is None else ("zvt",)
        return [kind for kind in get_args(Kind) if kind not in gone]

    async def _died(self, life: Life) -> None:
        """What is left of it, and how long it takes until the next life."""
        rng, site = self.rng, self.site
        site.disturbed = True
        killed = life.where and not life.where.startswith("ended")
        how: Death = rng.choice(("killed", "power of the till", "power of the site")) if killed else "killed"
        how = self.next_death or how
        if killed:
            self._deaths_left -= 1
            self.deaths[f"{how}: {life.where}"] = self.deaths.get(f"{how}: {life.where}", 0) + 1
        self._next = self.folder / f"life-{self.lives}"
        life.volume.copy(self._next, power_cut=None if how == "killed" else rng)
        install().unmount(life.volume)
        off_s = _RESTART_S
        if how != "killed":
            life.powered_off = True
            off_s = rng.choice((5.0, 20.0, 120.0)) if self.next_death is None else _OFF_S
            wrong = timedelta(days=rng.choice((0, -1, -400, -9000, 3000)))
            site.boot(skew=wrong, trusted_s=rng.choice((0.0, 0.0, 15.0, 100.0)))
        if how == "power of the site":
            site.cut_power()
            await site.terminal.switch_off()
            await asyncio.sleep(off_s)
            site.restore_power()
            await site.terminal.switch_on()
        else:
            await self._leased(off_s)

    async def _leased(self, off_s: float) -> None:
        """I1: without the till permission ends by itself."""
        await asyncio.sleep(min(off_s, _LEASE_S))
        if off_s > _LEASE_S:
            before_wh = [stand.outlet.energy_wns() for stand in self.site.stands]
            await asyncio.sleep(off_s - _LEASE_S)
            for stand, before in zip(self.site.stands, before_wh, strict=True):
                if stand.outlet.energy_wns() != before and not stand.ever_welded:
                    self.site.problems.append(f"I1: E{stand.number + 1} charges although the till is dead")

    async def _rest(self) -> bool:
        """Until no session is open and everything is acknowledged. False, with a problem, if that never comes."""
        waited_s = 0.0
        while not (settled := self._settled()):
            if waited_s >= _REST_S:
                break
            await asyncio.sleep(_REST_LOOK_S)
            waited_s += _REST_LOOK_S
            if waited_s % _REST_LEAP_S == 0:
                self.site.leap(3600)
        if not settled:
            states = [c.state for c in self.life.till._controllers] if self.life is not None else []  # noqa: SLF001
            stuck = [
                f"{s.session_id} {type(s.state).__name__} {s.payment.method} {s.payment.status}"
                for state in states
                for s in open_sessions(state)
            ]
            waiting = self._waiting()
            self.site.problems.append(
                f"no rest: sessions {stuck}, welded {[s.evse_id for s in states if s.welded is not None]}, "
                f"{waiting} entries wait, holds {self.site.holds()}, "
                f"the till {'lives' if self._life().alive else 'is dead'}"
            )
        return bool(settled)

    def _waiting(self) -> int | None:
        life = self.life
        if life is None or life.office is None or life.office.sender is None:
            return None
        return life.office.sender.waiting

    def _settled(self) -> bool:
        life = self.life
        if life is None or not life.alive or not life.till._controllers:  # noqa: SLF001
            return False
        states = [controller.state for controller in life.till._controllers]  # noqa: SLF001
        if any(open_sessions(state) or state.welded is not None for state in states) or self.site.holds():
            return False
        if life.office is None or life.office.closed:
            return False  # it waits for its disk
        if refunds_open(self):
            return False
        sender = life.office.sender
        if sender is None or sender.waiting or not sender.lines:
            return False
        return sender.lines[-1].last == life.heads[-1][1] if life.heads else False

    def kept_entries(self) -> int:
        """What the till's own journal still holds."""
        with closing(open_reader(self._database())) as db:
            (count,) = db.execute("SELECT count(*) FROM entry").fetchone()
        return int(count)

    def _result(self, troubles: Troubles) -> Result:
        site = self.site
        count = site.books.db.execute
        (entries,) = count("SELECT count(*) FROM entry").fetchone()
        (sessions,) = count("SELECT count(*) FROM session").fetchone()
        (invoices,) = count("SELECT count(*) FROM invoice").fetchone()
        return Result(
            seed=self.seed,
            lives=self.lives,
            deaths=self.deaths,
            faults=troubles.done,
            sessions=sessions,
            invoices=invoices,
            entries=entries,
            energy_wh=sum(s.outlet.energy_wh() for s in site.stands),
            minutes=round(asyncio.get_running_loop().time() / 60, 1),
            layout=site.layout,
            passed=tuple(sorted(self.passed)),
            problems=tuple(dict.fromkeys(site.problems)),
        )


@contextmanager
def folder_of_trial() -> Iterator[Path]:
    """In memory where there is such a place: what is durable is the virtual disk's business."""
    memory = Path("/dev/shm")  # noqa: S108  (no secret: a trial's keys are its own)
    folder = Path(tempfile.mkdtemp(prefix="till-", dir=memory if memory.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(seed: int, protection: Protection | None = None) -> Result:
    """One trial, as a whole, from its seed alone; `protection` is what the till goes without."""

    async def trial() -> Result:
        with folder_of_trial() as folder:
            made = Trial(seed, folder)
            try:
                with without(protection):
                    return await made.run()
            finally:
                await made.site.close()

    with asyncio.Runner(loop_factory=CampaignLoop) as runner:
        result: Any = runner.run(trial())
    assert isinstance(result, Result)
    return result
