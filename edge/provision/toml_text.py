"""TOML as people write it: tables with a comment above them, one key a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def document(table: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """The whole of it. `comments` has words for a section (`mqtt`) or a key in it (`mqtt.brokers`)."""
    lines: list[str] = []
    _table(lines, table, (), comments)
    return "\n".join(lines).strip("\n") + "\n"


def _table(
    lines: list[str], table: Mapping[str, Any], path: tuple[str, ...], comments: Mapping[str, str]
) -> None:
    inner = {k: v for k, v in table.items() if _is_table(v) or _is_tables(v)}
    for key, value in table.items():
        if value is None or key in inner:
            continue
        note = comments.get(".".join((*path, key)))
        lines.append(f"{key} = {_value(value)}" + (f"  # {note}" if note else ""))
    for key, value in inner.items():
        here = (*path, key)
        name = ".".join(here)
        for part in [value] if _is_table(value) else value:
            lines.append("")
            lines.extend(f"# {line}" for line in comments.get(name, "").splitlines())
            lines.append(f"[{name}]" if _is_table(value) else f"[[{name}]]")
            _table(lines, part, here, comments)


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: object) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(v, Mapping) for v in value)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case list() | tuple():
            return "[" + ", ".join(_value(v) for v in value) + "]"
        case _:
            # TOML's basic strings escape as JSON's do, and DEL besides
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
