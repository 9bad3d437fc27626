"""Settings that the back office may change while the till runs: by their name in the configuration, all or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edge.domain.session.terms import Rules
from edge.errors import CallError

#: Everything else names files, devices or identities, and takes a person and a restart.
_HOLD = "tariff.hold_minor"
_RULES = "session."


class SettingRefused(CallError):
    code = "order.setting"
    hint = (
        f"{_HOLD} and the keys of [session] can be changed from afar, within the bounds of the configuration"
    )


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an order may change."""

    hold_minor: Annotated[int, Meta(ge=1, le=100_000_000)]
    rules: Rules


def changed(own: Settings, values: Mapping[str, Any], *, polls_s: Iterable[float]) -> Settings:
    """`own`, the device's configuration, with `values` over it; None in a value is `own` again.

    Raises SettingRefused for a name that is not known and for a value that the configuration would refuse.
    """
    rules = msgspec.to_builtins(own.rules)
    hold: Any = own.hold_minor
    for name, value in values.items():
        key = name.removeprefix(_RULES)
        if value is None and (name == _HOLD or key in rules):
            continue
        if name == _HOLD:
            hold = value
        elif name.startswith(_RULES) and key in rules:
            rules[key] = value
        else:
            raise SettingRefused(f"{name} cannot be changed from afar")
    try:
        found = msgspec.convert({"hold_minor": hold, "rules": rules}, Settings)
    except msgspec.ValidationError as e:
        raise SettingRefused(str(e)) from e
    for poll_s in polls_s:
        if 2 * poll_s > found.rules.stale_s:
            raise SettingRefused(f"session.stale_s must be at least twice poll_s, which is {poll_s:g}")
    return found
