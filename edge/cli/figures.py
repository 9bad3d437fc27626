"""Figures as people read them: amounts with their currency, durations, ages, sizes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from edge.domain.money import exponent, from_minor

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400
_MEGABYTE: Final = 1_000_000


def money(minor: int | None, currency: str | None) -> str | None:
    """`1,234.50 EUR`; None where one of them is not known."""
    if minor is None or currency is None:
        return None
    return f"{from_minor(minor, currency):,.{exponent(currency)}f} {currency}"


def kilowatt_hours(wh: int | None) -> str | None:
    """`1.222`"""
    return None if wh is None else f"{wh / 1000:,.3f}"


def minute(at: str | None) -> str | None:
    """An instant of the journal (ISO 8601, UTC) as far as a list needs it."""
    return None if at is None else at[:16].replace("T", " ")


def duration(began: str | None, ended: str | None) -> str | None:
    """`1:05` hours and minutes between two instants; None where one is not known."""
    if began is None or ended is None:
        return None
    minutes = (
        int((datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()) // _MINUTE_S
    )
    return f"{minutes // 60}:{minutes % 60:02}"


def age(seconds: int) -> str:
    """`12 s`, `5 min`, `3 h`, `2 days`."""
    if seconds < 2 * _MINUTE_S:
        return f"{seconds} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds // _MINUTE_S} min"
    if seconds < 2 * _DAY_S:
        return f"{seconds // _HOUR_S} h"
    return f"{seconds // _DAY_S} days"


def size(count: int) -> str:
    """`12.3 MB`"""
    return f"{count / _MEGABYTE:,.1f} MB"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 entry`, `2 entries`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def block(rows: Iterable[tuple[str, str]]) -> str:
    """Names to the left, what is said of them beside; a name that repeats stands once."""
    listed = list(rows)
    wide = max((len(name) for name, _ in listed), default=0)
    lines, before = [], ""
    for name, said in listed:
        lines.append(f"{'' if name == before else name:{wide}}  {said}".rstrip())
        before = name
    return "\n".join(lines)
