"""One trial of payments: a terminal, its drivers and its faults, a till that dies and comes back, and the audit."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec
from parts.payment_journal import Journal, Payment, Plan
from parts.payment_till import Till

from edge.domain.instant import Instant
from edge.domain.payment import Answer
from hw.bus.line import LineOptions
from hw.terminals.zvt.dialog import Times
from hw.terminals.zvt.driver import Options as ZvtOptions
from hw.virtual import terminal_script as script
from hw.virtual.loop import VirtualLoop
from hw.virtual.terminal import VirtualTerminal
from hw.virtual.terminal_wire import Cable

HOLDS_MINOR: Final = (500, 3000, 5000, 5000, 5000)

#: Virtual time after which a trial is stuck: three EVSEs with four sessions of a quarter of an hour, and repairs.
_OVER_S: Final = 50 * 3600.0

#: Crash points of one trial, by the step at which the till dies.
_STEPS_MAX: Final = 600

_LAST_RECEIPT: Final = 0x0620
_REGISTER: Final = 0x0600
_STATE: Final = 0x0501
_ANYTIME: Final = (
    script.RESERVE, script.RESERVE, script.RELEASE, script.RELEASE, script.BOOK, script.REVERSE, script.REVERSE,
    script.READ_CARD, script.END_OF_DAY, _LAST_RECEIPT, _REGISTER, _STATE,
)  # fmt: skip
_KINDS: Final[tuple[script.Kind, ...]] = (
    "lost_command", "lost_reply", "lost_completion", "silent", "duplicate", "decline", "refuse", "abort",
    "reboot_before", "reboot_after", "slow", "no_result", "other_amount",
)  # fmt: skip
#: What a terminal says when it means "not now", "no", "I cannot do that", "no such hold".
_CODES: Final = (0x05, 51, 0x6C, 0x83, 0x9C, 0xA3)


#: Nothing is taken, and nothing is held for much longer.
_LAPSED: Final = frozenset(("expired", "forgotten"))


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What one trial did and found."""

    seed: int
    crashes: int
    faults: int
    ends: dict[str, int]
    days: int
    hours: float
    problems: tuple[str, ...]


