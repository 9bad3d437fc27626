"""Reads an untrusted document field by field: each mistake is kept with its place, so that all can be
shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec

#: Far above any price, kWh or watt that is meant; an exponent of 400 digits is an attack on big integers.
NUMBER_MAX = Decimal(10) ** 9
#: A double printed in full has 17 digits. With 25, and 28 in a Decimal's context, scaling units stays exact.
DIGITS_MAX = 25
#: 17 digits of a millionth; what lies further behind the point costs nothing.
DECIMALS_MAX = 30
#: A day in seconds is 86,400 and a MWh a million Wh; a step beyond is a mistake.
STEP_MAX = 10_000_000
#: Thirty years in seconds.
DURATION_MAX_S = 1_000_000_000

_LOCAL_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_LOCAL_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a document, and where: `place` is a path such as `elements[0].restrictions`.

    An `error` may not be sold; a `warning` is hardly what was meant.
    """

    place: str
    reason: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}" if self.place else self.reason


class Reader:
    """One object of a document: fields are asked for by name, and `close` reports all others."""

    def __init__(self, value: Mapping[str, Any], place: str, problems: list[Problem]) -> None:
        self._value = value
        self._place = place
        self._problems = problems
        self._known: set[str] = set()

    def at(self, name: str) -> str:
        return f"{self._place}.{name}" if self._place else name

    def wrong(self, name: str, reason: str) -> None:
        self._problems.append(Problem(self.at(name) if name else self._place, reason))

    def _get(self, name: str, *, required: bool = False) -> Any:
        self._known.add(name)
        value = self._value.get(name)
        if value is None and required:
            self.wrong(name, "is required")
        return value

    def close(self) -> None:
        """Report unknown fields: a misspelled restriction that is ignored would be lifted."""
        for name in self._value:
            if name not in self._known:
                from difflib import get_close_matches  # noqa: PLC0415  (only for whoever mistyped a word)

                near = get_close_matches(str(name), self._known, n=1)
                meant = f"; meant is perhaps `{near[0]}`" if near else ""
                self.wrong(str(name)[:40], f"is not a field of this object{meant}")

    def text(
        self, name: str, *, length_max: int, required: bool = False, choices: Sequence[str] = ()
    ) -> str | None:
        value = self._get(name, required=required)
        if value is None:
            return None
        if not isinstance(value, str):
            self.wrong(name, "must be a text")
        elif not value and required:
            self.wrong(name, "is empty")
        elif len(value) > length_max:
            self.wrong(name, f"is longer than {length_max} characters")
        elif choices and value not in choices:
            self.wrong(name, f"must be one of {', '.join(choices)}")
        else:
            return value
        return None

    def flag(self, name: str) -> bool | None:
        value = self._get(name)
        if value is not None and not isinstance(value, bool):
            self.wrong(name, "must be true or false")
            return None
        return value

    def number(
        self, name: str, *, required: bool = False, at_most: Decimal = NUMBER_MAX, negative: bool = False
    ) -> Decimal | None:
        """An exact number, from a JSON number or string; negative, NaN and absurd sizes are wrong."""
        value = self._get(name, required=required)
        if value is None:
            return None
        try:
            return exact_number(value, at_most=at_most, negative=negative)
        except ValueError as e:
            self.wrong(name, str(e))
            return None

    def whole(self, name: str, *, at_most: int) -> int | None:
        number = self.number(name, at_most=Decimal(at_most))
        if number is None:
            return None
        if number != int(number):
            self.wrong(name, "must be a whole number")
            return None
        return int(number)

    def local_time(self, name: str) -> int | None:
        """`HH:MM` as minutes of the day."""
        text = self.text(name, length_max=5)
        if text is None:
            return None
        match = _LOCAL_TIME.fullmatch(text)
        if match is None:
            self.wrong(name, "must be a local time from 00:00 to 23:59; the end of the day is 00:00")
            return None
        return int(match[1]) * 60 + int(match[2])

    def local_date(self, name: str) -> date | None:
        text = self.text(name, length_max=10)
        if text is None:
            return None
        try:
            if _LOCAL_DATE.fullmatch(text):
                return date.fromisoformat(text)
        except ValueError:
            pass
        self.wrong(name, "must be a date such as 2026-12-24")
        return None

    def instant(self, name: str) -> datetime | None:
        """RFC 3339; without an offset it is UTC (OCPI types, DateTime)."""
        text = self.text(name, length_max=35)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            self.wrong(name, "must be a date and time such as 2026-12-24T18:00:00Z")
            return None

    def object(self, name: str, *, required: bool = False) -> Reader | None:
        value = self._get(name, required=required)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.wrong(name, "must be an object")
            return None
        return Reader(value, self.at(name), self._problems)

    def objects(self, name: str, *, at_most: int, at_least: int = 0) -> tuple[Reader, ...]:
        """A list of objects; one that is no object is reported and left out."""
        values = self._list(name, at_most=at_most, at_least=at_least)
        readers = []
        for i, value in enumerate(values):
            if isinstance(value, Mapping):
                readers.append(Reader(value, self.at(f"{name}[{i}]"), self._problems))
            else:
                self.wrong(f"{name}[{i}]", "must be an object")
        return tuple(readers)

    def choices(self, name: str, options: Sequence[str], *, at_least: int = 0) -> tuple[str, ...]:
        """A list of texts out of `options`, without repetitions."""
        values = self._list(name, at_most=len(options), at_least=at_least)
        chosen = []
        for i, value in enumerate(values):
            if value in options:
                chosen.append(value)
            else:
                self.wrong(f"{name}[{i}]", f"must be one of {', '.join(options)}")
        return tuple(dict.fromkeys(chosen))

    def texts(self, name: str, *, at_most: int, length_max: int) -> tuple[str, ...]:
        """A list of texts."""
        values = self._list(name, at_most=at_most, at_least=0)
        for i, value in enumerate(values):
            if not isinstance(value, str) or not 0 < len(value) <= length_max:
                self.wrong(f"{name}[{i}]", f"must be a text of 1 to {length_max} characters")
        return tuple(value for value in values if isinstance(value, str))

    def ignore(self, *names: str) -> None:
        """Fields of the standard that say nothing about the price."""
        self._known.update(names)

    def _list(self, name: str, *, at_most: int, at_least: int) -> Sequence[Any]:
        value = self._get(name, required=at_least > 0)
        if value is None:
            return ()
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            self.wrong(name, "must be a list")
            return ()
        if len(value) < at_least:
            self.wrong(name, "is empty")
        if len(value) > at_most:
            self.wrong(name, f"has more than {at_most} entries")
            return ()
        return value


def exact_number(value: object, *, at_most: Decimal = NUMBER_MAX, negative: bool = False) -> Decimal:
    """A JSON number or string as an exact Decimal. Raises ValueError with the reason."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("must be a number")  # noqa: TRY004  a mistake of the document, not of the caller
    if isinstance(value, str) and not re.fullmatch(
        r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", value
    ):
        raise ValueError("must be a number")
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, ValueError) as e:
        raise ValueError("must be a number") from e
    if not number.is_finite():
        raise ValueError("must be a finite number")
    if abs(number) > at_most:
        raise ValueError(f"is larger than {at_most:f}")
    if number < 0 and not negative:
        raise ValueError("must not be negative")
    if not number:
        return Decimal(0)
    whole, _, decimals = format(number, "f").partition(".")
    if len(decimals.rstrip("0")) > DECIMALS_MAX:
        raise ValueError(f"has more than {DECIMALS_MAX} decimals")
    if len((whole + decimals).strip("-0")) > DIGITS_MAX:
        raise ValueError(f"has more than {DIGITS_MAX} digits")
    return number
