"""What somebody else sent may be anything: it is read, or refused in words."""

from __future__ import annotations

from typing import Any, Final

import msgspec

#: What msgspec raises for bytes that are no message of ours: no JSON or another one, no UTF-8, brackets without end.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

#: Of values that we keep without knowing them: what can be read can then be written, too.
_DEPTH_MAX: Final = 32


def too_deep(value: Any, left: int = _DEPTH_MAX) -> bool:
    """Whether lists and objects stand inside each other more than 32 times."""
    if not isinstance(value, dict | list):
        return False
    within = value.values() if isinstance(value, dict) else value
    return left == 0 or any(too_deep(part, left - 1) for part in within)
