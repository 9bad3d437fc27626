"""What a terminal is and takes, and one purchase at it; both as a card is told (EMV Book 3, annex A; Books C-2, C-3).

This terminal stands unattended on a charger: no PIN, no signature, no contact interface, no cash.
"""

from __future__ import annotations

from datetime import date, time
from typing import Final, Literal

import msgspec

#: An unattended merchant's terminal that asks online only, or also offline (Book 4, annex A1).
_ONLINE_ONLY: Final = b"\x24"
_OFFLINE_TOO: Final = b"\x25"

#: Terminal capabilities (Book 4, annex A2): no other way to read cards, no CVM with and without "no CVM", CDA.
_NO_CVM_TAKEN: Final = bytes.fromhex("000808")
_CVM_WANTED: Final = bytes.fromhex("000008")

#: Additional terminal capabilities (Book 4, annex A3): goods and services; nothing printed, nothing keyed in.
_ADDITIONAL: Final = bytes.fromhex("6000000000")

#: Terminal risk management data (Book C-2, annex A): no CVM and device CVM over contactless; EMV mode only.
_RISK_NO_CVM: Final = bytes.fromhex("0C00800000000000")
_RISK_CVM: Final = bytes.fromhex("0400800000000000")

#: Terminal transaction qualifiers (Book C-3, annex A): EMV mode and data authentication for online requests;
#: online cryptogram and CVM as the amount wants them; device CVM; fDDA version 1.
_TTQ_MODE: Final = 0x21
_TTQ_ONLINE: Final = 0x80
_TTQ_CVM: Final = 0x40
_TTQ_DEVICE_CVM: Final = 0x40
_TTQ_FDDA: Final = 0x80

#: Goods and services (ISO 8583, processing code).
_PURCHASE: Final = b"\x00"

#: A 12-digit amount field.
AMOUNT_MAX: Final = 999_999_999_999

_DENIED: Final = bytes.fromhex("0400800000")  # a combined signature that failed; a CVM that failed
_ASKED: Final = bytes.fromhex("FC50BCF800")  # everything else that is doubtful, and the floor limit
_VERSION: Final = {2: bytes.fromhex("0002"), 3: bytes.fromhex("0096")}


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """A scheme's cards as this terminal takes them. `aid` may be the beginning of theirs. Limits in minor units.

    `transaction_limit_minor`: from there on not at all (for a device CVM `device_limit_minor`, kernel 2); `cvm_limit`:
    from there on only with a CVM; `floor_limit`: above it online. None is no limit. The action codes are kernel 2's.
    """

    aid: bytes
    kernel: Literal[2, 3]
    transaction_limit_minor: int | None = None
    device_limit_minor: int | None = None
    cvm_limit_minor: int = 5_000
    floor_limit_minor: int = 0
    extended_selection: bool = False
    action_denial: bytes = _DENIED
    action_online: bytes = _ASKED

    def __post_init__(self) -> None:
        if not 5 <= len(self.aid) <= 16:
            raise ValueError("an AID has 5 to 16 bytes")
        if len(self.action_denial) != 5 or len(self.action_online) != 5:
            raise ValueError("a terminal action code has 5 bytes")


MASTERCARD: Final = Application(aid=bytes.fromhex("A0000000041010"), kernel=2)
MAESTRO: Final = Application(aid=bytes.fromhex("A0000000043060"), kernel=2)
VISA: Final = Application(aid=bytes.fromhex("A0000000031010"), kernel=3)
VISA_ELECTRON: Final = Application(aid=bytes.fromhex("A0000000032010"), kernel=3)
V_PAY: Final = Application(aid=bytes.fromhex("A0000000032020"), kernel=3)


