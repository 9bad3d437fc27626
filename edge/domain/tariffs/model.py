"""The tariff as the till knows it: the shape of OCPI 2.3.0 `mod_tariffs`, with the units in the names.

Other dialects are loaded into this shape. What OCPI cannot say and OCPP 2.1 can (stacked taxes, limits on
charging and idle time, fees that are decided at the start) is added to it and is unset for OCPI tariffs.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Literal

import msgspec

Dimension = Literal["ENERGY", "TIME", "PARKING_TIME", "FLAT"]
#: The order in which dimensions stand on every list of lines.
DIMENSIONS: tuple[Dimension, ...] = ("ENERGY", "TIME", "PARKING_TIME", "FLAT")

Dialect = Literal["OCPI 2.2.1", "OCPI 2.3.0", "OCPP 2.1"]
TaxIncluded = Literal["YES", "NO", "N/A"]
ReservationKind = Literal["RESERVATION", "RESERVATION_EXPIRES"]
EvseKind = Literal["AC", "DC"]


class TaxRate(msgspec.Struct, frozen=True, kw_only=True):
    """One tax: `percent` of the net price plus every tax of a lower `stack` (OCPP 2.1 TaxRateType)."""

    name: str
    percent: Decimal
    stack: int = 0


class PriceComponent(msgspec.Struct, frozen=True, kw_only=True):
    """What one dimension costs: `price` per kWh, per hour, or once; with tax if the tariff includes it.

    `step` is in Wh or seconds; 0 bills exactly what was used. No `taxes` means that none applies.
    """

    dimension: Dimension
    price: Decimal
    taxes: tuple[TaxRate, ...] = ()
    step: int = 0


class Restrictions(msgspec.Struct, frozen=True, kw_only=True):
    """When an element applies: every restriction that is set must hold (OCPI TariffRestrictions).

    Local times are minutes of the day; an end of 00:00 is 1440. `weekdays` count from Monday = 0.
    Minima include their value and maxima exclude it. Power and current are instantaneous, current summed over
    the phases. `at_start` asks once, at the first moment (OCPP 2.1 TariffConditionsFixedType).
    """

    start_minute: int | None = None
    end_minute: int | None = None
    start_date: date | None = None
    end_date: date | None = None
    weekdays: tuple[int, ...] = ()
    min_energy_wh: Decimal | None = None
    max_energy_wh: Decimal | None = None
    min_current_a: Decimal | None = None
    max_current_a: Decimal | None = None
    min_power_w: Decimal | None = None
    max_power_w: Decimal | None = None
    min_duration_s: int | None = None
    max_duration_s: int | None = None
    min_charging_s: int | None = None
    max_charging_s: int | None = None
    min_idle_s: int | None = None
    max_idle_s: int | None = None
    reservation: ReservationKind | None = None
    evse_kind: EvseKind | None = None
    at_start: bool = False

    @property
    def wall_clock(self) -> bool:
        """True when local time, weekday or date decide."""
        return (
            self.start_minute is not None
            or self.end_minute is not None
            or self.start_date is not None
            or self.end_date is not None
            or bool(self.weekdays)
        )


NO_RESTRICTIONS = Restrictions()


class TariffElement(msgspec.Struct, frozen=True, kw_only=True):
    """Price components that share restrictions; each dimension is looked up on its own."""

    components: tuple[PriceComponent, ...]
    restrictions: Restrictions = NO_RESTRICTIONS


class PriceLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A least or greatest price of a session in major units; each side that is given binds on its own."""

    before_taxes: Decimal | None = None
    after_taxes: Decimal | None = None


class DisplayText(msgspec.Struct, frozen=True, kw_only=True):
    """A text in one language (OCPI DisplayText, OCPP MessageContent)."""

    language: str
    text: str


class Tariff(msgspec.Struct, frozen=True, kw_only=True):
    """One tariff, loaded and checked. `elements` stand in the order in which they are tried."""

    id: str
    currency: str
    elements: tuple[TariffElement, ...]
    dialect: Dialect
    tax_included: TaxIncluded = "NO"
    country_code: str | None = None
    party_id: str | None = None
    type: str | None = None
    alt_text: tuple[DisplayText, ...] = ()
    alt_url: str | None = None
    min_price: PriceLimit | None = None
    max_price: PriceLimit | None = None
    preauthorize_amount: Decimal | None = None
    start_date_time: datetime | None = None
    end_date_time: datetime | None = None
    last_updated: datetime | None = None

    def valid_at(self, at: datetime) -> bool:
        """True inside the validity of the tariff; its end is exclusive."""
        begun = self.start_date_time is None or self.start_date_time <= at
        return begun and (self.end_date_time is None or at < self.end_date_time)


class FrozenTariff(msgspec.Struct, frozen=True, kw_only=True):
    """The tariff that a session is priced with, from the tap on (I3).

    `document` is the source in a canonical form, `hash` its SHA-256 in hex.
    """

    hash: str
    document: str
    tariff: Tariff


def depends_on_time(tariff: Tariff) -> bool:
    """True when the price needs the time of day or the date: not sold while the clock is not trusted."""
    return (
        tariff.start_date_time is not None
        or tariff.end_date_time is not None
        or any(element.restrictions.wall_clock for element in tariff.elements)
    )
