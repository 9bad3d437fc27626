"""A virtual payment terminal without its line: its settings, its books, who stands before it, and what breaks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from hw.terminals.zvt import tlv
from hw.terminals.zvt.values import NO_RECEIPT, bcd, bmp
from hw.virtual.terminal_books import UNKNOWN_HOLD, Books
from hw.virtual.terminal_script import Fault, Presented, Registration
from hw.virtual.terminal_wire import Shape

EUR: Final = 978


class Device:
    """See the module. It outlives every connection of a till."""

    def __init__(
        self,
        *,
        currency: int = EUR,
        terminal_id: int = 52523535,
        card_wait_s: float = 30.0,
        shape: Shape = "whole",
        lists_all: bool = True,
        status_every_s: float = 2.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.books = Books()
        self.currency = currency
        self.terminal_id = terminal_id
        self.card_wait_s = card_wait_s
        self.shape: Shape = shape
        self.lists_all = lists_all
        #: a till that waits hears so often that the terminal still does
        self.status_every_s = status_every_s
        self.now = now
        #: presented whenever nobody else is: for tills that are tried out by hand
        self.always: Presented | None = None
        self.registration: Registration | None = None
        #: what a till has put on the display last
        self.display: tuple[str, ...] = ()
        self._wanted = asyncio.Event()
        #: a card was taken, or a fault has begun
        self._moved = asyncio.Event()
        self._cards: deque[Presented] = deque(maxlen=8)
        self._presented = asyncio.Event()
        self._faults: list[Fault] = []

    def present(self, card: Presented) -> None:
        """Somebody holds a card to the terminal; the next command that wants one takes it."""
        self._cards.append(card)
        self._presented.set()

    async def taken(self) -> None:
        """Returns once every card that is held to it was asked for."""
        while self._cards:
            self._moved.clear()
            await self._moved.wait()

    def take_back(self) -> None:
        """Nobody stands before it any more."""
        self._cards.clear()

    async def broken(self) -> None:
        """Returns once every scripted fault has happened."""
        while self._faults:
            self._moved.clear()
            await self._moved.wait()

    def script(self, *faults: Fault) -> None:
        """What is to go wrong, each once, in this order for each command."""
        self._faults.extend(faults)

    def fault_for(self, command: int) -> Fault | None:
        """The fault that this command runs into; it is over with that."""
        for i, fault in enumerate(self._faults):
            if fault.on is None or fault.on == command:
                self._moved.set()
                return self._faults.pop(i)
        return None

    async def next_card(self) -> Presented:
        """The next card that is presented."""
        self._wanted.set()
        try:
            while not self._cards:
                if self.always is not None:
                    return self.always
                self._presented.clear()
                await self._presented.wait()
            self._moved.set()
            return self._cards.popleft()
        finally:
            self._wanted.clear()

    async def wants_card(self) -> None:
        """Returns once the terminal waits for a card that nobody has presented yet."""
        await self._wanted.wait()

    def open_holds(self) -> bytes:
        """The data of the abort that answers 06 23 with 87 FFFF."""
        open_ = self.books.open
        data = bytes((UNKNOWN_HOLD,)) + bmp(0x87, open_[0] if open_ else NO_RECEIPT)
        if self.lists_all and len(open_) > 1:
            data += bmp(0x06, tlv.encode("23", b"".join(tlv.encode("08", bcd(n, 2)) for n in open_)))
        return data