class Terminal(msgspec.Struct, frozen=True, kw_only=True):
    """Who the terminal is. `country` is ISO 3166-1 numeric. `category` is the merchant's (5552: vehicle charging).

    `online_only`: an offline approval is never asked for, nor taken. `other_interface`: a certified terminal stands
    beside the reader, to which a driver can be sent.
    """

    country: int
    serial: str = "00000000"
    identity: str = "00000000"
    merchant: str = "000000000000000"
    category: int = 5552
    online_only: bool = True
    other_interface: bool = False
    applications: tuple[Application, ...] = (MASTERCARD, MAESTRO, VISA, VISA_ELECTRON, V_PAY)

    def __post_init__(self) -> None:
        texts = ((self.serial, 8), (self.identity, 8), (self.merchant, 15))
        if any(len(text) != length or not text.isascii() for text, length in texts):
            raise ValueError("serial and identity have 8 characters, the merchant's number has 15")
        if not 1 <= self.country <= 999:
            raise ValueError("a country has 3 digits")


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """One purchase. For charging `amount_minor` is the hold. `currency` is ISO 4217 numeric.

    `unpredictable_number` has 4 bytes, drawn anew by whoever asks; `day` and `at` are local; `number` counts.
    """

    amount_minor: int
    currency: int
    unpredictable_number: bytes
    day: date
    at: time = time()
    number: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.amount_minor <= AMOUNT_MAX:
            raise ValueError("an amount has 12 digits")
        if len(self.unpredictable_number) != 4:
            raise ValueError("an unpredictable number has 4 bytes")


def bcd(number: int, size: int) -> bytes:
    """A number in `size` bytes of two digits each; the last digits where it has more."""
    return bytes.fromhex(str(number % 100**size).zfill(2 * size))


def told(terminal: Terminal, purchase: Purchase, application: Application) -> dict[str, bytes]:
    """What a card may ask for in its lists, by tag, before the kernel's own findings."""
    cvm = wants_cvm(purchase, application)
    values = {
        "5F2A": bcd(purchase.currency, 2),
        "5F36": b"\x02",
        "95": bytes(5),
        "9A": bytes.fromhex(f"{purchase.day:%y%m%d}"),
        "9C": _PURCHASE,
        "9F02": bcd(purchase.amount_minor, 6),
        "9F03": bytes(6),
        "9F06": application.aid,
        "9F09": _VERSION[application.kernel],
        "9F15": bcd(terminal.category, 2),
        "9F16": terminal.merchant.encode(),
        "9F1A": bcd(terminal.country, 2),
        "9F1C": terminal.identity.encode(),
        "9F1E": terminal.serial.encode(),
        "9F21": bytes.fromhex(f"{purchase.at:%H%M%S}"),
        "9F33": _CVM_WANTED if cvm else _NO_CVM_TAKEN,
        "9F35": _ONLINE_ONLY if terminal.online_only else _OFFLINE_TOO,
        "9F37": purchase.unpredictable_number,
        "9F40": _ADDITIONAL,
        "9F41": bcd(purchase.number, 4),
        "81": min(purchase.amount_minor, 0xFFFFFFFF).to_bytes(4, "big"),
    }
    if application.kernel == 3:
        values["9F66"] = _qualifiers(terminal, purchase, application)
    else:
        values["9F1D"] = _RISK_CVM if cvm else _RISK_NO_CVM
        values["9F53"] = b"R"  # transaction category: retail
        values["9F7E"] = b"\x01"  # a phone may say what it is
    return values


def wants_cvm(purchase: Purchase, application: Application) -> bool:
    """Whether the holder has to be verified: kernel 3 from the limit on, kernel 2 above it (Books B, 3.1.1; C-2)."""
    if application.kernel == 3:
        return purchase.amount_minor >= application.cvm_limit_minor
    return purchase.amount_minor > application.cvm_limit_minor


def wants_online(terminal: Terminal, purchase: Purchase, application: Application) -> bool:
    """Whether an approval by the card alone is not enough."""
    return terminal.online_only or purchase.amount_minor > application.floor_limit_minor


def _qualifiers(terminal: Terminal, purchase: Purchase, application: Application) -> bytes:
    wanted = (_TTQ_ONLINE if wants_online(terminal, purchase, application) else 0) | (
        _TTQ_CVM if wants_cvm(purchase, application) else 0
    )
    return bytes((_TTQ_MODE, wanted, _TTQ_DEVICE_CVM, _TTQ_FDDA))
