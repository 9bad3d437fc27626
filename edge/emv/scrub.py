"""The scrubber: takes card data out of any text, by tag and by Luhn scan (I6).

It sits under every log handler, error message and dump. What it finds: card numbers, also grouped by spaces
or dashes; tracks; EMV data objects in hex (plain, spaced, as Python prints bytes and lists); BCD and ASCII
numbers inside hex. What it must leave alone: sequence numbers, UUIDs, hashes, invoice numbers, meter serials,
times. A number of 13 to 19 digits that no scheme issues, or whose Luhn digit is wrong, is none of its
business.
"""

from __future__ import annotations

import re
from typing import Final

from edge.emv.hexdump import scrub_hex
from edge.emv.pan import HIDDEN, PAN_MAX, PAN_MIN, is_pan, truncate

#: Twelve digits with at most a separator between each are needed before anything can be a card number, a
#: printed list of byte values, or hex that holds one. Most lines have nothing like it.
_SUSPECT: Final = re.compile(r"\d(?:[ .\-\u00a0]?\d){11}|(?:[0-9A-Fa-f]{2}[ :]?){8}|\\x|(?:\d{1,3}, ?){7}")

_TRACK_1: Final = re.compile(r"%?B(\d{13,19})\^[^\^\r\n]{2,26}\^[^?\s]*\??")
_TRACK_2: Final = re.compile(r";?(?<![0-9A-Fa-f])(\d{13,19})[=Dd](\d{4,})[0-9Ff]*\??")
_OTHERS: Final = re.compile(
    r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"
    r"|(?<![0-9A-Za-z])(?P<iban>[A-Z]{2}\d\d(?: ?[0-9A-Z]{4}){2,7}(?: ?[0-9A-Z]{1,3})?)(?![0-9A-Za-z])"
)

#: A run of digits with single separators between them, bounded by neither letters nor further digits; not the
#: fraction of a decimal number. Longer ones are tables, not card numbers.
_GROUPED: Final = re.compile(
    r"(?<![0-9A-Za-z])(?<!\d[.,])\d{1,19}(?:[ .\-\u00a0]\d{1,19}){0,63}(?![0-9A-Za-z])"
)

#: American Express, Diners Club, and numbers split after the issuer's part.
_SCHEME_GROUPS: Final = frozenset(
    ((4, 6, 5), (4, 6, 4), (4, 5, 6), (4, 4, 5), (4, 4, 4, 7), (6, 10), (6, 9), (6, 13))
)
_GROUP: Final = re.compile(r"\d+")

_HEX: Final = re.compile(r"(?<![0-9A-Za-z])(?<!\d[.,])[0-9A-Fa-f]{14,}(?![0-9A-Za-z])")
_SPACED_HEX: Final = re.compile(
    r"(?<![0-9A-Za-z])[0-9A-Fa-f]{2}(?:([ :\-]|, ?)[0-9A-Fa-f]{2})(?:\1[0-9A-Fa-f]{2}){5,}(?![0-9A-Za-z])"
)
_BYTES_LITERAL: Final = re.compile(r"""\bb(?P<q>['"])(?P<body>(?:[^\\\r\n]|\\.)*?)(?P=q)""")
_ESCAPE: Final = re.compile(r"\\x([0-9a-fA-F]{2})|\\([nrt\\'\"])|([^\\])")
_BYTE_LIST: Final = re.compile(r"\[(?:\d{1,3}, ?){7,}\d{1,3}\]")

_PLAIN_ESCAPES: Final = {"n": 10, "r": 13, "t": 9, "\\": 92, "'": 39, '"': 34}


def scrub(text: str) -> str:
    """`text` without card data. Text that has none comes back as it is."""
    if _SUSPECT.search(text) is None:
        return text
    text = _BYTES_LITERAL.sub(_bytes_literal, text)
    text = _BYTE_LIST.sub(_byte_list, text)
    text = _TRACK_1.sub(lambda m: truncate(m[1]) + HIDDEN * 4, text)
    text = _TRACK_2.sub(_track_2, text)
    text = _outside_others(text)
    text = _SPACED_HEX.sub(_spaced_hex, text)
    return _HEX.sub(lambda m: scrub_hex(m[0]), text)


