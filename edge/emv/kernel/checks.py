"""What kernel 2 finds out about a card before it asks for a cryptogram: EMV Book 3, 10.4 to 10.7; Book C-2, 7."""

from __future__ import annotations

from datetime import date
from typing import Final

import msgspec

from edge.emv.kernel.reading import Taken
from edge.emv.kernel.terminal import wants_cvm
from edge.emv.oda.certificates import two_digit_year
from edge.emv.oda.chain import AIP_CVM, AIP_ON_DEVICE_CVM

#: Terminal verification results: byte and bit (Book 3, annex C5).
ODA_NOT_PERFORMED: Final = (0, 0x80)
ICC_DATA_MISSING: Final = (0, 0x20)
CDA_FAILED: Final = (0, 0x04)
_OTHER_VERSION: Final = (1, 0x80)
_EXPIRED: Final = (1, 0x40)
_NOT_YET: Final = (1, 0x20)
_SERVICE_NOT_ALLOWED: Final = (1, 0x10)
CVM_FAILED: Final = (2, 0x80)
_CVM_UNKNOWN: Final = (2, 0x40)
_ABOVE_FLOOR: Final = (3, 0x80)

#: Application usage control (Book 3, annex C2): services at home and abroad, terminals that are not cash machines.
_USAGE_DOMESTIC_SERVICES: Final = 0x08 | 0x20
_USAGE_FOREIGN_SERVICES: Final = 0x04 | 0x10
_USAGE_NOT_AT_ATM: Final = 0x01

#: CVM list (Book 3, annex C3): a rule's code without its highest bits, "no CVM", and all codes that have a meaning.
_CVM_CODE: Final = 0x3F
_CVM_ELSE_NEXT: Final = 0x40
_NO_CVM: Final = 0x1F
_CVM_KNOWN: Final = frozenset((0, 1, 2, 3, 4, 5, 0x1E, 0x1F))

#: CVM results (Book C-2, 7.5): nothing done, nothing matched, none needed on the device, done on the device.
_NOTHING: Final = bytes.fromhex("3F0000")
_NO_RULE: Final = bytes.fromhex("3F0001")
_DEVICE_NOT_NEEDED: Final = bytes.fromhex("3F0002")
_DEVICE: Final = bytes.fromhex("010002")


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """How the holder is verified. `results` is 9F34; `flags` are what goes into the terminal verification results."""

    results: bytes
    by_device: bool = False
    flags: tuple[tuple[int, int], ...] = ()


class Results:
    """Terminal verification results under construction."""

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        self._bytes = bytearray(5)

    def mark(self, *flags: tuple[int, int]) -> None:
        """Sets flags."""
        for at, bit in flags:
            self._bytes[at] |= bit

    @property
    def value(self) -> bytes:
        return bytes(self._bytes)

    def meet(self, *codes: bytes) -> bool:
        """True when any flag of an action code is set."""
        return any(mine & theirs for code in codes for mine, theirs in zip(self._bytes, code, strict=False))


def restrictions(taken: Taken) -> tuple[tuple[int, int], ...]:
    """Version, usage and dates (Book 3, 10.4), and the floor limit (10.6.1), as flags."""
    objects, purchase = taken.objects, taken.purchase
    flags = []
    version = objects.get("9F08")
    if version is not None and version != taken.values["9F09"]:
        flags.append(_OTHER_VERSION)
    if not _may_be_used(taken):
        flags.append(_SERVICE_NOT_ALLOWED)
    if is_expired(objects.get("5F24"), purchase.day):
        flags.append(_EXPIRED)
    begins = _day(objects.get("5F25"))
    if begins is not None and purchase.day < begins:
        flags.append(_NOT_YET)
    if purchase.amount_minor > taken.chosen.application.floor_limit_minor:
        flags.append(_ABOVE_FLOOR)
    return tuple(flags)


def is_expired(expiry: bytes | None, day: date) -> bool:
    """Whether a date of expiry (5F24) is over, or none at all."""
    last = _day(expiry)
    return last is None or day > last


def verification(taken: Taken) -> Verification:
    """CVM selection (Book C-2, 7.5). What the holder would have to do at a PIN pad fails: there is none."""
    aip, wanted = taken.objects.need("82")[0], wants_cvm(taken.purchase, taken.chosen.application)
    if aip & AIP_ON_DEVICE_CVM:
        return Verification(results=_DEVICE if wanted else _DEVICE_NOT_NEEDED, by_device=wanted)
    if not aip & AIP_CVM:
        return Verification(results=_NOTHING)
    rules = taken.objects.get("8E") or b""
    if len(rules) < 10 or len(rules) % 2:
        return Verification(results=_NOTHING, flags=(ICC_DATA_MISSING,))
    amounts = int.from_bytes(rules[:4], "big"), int.from_bytes(rules[4:8], "big")
    flags: list[tuple[int, int]] = []
    tried = _NO_RULE
    for at in range(8, len(rules), 2):
        code, condition = rules[at], rules[at + 1]
        if not _applies(taken, code & _CVM_CODE, condition, amounts, wanted=wanted):
            continue
        if code & _CVM_CODE == _NO_CVM and not wanted:
            return Verification(results=bytes((code, condition, 0x02)), flags=tuple(flags))
        if code & _CVM_CODE not in _CVM_KNOWN:
            flags.append(_CVM_UNKNOWN)
        tried = bytes((code, condition, 0x01))
        if not code & _CVM_ELSE_NEXT:
            break
    return Verification(results=tried, flags=(*flags, CVM_FAILED))


def _applies(taken: Taken, code: int, condition: int, amounts: tuple[int, int], *, wanted: bool) -> bool:
    """The conditions of Book 3, annex C3, at an unattended terminal that sells without cash."""
    amount = taken.purchase.amount_minor
    match condition:
        case 0x00 | 0x02:
            return True
        case 0x03:
            return code == _NO_CVM and not wanted
        case 0x06 | 0x07 | 0x08 | 0x09 if taken.objects.get("9F42") == taken.values["5F2A"]:
            limit = amounts[condition >= 0x08]
            return amount > limit if condition & 1 else amount < limit
        case _:
            return False


def _may_be_used(taken: Taken) -> bool:
    usage, issued = taken.objects.get("9F07"), taken.objects.get("5F28")
    if usage is None or len(usage) != 2:
        return True
    if not usage[0] & _USAGE_NOT_AT_ATM:
        return False
    if issued is None:
        return True
    at_home = issued == taken.values["9F1A"]
    return bool(usage[0] & (_USAGE_DOMESTIC_SERVICES if at_home else _USAGE_FOREIGN_SERVICES))


def _day(value: bytes | None) -> date | None:
    text = (value or b"").hex()
    try:
        return date(two_digit_year(int(text[:2])), int(text[2:4]), int(text[4:]))
    except ValueError:
        return None
