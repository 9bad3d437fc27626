"""What is between a virtual reader's antenna and a card: who is in the field, and what the reader has
noticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from hw.virtual.cards import Left, VirtualCard
from hw.virtual.isodep import Picc

#: A reader looks many times a second; after this time nobody reads.
NOTICED_MAX_S: Final = 10.0

#: The bit of SAK that says ISO/IEC 14443-4.
PART_4: Final = 0x20

#: ATQA by the length of the UID, as it goes over the air: ISO/IEC 14443-3, 6.5.2.
ATQA: Final = {4: b"\x04\x00", 7: b"\x44\x00", 10: b"\x84\x00"}

#: A reader tries a card that does not activate this many times before it takes it for one without APDUs.
ACTIVATIONS_MAX: Final = 3


class Air:
    """One antenna. The program puts cards into it; the protocol above looks, selects and exchanges frames."""

    def __init__(self) -> None:
        self._card: VirtualCard | None = None
        self._picc: Picc | None = None
        self._selections = 0
        self._empty_looks = 0
        self._torn = False
        self._changed = asyncio.Event()

    # the program's side

    def put(self, card: VirtualCard | None) -> None:
        """Hold a card into the field instead of what is there; None takes it away."""
        self._card, self._picc = card, None
        self._selections = self._empty_looks = 0
        self._torn = False

    async def tap(self, card: VirtualCard, *, timeout_s: float = NOTICED_MAX_S) -> None:
        """Hold the card until its tap was taken, then take it away until the reader has noticed that.

        Works at any speed of the world's clock. Raises TimeoutError when no reader looks.
        """
        self.put(card)
        try:
            await self._until(lambda: self.taken, timeout_s)
        finally:
            self.put(None)
        await self._until(lambda: self._empty_looks > 0, timeout_s)

    @property
    def taken(self) -> bool:
        """The reader has the card and looks whether it is still there (its tap was taken), or it was torn
        away.

        A card without APDUs is selected again for that, and one whose activation fails; one with APDUs is
        asked with R(NAK).
        """
        if self._card is None or self._picc is None:
            return self._torn
        if self._card.sak & PART_4:
            return self._picc.presence_checks > 0 or self._selections > ACTIVATIONS_MAX
        return self._selections > 1

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    # the reader's side

    def look(self) -> bytes | None:
        """The reader asks who is there: a UID, drawn anew where the card does that; None for nobody."""
        self._changed.set()
        self._picc = None
        if self._card is None:
            self._empty_looks += 1
            return None
        return self._card.enter()

    def select(self) -> int | None:
        """The reader selects the card: its SAK."""
        self._changed.set()
        if self._card is None:
            return None
        self._selections += 1
        self._picc = Picc(self._card)
        return self._card.sak

    @property
    def occupied(self) -> bool:
        return self._card is not None

    def exchange(self, frame: bytes) -> bytes | None:
        """A frame for the selected card, and its answer; None for silence."""
        self._changed.set()
        if self._picc is None:
            return None
        try:
            return self._picc.answer(frame)
        except Left:
            self.put(None)
            self._torn = True
            return None
