"""The configuration: one strict TOML file, decoded into frozen facts; every mistake at once, with file and key.

What belongs to a driver or to a part above is decoded with its own Options, which the composition root passes in:
this module knows neither devices nor MQTT.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from edge import strict
from edge.domain.session.terms import Rules
from edge.errors import CallError, ConfigError

#: Names that stand in MQTT topics and in an ACL.
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
Text = Annotated[str, Meta(min_length=1, max_length=200)]
Seconds = Annotated[float, Meta(ge=0.1, le=60)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section."""


class Device(Table, frozen=True, kw_only=True):
    """Who this till is, and where it remembers. Relative paths start at the configuration's folder."""

    site: Name
    name: Name
    database: str = "/var/lib/chargetill/till.db"
    key: str = "/var/lib/chargetill/ledger.key"


class Clock(Table, frozen=True, kw_only=True):
    """When the time is trusted: `ntp` asks the kernel; `always` is for a computer whose clock is cared for."""

    trust: Literal["ntp", "always"] = "ntp"


class SellerSection(Table, frozen=True, kw_only=True):
    name: Text
    address: Text
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$")]
    tax_id: Text


class Site(Table, frozen=True, kw_only=True):
    address: Text
    time_zone: Text

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(
                f"time_zone {self.time_zone!r} is no IANA time zone such as Europe/Berlin"
            ) from None


class TariffSection(Table, frozen=True, kw_only=True):
    """What is on sale, and how much a session may cost at most (minor units of the tariff's currency).

    `profile` names the rules that the tariff has to keep to be shown lawfully; another tariff is refused.
    """

    file: str
    hold_minor: Annotated[int, Meta(ge=1, le=100_000_000)]
    profile: Literal["afir_50kw", "afir", "none"] = "none"


class InvoiceSection(Table, frozen=True, kw_only=True):
    prefix: Annotated[str, Meta(pattern=r"^[A-Z0-9]{1,8}$")] = "CT"


class Membership(Table, frozen=True, kw_only=True):
    """The local list, and the operator's key that turns a UID into a token (a file of 64 hex digits, mode 0600).

    `plans` names a JSON list of plans, as edge/sync/README.md describes them; `sun_keys` the keys of cards that prove
    themselves (TOML with meta_read, file_read and system in hex; mode 0600). A UID can be copied: what a card may cost
    that is only known by it, and how many sessions it may open in 24 hours, is capped.
    """

    list: str
    key: str
    key_id: Name
    plans: str | None = None
    sun_keys: str | None = None
    uid_limit_minor: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    uid_sessions_per_day: Annotated[int, Meta(ge=1, le=1000)] = 24


class LogSection(Table, frozen=True, kw_only=True):
    format: Literal["plain", "json", "journald"] = "plain"


class EvseSection(Table, frozen=True, kw_only=True):
    """One EVSE: its meter and its charge point, each a driver with its own options."""

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9*_-]{1,48}$")]
    label: Annotated[str, Meta(min_length=1, max_length=8)]
    kind: Literal["AC", "DC"] = "AC"
    max_current_a: Annotated[int, Meta(ge=6, le=80)] = 16
    poll_s: Seconds = 1.0
    stale_s: Annotated[int, Meta(ge=3, le=60)] = 10
    meter: dict[str, Any]
    charge_point: dict[str, Any]


class Lab(Table, frozen=True, kw_only=True):
    """Virtual hardware and a virtual clock. Refused beside anything that is not on this machine.

    The clock reads `origin` at boot time `base_ns` (CLOCK_BOOTTIME) and runs `speed` times as fast from there.
    """

    virtual: Literal[True]
    speed: Annotated[int, Meta(ge=1, le=1000)] = 1
    origin: Annotated[datetime, Meta(tz=True)] | None = None
    base_ns: Annotated[int, Meta(ge=0)] = 0


