"""The configuration: one strict TOML file, decoded into frozen facts; every mistake at once, with file and key.

What belongs to a driver or to a part above is decoded with its own Options, which the composition root passes in:
this module knows neither devices nor MQTT.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge import claims, strict
from edge.domain.session.terms import Rules
from edge.emv.kernel.settings import Settings
from edge.errors import CallError, ConfigError
from edge.sections import (
    Clock,
    Device,
    EvseSection,
    File,
    InvoiceSection,
    Lab,
    LedgerSection,
    LogSection,
    Membership,
    PrivacySection,
    ReceiptSection,
    RiskSection,
    SellerSection,
    Site,
    TariffSection,
    TerminalSection,
)

#: What a driver drives.
Kind = Literal["meter", "evse", "reader", "terminal"]


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
class TerminalConfig:
    section: TerminalSection
    driver: Driver


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
    fallback_file: Path | None
    invoice: InvoiceSection
    rules: Rules
    membership: Membership
    members_file: Path
    members_key_file: Path
    plans_file: Path | None
    sun_keys_file: Path | None
    mqtt: msgspec.Struct | None
    kiosk: msgspec.Struct | None
    metrics: msgspec.Struct | None
    emv: Settings
    ca_keys_file: Path | None
    acquirer: msgspec.Struct | None
    receipt: ReceiptSection | None
    ledger: LedgerSection
    privacy: PrivacySection
    log: LogSection
    readers: tuple[Driver, ...]
    terminals: tuple[TerminalConfig, ...]
    risk: RiskSection
    evses: tuple[EvseConfig, ...]
    lab: Lab | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """The Options of what this module does not know: of a driver by kind and name, of the uplink, of the screen,
    of the figures for Prometheus, of the line to an acquirer.
    """

    driver: Callable[[Kind, str], type[msgspec.Struct]]
    mqtt: type[msgspec.Struct]
    kiosk: type[msgspec.Struct]
    metrics: type[msgspec.Struct]
    acquirer: type[msgspec.Struct]
    is_virtual: Callable[[msgspec.Struct], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The sections that belong to parts above."""

    mqtt: msgspec.Struct | None
    kiosk: msgspec.Struct | None
    metrics: msgspec.Struct | None
    acquirer: msgspec.Struct | None


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
        file, problems = strict.decode(File, self._table)
        self._problems += problems
        parts = _Parts(
            mqtt=self._options(self._kinds.mqtt, "mqtt"),
            kiosk=self._options(self._kinds.kiosk, "kiosk"),
            metrics=self._options(self._kinds.metrics, "metrics"),
            acquirer=self._options(self._kinds.acquirer, "acquirer"),
        )
        readers = tuple(
            self._driver("reader", t, f"reader[{n}]")
            for n, t in enumerate(_tables(self._table.get("reader")))
        )
        terminals = [self._terminal(t, n) for n, t in enumerate(_tables(self._table.get("terminal")))]
        evses = [
            (
                self._driver("meter", t.get("meter", {}), f"evse[{n}].meter"),
                self._driver("evse", t.get("charge_point", {}), f"evse[{n}].charge_point"),
            )
            for n, t in enumerate(_tables(self._table.get("evse")))
        ]
        if file is not None:
            self._check(file, parts, [*readers, *(t.driver for t in terminals if t is not None)], evses)
            self._check_terminals(file, [t for t in terminals if t is not None])
            if len({e.id for e in file.evse}) == len(file.evse):  # one that stands twice is one mistake
                self._problems += claims.contradictions(
                    [(_options(meter), _options(point)) for meter, point in evses],
                    _placed("reader[{}]", readers),
                    _placed("terminal[{}]", [None if t is None else t.driver for t in terminals]),
                )
        if self._problems or file is None:
            raise ConfigError(tuple(f"{self._path}: {p}" for p in self._problems))
        return self._config(file, parts, readers, terminals, evses)

    def _options(self, kind: type[msgspec.Struct], section: str) -> msgspec.Struct | None:
        if section not in self._table:
            return None
        options, problems = strict.decode(kind, self._table[section], path=section)
        self._problems += problems
        return options

    def _driver(self, kind: Kind, table: dict[str, Any], path: str) -> Driver | None:
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

    def _terminal(self, table: dict[str, Any], number: int) -> TerminalConfig | None:
        """The desk's own keys, and the driver's options beside them."""
        path = f"terminal[{number}]"
        ours = {k: v for k, v in table.items() if k in TerminalSection.__struct_fields__}
        section, problems = strict.decode(TerminalSection, ours, path=path)
        self._problems += problems
        theirs = {k: v for k, v in table.items() if k == "driver" or k not in ours}
        driver = self._driver("terminal", theirs, path)
        if section is None or driver is None:
            return None
        return TerminalConfig(section=section, driver=driver)

    def _check_terminals(self, file: File, terminals: list[TerminalConfig]) -> None:
        """Each names EVSEs that there are, and no EVSE has two."""
        ids = [e.id for e in file.evse]
        served: list[str] = []
        for number, terminal in enumerate(terminals):
            for evse_id in terminal.section.evses or ids:
                if evse_id not in ids:
                    self._problems.append(f"terminal[{number}].evses: there is no evse {evse_id!r}")
                elif evse_id in served:
                    self._problems.append(f"terminal[{number}].evses: {evse_id!r} has another terminal")
                served.append(evse_id)
        ports = [str(getattr(t.driver.options, "port", "")) for t in terminals]
        self._problems += [
            f"terminal: {p} stands twice" for p in sorted({p for p in ports if ports.count(p) > 1})
        ]

    def _check(
        self,
        file: File,
        parts: _Parts,
        readers: list[Driver | None],
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
        self._check_payment(file)
        if file.lab is not None:
            self._confined(parts, drivers)

    def _check_payment(self, file: File) -> None:
        """Bank cards pay at a plain reader in a laboratory only, and through an acquirer."""
        pays = file.emv.use == "payment"
        if pays and file.lab is None:
            self._problems.append(
                'emv.use: "payment" needs a section [lab]; bank cards pay at a certified terminal'
            )
        if pays and file.emv.ca_keys is None:
            self._problems.append("emv.ca_keys: missing; cards cannot be checked without keys")
        if pays != (file.acquirer is not None):
            self._problems.append('acquirer: goes with emv.use = "payment", and that with it')

    def _paced(self, path: str, section: EvseSection, rules: Rules, charge_point: Driver | None) -> None:
        """Two polls fit into the time after which a reading is stale, and into the lease of a permission."""
        options = _options(charge_point)
        guard = getattr(options, "guard", None)
        for limit_s, name in (
            (rules.stale_s, "session.stale_s"),
            (section.stale_s, f"{path}.stale_s"),
            (getattr(options, "lease_s", None), f"{path}.charge_point.lease_s"),
            (getattr(guard, "lease_s", None), f"{path}.charge_point.guard.lease_s"),
        ):
            if limit_s is not None and 2 * section.poll_s > limit_s:
                self._problems.append(f"{path}.poll_s: must be at most half of {name}, which is {limit_s:g}")

    def _confined(self, parts: _Parts, drivers: list[Driver]) -> None:
        """A virtual till touches nothing beyond this machine."""
        brokers = [str(b) for b in getattr(parts.mqtt, "brokers", ())]
        if not all(_on_loopback(b) for b in brokers):
            self._problems.append("lab: a virtual till talks only to brokers on this machine (mqtt.brokers)")
        if parts.acquirer is not None and not _on_loopback(f"{getattr(parts.acquirer, 'host', '')}:0"):
            self._problems.append(
                "lab: a virtual till talks only to an acquirer on this machine (acquirer.host)"
            )
        for driver in drivers:
            port = str(getattr(driver.options, "port", ""))
            network = port.removeprefix("tcp://")
            if port.startswith("/dev/tty") or (network != port and not _on_loopback(network)):
                self._problems.append(f"lab: {driver.name} at {port} is no virtual device on this machine")

    def _config(
        self,
        file: File,
        parts: _Parts,
        readers: tuple[Driver | None, ...],
        terminals: list[TerminalConfig | None],
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
            fallback_file=None if file.tariff.fallback_file is None else folder / file.tariff.fallback_file,
            invoice=file.invoice,
            rules=file.session,
            membership=file.membership,
            members_file=folder / file.membership.list,
            members_key_file=folder / file.membership.key,
            plans_file=None if file.membership.plans is None else folder / file.membership.plans,
            sun_keys_file=None if file.membership.sun_keys is None else folder / file.membership.sun_keys,
            mqtt=parts.mqtt,
            kiosk=parts.kiosk,
            metrics=parts.metrics,
            emv=file.emv,
            ca_keys_file=None if file.emv.ca_keys is None else folder / file.emv.ca_keys,
            acquirer=parts.acquirer,
            receipt=file.receipt,
            ledger=file.ledger,
            privacy=file.privacy,
            log=file.log,
            readers=tuple(r for r in readers if r is not None),
            terminals=tuple(t for t in terminals if t is not None),
            risk=file.risk,
            evses=tuple(pairs),
            lab=file.lab,
        )


def _options(driver: Driver | None) -> msgspec.Struct | None:
    return None if driver is None else driver.options


def _placed(path: str, drivers: Iterable[Driver | None]) -> list[claims.Placed]:
    return [(path.format(n), d.options) for n, d in enumerate(drivers) if d is not None]


def _tables(value: object) -> list[dict[str, Any]]:
    return [t for t in value if isinstance(t, dict)] if isinstance(value, list) else []


def _on_loopback(address: str) -> bool:
    """Whether `host:port` is on this machine: by number, for a name can mean anything."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
