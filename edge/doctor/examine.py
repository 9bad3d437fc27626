"""The whole round: configuration, computer, files, devices, back office; each finding as soon as it is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from edge import inventory
from edge.config import Config
from edge.doctor import broker, devices, files, host, running
from edge.doctor.finding import Finding, fail, ok, warn
from edge.doctor.machine import Account, Holder, Machine, account
from edge.errors import ConfigError, ContactorWelded
from edge.sync.contract.topics import peer
from edge.sync.options import UplinkOptions


def examine(path: Path, *, database: Path | None = None, machine: Machine | None = None) -> Iterator[Finding]:
    """Everything that can be looked at. Where the configuration is wrong, only what needs none of it."""
    machine = machine or Machine()
    who = account()
    try:
        config = inventory.load(path)
    except ConfigError as e:
        yield from _wrong(path, e)
        yield from host.power(machine)
        yield from host.unit(machine)
        return
    if database is not None:
        config = replace(config, database=database)
    yield from _checked(path)
    yield from _computer(config, machine, who)
    holder = files.daemon(config, machine)
    if holder is None:
        yield ok("till", "does not run: its devices are asked directly")
        yield from devices.access(config, machine, who)
        yield from devices.examine(config, machine, who, clock=inventory.make_clock(config))
    else:
        yield from _from_daemon(config, holder)
    yield from _back_office(config)


def without_devices(config: Config) -> Iterator[Finding]:
    """What can be said while somebody else has the devices."""
    yield from _checked(config.path)
    yield from _computer(config, Machine(), account())
    yield from _back_office(config)


def _wrong(path: Path, error: ConfigError) -> Iterator[Finding]:
    for problem in error.problems:
        todo = "`chargetill provision` writes it" if not path.exists() else error.hint
        yield fail("configuration", problem, todo)


def _checked(path: Path) -> Iterator[Finding]:
    try:
        config = inventory.check(path)
    except ConfigError as e:
        yield from _wrong(path, e)
    else:
        yield ok("configuration", f"{path}: {len(config.evses)} EVSE(s), {len(config.readers)} reader(s)")
        if not config.readers and not config.terminals:
            yield warn(
                "readers",
                "no reader and no payment terminal: nobody can tap a card",
                "add a section [[reader]] or [[terminal]]",
            )


def _computer(config: Config, machine: Machine, who: Account) -> Iterator[Finding]:
    now = datetime.now(UTC)
    yield from host.clock(config, machine, now=now)
    yield from host.disk(config, who)
    yield from host.power(machine)
    yield from files.database(config, who)
    yield from files.keys(config, who, now)
    yield from host.services(config, machine)
    if config.lab is None:
        yield from host.unit(machine)


#: Where the devices themselves have nothing more to tell.
_ADVICE = {"contactor_welded": ContactorWelded.hint}


def _from_daemon(config: Config, holder: Holder) -> Iterator[Finding]:
    """The till holds its lines; that is as it should be, and what it sees is the answer."""
    yield ok("till", f"runs ({holder.pid}) and holds its devices; what follows is what it says of them")
    said, sessions = running.screens(config), running.open_sessions(config)
    for evse in config.evses:
        name = f"EVSE {evse.section.id}"
        session = sessions.get(evse.section.id)
        busy = "" if session is None else f", session {session[:8]}"
        found = None if said is None else said.get(evse.section.id)
        if found is None:
            yield ok(
                name, f"in the hands of the till{busy}; [kiosk] or `journalctl -u chargetill` shows more"
            )
        elif found.kind == "out_of_order":
            yield fail(
                name,
                f"out of order: {found.reason or 'unknown'}{busy}",
                _ADVICE.get(
                    found.reason or "",
                    "stop the till and ask again: `systemctl stop chargetill && chargetill doctor`",
                ),
            )
        else:
            yield ok(name, f"{found.kind.replace('_', ' ')}{busy}")
    for terminal in running.terminals(config):
        yield _terminal(terminal)


def _terminal(said: running.Terminal) -> Finding:
    name = f"payment terminal {said.terminal}"
    if said.orphans:
        receipts = ", ".join(map(str, said.orphans))
        return fail(
            name,
            f"holds money that no payment explains: receipt {receipts}",
            "find out what it was for, then `chargetill terminal release` or `terminal book`",
        )
    if said.state != "ready":
        todo = "check its supply and network, then what its display says; it is asked again by itself"
        return fail(name, f"takes no cards: {said.state}", todo)
    return ok(name, "ready, its books agree")


def _back_office(config: Config) -> Iterator[Finding]:
    if config.mqtt is None:
        yield warn(
            "back office", "no [mqtt]: nothing leaves this till", "add a section [mqtt] with `brokers`"
        )
        return
    options = cast("UplinkOptions", config.mqtt)
    device = peer(config.device.site, config.device.name)
    for address in options.brokers:
        yield from broker.broker(address, options, device, datetime.now(UTC))