class _File(Table, frozen=True, kw_only=True):
    device: Device
    clock: Clock = Clock()
    seller: SellerSection
    site: Site
    tariff: TariffSection
    invoice: InvoiceSection = InvoiceSection()
    session: Rules = Rules()
    membership: Membership
    mqtt: dict[str, Any] | None = None
    kiosk: dict[str, Any] | None = None
    log: LogSection = LogSection()
    reader: tuple[dict[str, Any], ...] = ()
    evse: Annotated[tuple[EvseSection, ...], Meta(min_length=1, max_length=64)]
    lab: Lab | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """A driver by name, with its decoded Options."""

    name: str
    options: msgspec.Struct


@dataclass(frozen=True, slots=True, kw_only=True)
class EvseConfig:
    section: EvseSection
    meter: Driver
    charge_point: Driver


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that a file says, checked. Paths are absolute."""

    path: Path
    device: Device
    database: Path
    key: Path
    clock: Clock
    seller: SellerSection
    site: Site
    tariff: TariffSection
    tariff_file: Path
    invoice: InvoiceSection
    rules: Rules
    membership: Membership
    members_file: Path
    members_key_file: Path
    plans_file: Path | None
    sun_keys_file: Path | None
    mqtt: msgspec.Struct | None
    kiosk: msgspec.Struct | None
    log: LogSection
    readers: tuple[Driver, ...]
    evses: tuple[EvseConfig, ...]
    lab: Lab | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """The Options of what this module does not know: of a driver by kind and name, of the uplink, of the screen."""

    driver: Callable[[Literal["meter", "evse", "reader"], str], type[msgspec.Struct]]
    mqtt: type[msgspec.Struct]
    kiosk: type[msgspec.Struct]
    is_virtual: Callable[[msgspec.Struct], bool]


def load(path: Path, kinds: Kinds) -> Config:
    """The configuration in a file. Raises ConfigError with every problem in it."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as e:
        raise ConfigError((f"{path}: {e.strerror}",), hint="give --config FILE") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError((f"{path}: {e}",)) from e
    return _Reader(path, table, kinds).read()


