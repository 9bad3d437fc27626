"""How the virtual acquirer reads and writes ISO 8583:1987 in ASCII: by hand, so that it is no copy of the till's.

What does not fit is a `Misread`, which names the element that was wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

#: Element -> digits of its length (0: fixed), bytes, and the characters it may have (ISO 8583:1987, 4.4).
_ELEMENTS: Final[dict[int, tuple[int, int, str]]] = {
    2: (2, 19, "n"), 3: (0, 6, "n"), 4: (0, 12, "n"), 7: (0, 10, "n"), 11: (0, 6, "n"), 12: (0, 6, "n"),
    13: (0, 4, "n"), 14: (0, 4, "n"), 22: (0, 3, "n"), 23: (0, 3, "n"), 25: (0, 2, "n"), 32: (2, 11, "n"),
    35: (2, 37, "z"), 37: (0, 12, "an"), 38: (0, 6, "an"), 39: (0, 2, "an"), 41: (0, 8, "ans"),
    42: (0, 15, "ans"), 49: (0, 3, "n"), 55: (3, 255, "b"), 63: (3, 999, "ans"), 70: (0, 3, "n"),
    90: (0, 42, "n"),
}  # fmt: skip

_ALLOWED: Final[dict[str, Callable[[str], bool]]] = {
    "n": lambda text: text.isascii() and text.isdigit(),
    "z": lambda text: text.isascii() and text.replace("=", "", 1).isdigit() and "=" in text,
    "an": lambda text: text.isascii() and text.replace(" ", "").isalnum(),
    "ans": lambda text: text.isascii() and text.isprintable(),
}

#: A two-byte length could say more; no message of this dialect does.
FRAME_MAX: Final = 2048


class Misread(Exception):
    """A message that this host does not take. `element`: 0 is the message as a whole."""

    def __init__(self, element: int, why: str) -> None:
        super().__init__(f"DE{element}: {why}")
        self.element = element


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """Message type and elements; DE55 in hex. Shows itself without card data."""

    mti: str
    fields: Mapping[int, str]

    def __repr__(self) -> str:
        return f"Message({self.mti}, stan={self.fields.get(11)}, rrn={self.fields.get(37)})"


@dataclass(frozen=True, slots=True)
class Dialect:
    """Bitmaps and DE55 as bytes, or as hex in ASCII."""

    bitmap: Literal["binary", "hex"] = "binary"
    icc: Literal["binary", "hex"] = "binary"

    def decode(self, data: bytes) -> Message:
        """Raises Misread."""
        mti = data[:4].decode("ascii", "replace")
        if not (len(mti) == 4 and mti.isascii() and mti.isdigit() and mti[0] == "0"):
            raise Misread(0, "no message type")
        present, at = self._bitmaps(data, 4)
        fields = {}
        for number in present:
            if number not in _ELEMENTS:
                raise Misread(number, "not taken here")
            fields[number], at = self._element(data, at, number)
        if at != len(data):
            raise Misread(0, "more than the bitmap says")
        return Message(mti, fields)

    def encode(self, message: Message) -> bytes:
        bits = 0
        body = b""
        for number in sorted(message.fields):
            bits |= 1 << (128 - number)
            body += self._value(number, message.fields[number])
        if bits & ((1 << 64) - 1):
            bits |= 1 << 127
            bitmap = bits.to_bytes(16, "big")
        else:
            bitmap = (bits >> 64).to_bytes(8, "big")
        if self.bitmap == "hex":
            bitmap = bitmap.hex().upper().encode()
        return message.mti.encode() + bitmap + body

    def _bitmaps(self, data: bytes, at: int) -> tuple[list[int], int]:
        width = 8 if self.bitmap == "binary" else 16
        first, at = self._bitmap(data[at : at + width], width), at + width
        present = first
        if 1 in first:
            second = self._bitmap(data[at : at + width], width)
            at += width
            present = first[1:] + [64 + n for n in second]
        return present, at

    def _bitmap(self, data: bytes, width: int) -> list[int]:
        if len(data) != width:
            raise Misread(0, "no bitmap")
        try:
            raw = data if self.bitmap == "binary" else bytes.fromhex(data.decode("ascii"))
        except ValueError:
            raise Misread(0, "no bitmap") from None
        bits = int.from_bytes(raw, "big")
        return [n for n in range(1, 65) if bits >> (64 - n) & 1]

    def _element(self, data: bytes, at: int, number: int) -> tuple[str, int]:
        digits, size, kind = _ELEMENTS[number]
        if kind == "b" and self.icc == "hex":
            size *= 2
        length = size
        if digits:
            prefix = data[at : at + digits]
            if len(prefix) != digits or not prefix.isdigit() or int(prefix) > size:
                raise Misread(number, "its length")
            length, at = int(prefix), at + digits
        raw = data[at : at + length]
        if len(raw) != length or not raw:
            raise Misread(number, "cut off")
        if kind == "b":
            text = raw.hex().upper() if self.icc == "binary" else raw.decode("ascii", "replace")
            if len(text) % 2 or any(c not in "0123456789ABCDEF" for c in text):
                raise Misread(number, "its value")
        else:
            text = raw.decode("latin-1")
            if not _ALLOWED[kind](text):
                raise Misread(number, "its value")
        return text, at + length

    def _value(self, number: int, text: str) -> bytes:
        digits, size, kind = _ELEMENTS[number]
        raw = bytes.fromhex(text) if kind == "b" and self.icc == "binary" else text.encode("ascii")
        if digits:
            return b"%0*d" % (digits, len(raw)) + raw
        assert len(raw) == size, number
        return raw
