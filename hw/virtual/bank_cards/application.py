"""One payment application on a card: what both schemes have in common."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Final, Protocol

from edge.emv import dol
from edge.emv.tlv import encode
from hw.virtual.bank_cards.authority import IssuerKey, TestAuthority
from hw.virtual.cards import NO_SUCH_COMMAND, NOT_FOUND, OK, WRONG_LENGTH

NOT_ALLOWED: Final = b"\x69\x85"
OTHER_INTERFACE: Final = b"\x69\x84"
UNLOCK_FIRST: Final = b"\x69\x86"
NO_SUCH_RECORD: Final = b"\x6a\x83"

#: First byte of the cryptogram information data (9F27).
AAC: Final = 0x00
TC: Final = 0x40
ARQC: Final = 0x80


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Holder:
    """What is personal about an application. `expiry`: YYMM. `par`: 29 characters, the same on card and phone."""

    pan: str
    expiry: str = "3112"
    sequence_no: int = 1
    par: str | None = None
    label: str = "TEST"

    @property
    def track_2(self) -> bytes:
        """Tag 57: number, expiry, service code, discretionary data."""
        text = f"{self.pan}D{self.expiry}2010000012300000"
        return bytes.fromhex(text + "F" * (len(text) % 2))

    @property
    def expiry_date(self) -> bytes:
        """Tag 5F24: the last day of the month, as issuers write it (the 28th will do)."""
        return bytes.fromhex(f"{self.expiry}28")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """How an application is, or misbehaves.

    `phone`: it checks its owner by itself. `locked`: and has not yet. `declines`: always AAC. `contact_only`: wants
    another interface. `offline`: says TC where the terminal lets it. `forged`: its signature is not its key's.
    `wrong_cryptogram`: the issuer will notice.
    """

    phone: bool = False
    locked: bool = False
    declines: bool = False
    contact_only: bool = False
    offline: bool = False
    forged: bool = False
    wrong_cryptogram: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Personal:
    """What an application is made of. `master`: the card's own key for cryptograms, from its issuer."""

    holder: Holder
    behavior: Behavior
    authority: TestAuthority
    issuer: IssuerKey
    master: bytes
    draw: random.Random


class Application(Protocol):
    """What the card asks of an application."""

    @property
    def aid(self) -> bytes: ...

    @property
    def label(self) -> str: ...

    @property
    def kernel(self) -> int:
        """The kernel that it is for (9F2A)."""
        ...

    def reset(self) -> None:
        """The field came up: what was begun is forgotten, counters stay."""
        ...

    def fci(self, priority: int) -> bytes:
        """The answer to SELECT, with its status word."""
        ...

    def command(self, command: bytes) -> bytes:
        """The answer to any other command."""
        ...


class PaymentApplication(ABC):
    """GPO, READ RECORD and counters. A scheme fills in `_options` (GPO) and its objects."""

    aid = b""
    kernel = 0
    pdol = b""

    def __init__(self, personal: Personal) -> None:
        self._personal = personal
        self._behavior = personal.behavior
        self._records: dict[tuple[int, int], bytes] = {}
        self._told: dict[str, bytes] = {}
        self._pdol_data = b""
        self._begun = False
        #: the application transaction counter (9F36): one more with each GPO
        self.atc = 0

    @property
    def label(self) -> str:
        return self._personal.holder.label

    def unlock(self) -> None:
        """The owner has shown the phone a finger or a code."""
        self._behavior = replace(self._behavior, locked=False)

    def reset(self) -> None:
        self._begun = False
        self._told = {}

    def fci(self, priority: int) -> bytes:
        shown = encode("50", self.label.encode()) + encode("87", bytes((priority,)))
        if self.pdol:
            shown += encode("9F38", self.pdol)
        shown += encode("5F2D", b"en") + encode("BF0C", self._discretionary())
        return encode("6F", encode("84", self.aid) + encode("A5", shown)) + OK

    def command(self, command: bytes) -> bytes:
        match command[0], command[1]:
            case 0x80, 0xA8:
                return self._gpo(command)
            case 0x00, 0xB2:
                return self._read_record(command[2], command[3] >> 3)
            case _:
                return NO_SUCH_COMMAND

    def _gpo(self, command: bytes) -> bytes:
        data = data_of(command)
        wanted = dol.parse(self.pdol)
        length = sum(w.length for w in wanted)
        if data[:1] != b"\x83" or data[1:2] != bytes((length,)) or len(data) != length + 2:
            return WRONG_LENGTH
        if self._behavior.contact_only:
            return OTHER_INTERFACE
        if self._behavior.locked:
            return UNLOCK_FIRST
        self._pdol_data = data[2:]
        self._told = taken(self.pdol, self._pdol_data)
        self._begun = True
        self.atc += 1
        return self._options()

    def _read_record(self, number: int, sfi: int) -> bytes:
        if not self._begun:
            return NOT_ALLOWED
        record = self._records.get((sfi, number))
        return NO_SUCH_RECORD if record is None else encode("70", record) + OK

    @abstractmethod
    def _options(self) -> bytes: ...

    @abstractmethod
    def _discretionary(self) -> bytes: ...

    def _sign(self, signature: bytes) -> bytes:
        """A signature, or noise of its length that starts like one where this card is a forgery."""
        if not self._behavior.forged:
            return signature
        return signature[:-1] + bytes((signature[-1] ^ 1,))

    def _counter(self) -> bytes:
        return self.atc.to_bytes(2, "big")

    def _shown(self, cryptogram: bytes) -> bytes:
        return bytes(8) if self._behavior.wrong_cryptogram else cryptogram


def taken(wanted: bytes, data: bytes) -> dict[str, bytes]:
    """What the terminal sent for a data object list, by tag."""
    values, at = {}, 0
    for entry in dol.parse(wanted):
        values[entry.tag] = data[at : at + entry.length]
        at += entry.length
    return values


def data_of(command: bytes) -> bytes:
    """The data field of a short APDU; nothing where its length is wrong."""
    if len(command) < 6:
        return b""
    length = command[4]
    return command[5 : 5 + length] if len(command) in {5 + length, 6 + length} else b""


__all__ = [
    "NOT_FOUND",
    "Application",
    "Behavior",
    "Holder",
    "PaymentApplication",
    "Personal",
    "data_of",
    "taken",
]
