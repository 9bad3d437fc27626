"""What stands in a trial of payments: a terminal, a journal, the drivers' plans, and where the till may die."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from parts.payment_journal import Journal, Payment, Plan

from edge.domain.instant import Instant
from edge.domain.payment import Answer
from hw.bus.line import LineOptions
from hw.terminals.zvt.dialog import Times
from hw.terminals.zvt.driver import Options as ZvtOptions
from hw.virtual.terminal import VirtualTerminal
from hw.virtual.terminal_wire import Cable

HOLDS_MINOR: Final = (500, 3000, 5000, 5000, 5000)

#: Crash points of one trial, by the step at which the till dies.
_STEPS_MAX: Final = 600


class World:
    """See the module. `dying` is set at a step at which the till dies; `left`: calls whose drivers went away;
    `foreign`: holds that are nobody's, with their amounts.
    """

    def __init__(self, seed: int, *, crash_at: tuple[int, ...] | None = None, calm: bool = False) -> None:
        self.rng = rng = random.Random(seed)  # noqa: S311  (a campaign must be repeatable)
        self.seed = seed
        self.terminal = VirtualTerminal(
            shape=rng.choice(("whole", "fragments", "merged")),
            lists_all=rng.random() < 0.5,
            now=lambda: datetime(2026, 11, 22, tzinfo=UTC),
            status_every_s=15.0,
        )
        self.driver_options = ZvtOptions(
            port="tcp://127.0.0.1:1", capture=rng.choice(("release", "book")),
        )  # fmt: skip
        self.times = Times(silence_s=rng.choice((20.0, 60.0)))
        self.plans = [[self._plan() for _ in range(rng.randint(1, 4))] for _ in range(rng.randint(1, 3))]
        if crash_at is None:
            crash_at = tuple(rng.randint(1, _STEPS_MAX) for _ in range(0 if calm else rng.randint(0, 5)))
        self._crash_at = frozenset(crash_at)
        self.days = self.steps = 0
        self.journal = Journal(self._step)
        self.left: list[asyncio.Future[Answer]] = []
        self.dying = asyncio.Event()
        self.cable: Cable | None = None
        self.foreign: dict[int, int] = {}

    def _plan(self) -> Plan:
        rng = self.rng
        hold = rng.choice(HOLDS_MINOR)
        return Plan(
            hold_minor=hold,
            total_minor=rng.choice((0, 1, rng.randint(1, hold), rng.randint(1, hold), hold, hold + 250)),
            charging_s=rng.choice((rng.uniform(0, 120), rng.uniform(0, 900))),
            declines=rng.choice((0,) * 8 + (51, 5)),
            phone=rng.random() < 0.4,
            cancels_after_s=rng.choice((None,) * 8 + (rng.uniform(0, 3),)),
        )

    def request(self, number: int) -> None:
        """A payment begins; its intent is in the journal."""
        ref = f"r{len(self.journal.payments)}"
        self.journal.payments[ref] = Payment(ref=ref, evse=number, plan=self.plans[number].pop(0))

    async def day_ended(self, _at: Instant) -> None:
        self.days += 1

    async def nothing_held(self) -> None:
        """Until the terminal has no hold, those that are nobody's included."""
        while self.terminal.books.open:  # noqa: ASYNC110  (its books tell nobody)
            await asyncio.sleep(60)

    async def dial(
        self, options: LineOptions, *, received: Callable[[bytes], None], lost: Callable[[str], None]
    ) -> Cable:
        """The cable to the terminal, at which the till may die with each write."""
        self.cable = cable = await self.terminal.dial(options, received=received, lost=lost)
        write = cable.write

        def counted(data: bytes) -> None:
            if self._dies():
                cable.cut()
            write(data)

        cable.write = counted  # type: ignore[method-assign]
        return cable

    def _dies(self) -> bool:
        if not self.dying.is_set():
            self.steps += 1
            if self.steps in self._crash_at:
                self.dying.set()
        return self.dying.is_set()

    async def _step(self) -> None:
        """A place at which the till may die: nothing after it happens."""
        if self._dies():
            await asyncio.Event().wait()
        await asyncio.sleep(0)
