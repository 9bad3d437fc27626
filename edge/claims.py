"""What two parts of one till may not both have: a meter, a charge point, a pin, a serial port.

Two EVSEs on one meter bill each other's energy, two on one charge point or pin switch each other's current.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

#: Options of a driver, with where they stand in the file, such as `reader[0]`.
Placed = tuple[str, msgspec.Struct]

_PINS = ("relay", "feedback", "vehicle")
_GPIO = re.compile(r"gpio(?:-low)?:(?:GPIO|BCM)?0*(\d+)")
_READER = re.compile(r"tty:(?P<port>[^:]+)")


@dataclass(frozen=True, slots=True)
class _Unit:
    """A device on a Modbus line. `channel`: one of several within one unit, None for the whole of it."""

    place: str
    kind: str
    port: str
    line: str
    unit: int
    channel: int | None

    def is_also(self, other: _Unit) -> bool:
        """Over TCP one device may be meter and charge point; on a serial line two would answer into each other."""
        if (self.line, self.unit) != (other.line, other.unit):
            return False
        if self.kind != other.kind:
            return not self.line.startswith("tcp://")
        return None in (self.channel, other.channel) or self.channel == other.channel


def contradictions(
    evses: Sequence[tuple[msgspec.Struct | None, msgspec.Struct | None]],
    readers: Sequence[Placed],
    terminals: Sequence[Placed],
) -> list[str]:
    """Every thing that stands twice and can be there once, as `key: what (what to do)`.

    `evses`: of each its meter's and its charge point's options, as far as they can be used.
    """
    devices = [
        (f"evse[{n}].{kind}", options)
        for n, pair in enumerate(evses)
        for kind, options in zip(("meter", "charge_point"), pair, strict=True)
        if options is not None
    ]
    return [
        *_units(devices),
        *_twice(_pins(devices), "each pin switches or reads one thing"),
        *_named_twice(devices),
        *_ports(devices, readers, terminals),
        *_twice(_names(readers), "a reader stands once, for all EVSEs"),
    ]


def _units(devices: Sequence[Placed]) -> Iterator[str]:
    known: list[_Unit] = []
    for place, options in devices:
        port, unit = _port(options), getattr(options, "unit", None)
        if not port or not isinstance(unit, int):
            continue
        _, _, kind = place.rpartition(".")
        device = _Unit(place, kind, port, _line(port), unit, getattr(options, "channel", None))
        other = next((k for k in known if k.is_also(device)), None)
        known.append(device)
        if other is not None:
            what = f"{unit} at {port} is {other.place} already"
            yield f"{place}.unit: {what} (give each device an id of its own)"


def _pins(devices: Sequence[Placed]) -> Iterator[tuple[str, str, str]]:
    for place, options in devices:
        guard = getattr(options, "guard", None)
        for where, pins in ((place, options), (f"{place}.guard", guard)):
            for name in _PINS:
                pin = getattr(pins, name, None)
                if isinstance(pin, str):
                    number = _GPIO.fullmatch(pin)
                    yield f"{where}.{name}", pin, f"gpio:{number[1]}" if number else pin


def _names(readers: Sequence[Placed]) -> Iterator[tuple[str, str, str]]:
    """Readers that are named; `usb` is whichever there is."""
    for place, options in readers:
        path, name = getattr(options, "path", None), getattr(options, "reader", None)
        if isinstance(path, str) and not path.startswith("usb"):
            yield f"{place}.path", path, path
        elif isinstance(name, str):
            yield f"{place}.reader", f"{name!r}", f"reader {name}"


def _twice(named: Iterator[tuple[str, str, str]], why: str) -> Iterator[str]:
    """`named`: key, how it is spelled, and what it is."""
    seen: dict[str, str] = {}
    for key, spelled, thing in named:
        if thing in seen:
            yield f"{key}: {spelled} is {seen[thing]} already ({why})"
        else:
            seen[thing] = key


def _named_twice(devices: Sequence[Placed]) -> Iterator[str]:
    """One serial line under two names would be opened twice."""
    names: dict[str, tuple[str, str]] = {}
    for place, options in devices:
        port = _port(options)
        if not port or port.startswith("tcp://"):
            continue
        first, name = names.setdefault(_line(port), (place, port))
        if name != port:
            yield f"{place}.port: {port} is {name} of {first} (name a line in one way)"


def _ports(
    devices: Sequence[Placed], readers: Sequence[Placed], terminals: Sequence[Placed]
) -> Iterator[str]:
    """A terminal or reader has its port for itself."""
    lines = {_line(port): place for place, options in devices if (port := _port(options))}
    for place, options in terminals:
        port = _port(options)
        if port and _line(port) in lines:
            yield f"{place}.port: {port} is the line of {lines[_line(port)]} (a terminal has its own)"
    for place, options in readers:
        path = str(getattr(options, "path", ""))
        device = _READER.match(path)
        if device is None:
            continue
        port = device["port"] if device["port"].startswith("/") else f"/dev/tty{device['port']}"
        if _line(port) in lines:
            yield f"{place}.path: {path} is the line of {lines[_line(port)]} (a reader has its own)"


def _port(options: msgspec.Struct) -> str:
    return str(getattr(options, "port", ""))


def _line(port: str) -> str:
    """One name for each line: links are followed, hosts are spelled in one way."""
    if port.startswith("tcp://"):
        host, _, number = port.removeprefix("tcp://").lower().rpartition(":")
        return f"tcp://{'127.0.0.1' if host == 'localhost' else host}:{int(number)}"
    return str(Path(port).resolve())