def has_card_data(text: str) -> bool:
    """True where `scrub` would change something: for what must be refused rather than changed."""
    return scrub(text) != text


def _track_2(found: re.Match[str]) -> str:
    if not is_pan(found[1]):
        return found[0]
    return truncate(found[1]) + HIDDEN * 4


def _outside_others(text: str) -> str:
    """Card numbers in decimal, but not those that a UUID or an IBAN happens to hold."""
    parts: list[str] = []
    at = 0
    for other in _OTHERS.finditer(text):
        if other["iban"] and not _is_iban(other["iban"]):
            continue
        parts += (_GROUPED.sub(_grouped, text[at : other.start()]), other[0])
        at = other.end()
    parts.append(_GROUPED.sub(_grouped, text[at:]))
    return "".join(parts)


def _is_iban(text: str) -> bool:
    """ISO 13616: the check digits make the rearranged number 1 modulo 97."""
    plain = text.replace(" ", "")
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _grouped(found: re.Match[str]) -> str:
    """Each sequence of whole groups that makes a card number is shown truncated."""
    text = found[0]
    if len(text) < PAN_MIN:
        return text
    groups = [g[0] for g in _GROUP.finditer(text)]
    separators = [text[g.end()] for g in list(_GROUP.finditer(text))[:-1]] + [""]
    out = ""
    first = 0
    while first < len(groups):
        last = _pan_from(groups, separators, first)
        if last is None:
            out += groups[first] + separators[first]
            first += 1
        else:
            out += truncate("".join(groups[first : last + 1])) + separators[last]
            first = last + 1
    return out


def _pan_from(groups: list[str], separators: list[str], first: int) -> int | None:
    """The last group of the longest card number that starts with group `first`; one separator throughout."""
    digits, best = "", None
    if first > 0 and separators[first - 1] == ".":
        return None  # the fraction of a decimal number
    for last in range(first, len(groups)):
        if last > first and separators[last - 1] != separators[first]:
            break
        digits += groups[last]
        if len(digits) > PAN_MAX:
            break
        if len(digits) >= PAN_MIN and is_pan(digits) and _printed(groups, first, last):
            best = last
    return best


def _printed(groups: list[str], first: int, last: int) -> bool:
    """Are card numbers printed in such groups? By fours, as schemes print them, or as somebody spells them out."""
    lengths = tuple(len(g) for g in groups[first : last + 1])
    size, whole = lengths[0], first == 0 and last == len(groups) - 1
    if len(lengths) == 1 or lengths in _SCHEME_GROUPS:
        return True
    even = all(n == size for n in lengths[:-1]) and lengths[-1] <= size
    return even and (size in {4, 8} or (size in {1, 2, 3} and whole))


def _spaced_hex(found: re.Match[str]) -> str:
    plain = re.sub(r"[^0-9A-Fa-f]", "", found[0])
    scrubbed = scrub_hex(plain)
    return found[0] if scrubbed == plain else scrubbed


def _bytes_literal(found: re.Match[str]) -> str:
    values = bytearray()
    for escape in _ESCAPE.finditer(found["body"]):
        if escape[1] is not None:
            values.append(int(escape[1], 16))
        else:
            values.append(_PLAIN_ESCAPES[escape[2]] if escape[2] else ord(escape[3]) & 0xFF)
    return _as_hex(bytes(values), found[0])


def _byte_list(found: re.Match[str]) -> str:
    values = [int(v) for v in _GROUP.findall(found[0])]
    return _as_hex(bytes(values), found[0]) if max(values) < 256 else found[0]


def _as_hex(data: bytes, otherwise: str) -> str:
    """The bytes in scrubbed hex where they hold card data, else what the text said."""
    plain = data.hex()
    scrubbed = scrub_hex(plain)
    return otherwise if scrubbed == plain else scrubbed
