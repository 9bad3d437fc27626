"""Cards and phones made of software: what they are in the field, and what they answer to an APDU.

A card is the same object whatever field it is held into (udp, PN532, PC/SC): the field does the air
interface. Some misbehave on purpose: `torn`, `mute`, `Scripted`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Protocol

OK = b"\x90\x00"
WRONG_LENGTH = b"\x67\x00"
NOT_FOUND = b"\x6a\x82"
NO_SUCH_COMMAND = b"\x6d\x00"
OUT_OF_FILE = b"\x6b\x00"

#: TL, T0 (FSCI 8: frames of 256 bytes; TA, TB, TC follow), TA 106 kbit/s, TB (FWI 7: 39 ms), TC.
ATS = bytes.fromhex("0578807002")


class Left(Exception):
    """The card was taken away while it was being talked to."""


class VirtualCard(Protocol):
    """What a field asks of a card."""

    @property
    def sak(self) -> int:
        """SAK of ISO/IEC 14443-3; bit 0x20 says that the card has part 4, and so APDUs."""
        ...

    @property
    def ats(self) -> bytes:
        """Answer to select of ISO/IEC 14443-4."""
        ...

    def enter(self) -> bytes:
        """The card comes into the field, or the field comes back: its UID (4, 7, 10 bytes). State is lost."""
        ...

    def apdu(self, command: bytes) -> bytes | None:
        """The answer with its status word; None for silence. Raises Left when torn away."""
        ...


class UidCard:
    """A plain membership card: nothing but a UID."""

    sak = 0x08
    ats = b""

    def __init__(self, uid: bytes) -> None:
        self._uid = uid

    def enter(self) -> bytes:
        return self._uid

    def apdu(self, command: bytes) -> bytes | None:
        del command
        return None


class IsoCard:
    """A generic ISO 14443-4 card: applications by name (AID), in each transparent files by two-byte id.

    It knows SELECT by name and by file id, and READ BINARY.
    """

    sak = 0x20
    ats = ATS

    def __init__(self, uid: bytes, applications: Mapping[bytes, Mapping[int, bytes]] | None = None) -> None:
        self._uid = uid
        self._applications = applications or {}
        self._files: Mapping[int, bytes] = {}
        self._file: bytes | None = None

    def enter(self) -> bytes:
        self._files, self._file = {}, None
        return self._uid

    def apdu(self, command: bytes) -> bytes | None:
        if len(command) < 4:
            return WRONG_LENGTH
        match command[1], command[2]:
            case 0xA4, 0x04:
                return self._select_application(_data(command))
            case 0xA4, 0x00:
                return self._select_file(_data(command))
            case 0xB0, _:
                return self._read(command)
            case _:
                return NO_SUCH_COMMAND

    def _select_application(self, name: bytes) -> bytes:
        files = self._applications.get(name)
        if files is None:
            return NOT_FOUND
        self._files, self._file = files, None
        return bytes((0x6F, len(name) + 2, 0x84, len(name))) + name + OK

    def _select_file(self, file_id: bytes) -> bytes:
        self._file = self._files.get(int.from_bytes(file_id, "big"))
        return OK if self._file is not None else NOT_FOUND

    def _read(self, command: bytes) -> bytes:
        if self._file is None:
            return NOT_FOUND
        offset = int.from_bytes(command[2:4], "big")
        if offset >= len(self._file):
            return OUT_OF_FILE
        length = command[4] or 256 if len(command) > 4 else 256
        return self._file[offset : offset + length] + OK


class Phone(IsoCard):
    """A phone: its UID is drawn anew whenever the field comes up (08 and three random bytes)."""

    def __init__(
        self, draw: random.Random, applications: Mapping[bytes, Mapping[int, bytes]] | None = None
    ) -> None:
        super().__init__(b"", applications)
        self._draw = draw

    def enter(self) -> bytes:
        super().enter()
        return b"\x08" + self._draw.randbytes(3)


class Scripted:
    """A card that answers by a rule: `answer(n, command, card)` for its n-th APDU (from 0) in this field.

    `Scripted(card, lambda n, command, card: b"")` answers every APDU with nothing at all.
    """

    def __init__(
        self,
        card: VirtualCard,
        answer: Callable[[int, bytes, VirtualCard], bytes | None],
        *,
        ats: bytes = b"",
    ) -> None:
        self._card = card
        self._answer = answer
        self._count = 0
        self.sak = card.sak
        self.ats = ats or card.ats

    def enter(self) -> bytes:
        self._count = 0
        return self._card.enter()

    def apdu(self, command: bytes) -> bytes | None:
        n, self._count = self._count, self._count + 1
        return self._answer(n, command, self._card)


def torn(card: VirtualCard, *, at_apdu: int) -> Scripted:
    """The card is torn away at its APDU number `at_apdu` (from 0)."""

    def answer(n: int, command: bytes, inner: VirtualCard) -> bytes | None:
        if n == at_apdu:
            raise Left
        return inner.apdu(command)

    return Scripted(card, answer)


def mute(card: VirtualCard, *, at_apdu: int) -> Scripted:
    """The card falls silent at its APDU number `at_apdu` (from 0) but stays in the field."""
    return Scripted(card, lambda n, command, inner: None if n >= at_apdu else inner.apdu(command))


def _data(command: bytes) -> bytes:
    """The data field of a short APDU."""
    return command[5 : 5 + command[4]] if len(command) > 5 else b""
