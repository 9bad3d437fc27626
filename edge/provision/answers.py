"""What an installer is asked: one Struct a section, the same for a file of answers and for questions one by one."""

from __future__ import annotations

import socket
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge import strict
from edge.errors import ConfigError
from edge.sections import Clock, Name, SellerSection, Site, Table
from edge.sync.options import Address, PublicKey

#: No currency that a charger is paid in has a dearer kWh; a slipped decimal point has.
PRICE_MAX = 1000
PERCENT_MAX = 100
_File = Annotated[str, Meta(min_length=1, max_length=4096)]


def host_name() -> str:
    """The computer's name, as far as it may stand in a topic."""
    return "".join(c for c in socket.gethostname().partition(".")[0] if c.isalnum() or c in "-_")[:32]


def within(number: Decimal, most: int, what: str) -> None:
    """Raises ValueError for what is no number from 0 to `most`."""
    if not number.is_finite() or not 0 <= number <= most:
        raise ValueError(f"{what} must be from 0 to {most}")


class DeviceAnswers(Table, frozen=True, kw_only=True):
    """`name` defaults to the computer's own: a fleet shares one file of answers."""

    site: Name
    name: Name = msgspec.field(default_factory=host_name)


class TariffAnswers(Table, frozen=True, kw_only=True):
    """A tariff in a file (OCPI or OCPP), or one price per kWh, tax included."""

    file: _File | None = None
    price_per_kwh: Decimal | None = None
    vat_percent: Decimal = Decimal(19)
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "EUR"
    hold_minor: Annotated[int, Meta(ge=1, le=100_000_000)] = 6000
    profile: Literal["afir_50kw", "afir", "none"] = "none"

    def __post_init__(self) -> None:
        if (self.file is None) == (self.price_per_kwh is None):
            raise ValueError("give either `file` or `price_per_kwh`")
        if self.price_per_kwh is not None:
            within(self.price_per_kwh, PRICE_MAX, "price_per_kwh")
        within(self.vat_percent, PERCENT_MAX, "vat_percent")


class MembershipAnswers(Table, frozen=True, kw_only=True):
    """`key_from` names the operator's key on a stick (64 hex digits); without one this device makes the first."""

    key_id: Name
    key_from: _File | None = None
    members_from: _File | None = None


class MqttAnswers(Table, frozen=True, kw_only=True):
    """Where the back office's brokers are. Without `tls` only a broker on this machine makes sense."""

    brokers: Annotated[tuple[Address, ...], Meta(min_length=1, max_length=8)]
    tls: bool = True
    orders_keys: Annotated[tuple[PublicKey, ...], Meta(max_length=4)] = ()


class EvseAnswers(Table, frozen=True, kw_only=True):
    """One EVSE. `{name}` in its id is the device's name. A meter whose `profile` is missing is looked for."""

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9*_{}-]{1,60}$")]
    label: Annotated[str, Meta(min_length=1, max_length=8)]
    kind: Literal["AC", "DC"] = "AC"
    max_current_a: Annotated[int, Meta(ge=6, le=80)] = 16
    meter: dict[str, Any]
    charge_point: dict[str, Any]


class Answers(Table, frozen=True, kw_only=True):
    """Everything. `reader`, `terminal`, `meter`, `charge_point` and `kiosk` are as the configuration has them."""

    device: DeviceAnswers
    seller: SellerSection
    site: Site
    tariff: TariffAnswers
    membership: MembershipAnswers
    clock: Clock = Clock()
    mqtt: MqttAnswers | None = None
    kiosk: dict[str, Any] | None = None
    reader: tuple[dict[str, Any], ...] = ()
    terminal: tuple[dict[str, Any], ...] = ()
    evse: Annotated[tuple[EvseAnswers, ...], Meta(min_length=1, max_length=64)]


def read(path: Path) -> Answers:
    """The answers in a file; relative names in it start at its folder. Raises ConfigError with every mistake."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError((f"{path}: {e.strerror}",), hint="give --answers FILE") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError((f"{path}: {e}",), hint="the file is not TOML") from e
    return of_table(table, where=str(path))


def of_table(table: dict[str, Any], *, where: str) -> Answers:
    """Raises ConfigError with every mistake."""
    tariff = table.get("tariff")
    if isinstance(tariff, dict):  # TOML knows floats; a price is a decimal
        exact = {k: str(v) if isinstance(v, (int, float)) else v for k, v in tariff.items() if k in _DECIMALS}
        table = {**table, "tariff": {**tariff, **exact}}
    answers, problems = strict.decode(Answers, table)
    if answers is None:
        raise ConfigError(tuple(f"{where}: {p}" for p in problems), hint="correct the answers and try again")
    return answers


_DECIMALS = frozenset(("price_per_kwh", "vat_percent"))
