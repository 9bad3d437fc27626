"""What the answers to GET PROCESSING OPTIONS, GENERATE AC and INTERNAL AUTHENTICATE hold: EMV Book 3, 6.5."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from edge.emv import tlv
from edge.emv.errors import CardDataInvalid
from edge.emv.objects import Objects, inside

CryptogramType: TypeAlias = Literal["AAC", "TC", "ARQC"]

_FORMAT_1: Final = 0x80
_FORMAT_2: Final = "77"
_TYPES: Final[dict[int, CryptogramType]] = {0: "AAC", 1: "TC", 2: "ARQC"}

#: Where issuer application data say what kind of cryptogram it is, in every format that Visa uses: Book C-3, 5.4.
_IAD_TYPE_AT: Final = 4


def add_options(data: bytes, objects: Objects) -> None:
    """What GET PROCESSING OPTIONS answered, in format 1 (80: AIP, AFL) or 2 (77). Raises CardDataInvalid, TlvError."""
    if data[:1] == bytes((_FORMAT_1,)):
        value = _primitive(data)
        if len(value) < 2:
            raise CardDataInvalid("processing options without an AIP (82)")
        objects.add("82", value[:2])
        if len(value) > 2:
            objects.add("94", value[2:])
    else:
        objects.add_all(inside(data, _FORMAT_2))
    if len(objects.need("82")) != 2:
        raise CardDataInvalid("an AIP (82) that has not two bytes")


def cryptogram(data: bytes) -> Objects:
    """What GENERATE AC answered. Raises CardDataInvalid, TlvError."""
    objects = Objects()
    if data[:1] == bytes((_FORMAT_1,)):
        value = _primitive(data)
        if len(value) < 11:
            raise CardDataInvalid("a cryptogram that is cut off")
        objects.add("9F27", value[:1])
        objects.add("9F36", value[1:3])
        objects.add("9F26", value[3:11])
        if len(value) > 11:
            objects.add("9F10", value[11:])
    else:
        objects.add_all(inside(data, _FORMAT_2))
    return objects


def without_signature(data: bytes) -> bytes:
    """The objects of a GENERATE AC answer in format 2 as they stand in it, but for 9F4B (Book 2, 6.6.2).

    Raises CardDataInvalid, TlvError.
    """
    return b"".join(tlv.whole(data, each) for each in inside(data, _FORMAT_2) if each.tag != "9F4B")


def dynamic_signature(data: bytes) -> bytes:
    """9F4B of an INTERNAL AUTHENTICATE answer. Raises CardDataInvalid, TlvError."""
    if data[:1] == bytes((_FORMAT_1,)):
        return _primitive(data)
    objects = Objects()
    objects.add_all(inside(data, _FORMAT_2))
    return objects.need("9F4B")


def cryptogram_type(objects: Objects) -> CryptogramType | None:
    """AAC, TC or ARQC by 9F27, else by 9F10; None where the card said neither."""
    information, issuer_data = objects.get("9F27"), objects.get("9F10")
    if information:
        return _TYPES.get(information[0] >> 6)
    if issuer_data is not None and len(issuer_data) > _IAD_TYPE_AT:
        return _TYPES.get(issuer_data[_IAD_TYPE_AT] >> 4 & 3)
    return None


def _primitive(data: bytes) -> bytes:
    objects = tlv.parse(data)
    if len(objects) != 1:
        raise CardDataInvalid("an answer that is more than one object")
    return objects[0].value
