"""Strict decoding of tables: every mistake at once, each with its key and what would be right.

msgspec stops at the first mistake; an installer in the rain wants all of them. This walks a Struct's fields and
lets msgspec judge each on its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

S = TypeVar("S", bound=msgspec.Struct)


def decode(kind: type[S], table: object, *, path: str = "") -> tuple[S | None, list[str]]:
    """The Struct in a table, and every problem in it as `key: what`. None when there is a problem."""
    if not isinstance(table, Mapping):
        return None, [f"{path or 'file'}: must be a table"]
    fields = {f.encode_name: f for f in msgspec.structs.fields(kind)}
    problems = [f"{_at(path, key)}: unknown key{_meant(key, fields)}" for key in table if key not in fields]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in table:
            if field.required:
                problems.append(f"{_at(path, name)}: missing")
            continue
        value, found = _value(field.type, table[name], _at(path, name))
        problems += found
        values[field.name] = value
    if problems:
        return None, problems
    try:
        return kind(**values), []
    except ValueError as e:
        return None, [f"{path or 'file'}: {e}"]


def _value(kind: Any, value: object, path: str) -> tuple[Any, list[str]]:
    struct = _struct(kind)
    if struct is not None:
        return decode(struct, value, path=path)
    bare, *bounds = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    row = _struct(get_args(bare)[0]) if get_origin(bare) is tuple and get_args(bare) else None
    if row is not None and isinstance(value, list):
        decoded = [decode(row, item, path=f"{path}[{number}]") for number, item in enumerate(value)]
        problems = [p for _, found in decoded for p in found]
        for bound in bounds:
            if isinstance(bound, msgspec.Meta):
                problems += _counted(bound, len(value), path)
        return tuple(item for item, _ in decoded), problems
    try:
        return msgspec.convert(value, kind, strict=True, str_keys=True), []
    except msgspec.ValidationError as e:
        return None, [f"{path}: {_said(e, bounds)}"]


def _said(error: msgspec.ValidationError, bounds: list[Any]) -> str:
    """What would be right. A pattern says it in the words of its description, where it has one."""
    words = str(error).replace("Expected", "must be")
    described = [b.description for b in bounds if isinstance(b, msgspec.Meta) and b.pattern and b.description]
    return f"must be {described[0]}" if described and "regex" in words else words


def _counted(bound: msgspec.Meta, count: int, path: str) -> list[str]:
    if bound.min_length is not None and count < bound.min_length:
        return [f"{path}: must have at least {bound.min_length}"]
    if bound.max_length is not None and count > bound.max_length:
        return [f"{path}: must have at most {bound.max_length}, has {count}"]
    return []


def _struct(kind: Any) -> type[msgspec.Struct] | None:
    """The Struct in `X` or `X | None`."""
    for candidate in (kind, *get_args(kind)):
        if isinstance(candidate, type) and issubclass(candidate, msgspec.Struct):
            return candidate if get_origin(kind) is not tuple else None
    return None


def _at(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _meant(key: object, known: Mapping[str, object]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  (only for whoever mistyped a word)

    close = get_close_matches(str(key), known, n=1)
    return f", did you mean `{close[0]}`?" if close else f" (known: {', '.join(sorted(known))})"
