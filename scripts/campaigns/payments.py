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
import asyncio
import contextlib
import logging
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from edge.domain.identity import IdToken
from edge.domain.instant import Instant
from edge.domain.payment import (
    Answer,
    Authorized,
    Captured,
    Declined,
    Expired,
    InDoubt,
    Method,
    OpenPayment,
    Reversed,
    Status,
)
from edge.domain.terminal import BankCard
from edge.errors import HardwareError
from edge.payments.desk import Options, TerminalDesk
from edge.payments.desk.folio import read, receipt_no
from hw.bus.line import LineOptions
from hw.terminals.zvt.dialog import Times
from hw.terminals.zvt.driver import Options as ZvtOptions
from hw.terminals.zvt.driver import ZvtTerminal
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


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One driver: how much is held and used, how long everything takes, and whether they change their mind."""

    hold_minor: int
    total_minor: int
    charging_s: float
    declines: int = 0
    phone: bool = False
    cancels_after_s: float | None = None


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What one trial did and found."""

    seed: int
    crashes: int
    faults: int
    ends: dict[str, int]
    days: int
    hours: float
    problems: tuple[str, ...]


@dataclass
class Payment:
    """A payment as the journal has it. `receipts`: every number that its handle ever named."""

    ref: str
    evse: int
    plan: Plan
    status: Status = "requested"
    hold_minor: int | None = None
    due_minor: int | None = None
    captured_minor: int | None = None
    handle: str | None = None
    receipts: set[int] = field(default_factory=set)

    @property
    def open(self) -> bool:
        return self.status in ("requested", "authorized", "capturing", "reversing")

    def fact(self) -> OpenPayment:
        return OpenPayment(
            ref=self.ref, session_id=self.ref, status=self.status, requested_minor=self.plan.hold_minor,
            hold_minor=self.hold_minor, handle=self.handle,
        )  # fmt: skip


class Journal:
    """Implements edge.ports.PaymentJournal; survives every crash. Each write is two places to die at."""

    def __init__(self, step: Callable[[], Awaitable[None]]) -> None:
        self.payments: dict[str, Payment] = {}
        self._step = step

    async def note(self, ref: str, handle: str) -> None:
        await self._step()
        payment = self.payments[ref]
        payment.handle = handle
        number = receipt_no(read(payment.fact()))
        if number is not None:
            payment.receipts.add(number)
        await self._step()

    async def find(self, ref: str) -> OpenPayment | None:
        payment = self.payments.get(ref)
        return payment.fact() if payment is not None and payment.open else None

    async def open(self, method: Method) -> tuple[OpenPayment, ...]:
        assert method == "terminal"
        return tuple(payment.fact() for payment in self.payments.values() if payment.open)

    async def commit(self, change: Callable[[], None]) -> None:
        """A step of the payment machine."""
        await self._step()
        change()
        await self._step()


class LoopClock:
    """Implements edge.ports.Clock over the loop's time, eight times as fast, so that a day ends in most trials."""

    def now(self) -> Instant:
        seconds = 8 * asyncio.get_running_loop().time()
        utc = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=seconds)
        return Instant(utc=utc, boot_id="b", monotonic_ns=int(seconds * 1e9))

    def trusted(self) -> bool:
        return True

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 8)


