"""Meters found by asking: which unit answers on a line, how fast, and which model's registers fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from edge.errors import ConfigError
from edge.ports import Clock
from hw.bus.line import LineOptions, Parity
from hw.meters.scan import Found, scan

#: What meters leave the factory with, the likeliest first.
_SETTINGS: Final[tuple[tuple[int, Parity], ...]] = (
    (9600, "N"),
    (9600, "E"),
    (19200, "E"),
    (19200, "N"),
    (38400, "N"),
    (38400, "E"),
    (115_200, "N"),
)
UNITS: Final = tuple(range(1, 17))
_TIMEOUT_S: Final = 0.2


async def meters_on(port: str, *, clock: Clock) -> list[Found]:
    """Every unit of a line whose model is known; the settings are those at which the first one answers.

    Raises HardwareError when the line is not there.
    """
    lines = [LineOptions(port=port, baudrate=b, parity=p) for b, p in _SETTINGS]
    for line in lines[:1] if lines[0].is_tcp else lines:
        found = [u async for u in scan([line], UNITS, timeout_s=_TIMEOUT_S, clock=clock) if u.profiles]
        if found:
            return found
    return []


def options(found: Found) -> dict[str, Any]:
    """The section `[evse.meter]` of a meter that was found."""
    profile = found.profiles[0]
    section: dict[str, Any] = {"driver": "register", "profile": profile}
    if profile == "sunspec":
        section = {"driver": "sunspec", "rated_power_w": 22_000}
    section |= {"port": found.port, "unit": found.unit}
    if found.baudrate is not None:
        section |= {"baudrate": found.baudrate, "parity": found.parity}
    return section


class NoMeter(ConfigError):
    """Nobody answers where a meter should be."""

    code = "provision.no_meter"
    hint = "check supply, wires A and B and unit id; `chargetill meter scan` tries more units"


def complete(section: dict[str, Any], found: Sequence[Found], taken: set[tuple[str, int]]) -> dict[str, Any]:
    """What was answered, with what was found in its gaps. Raises NoMeter."""
    wanted = section.get("unit")
    for unit in found:
        if wanted in {None, unit.unit} and (unit.port, unit.unit) not in taken:
            taken.add((unit.port, unit.unit))
            return {**options(unit), **section}
    what = "no meter" if wanted is None else f"no meter as unit {wanted}"
    raise NoMeter((f"{section.get('port')}: {what} that is known answers",))
