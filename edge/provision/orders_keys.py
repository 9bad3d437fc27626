"""Whose orders a device obeys, written into a configuration that people may have edited since it was made."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from edge.errors import ConfigError

_SECTION = re.compile(r"^\s*\[\s*mqtt\s*\]\s*(#.*)?$")
_ANY_SECTION = re.compile(r"^\s*\[")
_KEY = re.compile(r"^\s*orders_keys\s*=")


def orders_keys_of(config: Path) -> tuple[str, ...]:
    """The keys that a configuration names; none where there is no configuration, or none that can be read."""
    try:
        section = tomllib.loads(config.read_text(encoding="utf-8")).get("mqtt", {})
        named = section.get("orders_keys", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, AttributeError):
        return ()
    is_list = isinstance(named, list) and all(isinstance(key, str) for key in named)
    return tuple(named) if is_list else ()  # a till with anything else obeys nobody either


def with_orders_keys(text: str, keys: Sequence[str]) -> str:
    """The same configuration with these keys in `[mqtt]`, and nothing else changed.

    Raises ConfigError where the section is not there, or is written in a way that only a person may change.
    """
    before = tomllib.loads(text)
    section = before.get("mqtt")
    if not isinstance(section, dict):
        raise ConfigError(
            ("mqtt: there is no such section",), hint="a device without a back office obeys nobody"
        )
    if section.get("orders_keys") == list(keys):
        return text
    wanted = {**before, "mqtt": {**section, "orders_keys": list(keys)}}
    line = f"orders_keys = {json.dumps(list(keys))}"
    changed = _placed(text.split("\n"), line)
    try:
        if tomllib.loads(changed) == wanted:
            return changed
    except tomllib.TOMLDecodeError:
        pass
    raise ConfigError(
        ("mqtt.orders_keys: cannot be written into this file",), hint=f"write into [mqtt] by hand: {line}"
    )


def _placed(lines: list[str], line: str) -> str:
    """The line in place of the one that is there, or below the heading of the section."""
    start = next((n for n, found in enumerate(lines) if _SECTION.match(found)), None)
    if start is None:
        return "\n".join(lines)
    inside = list(takewhile(lambda found: not _ANY_SECTION.match(found), lines[start + 1 :]))
    at = next((n for n, found in enumerate(inside) if _KEY.match(found)), None)
    if at is None:
        return "\n".join([*lines[: start + 1], line, *lines[start + 1 :]])
    here = start + 1 + at
    return "\n".join([*lines[:here], line, *lines[here + 1 :]])
