"""Everything that a configuration names, opened and checked without touching a device."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec

from edge import config as configuration
from edge.config import Config
from edge.domain.plan import FrozenPlan
from edge.domain.tariffs import FrozenTariff, depends_on_time, freeze, require_lawful
from edge.emv.oda.keys import CaKeys
from edge.emv.sun import SunKeys
from edge.errors import CallError, ConfigError
from edge.kiosk import KioskOptions
from edge.metrics.options import MetricsOptions
from edge.payments.acquirer.options import AcquirerOptions
from edge.payments.members import FileMembers
from edge.ports import Clock
from edge.runtime.clock import SystemClock
from edge.runtime.plans import load_plans, require_currency
from edge.sync.options import UplinkOptions, located
from hw import registry
from hw.bus.budget import Budget, budgets
from hw.bus.pool import BusPool


class _SunFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    meta_read: str
    file_read: str
    system: str


#: What an operator's key has: 32 bytes, as many as HMAC-SHA256 uses.
_KEY_BYTES = 32


def kinds() -> configuration.Kinds:
    """The Options that a configuration is checked with."""
    return configuration.Kinds(
        driver=registry.options_type,
        mqtt=UplinkOptions,
        kiosk=KioskOptions,
        metrics=MetricsOptions,
        acquirer=AcquirerOptions,
        is_virtual=lambda options: bool(getattr(options, "virtual", False)),
    )


def load(path: Path) -> Config:
    """The configuration in a file, with everything that it names. Raises ConfigError."""
    config = configuration.load(path, kinds())
    if not isinstance(config.mqtt, UplinkOptions):
        return config
    return replace(config, mqtt=located(config.mqtt, path.resolve().parent))


def check(path: Path) -> Config:
    """`load`, and everything that can be checked without touching a device. Raises ConfigError with all of it."""
    config = load(path)
    clock = make_clock(config)
    buses = BusPool(clock)
    currency = "EUR"
    problems: list[str] = []

    def priced() -> None:
        nonlocal currency
        currency = load_tariff(config).tariff.currency

    checks: list[Callable[[], object]] = [
        priced,
        lambda: load_fallback(config, currency),
        lambda: load_members(config, currency),
        lambda: offered_plans(config, currency),
        lambda: load_sun_keys(config.sun_keys_file),
        lambda: load_bank_cards(config),
    ]
    for tried in checks:
        try:
            tried()
        except ConfigError as e:
            problems += e.problems
        except CallError as e:
            problems.append(_said(path, e))
    devices: list[tuple[str, Callable[[], object]]] = []
    for number, evse in enumerate(config.evses):
        point, meter = evse.charge_point, evse.meter
        devices += [
            (
                f"evse[{number}].charge_point",
                partial(registry.create_evse, point.name, point.options, clock=clock, buses=buses),
            ),
            (
                f"evse[{number}].meter",
                partial(registry.create_meter, meter.name, meter.options, clock=clock, buses=buses),
            ),
        ]
    for key, tried in devices:
        try:
            tried()
        except CallError as e:
            problems.append(_said(f"{path}: {key}", e))
    if not problems:
        problems += [f"{path}: {p}" for budget in line_budgets(config) for p in budget.problems]
    if problems:
        raise ConfigError(tuple(problems))
    return config


def _said(place: Path | str, error: CallError) -> str:
    """What is wrong there, and what to do."""
    return f"{place}: {error.message}" + (f" ({error.hint})" if error.hint else "")


def line_budgets(config: Config) -> list[Budget]:
    """What a round of polls takes on each Modbus line, and whether that fits."""
    loads = []
    for evse in config.evses:
        section = evse.section
        for load, stale_s in (
            (registry.line_load("meter", evse.meter.name, evse.meter.options), config.rules.stale_s),
            (
                registry.line_load("evse", evse.charge_point.name, evse.charge_point.options),
                section.stale_s,
            ),
        ):
            if load is not None:
                loads.append(msgspec.structs.replace(load, poll_s=section.poll_s, stale_s=stale_s))
    return list(budgets(loads))


def make_clock(config: Config) -> Clock:
    """The computer's clock; in a lab the virtual one."""
    if config.lab is None:
        return SystemClock(trust=config.clock.trust)
    from hw.virtual.clock import VirtualClock

    lab = config.lab
    since_boot = lab.origin is None and not lab.base_ns
    return VirtualClock(speed=lab.speed, origin=lab.origin, base_ns=lab.base_ns, since_boot=since_boot)


