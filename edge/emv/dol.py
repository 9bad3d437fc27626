"""Data object lists: which objects a card asks for, and how long each is (EMV Book 3, 5.4)."""

from __future__ import annotations

from typing import Final

import msgspec

from edge.emv.tlv import TlvError, tag_end

#: Tags whose values are such lists.
LISTS: Final = frozenset(("8C", "8D", "97", "9F38", "9F49", "9F4F", "9F51", "9F5B"))


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
