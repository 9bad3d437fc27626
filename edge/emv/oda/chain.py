"""What offline data authentication says of a card, and the way from its objects to the keys: EMV Book 2, 5 and 6."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final, Literal, TypeAlias

import msgspec

from edge.emv.errors import CardDataInvalid, NotAuthentic
from edge.emv.objects import Objects
from edge.emv.oda.certificates import Certificate, icc_key, issuer_key
from edge.emv.oda.keys import RID_BYTES, CaKeys, PublicKey

Method: TypeAlias = Literal["SDA", "DDA", "fDDA", "CDA", "none"]
Result: TypeAlias = Literal["valid", "invalid", "not_performed"]

#: Application interchange profile, first byte (Book 3, annex C1; Book C-2, annex A).
AIP_SDA: Final = 0x40
AIP_DDA: Final = 0x20
AIP_CVM: Final = 0x10
AIP_ON_DEVICE_CVM: Final = 0x02
AIP_CDA: Final = 0x01

#: A PAN has at most 19 digits; below 8 there is no room for an issuer (ISO/IEC 7812-1).
_PAN_DIGITS: Final = range(8, 20)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a card proved that it is genuine. `reason` says why it is not valid, and never holds card data."""

    method: Method
    result: Result
    reason: str | None = None


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """What the keys of one card depend on. `static`: the static data to be authenticated."""

    objects: Objects
    aid: bytes
    static: bytes
    keys: CaKeys
    on: date

    def __repr__(self) -> str:
        return f"Chain({self.aid.hex()}, {self.on})"

    def issuer(self) -> PublicKey:
        """The issuer's key. Raises NotAuthentic, CardDataInvalid."""
        rid, index = self.aid[:RID_BYTES], self.objects.need("8F")
        ca_keys = self.keys.find(rid, index[0]) if len(index) == 1 else ()
        certificate = Certificate(
            signature=self.objects.need("90"),
            remainder=self.objects.get("92") or b"",
            exponent=self.objects.need("9F32"),
        )
        failed = NotAuthentic(f"there is no CA key {rid.hex().upper()} {index[:1].hex().upper()}")
        for ca_key in ca_keys:
            try:
                return issuer_key(certificate, ca_key, pan=pan_of(self.objects), on=self.on, keys=self.keys)
            except NotAuthentic as e:
                failed = e
        raise failed

    def card(self) -> PublicKey:
        """The card's own key. Raises NotAuthentic, CardDataInvalid."""
        issuer = self.issuer()
        certificate = Certificate(
            signature=self.objects.need("9F46"),
            remainder=self.objects.get("9F48") or b"",
            exponent=self.objects.need("9F47"),
        )
        return icc_key(certificate, issuer, pan=pan_of(self.objects), static=self.static, on=self.on)


def fast_dda_data(objects: Objects, told: Mapping[str, bytes]) -> bytes:
    """What the terminal adds to an fDDA signature: Book C-3, annex C. `told`: what the card was told with its PDOL.

    Version 00, and cards without 9F69, sign the unpredictable number only. Raises NotAuthentic for a version that is
    unknown, and where the card was not told what it has to sign.
    """
    related = objects.get("9F69") or b"\0"
    if related[0] not in (0x00, 0x01):
        raise NotAuthentic(f"fDDA version {related[0]:02X} is unknown")
    tags = ("9F37", "9F02", "5F2A") if related[0] else ("9F37",)
    for tag in tags:
        if not told.get(tag):
            raise NotAuthentic(f"the card was not told {tag}, which it has to sign")
    return b"".join(told[tag] for tag in tags) + (related if related[0] else b"")


def pan_of(objects: Objects) -> str:
    """The card number in digits, which must be one and the same wherever it stands. Raises CardDataInvalid."""
    plain, track = objects.get("5A"), objects.get("57")
    found = {digits for digits in (_digits(plain), _digits(track)) if digits is not None}
    if not found:
        raise CardDataInvalid("the card gave no card number")
    if len(found) > 1:
        raise CardDataInvalid("the card number in track 2 (57) is another one than in 5A")
    digits = found.pop()
    if not digits.isdecimal() or len(digits) not in _PAN_DIGITS:
        raise CardDataInvalid("the card gave no card number")
    return digits


def _digits(value: bytes | None) -> str | None:
    return None if not value else value.hex().upper().partition("D")[0].rstrip("F")