def load_bank_cards(config: Config) -> CaKeys | None:
    """What bank cards are checked against where they pay; None where they do not. Raises ConfigError."""
    path = config.ca_keys_file
    if config.emv.use != "payment" or path is None:
        return None
    try:
        return config.emv.payment_keys(path.read_bytes(), lab=config.lab is not None)
    except OSError as e:
        raise ConfigError((f"{path}: {e.strerror}",), hint="emv.ca_keys names a JSON list of keys") from e
    except CallError as e:
        raise ConfigError((f"{path}: {e.message}",), hint=e.hint or "correct the section [emv]") from e


def load_tariff(config: Config) -> FrozenTariff:
    """The tariff in its file, strict, and lawful by the configured profile. Raises ConfigError."""
    return _tariff(config, config.tariff_file, "tariff.file")


def load_fallback(config: Config, currency: str) -> FrozenTariff | None:
    """What is sold while the time that the tariff needs is not known. Raises ConfigError where it needs one, too."""
    path = config.fallback_file
    if path is None:
        return None
    frozen = _tariff(config, path, "tariff.fallback_file")
    problems: list[str] = []
    if depends_on_time(frozen.tariff):
        problems.append(
            f"{path}: depends on the time of day or the date, and is for when these are not known"
        )
    if frozen.tariff.currency != currency:
        problems.append(f"{path}: is in {frozen.tariff.currency}, the tariff in {currency}")
    if problems:
        raise ConfigError(
            tuple(problems), hint="tariff.fallback_file names a tariff that is the same at any time"
        )
    return frozen


def _tariff(config: Config, path: Path, key: str) -> FrozenTariff:
    try:
        frozen = freeze(path.read_bytes())
        require_lawful(frozen.tariff, profile=config.tariff.profile)
    except OSError as e:
        raise ConfigError((f"{path}: {e.strerror}",), hint=f"{key} names an OCPI or OCPP tariff") from e
    except CallError as e:
        raise ConfigError((f"{path}: {e.message}",), hint=e.hint) from e
    return frozen


def load_members(config: Config, currency: str) -> FileMembers:
    """The local list of members under the operator's key. Raises ConfigError."""
    key = load_operator_key(config.members_key_file)
    return FileMembers.load(config.members_file, key=key, key_id=config.membership.key_id, currency=currency)


def offered_plans(config: Config, currency: str) -> tuple[FrozenPlan, ...]:
    """The plans on offer. Raises ConfigError for one in another currency than the tariff."""
    if config.plans_file is None:
        return ()
    plans = load_plans(config.plans_file)
    require_currency(plans, currency, str(config.plans_file))
    return plans


def load_operator_key(path: Path) -> bytes:
    """The operator's token key: 64 hex digits in a file that only the service may read. Raises ConfigError."""
    text = _secret(path, hint="membership.key names the operator's key")
    try:
        key = bytes.fromhex(text.strip())
    except ValueError as e:
        raise ConfigError(
            (f"{path}: not hexadecimal",), hint="64 hex digits, as the operator hands out"
        ) from e
    if len(key) != _KEY_BYTES:
        raise ConfigError((f"{path}: has {len(key)} bytes, must have {_KEY_BYTES}",))
    return key


def load_sun_keys(path: Path | None) -> SunKeys | None:
    """The keys of cards that prove themselves, from TOML with three hex texts. Raises ConfigError."""
    if path is None:
        return None
    text = _secret(path, hint="membership.sun_keys names the keys of SUN cards")
    try:
        table = msgspec.convert(tomllib.loads(text), _SunFile)
        return SunKeys(
            meta_read=bytes.fromhex(table.meta_read),
            file_read=bytes.fromhex(table.file_read),
            system=bytes.fromhex(table.system),
        )
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as e:
        # the parsers quote what they read: nothing of a key file may come out
        problem = f"{path}: not three keys in hex: meta_read, file_read, system ({type(e).__name__})"
        raise ConfigError(
            (problem,), hint="two keys of 16 bytes, and a system identifier of 2 to 16"
        ) from None


def _secret(path: Path, *, hint: str) -> str:
    """A file that only the service may read. Raises ConfigError."""
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except OSError as e:
        raise ConfigError((f"{path}: {e.strerror}",), hint=hint) from e
    except UnicodeDecodeError as e:
        raise ConfigError((f"{path}: not text",), hint=hint) from e
    if mode & 0o077:
        raise ConfigError((f"{path}: readable by others",), hint=f"chmod 600 {path}")
    return text
