"""The questions of `chargetill provision`, asked one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import msgspec

from edge.cli.call import write_to_nobody
from edge.doctor.machine import Machine
from edge.errors import HardwareError, InputError, TillError
from edge.ports import Clock as Ticks
from edge.provision import answers as given
from edge.provision import finding_meters
from edge.provision.answers import Answers
from edge.provision.interview import Draft, judge, plain
from edge.sections import Clock, SellerSection, Site
from hw import registry
from hw.evse.guarded import GuardedOptions
from hw.registry import Kind

_EVSES_MAX = 64


class _NobodyReads(TillError):
    code = "provision.unread"
    hint = "call it again, in a terminal; the answers so far are kept"


def interview(draft: Draft, *, clock: Ticks) -> Answers:
    """Ask for everything; an interrupted interview goes on where it was. Raises ConfigError, click.Abort."""
    try:
        _ask_all(_Asks(draft), clock)
    except BrokenPipeError:
        write_to_nobody()
        raise _NobodyReads("nobody reads the questions any more") from None
    return given.of_table(draft.table, where="answers")


def _ask_all(ask: _Asks, clock: Ticks) -> None:
    click.echo("An answer in [brackets] is taken with Enter. Ctrl-C stops; the answers are kept.\n")
    _identity(ask)
    _money(ask)
    _network(ask)
    _reader(ask)
    _terminal(ask)
    _evses(ask, clock)


class _Asks:
    """One question at a time, until its answer is right."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def field(self, key: str, text: str, kind: type[msgspec.Struct], *, default: object = None) -> Any:
        """A field of a section."""
        return self.any(key, text, judge(kind, key.rpartition(".")[2]), default=default)

    def any(self, key: str, text: str, judged: Callable[[str], Any], *, default: object = None) -> Any:
        known = self.draft.get(key)
        while True:
            offered = known if known is not None else default
            answer = click.prompt(text, default=offered, type=str, show_default=offered is not None)
            try:
                value = judged(str(answer))
            except InputError as e:
                click.echo(f"  not that: {e.message}")
                known = None
                continue
            self.draft.put(key, plain(value))
            return value

    def choice(self, key: str, text: str, names: Sequence[str], *, default: str) -> str:
        known = self.draft.get(key)
        chosen: str = click.prompt(
            text, type=click.Choice(list(names)), default=known if known in names else default
        )
        self.draft.put(key, chosen)
        return chosen

    def yes(self, text: str, *, default: bool) -> bool:
        return click.confirm(text, default=default)


def _identity(ask: _Asks) -> None:
    ask.field("device.site", "Short name of the site (A-Z a-z 0-9 _ -)", given.DeviceAnswers)
    ask.field("device.name", "Name of this till", given.DeviceAnswers, default=given.host_name() or None)
    ask.field("site.address", "Address of the charger", Site)
    ask.any("site.time_zone", "Time zone", _time_zone, default=_local_zone())
    ask.field("seller.name", "Seller, as on the invoice", SellerSection)
    ask.field("seller.address", "Seller's address", SellerSection)
    ask.field("seller.country", "Seller's country, two letters", SellerSection, default="DE")
    ask.field("seller.tax_id", "Seller's tax number", SellerSection)
    ntp = ask.yes("Is there a network time server (NTP)?", default=True)
    ask.draft.put("clock.trust", "ntp" if ntp else msgspec.to_builtins(Clock(trust="always"))["trust"])


def _time_zone(text: str) -> str:
    try:
        return Site(address="-", time_zone=text).time_zone
    except ValueError as e:
        raise InputError(str(e)) from e


def _local_zone() -> str:
    link = Path("/etc/localtime").resolve()
    _, _, name = str(link).partition("zoneinfo/")
    return name or "Europe/Berlin"


def _money(ask: _Asks) -> None:
    draft = ask.draft
    if ask.yes("Is there a tariff file (OCPI or OCPP)?", default=draft.get("tariff.file") is not None):
        ask.any("tariff.file", "Tariff file", _file)
        (draft.get("tariff") or {}).pop("price_per_kwh", None)
    else:
        (draft.get("tariff") or {}).pop("file", None)
        ask.any(
            "tariff.price_per_kwh", "Price per kWh, tax included", _decimal(given.PRICE_MAX), default="0.49"
        )
        ask.any("tariff.vat_percent", "VAT in percent", _decimal(given.PERCENT_MAX), default="19")
        ask.field("tariff.currency", "Currency", given.TariffAnswers, default="EUR")
    ask.field("tariff.hold_minor", "A session may cost at most, in cents", given.TariffAnswers, default=6000)
    ask.field("membership.key_id", "Name of the operator's card key", given.MembershipAnswers, default="op-1")
    if ask.yes("Is the operator's key on a stick (no: this is the first charger)?", default=False):
        ask.any("membership.key_from", "File with the operator's key", _file)


def _decimal(most: int) -> Callable[[str], Decimal]:
    def judged(text: str) -> Decimal:
        try:
            number = Decimal(text.strip().replace(",", "."))
            given.within(number, most, "it")
        except (ArithmeticError, ValueError) as e:
            raise InputError(f"must be a number from 0 to {most}") from e
        return number

    return judged


def _file(text: str) -> str:
    if not Path(text).is_file():
        raise InputError(f"{text} is not there")
    return str(Path(text).absolute())


