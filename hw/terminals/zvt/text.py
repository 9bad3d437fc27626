"""Text on the wire: code page 437 unless a container names an ISO set; and what may be shown of a line."""

from __future__ import annotations

import re
from typing import Final
from unicodedata import normalize

from edge.emv.pan import truncate
from edge.emv.scrub import scrub

_UTF_8: Final = 0xFE
#: ISO 8859 has parts 1 to 16 without 12.
_ISO_8859: Final = frozenset(range(1, 17)) - {12}

#: A receipt's number of card length or more: what a terminal prints may be a test card's or an old scheme's, which
#: no Luhn scan finds, or stand among other digits. Digits with at most a blank or dash between them.
_LONG_NUMBER: Final = re.compile(r"\d(?:[ -]?\d){12,}")

_EURO_BEFORE: Final = re.compile(r"€(?=\d)")
_SPELLED: Final = str.maketrans(
    {"€": "EUR", "\u202f": " ", "\u2009": " ", "\u2013": "-", "\u2014": "-", "\u2019": "'"}
)


def decode_text(data: bytes, charset: int | None = None) -> str:
    """Text without the zero bytes that end or fill it. Bytes that the set lacks become U+FFFD."""
    return data.rstrip(b"\0").decode(_codec(charset), "replace")


def encode_text(text: str, charset: int | None = None) -> bytes:
    """The bytes of a text; a letter that the set lacks becomes a question mark."""
    return text.encode(_codec(charset), "replace")


def displayable(text: str) -> str:
    """A text in letters that every terminal has: code page 437 knows neither the euro sign nor typographic spaces."""
    spelled = _EURO_BEFORE.sub("EUR ", text).translate(_SPELLED)
    return "".join(c if _has(c) else normalize("NFKD", c)[:1] for c in spelled)


def _has(letter: str) -> bool:
    try:
        letter.encode("cp437")
    except UnicodeEncodeError:
        return False
    return True


def scrub_line(text: str) -> str:
    """A printed or displayed line without card numbers."""
    return _LONG_NUMBER.sub(lambda m: truncate(re.sub(r"\D", "", m[0])), scrub(text))


def _codec(charset: int | None) -> str:
    if charset == _UTF_8:
        return "utf-8"
    if charset in _ISO_8859:
        return f"iso8859-{charset}"
    return "cp437"
