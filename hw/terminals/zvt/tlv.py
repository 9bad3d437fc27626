"""The TLV container (BMP 06): BER tags, lengths of one to three bytes, values nested by the tag's bit 6.

ZVT 13.13 chapter 9. EMV's own BER-TLV (edge.emv.tlv) is stricter about tags and looser about lengths; the names
here are other ones for the same tags.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from edge.emv.hexdump import scrub_hex
from edge.emv.pan import HIDDEN, is_pan
from hw.terminals.zvt import tags
from hw.terminals.zvt.errors import ZvtError
from hw.terminals.zvt.text import decode_text, scrub_line

#: Containers nest three deep in the specification.
DEPTH_MAX: Final = 8

_TAG_BYTES_MAX: Final = 3
_CONSTRUCTED: Final = 0x20


class Tlv(msgspec.Struct, frozen=True, kw_only=True):
    """One object: `tag` in upper-case hex, its value, and what the value holds where it is constructed."""

    tag: str
    value: bytes
    children: tuple[Tlv, ...] | None = None

    def __repr__(self) -> str:
        """Without the value: it may be card data."""
        return f"<tag {self.tag} {len(self.value)} bytes>"

    def walk(self) -> Iterator[Tlv]:
        """The object and all below, in the order of the bytes."""
        yield self
        for child in self.children or ():
            yield from child.walk()


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An object as it may be shown. `length` in bytes; `value` in hex, card data and passwords hidden."""

    tag: str
    name: str | None
    length: int
    value: str | None = None
    text: str | None = None
    scrubbed: bool = False
    children: tuple[Node, ...] | None = None


def container(data: bytes, at: int) -> tuple[tuple[Tlv, ...], int]:
    """The objects of the container whose length stands at `at`, and where it ends. Raises ZvtError."""
    length, start = _length(data, at, len(data), "the container")
    end = start + length
    if end > len(data):
        raise ZvtError(f"the container says {length} bytes, {len(data) - start} are left", offset=at)
    return _objects(data, start, end, 0), end


def encode(tag: str, value: bytes) -> bytes:
    """One object, its length as short as it can be."""
    return bytes.fromhex(tag) + encode_length(len(value)) + value


def encode_length(size: int) -> bytes:
    """A length in one, two or three bytes."""
    if size < 0x80:
        return bytes((size,))
    return bytes((0x81, size)) if size < 0x100 else b"\x82" + size.to_bytes(2, "big")


def find(objects: tuple[Tlv, ...], tag: str) -> bytes | None:
    """The value of the first object with this tag, at any depth."""
    return next(every(objects, tag), None)


def every(objects: tuple[Tlv, ...], tag: str) -> Iterator[bytes]:
    """The values of all objects with this tag, at any depth."""
    for top in objects:
        for each in top.walk():
            if each.tag == tag:
                yield each.value


def charset(objects: tuple[Tlv, ...]) -> int | None:
    """The number of the character set that the container names for its texts (tag 14)."""
    value = find(objects, "14")
    return value[0] if value else None


def describe(objects: tuple[Tlv, ...]) -> tuple[Node, ...]:
    """The tree without what nobody may see."""
    chars = charset(objects)
    return tuple(_node(each, chars) for each in objects)


def _node(each: Tlv, chars: int | None) -> Node:
    name, length = tags.NAMES.get(each.tag), len(each.value)
    if each.children is not None:
        children = tuple(_node(child, chars) for child in each.children)
        return Node(tag=each.tag, name=name, length=length, children=children)
    if each.tag in tags.SECRET:
        return Node(tag=each.tag, name=name, length=length, value=HIDDEN * 4, scrubbed=True)
    if each.tag in tags.TEXT:
        plain = decode_text(each.value, chars)
        text = scrub_line(plain)
        value = each.value.hex().upper() if text == plain else HIDDEN * 4
        return Node(tag=each.tag, name=name, length=length, value=value, text=text, scrubbed=text != plain)
    plain_hex = each.value.hex().upper()
    value = plain_hex if each.tag in tags.PLAIN and not _is_number(plain_hex) else scrub_hex(plain_hex)
    return Node(tag=each.tag, name=name, length=length, value=value, scrubbed=value != plain_hex)


def _is_number(value: str) -> bool:
    """True for what is a card number as a whole, whatever its tag says."""
    return is_pan(value.rstrip("F")) if value.rstrip("F").isdecimal() else False


def _objects(data: bytes, start: int, end: int, depth: int) -> tuple[Tlv, ...]:
    if depth > DEPTH_MAX:
        raise ZvtError(f"containers more than {DEPTH_MAX} deep", offset=start)
    objects = []
    at = start
    while at < end:
        tag_end = _tag_end(data, at, end)
        tag = data[at:tag_end].hex().upper()
        length, value_at = _length(data, tag_end, end, f"tag {tag}")
        value_end = value_at + length
        if value_end > end:
            raise ZvtError(f"tag {tag} says {length} bytes, {end - value_at} are left", offset=at)
        constructed = data[at] & _CONSTRUCTED and tag not in tags.VENDOR_PRIMITIVE
        children = _children(tag, data, value_at, value_end, depth + 1) if constructed else None
        objects.append(Tlv(tag=tag, value=data[value_at:value_end], children=children))
        at = value_end
    return tuple(objects)


def _children(tag: str, data: bytes, at: int, end: int, depth: int) -> tuple[Tlv, ...] | None:
    """What a constructed object holds; None where tills are known to put plain bytes there."""
    try:
        return _objects(data, at, end, depth)
    except ZvtError:
        if tag in tags.SOMETIMES_PLAIN:
            return None
        raise


def _tag_end(data: bytes, at: int, end: int) -> int:
    last = at
    if data[at] & 0x1F == 0x1F:
        while True:
            last += 1
            if last >= end:
                raise ZvtError("a tag is cut off", offset=at)
            if last - at >= _TAG_BYTES_MAX:
                raise ZvtError(f"a tag of more than {_TAG_BYTES_MAX} bytes", offset=at)
            if data[last] & 0x80 == 0:
                break
    return last + 1


def _length(data: bytes, at: int, end: int, whose: str) -> tuple[int, int]:
    """The length that is coded at `at`, and where the value starts."""
    if at >= end:
        raise ZvtError(f"{whose} has no length", offset=at)
    first = data[at]
    if first < 0x80:
        return first, at + 1
    size = first & 0x7F
    if first not in (0x81, 0x82):
        raise ZvtError(f"{whose} has a length coded as {first:02X}", offset=at)
    if at + 1 + size > end:
        raise ZvtError(f"the length of {whose} is cut off", offset=at)
    return int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size
