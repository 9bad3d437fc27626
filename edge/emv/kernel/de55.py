"""The chip data of an authorization request: ISO 8583 field 55, as BER-TLV.

Which objects: what Visa and Mastercard ask acquirers for in an authorization. Card numbers and tracks are not among
them: they have fields of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edge.emv import tags, tlv

#: In the order in which they are sent; one that nobody gave is left out.
TAGS: Final = (
    "9F26", "9F27", "9F10", "9F37", "9F36", "95", "9A", "9C", "9F02", "5F2A", "82", "9F1A", "9F34", "9F33", "9F35",
    "9F03", "84", "5F34", "9F6E", "9F09", "9F1E", "9F41",
)  # fmt: skip

#: LLLVAR of at most 255 bytes.
BYTES_MAX: Final = 255

assert not set(TAGS) & set(tags.SECRET)


def build(values: Mapping[str, bytes]) -> bytes:
    """The field. Objects at the end are left out where it would be too long: the last three are optional."""
    field = b""
    for tag in TAGS:
        value = values.get(tag)
        if value is None:
            continue
        each = tlv.encode(tag, value)
        if len(field) + len(each) <= BYTES_MAX:
            field += each
    return field
