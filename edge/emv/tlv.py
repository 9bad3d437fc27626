"""BER-TLV as EMV uses it: EMV Book 3 annex B, ISO/IEC 7816-4, 5.2.2.

Strict: what does not fit ends in an error that names the byte. Bounded: by the data's own length and a depth.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

import msgspec

from edge.errors import InputError

#: EMV nests templates four deep; hostile data may try for more.
DEPTH_MAX: Final = 12

#: An extended-length response, the longest that a card can say.
DATA_MAX: Final = 65_536

_CONSTRUCTED: Final = 0x20
_TAG_BYTES_MAX: Final = 3
_LENGTH_BYTES_MAX: Final = 3


class TlvError(InputError):
    """Data that is not BER-TLV. `offset` counts bytes from the start of the whole data."""

    code: ClassVar[str] = "tlv.invalid"
    hint = "BER-TLV in hex, without the status word"

    def __init__(self, message: str, *, offset: int) -> None:
        super().__init__(f"{message} at byte {offset}")
        self.what = message
        self.offset = offset


class Tlv(msgspec.Struct, frozen=True, kw_only=True):
    """One data object. `tag` is upper-case hex (`9F38`); a constructed one has children, whose bytes are its
    value.

    `offset` is where its tag starts in the whole data.
    """

    tag: str
    value: bytes
    offset: int
    children: tuple[Tlv, ...] = ()

    @property
    def constructed(self) -> bool:
        return bool(int(self.tag[:2], 16) & _CONSTRUCTED)

    def walk(self) -> Iterator[Tlv]:
        """The object and all below, in the order of the bytes."""
        yield self
        for child in self.children:
            yield from child.walk()


def parse(data: bytes) -> tuple[Tlv, ...]:
    """The objects of `data`, which must end with the last one; `00` between them is padding (Book 3, B1).

    Raises TlvError.
    """
    if len(data) > DATA_MAX:
        raise TlvError(f"more than {DATA_MAX} bytes", offset=DATA_MAX)
    return _objects(data, 0, len(data), 0)


def find(objects: tuple[Tlv, ...], tag: str) -> bytes | None:
    """The value of the first object with this tag, at any depth."""
    for top in objects:
        for each in top.walk():
            if each.tag == tag:
                return each.value
    return None


def encode(tag: str, value: bytes) -> bytes:
    """One data object, its length as short as it can be."""
    n = len(value)
    if n < 0x80:
        length = bytes((n,))
    else:
        size = (n.bit_length() + 7) // 8
        length = bytes((0x80 | size,)) + n.to_bytes(size, "big")
    return bytes.fromhex(tag) + length + value


def whole(data: bytes, each: Tlv) -> bytes:
    """The object as it stands in `data`, the data that it was parsed from: tag, length and value."""
    value_at = tag_end(data, each.offset, len(data))
    length, value_at = _length(data, value_at, len(data), each.tag)
    return data[each.offset : value_at + length]


def _objects(data: bytes, start: int, end: int, depth: int) -> tuple[Tlv, ...]:
    if depth > DEPTH_MAX:
        raise TlvError(f"more than {DEPTH_MAX} levels", offset=start)
    objects = []
    at = start
    while at < end:
        if data[at] == 0:
            at += 1
            continue
        value_at = tag_end(data, at, end)
        tag = data[at:value_at].hex().upper()
        length, value_at = _length(data, value_at, end, tag)
        value_end = value_at + length
        if value_end > end:
            raise TlvError(
                f"tag {tag} says {length} bytes, {end - value_at} are left",
                offset=value_at,
            )
        children = _objects(data, value_at, value_end, depth + 1) if data[at] & _CONSTRUCTED else ()
        objects.append(Tlv(tag=tag, value=data[value_at:value_end], offset=at, children=children))
        at = value_end
    return tuple(objects)


def tag_end(data: bytes, at: int, end: int) -> int:
    """Where the tag that starts at `at` ends. Raises TlvError."""
    last = at
    if data[at] & 0x1F == 0x1F:
        while True:
            last += 1
            if last >= end:
                raise TlvError("the tag is cut off", offset=at)
            if last - at >= _TAG_BYTES_MAX:
                raise TlvError(f"a tag of more than {_TAG_BYTES_MAX} bytes", offset=at)
            if data[last] & 0x80 == 0:
                break
    return last + 1


def _length(data: bytes, at: int, end: int, tag: str) -> tuple[int, int]:
    """The length that is coded at `at`, and where the value starts."""
    if at >= end:
        raise TlvError(f"tag {tag} has no length", offset=at)
    first = data[at]
    if first < 0x80:
        return first, at + 1
    size = first & 0x7F
    if not 1 <= size <= _LENGTH_BYTES_MAX:
        raise TlvError(f"tag {tag} has a length coded as {first:02X}", offset=at)
    if at + 1 + size > end:
        raise TlvError(f"the length of tag {tag} is cut off", offset=at)
    return int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size
