"""The devices themselves, through the drivers that the till uses. Only read: nothing is switched or written."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edge import inventory
from edge.config import Config, Driver, EvseConfig
from edge.doctor import line as lines
from edge.doctor.finding import Finding, fail, ok, warn
from edge.doctor.machine import Account, Machine, group_of, may
from edge.domain.energy import MeterIdentity, MeterValue
from edge.errors import CallError, HardwareError
from edge.metering import reading
from edge.metering.reading import Sample
from edge.ports import Clock, Meter
from hw import registry
from hw.bus.errors import BackingOff, LineDown, NoAnswer
from hw.bus.line import LineOptions
from hw.bus.pool import BusPool
from hw.registry import Kind

#: A reader that opens is waited on for so long: a driver that fails does so at once.
_READER_S: Final = 2.0

#: Everything that is asked of one device; a driver that hangs is a finding too.
_DEVICE_S: Final = 20.0
#: Trying settings and ports takes longer: 16 units and a dozen settings at a quarter of a second.
_SEARCH_S: Final = 45.0

#: A mains voltage of any country, phase to neutral.
_LIVE_MV: Final = range(80_000, 300_001)


def ports(config: Config) -> tuple[str, ...]:
    """Every line that the configuration names, each once."""
    drivers = [d for e in config.evses for d in (e.meter, e.charge_point)]
    drivers += [t.driver for t in config.terminals]
    found = (getattr(d.options, "port", None) for d in drivers)
    return tuple(dict.fromkeys(p for p in found if isinstance(p, str)))


def access(config: Config, machine: Machine, who: Account) -> Iterator[Finding]:
    """Serial devices: there, ours to open, and free."""
    for port in ports(config):
        if port.startswith("/dev/") or (config.lab is not None and port.startswith("/")):
            yield from _serial(port, machine, who)


def _serial(port: str, machine: Machine, who: Account) -> Iterator[Finding]:
    what, path = f"port {port}", Path(port)
    if not path.exists():
        there = machine.serial_ports()
        todo = (
            f"there is {', '.join(there)}"
            if there
            else "no serial adapter is plugged in: check its USB cable"
        )
        yield fail(
            what, "no such device", f"{todo}; `chargetill meter scan --port ..` tells which is the meter"
        )
        return
    if not may(who, path, write=True):
        group = group_of(path)
        yield fail(
            what,
            f"no rights: {who.name} may not open it",
            f"usermod -aG {group} {who.name}, then log in again" if group != "root" else
            "the device belongs to root: install systemd/60-chargetill.rules and plug it in again",
        )  # fmt: skip


def examine(config: Config, machine: Machine, who: Account, *, clock: Clock) -> Iterator[Finding]:
    """Each meter, charge point and reader. The till must not run."""
    blocked = {f.what.removeprefix("port ") for f in access(config, machine, who)}
    for evse in config.evses:
        for device in (evse.meter, evse.charge_point):
            port = str(getattr(device.options, "port", ""))
            name = _name(evse, device)
            holder = machine.holder(Path(port)) if port.startswith("/") else None
            if port in blocked:
                yield fail(name, f"not asked: {port} cannot be opened", "see the line of the port above")
            elif holder is not None:
                yield fail(
                    name,
                    f"{port} is in use by {holder.name or 'a process'} ({holder.pid})",
                    f"stop it: `kill {holder.pid}`, or its service; ModemManager and brltty: apt-get purge them",
                )
            elif device is evse.meter:
                yield from asyncio.run(_meter(name, evse, config, clock, machine))
            else:
                yield from asyncio.run(_charge_point(name, evse, config, clock, machine))
    for reader in config.readers:
        yield asyncio.run(_reader(reader, clock))
    for terminal in config.terminals:
        yield asyncio.run(_terminal(terminal.driver, clock))


def _name(evse: EvseConfig, device: Driver) -> str:
    kind = "meter" if device is evse.meter else "charge point"
    model = getattr(device.options, "profile", device.name)
    where = getattr(device.options, "port", "")
    unit = getattr(device.options, "unit", None)
    at = f" at {where}" + ("" if unit is None else f" unit {unit}") if where else ""
    return f"{kind} {evse.section.id} ({model}{at})"


async def _meter(
    name: str, evse: EvseConfig, config: Config, clock: Clock, machine: Machine
) -> list[Finding]:
    buses = BusPool(clock)
    try:
        async with asyncio.timeout(_DEVICE_S):
            meter = registry.create_meter(evse.meter.name, evse.meter.options, clock=clock, buses=buses)
            first = await meter.read()
            second = await meter.read()
            identity = await _identity(meter)
    except TimeoutError:
        return [fail(name, "no answer in time", "the line is disturbed: check termination and shielding")]
    except CallError as e:
        return [fail(name, e.message, e.hint)]
    except HardwareError as e:
        await buses.close()
        return [await _why(name, "meter", e, evse.meter, config, machine)]
    finally:
        await buses.close()
    return [_plausible(name, meter, first, second, identity)]


async def _identity(meter: Meter) -> MeterIdentity | None:
    try:
        return await meter.identify()
    except HardwareError:
        return None


def _plausible(
    name: str, meter: Meter, first: MeterValue, second: MeterValue, identity: MeterIdentity | None
) -> Finding:
    serial = "" if identity is None or identity.serial is None else f"serial {identity.serial}, "
    volts = (
        ""
        if second.voltage_mv is None
        else ", " + "/".join(f"{mv // 1000}" for mv in second.voltage_mv) + " V"
    )
    watts = "" if second.power_w is None else f", {second.power_w} W"
    seen = f"{serial}{second.energy_wh / 1000:.3f} kWh{watts}{volts}"
    if reading.confirm(meter.limits, _sample(first), _sample(second)) is None:
        return fail(
            name, f"two readings contradict each other ({seen})", "wrong profile? `chargetill meter scan`"
        )
    if second.power_w is not None and abs(second.power_w) > 2 * meter.limits.rated_power_w:
        return fail(
            name,
            f"more power than the model can carry ({seen})",
            "wrong profile, or CT ratio set in the meter",
        )
    if second.voltage_mv is not None:
        live = [mv for mv in second.voltage_mv if mv > 0]
        if not live or any(mv not in _LIVE_MV for mv in live):
            return fail(name, f"implausible voltages ({seen})", "wrong profile? `chargetill meter scan`")
        if len(live) < len(second.voltage_mv):
            return warn(name, f"a phase has no voltage ({seen})", "fine for one phase; else check the fuses")
    if second.power_w is not None and second.power_w < 0:
        return warn(
            name, f"the power flows backwards ({seen})", "swap the meter's inputs and outputs, or turn the CT"
        )
    if identity is None or identity.serial is None:
        return warn(
            name,
            f"it does not tell its serial number ({seen})",
            "a meter that is exchanged is not noticed; a model with a serial number is safer",
        )
    return ok(name, seen)


def _sample(value: MeterValue) -> Sample:
    return Sample(
        at_ns=value.at.monotonic_ns,
        energy_wh=value.energy_wh,
        resolution_wh=value.resolution_wh,
        power_w=value.power_w,
    )


async def _why(
    name: str, kind: Kind, error: HardwareError, device: Driver, config: Config, machine: Machine
) -> Finding:
    """A device on a line that gives nothing usable: the likeliest cause, found by trying."""
    load, clock = registry.line_load(kind, device.name, device.options), inventory.make_clock(config)
    unit = getattr(device.options, "unit", None)
    if load is None or not isinstance(unit, int):
        return fail(name, error.message, error.hint)
    try:
        async with asyncio.timeout(_SEARCH_S):
            match error.__cause__:
                case LineDown():
                    return fail(name, error.message, _unreachable(load.line, error))
                case NoAnswer() | BackingOff():
                    return await _silent(name, load.line, unit, config, clock, machine)
                case _ if kind == "meter":
                    return await _misfit(name, error, load.line, unit, clock)
                case _:
                    return fail(name, error.message, error.hint)
    except TimeoutError:
        return fail(name, error.message, error.hint)


def _unreachable(line: LineOptions, error: HardwareError) -> str:
    if not line.is_tcp:
        return error.hint
    return "wrong address or port, or the gateway is off: `ping` it, and look at its own settings (Modbus TCP: 502)"


async def _silent(
    name: str, line: LineOptions, unit: int, config: Config, clock: Clock, machine: Machine
) -> Finding:
    taken = [p for p in ports(config) if p != line.port]
    found = await lines.elsewhere(line, unit, clock=clock, machine=machine, taken=taken)
    if found is not None:
        return fail(name, "no answer with these settings", found)
    if line.is_tcp:
        return fail(
            name,
            "the gateway takes the connection, no unit behind it answers",
            "check the unit id, the wires A and B behind the gateway, and the gateway's own baud rate",
        )
    return fail(
        name,
        f"silence: nobody answers on {line.port} at any customary baud rate, parity and unit",
        "swap the wires A and B, and look for the meter's supply and the termination; then `chargetill meter scan`",
    )


async def _misfit(name: str, error: HardwareError, line: LineOptions, unit: int, clock: Clock) -> Finding:
    fitting = await lines.profiles(line, unit, clock=clock)
    if fitting:
        return fail(name, error.message, f'another model answers: set profile = "{fitting[0]}"')
    return fail(name, error.message, error.hint or "`chargetill meter list` shows the models that are known")


async def _charge_point(
    name: str, evse: EvseConfig, config: Config, clock: Clock, machine: Machine
) -> list[Finding]:
    point, buses = evse.charge_point, BusPool(clock)
    try:
        async with asyncio.timeout(_DEVICE_S):
            device = registry.create_evse(point.name, point.options, clock=clock, buses=buses)
            try:
                status = await device.status()
            finally:
                await device.close()
    except TimeoutError:
        return [fail(name, "no answer in time", "check its supply and its line")]
    except CallError as e:
        return [fail(name, e.message, e.hint)]
    except HardwareError as e:
        await buses.close()
        return [await _why(name, "evse", e, point, config, machine)]
    finally:
        await buses.close()
    contactor = {None: "contactor unknown", True: "contactor CLOSED", False: "contactor open"}
    seen = f"state {status.pilot}, {contactor[status.contactor_closed]}, lease by {device.lease}"
    if status.contactor_closed:
        return [
            fail(
                name,
                f"{seen}, and no till runs",
                "`chargetill open-contactors`; a welded contactor needs service",
            )
        ]
    if status.pilot in {"E", "F"}:
        return [
            fail(
                name,
                seen,
                "the charge point reports a fault: see its display, its cable and its earth leakage test",
            )
        ]
    return [ok(name, seen)]


async def _reader(reader: Driver, clock: Clock) -> Finding:
    where = getattr(reader.options, "path", getattr(reader.options, "reader", ""))
    name = f"reader ({reader.name} {where})".replace(" )", ")")
    try:
        device = registry.create_reader(reader.name, reader.options, clock=clock)
    except CallError as e:
        return fail(name, e.message, e.hint)
    taps = device.taps()
    try:
        async with asyncio.timeout(_READER_S):
            await anext(taps)
    except TimeoutError:
        return ok(name, "open, waits for cards")
    except HardwareError as e:
        return fail(name, e.message, e.hint)
    finally:
        with contextlib.suppress(HardwareError):
            await device.close()
    return ok(name, "a card lies on it")


async def _terminal(terminal: Driver, clock: Clock) -> Finding:
    """Registration and status inquiry; no money moves."""
    name = f"payment terminal ({terminal.name} at {getattr(terminal.options, 'port', '')})"
    try:
        device = registry.create_terminal(terminal.name, terminal.options, clock=clock)
    except CallError as e:
        return fail(name, e.message, e.hint)
    try:
        async with asyncio.timeout(_DEVICE_S):
            state = await device.status()
    except TimeoutError:
        return fail(name, "no answer in time", "is it on, and set to ZVT over this connection?")
    except HardwareError as e:
        return fail(
            name, e.message, e.hint or "check its network, its port (22000) and that it is set to ZVT"
        )
    finally:
        with contextlib.suppress(HardwareError):
            await device.close()
    known = " ".join(str(k) for k in (state.device_name, state.software, state.terminal_id) if k is not None)
    seen = f"{state.text or state.code}{f' ({known})' if known else ''}"
    if state.ready:
        return ok(name, seen)
    return warn(name, seen, "see its display; an end of day or an update may be due")
