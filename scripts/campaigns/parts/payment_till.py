"""What stands around the desk in a trial of payments: EVSEs that pay, one after another, as the machine does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Final

from parts.payment_journal import Payment
from parts.payment_world import World

from edge.domain.identity import IdToken
from edge.domain.instant import Instant
from edge.domain.payment import Answer, Authorized, Captured, Declined, Expired, InDoubt, Reversed
from edge.domain.terminal import BankCard
from edge.errors import HardwareError
from edge.payments.desk import Options, TerminalDesk
from hw.terminals.zvt.driver import ZvtTerminal

_TOKEN: Final = IdToken(kind="terminal", value="0" * 64, key_id="k")


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
