"""One trial of payments: drivers, faults, a till that dies and comes back, and the audit."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

import msgspec
from parts.payment_journal import Payment
from parts.payment_till import Till
from parts.payment_world import HOLDS_MINOR, World

from hw.virtual import terminal_script as script
from hw.virtual.loop import VirtualLoop

#: Virtual time after which a trial is stuck: three EVSEs with four sessions of a quarter of an hour, and repairs.
_OVER_S: Final = 50 * 3600.0

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


class _Play:
    """One world, from its first driver to its last cent."""

    def __init__(self, world: World, *, calm: bool) -> None:
        self._world, self._calm = world, calm
        self.crashes = self.faults = 0

    async def run(self) -> Trial:
        """The trial. Its problems are what it found."""
        problems: list[str] = []
        around = [asyncio.ensure_future(each) for each in (self._drivers(), self._trouble())]
        try:
            async with asyncio.timeout(_OVER_S):
                while not await self._live():
                    pass
        except TimeoutError:
            payments = self._world.journal.payments.values()
            stuck = [f"{p.ref} {p.status} {p.handle}" for p in payments if p.open]
            problems.append(f"no end: {stuck}")
        finally:
            for task in around:
                task.cancel()
            await asyncio.gather(*around, return_exceptions=True)
            await self._world.terminal.stop()
        problems += self._audit()
        return Trial(
            seed=self._world.seed,
            crashes=self.crashes,
            faults=self.faults,
            ends=dict(Counter(p.status for p in self._world.journal.payments.values())),
            days=self._world.days,
            hours=round(asyncio.get_running_loop().time() / 3600, 1),
            problems=tuple(problems),
        )

    async def _live(self) -> bool:
        """One life of the till. True when all is done, False when it died."""
        self._world.dying = asyncio.Event()
        life = asyncio.ensure_future(Till(self._world).run())
        death = asyncio.ensure_future(self._world.dying.wait())
        try:
            await asyncio.wait((life, death), return_when=asyncio.FIRST_COMPLETED)
            if not self._world.dying.is_set():
                await life
                return True
            self.crashes += 1
            if self._world.rng.random() < 0.5 and self._world.cable is not None:
                self._world.cable.cut()
            return False
        finally:
            self._world.dying.set()  # what is cleaned up now is written nowhere
            for task in (life, death, *self._world.left):
                task.cancel()
            await asyncio.gather(life, death, *self._world.left, return_exceptions=True)
            self._world.left.clear()
            if self._world.cable is not None:
                self._world.cable.close()
            await asyncio.sleep(self._world.rng.choice((0.0, 0.5, 5.0, 120.0)))

    async def _drivers(self) -> None:
        """Somebody taps whenever the terminal asks for a card, most of the time."""
        while True:
            await self._world.terminal.wants_card()
            await asyncio.sleep(self._world.rng.uniform(0.2, 12))
            if self._world.rng.random() < 0.9:
                card = script.phone_wallet if self._world.rng.random() < 0.3 else script.bank_card
                self._world.terminal.present(card(declines=self._world.rng.choice((0,) * 9 + (51,))))
            await asyncio.sleep(1)

    async def _trouble(self) -> None:
        """Faults in the next commands, cables that are pulled, power cuts of the terminal, holds that lapse."""
        if self._calm:
            return
        rng, books = self._world.rng, self._world.terminal.books
        if rng.random() < 0.15:
            hold = books.reserve(rng.choice(HOLDS_MINOR), "Visa").receipt_no
            assert hold is not None
            self._world.foreign[hold] = books.holds[hold].amount_minor
        for _ in range(rng.randint(1, 12)):
            await asyncio.sleep(rng.choice((0.0, rng.uniform(0, 60), rng.uniform(0, 900))))
            self.faults += 1
            match rng.randrange(10):
                case 0:
                    self._world.terminal.hang_up()
                case 1:
                    await self._world.terminal.reboot(rng.choice((0.5, 15.0, 90.0)))
                case 2 if books.open:
                    rng.choice((books.expire, books.forget))(rng.choice(books.open))
                case _:
                    seconds = rng.choice((0.1, 5.0, 70.0))
                    fault = script.Fault(
                        rng.choice(_KINDS), on=rng.choice(_ANYTIME), code=rng.choice(_CODES), seconds=seconds
                    )
                    self._world.terminal.script(fault)

    def _audit(self) -> list[str]:
        """What the terminal's books say against what was answered."""
        books = self._world.terminal.books
        problems = [f"hold {number} is still open" for number in books.open]
        owners: dict[int, list[Payment]] = {}
        for payment in self._world.journal.payments.values():
            if payment.open:
                problems.append(f"{payment.ref} is {payment.status}: {payment.handle}")
            for number in payment.receipts:
                owners.setdefault(number, []).append(payment)
        for number, hold in books.holds.items():
            mine = owners.get(number, [])
            if number in self._world.foreign:
                problems += [f"{p.ref} took hold {number}, which is nobody's" for p in mine]
            elif len(mine) > 1 or (not mine and hold.state not in _LAPSED):
                problems.append(f"hold {number} ({hold.state}) is of {[p.ref for p in mine]}")
        for payment in self._world.journal.payments.values():
            problems += self._audit_payment(payment)
        ends = Counter(e.hold_no for e in books.entries if e.what in ("capture", "reverse"))
        problems += [f"hold {number} ended {n} times" for number, n in ends.items() if n > 1]
        return problems

    def _audit_payment(self, payment: Payment) -> list[str]:
        holds = [
            self._world.terminal.books.holds[n]
            for n in payment.receipts
            if n in self._world.terminal.books.holds
        ]
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
        return await _Play(world, calm=calm).run(), world.steps

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(trial())
