"""One line of the doctor's answer."""

from __future__ import annotations

from typing import Literal

import msgspec

Result = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, how it is, what was seen, and what to do about it (empty where all is well).

    `warn` sells, but somebody should look; with `fail` the till does not do its work.
    """

    what: str
    result: Result
    found: str
    todo: str = ""


def ok(what: str, found: str) -> Finding:
    return Finding(what=what, result="ok", found=found)


def warn(what: str, found: str, todo: str) -> Finding:
    return Finding(what=what, result="warn", found=found, todo=todo)


def fail(what: str, found: str, todo: str) -> Finding:
    return Finding(what=what, result="fail", found=found, todo=todo)
