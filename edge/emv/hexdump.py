"""Card data inside hex: by data object where it is BER-TLV, else by what a card number looks like in it."""

from __future__ import annotations

import re
from typing import Final

from edge.emv import tags, tlv
from edge.emv.pan import HIDDEN, PAN_MAX, PAN_MIN, is_pan, truncate

#: Longer hex than any card's answer is not card data; it is cut before it is scanned.
_SCANNED_MAX: Final = 2 * tlv.DATA_MAX

#: A hash, a key or a signature in the one spelling that this house uses for them.
_DIGEST: Final = re.compile(
    r"(?=\d*[a-f])(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128})"
)

#: A number in BCD after its tag and length: 5A with up to ten bytes, padded with F.
_PAN_OBJECT: Final = re.compile(r"(?i:5A)0([789Aa])(\d{13,19})[Ff]?")
#: Track 2 in BCD: number, D, expiry as YYMM, service code, discretionary data.
_TRACK_2: Final = re.compile(r"(\d{13,19})[Dd](\d\d(?:0[1-9]|1[0-2])\d{3})([0-9]*[Ff]?)")
#: A certificate that the number can be recovered from, and its length.
_CERTIFICATE: Final = re.compile(r"(9[Ff](?:46|2[Dd]))(81[89A-Fa-f][0-9A-Fa-f]|[2-7][0-9A-Fa-f])")
#: Digits that letters, padding or the ends bound.
_DIGITS: Final = re.compile(r"\d{13,}")
#: ASCII digits, one a byte.
_ASCII: Final = re.compile(r"(?:3\d){13,}")

#: A run of decimal digits in hex that is longer than this is a number in decimal.
_RUN_MAX: Final = 48

#: How long schemes' numbers are; in longer runs of digits only these are looked for.
_USUAL_LENGTHS: Final = (16, 19, 15, 18, 14, 13)


def scrub_hex(text: str) -> str:
    """A run of hex digits with card data hidden, digit for digit; unchanged where there is none."""
    if len(text) > _SCANNED_MAX:
        return text[:64] + HIDDEN * 4
    as_tlv = _by_tag(text)
    if as_tlv is not None:
        return as_tlv
    text = _hide_certificates(text)
    text = _PAN_OBJECT.sub(_pan_object, text)
    text = _TRACK_2.sub(_track_2, text)
    if _DIGEST.fullmatch(text):
        return text
    text = _ASCII.sub(_ascii_digits, text)
    if text.isdecimal():
        return _counted(text)
    return _DIGITS.sub(_bcd_digits, text)


def shown(tag: str, value: bytes) -> str:
    """The value of a data object as it may be shown: hex, or what remains of it."""
    plain = value.hex().upper()
    if tag == tags.PAN:
        return truncate(plain.rstrip("F")) if plain.rstrip("F").isdecimal() else HIDDEN * 4
    if tag in tags.TRACKS_BCD:
        return _track_start(plain.partition("D")[0])
    if tag == tags.TRACK_ASCII:
        return _track_start(value.decode("ascii", "replace").lstrip("%B").partition("^")[0])
    if tag in tags.SECRET:
        return HIDDEN * 4
    return _DIGITS.sub(_bcd_digits, scrub_hex(plain))  # inside a card's answer, digits are rather a card's


def _track_start(number: str) -> str:
    return (truncate(number) if number.isascii() and number.isdecimal() else "") + HIDDEN * 4


def _by_tag(text: str) -> str | None:
    """The text with the secret objects hidden, where all of it is BER-TLV (a status word may follow) and has
    any.
    """
    data = bytes.fromhex(text) if len(text) % 2 == 0 else b""
    for end in (len(data), len(data) - 2):
        if end <= 0:
            continue
        try:
            objects = tlv.parse(data[:end])
        except tlv.TlvError:
            continue
        out = text
        found = False
        for each in (o for top in objects for o in top.walk()):
            if each.constructed:
                continue
            begin = 2 * (each.offset + _head(data, each.offset, len(each.value)))
            stop = begin + 2 * len(each.value)
            if len(each.value) in tags.SECRET.get(each.tag, ()):
                out = out[:begin] + _masked(each.tag, text[begin:stop]) + out[stop:]
                found = True
        return out if found else None
    return None


def _head(data: bytes, at: int, length: int) -> int:
    """Bytes of tag and length of the object at `at`."""
    tag_bytes = 1
    if data[at] & 0x1F == 0x1F:
        tag_bytes = 2
        while data[at + tag_bytes - 1] & 0x80:
            tag_bytes += 1
    first = data[at + tag_bytes]
    assert length >= 0
    return tag_bytes + (1 if first < 0x80 else 1 + (first & 0x7F))


def _masked(tag: str, digits: str) -> str:
    """As many characters as before; of a card number the first six and the last four digits stay."""
    if tag == tags.PAN:
        number = digits.upper().rstrip("F")
        return truncate(number) + digits[len(number) :] if number.isdecimal() else HIDDEN * len(digits)
    if tag in tags.TRACKS_BCD:
        number = digits.upper().partition("D")[0]
        kept = truncate(number) if number.isdecimal() else ""
        return kept + HIDDEN * (len(digits) - len(kept))
    return HIDDEN * len(digits)


def _hide_certificates(text: str) -> str:
    at = 0
    while (found := _CERTIFICATE.search(text, at)) is not None:
        begin = found.end()
        length = int(found[2][-2:], 16)
        stop = begin + 2 * length
        if found.start() % 2 == 0 and stop <= len(text):
            text = text[:begin] + HIDDEN * (stop - begin) + text[stop:]
            at = stop
        else:
            at = found.start() + 2
    return text


def _pan_object(found: re.Match[str]) -> str:
    whole, digits = found[0], found[2]
    length = 2 * int(found[1], 16)
    number = digits[:length]
    if len(number) < length - 1 or not is_pan(number):
        return whole
    return whole[:4] + truncate(number) + whole[4 + len(number) :]


def _track_2(found: re.Match[str]) -> str:
    digits = found[1]
    for start in range(len(digits) - 12):
        if is_pan(digits[start:]):
            rest = len(found[0]) - len(digits)
            return digits[:start] + truncate(digits[start:]) + HIDDEN * rest
    return found[0]


def _ascii_digits(found: re.Match[str]) -> str:
    digits = found[0][1::2]
    hidden = _bcd_digits(digits)
    return found[0] if hidden == digits else "".join(c if c == HIDDEN else "3" + c for c in hidden)


def _counted(text: str) -> str:
    """ISO 8583 in digits: a number behind its own length (LLVAR). Other long numbers are not ours."""
    for begin in range(0, len(text) - PAN_MIN - 1, 2):
        end = begin + 2 + int(text[begin : begin + 2])
        if PAN_MIN <= end - begin - 2 <= PAN_MAX and is_pan(text[begin + 2 : end]) and end <= len(text):
            return text[: begin + 2] + truncate(text[begin + 2 : end]) + _counted(text[end:])
    return text


def _bcd_digits(found: re.Match[str] | str) -> str:
    run = found if isinstance(found, str) else found[0]
    if is_pan(run):
        return truncate(run)
    if len(run) > _RUN_MAX:
        return run
    for length in _USUAL_LENGTHS:
        for start in range(len(run) - length + 1):
            if is_pan(run[start : start + length]):
                number = run[start : start + length]
                return _bcd_digits(run[:start]) + truncate(number) + _bcd_digits(run[start + length :])
    return run