def _network(ask: _Asks) -> None:
    if ask.yes("Is there a back office (MQTT broker)?", default=True):
        ask.any("mqtt.brokers", "Brokers, host:port, with commas between them", _brokers)
        ask.draft.put("mqtt.tls", ask.yes("Encrypted, with a certificate for this device?", default=True))
    else:
        ask.draft.drop("mqtt")
    if ask.yes("Does a driver's screen belong to this charger?", default=True):
        ask.draft.put("kiosk.port", 8080)
    else:
        ask.draft.drop("kiosk")


def _brokers(text: str) -> list[str]:
    parts = [p.strip() for p in text.strip("[]").replace("'", "").split(",")]
    try:
        return list(msgspec.convert({"brokers": parts}, given.MqttAnswers).brokers)
    except msgspec.ValidationError as e:
        raise InputError("must be host:port, such as broker.example.net:8883") from e


def _reader(ask: _Asks) -> None:
    kind = ask.choice("reader.0.driver", "Card reader", ("nfc", "pcsc", "none"), default="nfc")
    if kind == "none":
        ask.draft.drop("reader")
        return
    options, field = registry.options_type("reader", kind), "path" if kind == "nfc" else "reader"
    text = "nfcpy's path (usb, tty:AMA0:pn532)" if kind == "nfc" else "Part of the reader's name"
    ask.field(f"reader.0.{field}", text, options, default="usb" if kind == "nfc" else "")


def _terminal(ask: _Asks) -> None:
    if not ask.yes(
        "Is there a payment terminal (ZVT)?", default=ask.draft.get("terminal.0.port") is not None
    ):
        ask.draft.drop("terminal")
        return
    ask.draft.put("terminal.0.driver", "zvt")
    options = registry.options_type("terminal", "zvt")
    ask.field("terminal.0.port", "Its address (tcp://host:22000 or /dev/..)", options)


def _evses(ask: _Asks, clock: Ticks) -> None:
    known = ask.draft.get("evse") or []
    count: int = click.prompt(
        "How many charging points", type=click.IntRange(1, _EVSES_MAX), default=len(known) or 1
    )
    ask.draft.keep_first("evse", count)
    ports = Machine().serial_ports()
    taken: set[tuple[str, int]] = set()
    for number in range(count):
        at = f"evse.{number}"
        click.echo(f"\nCharging point {number + 1}")
        ask.field(f"{at}.id", "  EVSE id", given.EvseAnswers, default=f"DE*CHT*E{number + 1}")
        ask.field(
            f"{at}.label", "  Letter or number on it", given.EvseAnswers, default=chr(ord("A") + number % 26)
        )
        ask.field(f"{at}.max_current_a", "  Current at most, in A", given.EvseAnswers, default=16)
        _meter(ask, at, clock, ports, taken)
        _charge_point(ask, at, ports)


def _meter(ask: _Asks, at: str, clock: Ticks, ports: Sequence[str], taken: set[tuple[str, int]]) -> None:
    register = registry.options_type("meter", "register")
    while True:
        default = ports[0] if ports else "/dev/meter0"
        port = ask.field(
            f"{at}.meter.port", "  Line of the meter (/dev/.. or tcp://host:port)", register, default=default
        )
        click.echo(f"  looking for meters on {port} ..")
        try:
            found = asyncio.run(finding_meters.meters_on(port, clock=clock))
        except HardwareError as e:
            click.echo(f"  {e.message}: {e.hint}")
            ask.draft.put(f"{at}.meter", {})
            continue
        free = [u for u in found if (u.port, u.unit) not in taken]
        for unit in free:
            speed = "" if unit.baudrate is None else f" at {unit.baudrate} Bd 8{unit.parity}1"
            click.echo(f"    unit {unit.unit}{speed}: {', '.join(unit.profiles[:3])}")
        if not free:
            click.echo("    nobody answers: check supply, wires A and B, unit id")
            if ask.yes("  Look again?", default=True):
                continue
            ask.field(f"{at}.meter.profile", "  Model (`chargetill meter list`)", register)
            ask.field(f"{at}.meter.unit", "  Unit id", register, default=1)
            return
        units = [str(u.unit) for u in free]
        unit_id = int(click.prompt("  Which unit", type=click.Choice(units), default=units[0]))
        unit = next(u for u in free if u.unit == unit_id)
        taken.add((unit.port, unit.unit))
        ask.draft.put(f"{at}.meter", finding_meters.options(unit))
        if len(unit.profiles) > 1:
            ask.choice(f"{at}.meter.profile", "  Model", unit.profiles, default=unit.profiles[0])
        return


def _charge_point(ask: _Asks, at: str, ports: Sequence[str]) -> None:
    kind: Kind = "evse"
    driver = ask.choice(
        f"{at}.charge_point.driver", "  Charge controller", registry.drivers(kind), default="heidelberg"
    )
    options = registry.options_type(kind, driver)
    for field in msgspec.structs.fields(options):
        if field.required:
            default = ports[-1] if field.encode_name == "port" and ports else None
            ask.field(
                f"{at}.charge_point.{field.encode_name}", f"  {field.encode_name}", options, default=default
            )
    names = {f.encode_name for f in msgspec.structs.fields(options)}
    if "unit" in names:
        ask.field(f"{at}.charge_point.unit", "  its unit id", options, default=1)
    if issubclass(options, GuardedOptions):
        from hw.evse.contactor import GuardOptions

        click.echo("  this controller has no watchdog of its own: a contactor must stand before it")
        ask.field(f"{at}.charge_point.guard.relay", "  pin of its relay (gpio:17)", GuardOptions)
