"""Who stands before the terminal: reads that end as soon as money waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from edge import log
from edge.domain.terminal import BankCard, NoCard, Presented
from edge.ports import PaymentTerminal

#: One read. Long, because terminals beep or flash at each new one; it ends early when there is a reason.
READ_S: Final = 60

#: How often a read looks whether somebody may still buy.
_LOOK_S: Final = 1.0

#: A terminal that was asked to end a read does so at once; one that does not is taken as lost.
_ABORT_S: Final = 10.0

#: After a bank card nothing else is asked for so long: its reservation is on the way, and a terminal that has begun
#: something else would want the card once more.
KEPT_S: Final = 5.0


class Cards:
    """The stream of cards. One consumer; nothing is read unless it waits for the next card."""

    def __init__(self, terminal: PaymentTerminal, wanted: Callable[[], bool]) -> None:
        self._terminal = terminal
        self._wanted = wanted
        self._presented: asyncio.Queue[Presented] = asyncio.Queue(1)
        self._waiting = False
        self._kept_until_s = 0.0

    async def presented(self) -> AsyncIterator[Presented]:
        """Cards as they come. A card that cannot be read is a NoCard; that nobody came is not told."""
        while True:
            self._waiting = True
            try:
                card = await self._presented.get()
            finally:
                self._waiting = False
            yield card

    @property
    def due(self) -> bool:
        """True when a card should be read now."""
        return self._waiting and self._presented.empty() and not self.kept and self._wanted()

    @property
    def kept(self) -> bool:
        """True while a bank card's reservation is on the way: any other command would let go of the card."""
        return asyncio.get_running_loop().time() < self._kept_until_s

    def go_on(self) -> None:
        """The card that was kept is not needed any more."""
        self._kept_until_s = 0.0

    async def read(self, stop: asyncio.Event) -> None:
        """Read one card, until `stop`. Raises HardwareError."""
        reading = asyncio.ensure_future(self._terminal.read_card(within_s=READ_S))
        stopped = asyncio.ensure_future(stop.wait())
        try:
            while not reading.done() and not stop.is_set() and self._wanted():
                await asyncio.wait((reading, stopped), timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await self._terminal.abort()
                await asyncio.wait((reading,), timeout=_ABORT_S)
            if not reading.done():
                log.warning("terminal.read_not_ended")
                return
            self._take(reading.result())
        finally:
            stopped.cancel()
            await _ended(reading)

    def _take(self, card: Presented) -> None:
        if isinstance(card, NoCard) and card.reason == "cancelled":
            return
        if isinstance(card, BankCard):
            self._kept_until_s = asyncio.get_running_loop().time() + KEPT_S
        if self._presented.empty():
            self._presented.put_nowait(card)


async def _ended(reading: asyncio.Task[Presented]) -> None:
    """Wait until a read that is not wanted any more has let go of the terminal."""
    if not reading.done():
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
