"""The card's half of the block protocol of ISO/IEC 14443-4, with chaining and presence checks."""

from __future__ import annotations

from hw.virtual.cards import VirtualCard

#: Frame sizes by FSDI, ISO/IEC 14443-4 table 1; block number and checksum take 3 of them.
_FRAME_SIZES = (16, 24, 32, 40, 48, 64, 96, 128, 256)
_OVERHEAD = 3

_RATS = 0xE0
_R_NAK = 0x10
_CHAINED = 0x10


class Picc:
    """One activation of a card. `answer(frame)` gives the frame it sends back, None for silence.

    Frames carry no checksum: the fields add it where there is one. Raises Left when the card is torn away.
    """

    def __init__(self, card: VirtualCard) -> None:
        self._card = card
        self._block = 1
        self._room = _FRAME_SIZES[0] - _OVERHEAD
        self._command = bytearray()
        self._rest = b""
        self._last: bytes | None = None
        self.presence_checks = 0

    def answer(self, frame: bytes) -> bytes | None:
        if not frame:
            return None
        pcb = frame[0]
        if pcb == _RATS and len(frame) == 2:
            self._room = _FRAME_SIZES[min(frame[1] >> 4, 8)] - _OVERHEAD
            return self._card.ats
        if pcb & 0xE2 == 0x02:
            return self._information(pcb, frame[1:])
        if pcb & 0xE6 == 0xA2:
            return self._acknowledgement(pcb)
        if pcb & 0xF7 == 0xC2:
            return bytes((pcb,))  # S(DESELECT)
        return None

    def _information(self, pcb: int, data: bytes) -> bytes | None:
        self._block ^= 1
        self._command += data
        if pcb & _CHAINED:
            self._last = bytes((0xA2 | self._block,))
            return self._last
        command, self._command = bytes(self._command), bytearray()
        response = self._card.apdu(command)
        if response is None:
            self._last = None
            return None
        self._rest = response
        return self._next_block()

    def _acknowledgement(self, pcb: int) -> bytes | None:
        """Rules 11 to 13: repeat the last block, go on with the chain, or say that we are here."""
        if pcb & 1 == self._block:
            return self._last
        if pcb & _R_NAK:
            self.presence_checks += 1
            return bytes((0xA2 | self._block,))
        if not self._rest:
            return None
        self._block ^= 1
        return self._next_block()

    def _next_block(self) -> bytes:
        part, self._rest = self._rest[: self._room], self._rest[self._room :]
        self._last = bytes((0x02 | (_CHAINED if self._rest else 0) | self._block,)) + part
        return self._last
