"""The values of BMPs: from bytes to what may be known of them, and from values to bytes.

What is left of card data when it leaves here: the first six and last four digits of a number, nothing else.
"""

from __future__ import annotations

from typing import Final

from edge.emv.hexdump import scrub_hex
from edge.emv.pan import HIDDEN, PAN_MAX, truncate
from hw.terminals.zvt import tlv
from hw.terminals.zvt.errors import ZvtError
from hw.terminals.zvt.tables import BMPS, Bmp
from hw.terminals.zvt.text import decode_text, encode_text, scrub_line

Value = int | str | None | list[str] | list[int] | dict[str, int]

#: `87 FFFF` stands for "no receipt"; a receipt number ends at 9999.
NO_RECEIPT: Final = 0xFFFF
_RECEIPT: Final = 0x87

#: What stands where nothing may be shown.
HIDDEN_WHOLE: Final = HIDDEN * 4

#: The end-of-day totals stand in this order (BMP 60), each with a count and an amount.
_TOTALS: Final = ("girocard", "jcb", "mastercard", "amex", "visa", "diners", "others")
_TOTAL_BYTES: Final = 7


def bmp(number: int, value: int | str | bytes) -> bytes:
    """One BMP with its number: `bmp(0x04, 2500)` is an amount of 25.00 in six bytes of BCD."""
    field = BMPS[number]
    match value:
        case bytes():
            data = value
        case str():
            data = encode_text(value)
        case int() if number == _RECEIPT and value == NO_RECEIPT:
            data = b"\xff\xff"
        case int():
            assert isinstance(field.length, int)
            data = bcd(value, field.length) if field.kind == "number" else value.to_bytes(field.length, "big")
    match field.length:
        case "TLV":
            head = tlv.encode_length(len(data))
        case "LL" | "LLL":
            head = _llvar(len(data), len(field.length))
        case size:
            head, data = b"", data.ljust(size, b"\0")
            if len(data) > size:
                raise ValueError(f"BMP {number:02X} takes {size} bytes")
    return bytes((number,)) + head + data


def bcd(value: int, size: int) -> bytes:
    """A number in packed digits, two a byte. Raises ValueError where it does not fit."""
    digits = f"{value:0{2 * size}d}"
    if value < 0 or len(digits) > 2 * size:
        raise ValueError(f"{value} does not fit into {2 * size} digits")
    return bytes.fromhex(digits)


def _llvar(size: int, digits: int) -> bytes:
    if size >= 10**digits:
        raise ValueError(f"{size} bytes do not fit a length of {digits} digits")
    return bytes(0xF0 | int(c) for c in f"{size:0{digits}d}")


def decode_value(field: Bmp, data: bytes, what: str, at: int) -> Value:
    match field.kind:
        case "byte":
            return data[0]
        case "number":
            return packed(data, what, at, receipt=field.name == "receipt_no")
        case "text":
            text = decode_text(data).rstrip()
            plain = text if "\ufffd" not in text else data.hex().upper()
            return scrub_line(plain)
        case "pan":
            return _pan(data, what, at)
        case "track":
            number = data.hex().upper().partition("D")[0].replace("E", HIDDEN)
            return (truncate(number) if len(number) <= PAN_MAX else "") + HIDDEN_WHOLE
        case "totals":
            return _totals(data, what, at)
        case "binary":
            return scrub_hex(data.hex().upper())
        case _:
            return HIDDEN_WHOLE


def packed(data: bytes, what: str, at: int, *, receipt: bool = False) -> int | None:
    """A number in packed digits. All F means that there is none; in a receipt number it is a value of its own."""
    digits = data.hex()
    if digits.isdecimal():
        return int(digits)
    if set(digits) == {"f"}:
        return NO_RECEIPT if receipt else None
    raise ZvtError(f"{what} is not in BCD", offset=at)


def _pan(data: bytes, what: str, at: int) -> str:
    """A card number with at most the first six and last four digits; E is a digit that the terminal hid. Behind a D
    some terminals send the rest of track 2.
    """
    digits, separator, _ = data.hex().upper().rstrip("F").replace("E", HIDDEN).partition("D")
    if not set(digits) <= set("0123456789" + HIDDEN):
        raise ZvtError(f"{what} is no card number", offset=at)
    return truncate(digits) + (HIDDEN_WHOLE if separator else "")


def _totals(data: bytes, what: str, at: int) -> dict[str, int]:
    """`{"receipt_no_from", "receipt_no_to", "visa_count", "visa_minor", ..}`."""
    rest = len(data) - 4
    if rest < 0 or rest % _TOTAL_BYTES or rest // _TOTAL_BYTES > len(_TOTALS):
        raise ZvtError(f"{what} has {len(data)} bytes of totals", offset=at)
    values = {
        "receipt_no_from": packed(data[:2], what, at),
        "receipt_no_to": packed(data[2:4], what, at),
    }
    for i, name in enumerate(_TOTALS[: rest // _TOTAL_BYTES]):
        start = 4 + i * _TOTAL_BYTES
        values[f"{name}_count"] = data[start]
        values[f"{name}_minor"] = packed(data[start + 1 : start + _TOTAL_BYTES], what, at + start)
    return {name: value for name, value in values.items() if value is not None}