class _Reader:
    """Collects problems while it decodes."""

    def __init__(self, path: Path, table: dict[str, Any], kinds: Kinds) -> None:
        self._path, self._table, self._kinds = path, table, kinds
        self._problems: list[str] = []

    def read(self) -> Config:
        file, problems = strict.decode(_File, self._table)
        self._problems += problems
        mqtt = self._options(self._kinds.mqtt, "mqtt")
        kiosk = self._options(self._kinds.kiosk, "kiosk")
        readers = tuple(
            self._driver("reader", t, f"reader[{n}]")
            for n, t in enumerate(_tables(self._table.get("reader")))
        )
        evses = [
            (
                self._driver("meter", t.get("meter", {}), f"evse[{n}].meter"),
                self._driver("evse", t.get("charge_point", {}), f"evse[{n}].charge_point"),
            )
            for n, t in enumerate(_tables(self._table.get("evse")))
        ]
        if file is not None:
            self._check(file, mqtt, readers, evses)
        if self._problems or file is None:
            raise ConfigError(tuple(f"{self._path}: {p}" for p in self._problems))
        return self._config(file, mqtt, kiosk, readers, evses)

    def _options(self, kind: type[msgspec.Struct], section: str) -> msgspec.Struct | None:
        if section not in self._table:
            return None
        options, problems = strict.decode(kind, self._table[section], path=section)
        self._problems += problems
        return options

    def _driver(
        self, kind: Literal["meter", "evse", "reader"], table: dict[str, Any], path: str
    ) -> Driver | None:
        name = table.get("driver") if isinstance(table, dict) else None
        if not isinstance(name, str):
            self._problems.append(f"{path}.driver: missing")
            return None
        try:
            options_type = self._kinds.driver(kind, name)
        except CallError as e:
            self._problems.append(f"{path}.driver: {e.message} ({e.hint})")
            return None
        rest = {k: v for k, v in table.items() if k != "driver"}
        options, problems = strict.decode(options_type, rest, path=path)
        self._problems += problems
        return None if options is None else Driver(name=name, options=options)

    def _check(
        self,
        file: _File,
        mqtt: msgspec.Struct | None,
        readers: tuple[Driver | None, ...],
        evses: list[tuple[Driver | None, Driver | None]],
    ) -> None:
        ids = [e.id for e in file.evse]
        self._problems += [
            f"evse: the id {i!r} stands twice" for i in sorted({i for i in ids if ids.count(i) > 1})
        ]
        drivers = [d for d in (*readers, *(d for pair in evses for d in pair)) if d is not None]
        virtual = [d.name for d in drivers if self._kinds.is_virtual(d.options)]
        if virtual and file.lab is None:
            self._problems.append(
                f"{', '.join(virtual)}: virtual hardware needs a section [lab] with virtual = true"
            )
        for number, section in enumerate(file.evse):
            self._paced(f"evse[{number}]", section, file.session, evses[number][1])
        if file.lab is not None:
            self._confined(mqtt, drivers)

    def _paced(self, path: str, section: EvseSection, rules: Rules, charge_point: Driver | None) -> None:
        """Two polls fit into the time after which a reading is stale, and into the lease of a permission."""
        lease_s = getattr(charge_point.options, "lease_s", None) if charge_point is not None else None
        for limit_s, name in (
            (rules.stale_s, "session.stale_s"),
            (section.stale_s, f"{path}.stale_s"),
            (lease_s, f"{path}.charge_point.lease_s"),
        ):
            if limit_s is not None and 2 * section.poll_s > limit_s:
                self._problems.append(f"{path}.poll_s: must be at most half of {name}, which is {limit_s:g}")

    def _confined(self, mqtt: msgspec.Struct | None, drivers: list[Driver]) -> None:
        """A virtual till touches nothing beyond this machine."""
        brokers = [str(b) for b in getattr(mqtt, "brokers", ())]
        if not all(_on_loopback(b) for b in brokers):
            self._problems.append("lab: a virtual till talks only to brokers on this machine (mqtt.brokers)")
        for driver in drivers:
            port = str(getattr(driver.options, "port", ""))
            network = port.removeprefix("tcp://")
            if port.startswith("/dev/tty") or (network != port and not _on_loopback(network)):
                self._problems.append(f"lab: {driver.name} at {port} is no virtual device on this machine")

    def _config(
        self,
        file: _File,
        mqtt: msgspec.Struct | None,
        kiosk: msgspec.Struct | None,
        readers: tuple[Driver | None, ...],
        evses: list[tuple[Driver | None, Driver | None]],
    ) -> Config:
        folder = self._path.resolve().parent
        pairs = []
        for section, (meter, charge_point) in zip(file.evse, evses, strict=True):
            assert meter is not None
            assert charge_point is not None
            pairs.append(EvseConfig(section=section, meter=meter, charge_point=charge_point))
        return Config(
            path=self._path,
            device=file.device,
            database=folder / file.device.database,
            key=folder / file.device.key,
            clock=file.clock,
            seller=file.seller,
            site=file.site,
            tariff=file.tariff,
            tariff_file=folder / file.tariff.file,
            invoice=file.invoice,
            rules=file.session,
            membership=file.membership,
            members_file=folder / file.membership.list,
            members_key_file=folder / file.membership.key,
            plans_file=None if file.membership.plans is None else folder / file.membership.plans,
            sun_keys_file=None if file.membership.sun_keys is None else folder / file.membership.sun_keys,
            mqtt=mqtt,
            kiosk=kiosk,
            log=file.log,
            readers=tuple(r for r in readers if r is not None),
            evses=tuple(pairs),
            lab=file.lab,
        )


def _tables(value: object) -> list[dict[str, Any]]:
    return [t for t in value if isinstance(t, dict)] if isinstance(value, list) else []


def _on_loopback(address: str) -> bool:
    """Whether `host:port` is on this machine: by number, for a name can mean anything."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
