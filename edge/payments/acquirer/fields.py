"""The data elements that this link speaks, and the codec: strict both ways, on top of pyiso8583.

A message that does not come out byte for byte when it is written again was not understood, and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import iso8583

from edge.payments.acquirer.errors import AcquirerGarbled
from edge.payments.acquirer.options import Wire

#: A message has at most a few hundred bytes; 999 bytes of one private field are the most that ISO 8583 allows.
MESSAGE_MAX: Final = 4096

#: ISO 8583:1987, 4.4: element -> (digits of its length, bytes at most; for length 0: exactly).
_TEXT: Final = {
    2: (2, 19), 3: (0, 6), 4: (0, 12), 5: (0, 12), 6: (0, 12), 7: (0, 10), 9: (0, 8), 10: (0, 8), 11: (0, 6),
    12: (0, 6), 13: (0, 4), 14: (0, 4), 15: (0, 4), 16: (0, 4), 17: (0, 4), 18: (0, 4), 19: (0, 3), 22: (0, 3),
    23: (0, 3), 24: (0, 3), 25: (0, 2), 26: (0, 2), 28: (0, 9), 30: (0, 9), 32: (2, 11), 33: (2, 11),
    35: (2, 37), 37: (0, 12), 38: (0, 6), 39: (0, 2), 40: (0, 3), 41: (0, 8), 42: (0, 15), 43: (0, 40),
    44: (2, 25), 46: (3, 999), 47: (3, 999), 48: (3, 999), 49: (0, 3), 50: (0, 3), 51: (0, 3), 54: (3, 120),
    56: (3, 999), 57: (3, 999), 58: (3, 999), 59: (3, 999), 60: (3, 999), 61: (3, 999), 62: (3, 999),
    63: (3, 999), 66: (0, 1), 70: (0, 3), 90: (0, 42), 95: (0, 42), 100: (2, 11), 102: (2, 28), 103: (2, 28),
}  # fmt: skip

#: Binary elements of fixed length: the message authentication codes.
_MACS: Final = (64, 128)
_MAC_BYTES: Final = 8

#: DE55, as pyiso8583 counts it: bytes, or twice as many characters of hex.
_ICC_BYTES_MAX: Final = 255

#: Digits only, whatever their number (ISO 8583:1987, attribute `n`).
_NUMERIC: Final = frozenset((*range(2, 8), *range(9, 20), *range(22, 27), 32, 33, 49, 50, 51, 70, 90))

_TRACK_2: Final = "35"
_ICC: Final = 55
_HEX: Final = re.compile(r"(?:[0-9A-F]{2})+")


class Codec:
    """Messages as bytes, without their length prefix. Card numbers pass through and are kept nowhere."""

    def __init__(self, wire: Wire) -> None:
        self._spec = _spec(wire)
        self._packed = wire.numbers == "bcd"
        self._header = bytes.fromhex(wire.header)

    def encode(self, mti: str, fields: Mapping[int, str]) -> bytes:
        """A message. Raises AcquirerGarbled for a value that does not fit its element."""
        document = {"t": mti} | {str(number): value for number, value in fields.items()}
        if self._packed and _TRACK_2 in document:
            document[_TRACK_2] = document[_TRACK_2].replace("=", "D")
        _check(fields)
        try:
            raw, _ = iso8583.encode(document, self._spec)
        except iso8583.EncodeError as e:
            raise AcquirerGarbled(f"DE{e.field} cannot be written: {_without_data(e.msg)}") from None
        return self._header + bytes(raw)

    def decode(self, data: bytes) -> tuple[str, dict[int, str]]:
        """Message type and elements. Raises AcquirerGarbled, which names the element and never its value."""
        if len(data) > MESSAGE_MAX:
            raise AcquirerGarbled(f"a message of {len(data)} bytes")
        body = data[len(self._header) :]
        try:
            document, _ = iso8583.decode(body, self._spec)
            again, _ = iso8583.encode(dict(document), self._spec)
        except iso8583.DecodeError as e:
            raise AcquirerGarbled(f"DE{e.field} at byte {e.pos}: {_without_data(e.msg)}") from None
        except (iso8583.EncodeError, KeyError) as e:
            name = e.field if isinstance(e, iso8583.EncodeError) else str(e.args[0])
            raise AcquirerGarbled(f"DE{name} is not known to this link") from None
        if bytes(again) != body:
            raise AcquirerGarbled("a message that is not written as ISO 8583 says")
        mti = document["t"]
        fields = {int(name): value for name, value in document.items() if name not in {"t", "p", "1", "h"}}
        if self._packed and _TRACK_2 in document:
            fields[int(_TRACK_2)] = document[_TRACK_2].replace("D", "=")
        if not (mti.isdigit() and mti.startswith("0")):
            raise AcquirerGarbled("no message type of ISO 8583:1987")
        _check(fields)
        return mti, fields


def _check(fields: Mapping[int, str]) -> None:
    """What pyiso8583 takes for text of the right length. Raises AcquirerGarbled."""
    for number, value in fields.items():
        if number in _NUMERIC and not (value.isascii() and value.isdigit()):
            raise AcquirerGarbled(f"DE{number} has to be digits")
        if number == _ICC and _HEX.fullmatch(value) is None:
            raise AcquirerGarbled(f"DE{number} has to be bytes in hex")


def _without_data(reason: str) -> str:
    """pyiso8583 may quote what it read; what stands before the first quotation mark says enough."""
    return reason.split("'", 1)[0].rstrip(" ,:")


def _spec(wire: Wire) -> dict[str, dict[str, Any]]:
    """What pyiso8583 has to know of each part."""
    packed = wire.numbers == "bcd"
    bitmap = (
        {"data_enc": "b", "max_len": 8} if wire.bitmap == "binary" else {"data_enc": "ascii", "max_len": 16}
    )
    fixed: dict[str, Any] = {"len_enc": "ascii", "len_type": 0}
    spec: dict[str, dict[str, Any]] = {
        "h": fixed | {"data_enc": "ascii", "max_len": 0},
        "t": fixed | ({"data_enc": "b", "max_len": 2} if packed else {"data_enc": "ascii", "max_len": 4}),
        "p": fixed | bitmap,
        "1": fixed | bitmap,
    }
    for number, (digits, max_len) in _TEXT.items():
        element = _length(digits, packed=packed) | {"data_enc": "ascii", "max_len": max_len}
        if packed and (number in _NUMERIC or str(number) == _TRACK_2):
            element |= {"data_enc": "b", "len_count": "nibbles"} | _padding(wire, variable=digits > 0)
        spec[str(number)] = element
    binary = packed or wire.icc == "binary"
    spec["55"] = _length(3, packed=packed) | {
        "data_enc": "b" if binary else "ascii",
        "max_len": _ICC_BYTES_MAX if binary else 2 * _ICC_BYTES_MAX,
    }
    for number in _MACS:
        spec[str(number)] = fixed | {"data_enc": "b", "max_len": _MAC_BYTES}
    return {name: {"desc": f"DE{name}"} | each for name, each in spec.items()}


def _length(digits: int, *, packed: bool) -> dict[str, Any]:
    """How a length of so many digits stands before its element: a byte each, or two to a byte."""
    return (
        {"len_enc": "bcd", "len_type": (digits + 1) // 2}
        if packed
        else {"len_enc": "ascii", "len_type": digits}
    )


def _padding(wire: Wire, *, variable: bool) -> dict[str, str]:
    """Elements of fixed length are numbers, which zeros before them do not change."""
    return {"right_pad": "F"} if variable and wire.odd == "right" else {"left_pad": "0"}