class Till:
    """What stands around the desk in a till, as little as will do: one payment after another at each EVSE."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._journal = world.journal
        self._rng = world.rng
        self.driver = ZvtTerminal(world.driver_options, password=bytes(3), times=world.times, dial=world.dial)
        self.desk = TerminalDesk(
            self.driver,
            world.journal,
            currency="EUR",
            clock=LoopClock(),
            wanted=self._wanted,
            options=Options(end_of_day_h=1, drain_h=3),
            day_ended=world.day_ended,
        )
        self._tapped = [asyncio.Event() for _ in world.plans]

    async def run(self) -> None:
        """Until every plan has come to its end."""
        async with asyncio.TaskGroup() as tasks:
            desk = tasks.create_task(self.desk.run())
            cards = tasks.create_task(self._cards())
            operator = tasks.create_task(self._operator())
            evses = [tasks.create_task(self._evse(number)) for number in range(len(self._world.plans))]
            await asyncio.wait(evses)
            await self._world.nothing_held()
            for task in (desk, cards, operator):
                task.cancel()
        await self.driver.close()

    def _wanted(self) -> bool:
        return any(self._waits(number) for number in range(len(self._world.plans)))

    def _waits(self, number: int) -> bool:
        world = self._world
        free = not any(p.open and p.evse == number for p in self._journal.payments.values())
        return free and bool(world.plans[number]) and not self._tapped[number].is_set()

    async def _cards(self) -> None:
        async for card in self.desk.presented():
            free = [number for number in range(len(self._world.plans)) if self._waits(number)]
            if isinstance(card, BankCard) and free:
                self._tapped[self._rng.choice(free)].set()

    async def _operator(self) -> None:
        """Somebody who looks at the list of holds that are nobody's, sooner or later."""
        while True:
            await asyncio.sleep(self._rng.uniform(60, 1800))
            for number in self.desk.orphans:
                amount_minor = self._rng.choice((0, 100))
                with contextlib.suppress(HardwareError):
                    await (
                        self.desk.book(number, amount_minor) if amount_minor else self.desk.release(number)
                    )

    async def _evse(self, number: int) -> None:
        world = self._world
        while True:
            mine = [p for p in self._journal.payments.values() if p.open and p.evse == number]
            assert len(mine) <= 1
            if mine:
                await self._pay(mine[0])
            elif world.plans[number]:
                await self._tapped[number].wait()
                await self._journal.commit(lambda: world.request(number))
                self._tapped[number].clear()
            else:
                return

    async def _pay(self, payment: Payment) -> None:
        """One step of the payment machine: ask, and write down what was answered."""
        plan, ref = payment.plan, payment.ref
        try:
            match payment.status:
                case "requested":
                    asked = self.desk.preauthorize(
                        ref, amount_minor=plan.hold_minor, currency="EUR", token=_TOKEN
                    )
                    answer: Answer | None = await self._or_cancelled(asked, plan.cancels_after_s)
                case "authorized":
                    await asyncio.sleep(plan.charging_s)
                    await self._journal.commit(lambda: _close(payment))
                    return
                case "capturing":
                    assert payment.due_minor is not None
                    answer = await self.desk.capture(ref, amount_minor=payment.due_minor, currency="EUR")
                case "reversing":
                    answer = await self.desk.reverse(ref)
                case _:
                    return
        except HardwareError:
            await asyncio.sleep(5)
            return
        gives_up = self._rng.random() < 0.3
        await self._journal.commit(lambda: _answered(payment, answer, gives_up=gives_up))
        if isinstance(answer, InDoubt) or (isinstance(answer, Declined) and payment.open):
            await asyncio.sleep(self._rng.uniform(5, 60))

    async def _or_cancelled(self, asked: Awaitable[Answer], after_s: float | None) -> Answer | None:
        """The answer, or None where the driver does not wait for it."""
        asking = asyncio.ensure_future(asked)
        try:
            await asyncio.wait((asking,), timeout=after_s)
        except asyncio.CancelledError:
            asking.cancel()
            raise
        if asking.done():
            return asking.result()
        self._world.left.append(asking)
        return None


_TOKEN: Final = IdToken(kind="terminal", value="0" * 64, key_id="k")


def _close(payment: Payment) -> None:
    assert payment.hold_minor is not None
    payment.due_minor = min(payment.plan.total_minor, payment.hold_minor)
    payment.status = "capturing" if payment.due_minor else "reversing"


def _answered(payment: Payment, answer: Answer | None, *, gives_up: bool) -> None:
    match answer:
        case None:
            payment.status = "reversing"
        case InDoubt() if payment.status == "requested" and gives_up:
            payment.status = "reversing"
        case Authorized(hold_minor=hold_minor):
            payment.status, payment.hold_minor = "authorized", hold_minor
        case Declined() if payment.status == "requested":
            payment.status = "declined"
        case Captured(amount_minor=amount_minor):
            payment.status, payment.captured_minor = "captured", amount_minor
        case Reversed():
            payment.status = "reversed"
        case Expired():
            payment.status = "expired"
        case InDoubt() | Declined():
            pass


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
