"""Why a meter is silent: what answers on its line when other settings are tried, and on the other lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edge.doctor.machine import Machine
from edge.errors import HardwareError
from edge.ports import Clock
from hw.bus.line import LineOptions, Parity
from hw.meters.scan import Found, scan

#: What meters leave the factory with, the likeliest first.
BAUDRATES: Final = (9600, 19200, 38400, 115200, 4800, 2400)
PARITIES: Final[tuple[Parity, ...]] = ("N", "E")

#: Unit ids that an installer is likely to have set; a full scan is `chargetill meter scan`.
_UNITS: Final = tuple(range(1, 17))

#: A reply at 2400 Bd takes 60 ms, and a meter up to 100 to think.
_TIMEOUT_S: Final = 0.25


async def elsewhere(
    line: LineOptions, unit: int, *, clock: Clock, machine: Machine, taken: Sequence[str]
) -> str | None:
    """Where a meter answers instead, in words that can be followed; None when nobody does anywhere.

    `taken` are the ports of other devices, which are left alone.
    """
    units = [unit, *(u for u in _UNITS if u != unit)]
    if (found := await _first([line], units[1:], clock)) is not None:
        return f"unit {found.unit} answers here: set unit = {found.unit}"
    if line.is_tcp:
        return None
    others = [
        LineOptions(port=line.port, baudrate=b, parity=p, stopbits=line.stopbits)
        for b in BAUDRATES
        for p in PARITIES
        if (b, p) != (line.baudrate, line.parity)
    ]
    if (found := await _first(others, sorted({unit, 1}), clock)) is not None:
        at = "" if found.unit == unit else f", unit = {found.unit}"
        return (
            f"unit {found.unit} answers at {found.baudrate} Bd 8{found.parity}1: "
            f'set baudrate = {found.baudrate}, parity = "{found.parity}"{at}'
        )
    for port in machine.serial_ports():
        if port == line.port or port in taken or machine.holder(machine.root / port.lstrip("/")) is not None:
            continue
        moved = LineOptions(port=port, baudrate=line.baudrate, parity=line.parity, stopbits=line.stopbits)
        if await _first([moved], [unit], clock) is not None:
            return f'a unit {unit} answers at {port}: set port = "{port}"'
    return None


async def profiles(line: LineOptions, unit: int, *, clock: Clock) -> tuple[str, ...]:
    """Which models' registers give plausible values at this unit."""
    found = await _first([line], [unit], clock)
    return () if found is None else found.profiles


async def _first(lines: Sequence[LineOptions], units: Sequence[int], clock: Clock) -> Found | None:
    for line in lines:
        try:
            async for found in scan([line], units, timeout_s=_TIMEOUT_S, clock=clock):
                return found
        except HardwareError:
            continue  # this line is not there at all
    return None
