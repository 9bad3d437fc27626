"""Driver name -> factory and Options, imported only when a configuration names it.

Each driver's module exports `Options` (a msgspec.Struct that refuses unknown fields and bounds its numbers)
and `create(options, *, clock, buses)`; a reader's and a terminal's takes no `buses`.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal, cast

import msgspec

from edge.errors import CallError
from edge.ports import CardReader, Clock, Evse, Meter, PaymentTerminal
from hw.bus.budget import Load
from hw.bus.pool import BusPool

Kind = Literal["meter", "evse", "reader", "terminal"]

_DRIVERS: dict[Kind, dict[str, str]] = {
    "meter": {
        "bsm": "hw.meters.bsm",
        "em580": "hw.meters.em580",
        "register": "hw.meters.register",
        "sunspec": "hw.meters.sunspec",
        "wm3m4": "hw.meters.wm3m4",
    },
    "evse": {
        "gpio_contactor": "hw.evse.gpio_contactor",
        "heidelberg": "hw.evse.heidelberg",
        "phoenix": "hw.evse.phoenix",
        "simple_evse": "hw.evse.simple_evse",
    },
    "reader": {"nfc": "hw.readers.nfc", "pcsc": "hw.readers.pcsc"},
    "terminal": {"zvt": "hw.terminals.zvt.driver"},
}


class UnknownDriver(CallError):
    code = "config.unknown_driver"


def drivers(kind: Kind) -> tuple[str, ...]:
    """The names that a configuration may use."""
    return tuple(sorted(_DRIVERS[kind]))


def options_type(kind: Kind, name: str) -> type[msgspec.Struct]:
    """The Options of a driver, to decode its section with. Raises UnknownDriver."""
    return cast("type[msgspec.Struct]", _module(kind, name).Options)


def create_meter(name: str, options: msgspec.Struct, *, clock: Clock, buses: BusPool) -> Meter:
    return cast("Meter", _module("meter", name).create(options, clock=clock, buses=buses))


def create_evse(name: str, options: msgspec.Struct, *, clock: Clock, buses: BusPool) -> Evse:
    return cast("Evse", _module("evse", name).create(options, clock=clock, buses=buses))


def create_reader(name: str, options: msgspec.Struct, *, clock: Clock) -> CardReader:
    return cast("CardReader", _module("reader", name).create(options, clock=clock))


def line_load(kind: Kind, name: str, options: msgspec.Struct) -> Load | None:
    """What a device costs its Modbus line (see hw.bus.budget); None where it is on none."""
    load = getattr(_module(kind, name), "load", None)
    return None if load is None else cast("Load", load(options))


def create_terminal(name: str, options: msgspec.Struct, *, clock: Clock) -> PaymentTerminal:
    return cast("PaymentTerminal", _module("terminal", name).create(options, clock=clock))


def _module(kind: Kind, name: str) -> Any:
    path = _DRIVERS[kind].get(name)
    if path is None:
        known = ", ".join(drivers(kind)) or "none yet"
        raise UnknownDriver(f"no {kind} driver `{name}`", hint=f"known: {known}")
    return importlib.import_module(path)