class World:
    """One trial: a terminal, its drivers, and a till that dies and comes back."""

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
        self.crashes = self.faults = self.days = 0
        self.steps = 0
        self.journal = Journal(self._step)
        self.left: list[asyncio.Future[Answer]] = []
        self._calm = calm
        self._dying = asyncio.Event()
        self._cable: Cable | None = None
        self._foreign: dict[int, int] = {}

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
        self._cable = cable = await self.terminal.dial(options, received=received, lost=lost)
        write = cable.write

        def counted(data: bytes) -> None:
            if self._dies():
                cable.cut()
            write(data)

        cable.write = counted  # type: ignore[method-assign]
        return cable

    def _dies(self) -> bool:
        if not self._dying.is_set():
            self.steps += 1
            if self.steps in self._crash_at:
                self._dying.set()
        return self._dying.is_set()

    async def _step(self) -> None:
        """A place at which the till may die: nothing after it happens."""
        if self._dies():
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    async def run(self) -> Trial:
        """The trial. Its problems are what it found."""
        problems: list[str] = []
        around = [asyncio.ensure_future(each) for each in (self._drivers(), self._trouble())]
        try:
            async with asyncio.timeout(_OVER_S):
                while not await self._live():
                    pass
        except TimeoutError:
            stuck = [f"{p.ref} {p.status} {p.handle}" for p in self.journal.payments.values() if p.open]
            problems.append(f"no end: {stuck}")
        finally:
            for task in around:
                task.cancel()
            await asyncio.gather(*around, return_exceptions=True)
            await self.terminal.stop()
        problems += self._audit()
        return Trial(
            seed=self.seed,
            crashes=self.crashes,
            faults=self.faults,
            ends=dict(Counter(p.status for p in self.journal.payments.values())),
            days=self.days,
            hours=round(asyncio.get_running_loop().time() / 3600, 1),
            problems=tuple(problems),
        )

    async def _live(self) -> bool:
        """One life of the till. True when all is done, False when it died."""
        self._dying = asyncio.Event()
        life = asyncio.ensure_future(Till(self).run())
        death = asyncio.ensure_future(self._dying.wait())
        try:
            await asyncio.wait((life, death), return_when=asyncio.FIRST_COMPLETED)
            if not self._dying.is_set():
                await life
                return True
            self.crashes += 1
            if self.rng.random() < 0.5 and self._cable is not None:
                self._cable.cut()
            return False
        finally:
            self._dying.set()  # what is cleaned up now is written nowhere
            for task in (life, death, *self.left):
                task.cancel()
            await asyncio.gather(life, death, *self.left, return_exceptions=True)
            self.left.clear()
            if self._cable is not None:
                self._cable.close()
            await asyncio.sleep(self.rng.choice((0.0, 0.5, 5.0, 120.0)))

    async def _drivers(self) -> None:
        """Somebody taps whenever the terminal asks for a card, most of the time."""
        while True:
            await self.terminal.wants_card()
            await asyncio.sleep(self.rng.uniform(0.2, 12))
            if self.rng.random() < 0.9:
                card = script.phone_wallet if self.rng.random() < 0.3 else script.bank_card
                self.terminal.present(card(declines=self.rng.choice((0,) * 9 + (51,))))
            await asyncio.sleep(1)

    async def _trouble(self) -> None:
        """Faults in the next commands, cables that are pulled, power cuts of the terminal, holds that lapse."""
        if self._calm:
            return
        rng, books = self.rng, self.terminal.books
        if rng.random() < 0.15:
            hold = books.reserve(rng.choice(HOLDS_MINOR), "Visa").receipt_no
            assert hold is not None
            self._foreign[hold] = books.holds[hold].amount_minor
        for _ in range(rng.randint(1, 12)):
            await asyncio.sleep(rng.choice((0.0, rng.uniform(0, 60), rng.uniform(0, 900))))
            self.faults += 1
            match rng.randrange(10):
                case 0:
                    self.terminal.hang_up()
                case 1:
                    await self.terminal.reboot(rng.choice((0.5, 15.0, 90.0)))
                case 2 if books.open:
                    rng.choice((books.expire, books.forget))(rng.choice(books.open))
                case _:
                    seconds = rng.choice((0.1, 5.0, 70.0))
                    fault = script.Fault(
                        rng.choice(_KINDS), on=rng.choice(_ANYTIME), code=rng.choice(_CODES), seconds=seconds
                    )
                    self.terminal.script(fault)

    def _audit(self) -> list[str]:
        """What the terminal's books say against what was answered."""
        books = self.terminal.books
        problems = [f"hold {number} is still open" for number in books.open]
        owners: dict[int, list[Payment]] = {}
        for payment in self.journal.payments.values():
            if payment.open:
                problems.append(f"{payment.ref} is {payment.status}: {payment.handle}")
            for number in payment.receipts:
                owners.setdefault(number, []).append(payment)
        for number, hold in books.holds.items():
            mine = owners.get(number, [])
            if number in self._foreign:
                problems += [f"{p.ref} took hold {number}, which is nobody's" for p in mine]
            elif len(mine) > 1 or (not mine and hold.state not in _LAPSED):
                problems.append(f"hold {number} ({hold.state}) is of {[p.ref for p in mine]}")
        for payment in self.journal.payments.values():
            problems += self._audit_payment(payment)
        ends = Counter(e.hold_no for e in books.entries if e.what in ("capture", "reverse"))
        problems += [f"hold {number} ended {n} times" for number, n in ends.items() if n > 1]
        return problems

    def _audit_payment(self, payment: Payment) -> list[str]:
        holds = [self.terminal.books.holds[n] for n in payment.receipts if n in self.terminal.books.holds]
        states = sorted(hold.state for hold in holds)
        taken = sum(hold.captured_minor or 0 for hold in holds)
        gone = set(states) <= _LAPSED
        match payment.status:
            case "captured":
                right = states == ["captured"] and taken == payment.captured_minor == payment.due_minor
            case "expired":
                right = bool(states) and gone
            case "declined" | "reversed":
                right = "captured" not in states and "held" not in states
            case _:
                right = False
        if right:
            return []
        return [f"{payment.ref} is {payment.status} ({payment.captured_minor}), its holds {states} ({taken})"]


def run(seed: int, *, crash_at: tuple[int, ...] | None = None, calm: bool = False) -> tuple[Trial, int]:
    """One trial, and how many steps it had."""

    async def trial() -> tuple[Trial, int]:
        world = World(seed, crash_at=crash_at, calm=calm)
        return await world.run(), world.steps

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(trial())
