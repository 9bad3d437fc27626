"""Loads a tariff document of any dialect that the till speaks, and freezes it for a session."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from edge.domain.tariffs.model import FrozenTariff, Tariff
from edge.domain.tariffs.ocpi import problems_of_nothing, read_ocpi
from edge.domain.tariffs.ocpp import read_ocpp
from edge.domain.tariffs.reading import Problem, Reader
from edge.errors import TariffError

#: A tariff of 2,000 elements is about 400 kB.
DOCUMENT_BYTES_MAX = 1_000_000
#: A tariff nests six deep; the standard library's reader recurses.
_DEPTH_MAX = 20


def load_tariff(document: bytes | Mapping[str, object]) -> Tariff:
    """The tariff in a JSON document, strictly: `load_tariff(b'{"id": "1", "currency": "EUR", ..}')`.

    A `tariffId` makes it OCPP 2.1, any `tax_included` OCPI 2.3.0, else it is OCPI 2.2.1. Raises TariffError
    with the first problem and its place.
    """
    tariff, problems = read_tariff(document)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise TariffError(problems[0].reason + more, place=problems[0].place)
    assert tariff is not None  # without a problem there is a tariff
    return tariff


def read_tariff(document: bytes | Mapping[str, object]) -> tuple[Tariff | None, tuple[Problem, ...]]:
    """The tariff as far as it can be read, and everything that is wrong with it."""
    try:
        value = parse(document) if isinstance(document, bytes) else document
    except ValueError as e:
        return problems_of_nothing(str(e))
    if not isinstance(value, Mapping):
        return problems_of_nothing("a tariff is a JSON object")
    problems: list[Problem] = []
    root = Reader(value, "", problems)
    ocpp = "tariffId" in value
    tariff = read_ocpp(root) if ocpp else read_ocpi(root, tax_field="tax_included" in value)
    return tariff, tuple(problems)


def freeze(tariff_document: bytes) -> FrozenTariff:
    """The tariff with the canonical text of its source and the hash of that text. Raises TariffError."""
    tariff = load_tariff(tariff_document)
    text = canonical(parse(tariff_document))
    return FrozenTariff(hash=hashlib.sha256(text.encode()).hexdigest(), document=text, tariff=tariff)


def parse(document: bytes, *, bytes_max: int = DOCUMENT_BYTES_MAX) -> Any:
    """JSON with exact numbers. Repeated names, NaN, halves of characters and oversize are refused.

    Raises ValueError.
    """
    if len(document) > bytes_max:
        raise ValueError(f"is larger than {bytes_max} bytes")
    try:
        value = json.loads(
            document,
            parse_float=Decimal,
            parse_int=_small_int,
            parse_constant=_no_constant,
            object_pairs_hook=_no_repetition,
        )
    except RecursionError as e:
        raise ValueError("is nested too deep") from e
    except UnicodeDecodeError as e:
        raise ValueError("is not UTF-8") from e
    except json.JSONDecodeError as e:
        raise ValueError(f"is not JSON: {e.msg} in line {e.lineno}, column {e.colno}") from e
    if b"\\ud" in document.lower():  # an escape of UTF-16: half of a pair can never be written again
        try:
            json.dumps(value, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError as e:
            raise ValueError("holds half of a surrogate pair, which is no character") from e
    return value


def canonical(value: Any, depth: int = 0) -> str:
    """One text for one meaning: names sorted, no spaces, numbers without exponent or trailing zeros."""
    if depth > _DEPTH_MAX:
        raise TariffError("is nested too deep")
    if isinstance(value, Mapping):
        fields = (f"{json.dumps(k)}:{canonical(value[k], depth + 1)}" for k in sorted(value))
        return "{" + ",".join(fields) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(canonical(item, depth + 1) for item in value) + "]"
    if isinstance(value, Decimal):
        whole, _, decimals = format(value, "f").partition(".")
        decimals = decimals.rstrip("0")
        return (f"{whole}.{decimals}" if decimals else whole) if value else "0"
    return json.dumps(value)


def _small_int(digits: str) -> int | Decimal:
    """An integer; one of a thousand digits stays a Decimal, so that the size check can refuse it."""
    return int(digits) if len(digits) < 40 else Decimal(digits)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _no_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:40]!r} stands twice in one object")
    return fields
