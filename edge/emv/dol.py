"""Data object lists: which objects a card asks for, and how long each is (EMV Book 3, 5.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from edge.emv.errors import CardDataInvalid
from edge.emv.tlv import TlvError, tag_end

#: Tags whose values are such lists.
LISTS: Final = frozenset(("8C", "8D", "97", "9F38", "9F49", "9F4F", "9F51", "9F5B"))

#: The data of a list go into one short command, in a template of up to three bytes more (Book 3, 6.5.8).
DATA_MAX: Final = 252

#: A list of 252 bytes cannot have more entries than this.
ENTRIES_MAX: Final = 126

#: The terminal's objects in format n: they are cut and padded on the left (Book 3, 5.4 and annex A).
_NUMERIC: Final = frozenset(
    ("5F2A", "5F36", "9A", "9C", "9F01", "9F02", "9F03", "9F15", "9F1A", "9F21", "9F35", "9F39", "9F41")
)


class Wanted(msgspec.Struct, frozen=True):
    """One entry: the object's tag in upper-case hex, and its length in bytes."""

    tag: str
    length: int


def parse(data: bytes, *, offset: int = 0) -> tuple[Wanted, ...]:
    """The entries of a list. `offset` is where it starts in the data that errors count in. Raises TlvError."""
    wanted = []
    at = 0
    while at < len(data):
        try:
            end = tag_end(data, at, len(data))
        except TlvError as e:
            raise TlvError(e.what, offset=offset + e.offset) from None
        if end >= len(data):
            raise TlvError(f"tag {data[at:end].hex().upper()} has no length", offset=offset + end)
        wanted.append(Wanted(data[at:end].hex().upper(), data[end]))
        at = end + 1
    return tuple(wanted)


def fill(entries: tuple[Wanted, ...], values: Mapping[str, bytes]) -> bytes:
    """The data that a card asks for, what is unknown as zeros. Raises CardDataInvalid when it asks for too much."""
    if len(entries) > ENTRIES_MAX or sum(entry.length for entry in entries) > DATA_MAX:
        raise CardDataInvalid(f"a data object list that asks for more than {DATA_MAX} bytes")
    return b"".join(_fit(entry, values.get(entry.tag, b"")) for entry in entries)


def split(entries: tuple[Wanted, ...], data: bytes) -> dict[str, bytes]:
    """What was given for a list, by tag. Raises CardDataInvalid where the lengths do not agree."""
    if sum(entry.length for entry in entries) != len(data):
        raise CardDataInvalid("a command's data have another length than the card's list asks for")
    values = {}
    at = 0
    for entry in entries:
        values[entry.tag] = data[at : at + entry.length]
        at += entry.length
    return values


def _fit(entry: Wanted, value: bytes) -> bytes:
    if entry.tag in _NUMERIC:
        padded = value.rjust(entry.length, b"\0")
        return padded[len(padded) - entry.length :]
    return value[: entry.length].ljust(entry.length, b"\0")
