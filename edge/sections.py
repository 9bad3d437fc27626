"""The sections of the configuration, as facts: every key, its bounds, and what it is for."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from edge.domain.buyer import ZeroTax
from edge.domain.invoice import Coordinates
from edge.domain.session.terms import Rules
from edge.emv.kernel.settings import Settings

#: Names that stand in MQTT topics and in an ACL.
Name = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$", description="1 to 32 letters A-Z a-z, digits, _ or -")
]
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
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$", description="two capital letters, such as DE")]
    tax_id: Text


class CoordinatesTable(Coordinates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Degrees as text with five to seven decimals: `{ latitude = "52.520008", longitude = "13.404954" }`."""


class ZeroTaxTable(ZeroTax, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Such as `{ category = "E", reason = "Small business, section 19 UStG", code = "VATEX-..." }`."""


class Site(Table, frozen=True, kw_only=True):
    """Where the charger stands. OCPI wants the coordinates in every CDR."""

    address: Text
    time_zone: Text
    coordinates: CoordinatesTable | None = None

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(
                f"time_zone {self.time_zone!r} is no IANA time zone such as Europe/Berlin"
            ) from None


class TariffSection(Table, frozen=True, kw_only=True):
    """What is on sale, and how much a session may cost at most (minor units of the tariff's currency).

    Where a way to pay lets a hold grow, it grows up to `hold_max_minor`. `profile` names the rules that the tariff
    has to keep to be shown lawfully; another tariff is refused. `fallback_file` names a tariff that needs no time:
    it is sold, and labelled so, while the clock is not trusted and the price would depend on it.
    """

    file: str
    fallback_file: str | None = None
    hold_minor: Annotated[int, Meta(ge=1, le=100_000_000)]
    hold_max_minor: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    profile: Literal["afir_50kw", "afir", "none"] = "none"


class InvoiceSection(Table, frozen=True, kw_only=True):
    """How numbers begin. With `CT-{year}` each year of issue has series of its own, which begin at 1.

    `zero_tax` says why prices without VAT have none, where the member list does not: exempt (E), reverse charge (AE),
    outside the scope of VAT (O) or a rate of zero (Z).
    """

    prefix: Annotated[str, Meta(pattern=r"^[A-Z0-9]{1,8}(-\{year\})?$")] = "CT"
    zero_tax: ZeroTaxTable | None = None


class ReceiptSection(Table, frozen=True, kw_only=True):
    """The QR code on the screen is `url` and a token that only the screen shows.

    The back office answers there (`chargetill backoffice receipts`); with `local` the till itself does so too, on
    `listen`, for `keep_days` after an invoice. On a site's network `listen` is an address that phones can reach.
    """

    url: Annotated[str, Meta(pattern=r"^https?://[A-Za-z0-9._:\[\]-]{1,200}(/[A-Za-z0-9._~-]{1,60}){0,4}/$")]
    local: bool = False
    listen: Annotated[str, Meta(pattern=r"^(\[[0-9A-Fa-f:.]{2,45}\]|[0-9.]{7,15}):[0-9]{1,5}$")] = (
        "127.0.0.1:8092"
    )
    keep_days: Annotated[int, Meta(ge=1, le=3660)] = 90


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


class LedgerSection(Table, frozen=True, kw_only=True):
    """How long the journal and its documents are kept. Nothing goes that the back office has not acknowledged.

    `keep_days` after their acknowledgement entries may be pruned, sooner where there are more than `entries_max`;
    invoices, and what the tables know of their sessions, go after `documents_days`.
    """

    keep_days: Annotated[int, Meta(ge=1, le=3650)] = 90
    entries_max: Annotated[int, Meta(ge=10_000, le=10_000_000)] = 200_000
    documents_days: Annotated[int, Meta(ge=30, le=36_500)] = 3650


class PrivacySection(Table, frozen=True, kw_only=True):
    """After `token_days` nobody can tell any more which card a session was."""

    token_days: Annotated[int, Meta(ge=1, le=3650)] = 90


class LogSection(Table, frozen=True, kw_only=True):
    format: Literal["plain", "json", "journald"] = "plain"


class EvseSection(Table, frozen=True, kw_only=True):
    """One EVSE: its meter and its charge point, each a driver with its own options.

    `own_power_w`: what the station itself draws behind the meter while nobody charges (a DC cabinet's fans, heaters).
    """

    id: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9*_-]{1,48}$", description="1 to 48 letters A-Z a-z, digits, *, _ or -"),
    ]
    label: Annotated[str, Meta(min_length=1, max_length=8)]
    kind: Literal["AC", "DC"] = "AC"
    max_current_a: Annotated[int, Meta(ge=6, le=80)] = 16
    poll_s: Seconds = 1.0
    stale_s: Annotated[int, Meta(ge=3, le=60)] = 10
    own_power_w: Annotated[int, Meta(ge=0, le=5000)] = 0
    meter: dict[str, Any]
    charge_point: dict[str, Any]


class TerminalSection(Table, frozen=True, kw_only=True):
    """A certified payment terminal: its driver with the driver's own options beside these.

    `evses` names the EVSEs that it takes cards for; without it, all of them. Captures are handed in `end_of_day_h`
    hours after the last time, at the first moment without a hold; from `drain_h` hours on no new one is taken until
    that is done. 0 hours: the terminal does it by itself.
    """

    driver: str
    evses: tuple[str, ...] = ()
    end_of_day_h: Annotated[int, Meta(ge=0, le=720)] = 24
    drain_h: Annotated[int, Meta(ge=1, le=744)] = 48


class RiskSection(Table, frozen=True, kw_only=True):
    """What is accepted on account without a connection to the back office (edge/domain/risk.py). Minor units."""

    session_minor: Annotated[int, Meta(ge=0, le=100_000_000)] = 5_000
    card_minor_per_day: Annotated[int, Meta(ge=0, le=100_000_000)] = 10_000
    day_minor: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 100_000
    device_minor: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 200_000
    list_age_max_h: Annotated[int, Meta(ge=1, le=8760)] = 168


class Lab(Table, frozen=True, kw_only=True):
    """Virtual hardware and a virtual clock. Refused beside anything that is not on this machine.

    The clock reads `origin` at boot time `base_ns` (CLOCK_BOOTTIME) and runs `speed` times as fast from there.
    """

    virtual: Literal[True]
    speed: Annotated[int, Meta(ge=1, le=1000)] = 1
    origin: Annotated[datetime, Meta(tz=True)] | None = None
    base_ns: Annotated[int, Meta(ge=0)] = 0


class File(Table, frozen=True, kw_only=True):
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
    metrics: dict[str, Any] | None = None
    receipt: ReceiptSection | None = None
    ledger: LedgerSection = LedgerSection()
    privacy: PrivacySection = PrivacySection()
    log: LogSection = LogSection()
    reader: tuple[dict[str, Any], ...] = ()
    terminal: Annotated[tuple[dict[str, Any], ...], Meta(max_length=8)] = ()
    risk: RiskSection = RiskSection()
    emv: Settings = Settings()
    acquirer: dict[str, Any] | None = None
    evse: Annotated[tuple[EvseSection, ...], Meta(min_length=1, max_length=64)]
    lab: Lab | None = None
