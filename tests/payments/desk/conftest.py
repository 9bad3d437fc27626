"""A desk, the real driver and a terminal on a cable between them, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

from edge.domain.terminal import Done
from edge.payments.desk import Options, TerminalDesk
from hw.terminals.zvt.dialog import Times
from hw.terminals.zvt.driver import Options as ZvtOptions
from hw.terminals.zvt.driver import ZvtTerminal
from hw.virtual.loop import VirtualLoop
from hw.virtual.terminal import VirtualTerminal
from hw.virtual.terminal_script import bank_card

HOLD = 5000

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts" / "campaigns"))

from parts import payment_journal, payment_till  # noqa: E402
from parts import payment_trial as campaign  # noqa: E402


class Shop:
    """One terminal and one journal; the desk can be taken away and a new one put there."""

    def __init__(
        self,
        *,
        options: Options | None = None,
        capture: str = "release",
        name: str = "terminal",
        **terminal: Any,
    ) -> None:
        self.name = name
        self.terminal = VirtualTerminal(**terminal)
        self.journal = payment_journal.Journal(self._step)
        self.options = options or Options(end_of_day_h=None)
        self.zvt = ZvtOptions(port="tcp://127.0.0.1:1", capture=capture)
        self.clock = payment_till.LoopClock()
        self.wanted = False
        self.days: list[Any] = []
        self.desk: TerminalDesk
        self._task: asyncio.Task[None] | None = None

    async def _step(self) -> None:
        pass

    async def open(self, **more: Any) -> TerminalDesk:
        """A till has been switched on."""
        self.driver = ZvtTerminal(
            self.zvt, password=bytes(3), times=Times(silence_s=20.0), dial=self.terminal.dial
        )
        self.desk = TerminalDesk(
            self.driver,
            self.journal,
            currency="EUR",
            clock=self.clock,
            wanted=lambda: self.wanted,
            name=self.name,
            options=self.options,
            day_ended=self._day_ended,
            **more,
        )
        self._task = asyncio.ensure_future(self.desk.run())
        await asyncio.sleep(2)
        return self.desk

    async def _day_ended(self, at: Any) -> None:
        self.days.append(at)

    async def close(self) -> None:
        """The till dies."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
            await self.driver.close()

    async def restart(self) -> TerminalDesk:
        await self.close()
        return await self.open()

    def intent(self, ref: str, *, hold_minor: int = HOLD) -> None:
        """What stands in the journal before anything is asked for."""
        plan = payment_journal.Plan(hold_minor=hold_minor, total_minor=0, charging_s=0)
        self.journal.payments[ref] = payment_journal.Payment(ref=ref, evse=0, plan=plan)

    def commit(self, ref: str, answer: Any) -> Any:
        """What stands in the journal after an answer."""
        payment_till._answered(self.journal.payments[ref], answer, gives_up=False)
        return answer

    async def ask(self, ref: str, *, hold_minor: int = HOLD) -> Any:
        return await self.desk.preauthorize(
            ref, amount_minor=hold_minor, currency="EUR", token=payment_till._TOKEN
        )

    async def hold(self, ref: str, *, card: Any = None, hold_minor: int = HOLD) -> Any:
        """Intent, tap, answer, commit."""
        self.intent(ref, hold_minor=hold_minor)
        self.terminal.present(card or bank_card())
        return self.commit(ref, await self.ask(ref, hold_minor=hold_minor))

    async def capture(self, ref: str, amount_minor: int) -> Any:
        payment = self.journal.payments[ref]
        payment.status, payment.due_minor = "capturing", amount_minor
        return self.commit(ref, await self.desk.capture(ref, amount_minor=amount_minor, currency="EUR"))

    async def reverse(self, ref: str) -> Any:
        self.journal.payments[ref].status = "reversing"
        return self.commit(ref, await self.desk.reverse(ref))

    def effects(self) -> list[tuple[str, int]]:
        return [(e.what, e.amount_minor) for e in self.terminal.books.entries]

    def foreign(self, amount_minor: int = 3000) -> int:
        """A hold that this journal never heard of."""
        number = self.terminal.books.reserve(amount_minor, "Visa").receipt_no
        assert number is not None
        return number


def play(scenario: Any, **shop: Any) -> Any:
    """Run `scenario(shop)` with a desk that is open, and take everything down."""

    async def run() -> Any:
        there = Shop(**shop)
        try:
            await there.open()
            async with asyncio.timeout(100 * 3600):
                return await scenario(there)
        finally:
            await there.close()
            await there.terminal.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run())


__all__ = ["HOLD", "Done", "Shop", "campaign", "play"]
