"""The languages in which a price can be told. A new language is one more entry at the end of this file."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from edge.domain.money import exponent

_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}


class Language(msgspec.Struct, frozen=True, kw_only=True):
    """The phrases of one language. Braces take the values; `weekdays` start with Monday."""

    point: str
    symbol_first: bool
    now: str
    from_time: str
    from_day: str
    weekdays: tuple[str, ...]
    labels: dict[str, str]
    units: dict[str, str]
    free: str
    vat: str
    no_price: str
    limits: dict[str, str]
    least: str
    most: str
    steps: dict[str, str]
    included_energy: str
    included_time: str
    day_pass: str
    hours: str
    minutes: str

    def number(self, value: Decimal, places: int = 0) -> str:
        """Exact digits with at least `places` decimals: 0.5 as 0.50."""
        whole, _, decimals = format(value, "f").partition(".")
        decimals = decimals.rstrip("0").ljust(places, "0")
        return whole + self.point + decimals if decimals else whole

    def money(self, amount: Decimal, currency: str) -> str:
        """An amount of major units with its currency: €0.49 or 0,49 €."""
        number = self.number(amount, exponent(currency))
        symbol = _SYMBOLS.get(currency)
        if symbol is None:
            return f"{currency} {number}" if self.symbol_first else f"{number} {currency}"
        return f"{symbol}{number}" if self.symbol_first else f"{number} {symbol}"

    def duration(self, seconds: int) -> str:
        """Whole hours where they are, else minutes."""
        if seconds and seconds % 3600 == 0:
            return self.hours.format(self.number(Decimal(seconds // 3600)))
        minutes = Decimal(seconds) / 60
        return self.minutes.format(
            self.number(minutes.quantize(Decimal(1)) if seconds % 60 == 0 else minutes)
        )


_ENGLISH = Language(
    point=".",
    symbol_first=True,
    now="now",
    from_time="from {}",
    from_day="from {} {}",
    weekdays=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    labels={
        "ENERGY": "Energy",
        "TIME": "Charging time",
        "PARKING_TIME": "Parking after charging",
        "FLAT": "Per session",
        "RESERVATION_TIME": "Reservation",
        "RESERVATION_FLAT": "Reservation fee",
        "RESERVATION_EXPIRES_TIME": "Reservation not used",
        "RESERVATION_EXPIRES_FLAT": "Fee for a reservation not used",
        "MIN": "Minimum price",
        "MAX": "Maximum price",
        "PLAN": "Membership",
    },
    units={"ENERGY": "{}/kWh", "MINUTE": "{}/min", "HOUR": "{}/h", "FLAT": "{}"},
    free="free",
    vat="incl. {}% {}",
    no_price="Charging is free",
    limits={
        "energy": "kWh",
        "power": "kW",
        "current": "A",
        "duration": "of the session",
        "charging": "of charging",
        "idle": "of parking",
    },
    least="from {} on",
    most="up to {}",
    steps={"ENERGY": "in steps of {} Wh", "TIME": "in steps of {}"},
    included_energy="{} kWh included",
    included_time="{} included",
    day_pass="day pass {}, valid {}",  # noqa: S106  a phrase, no password
    hours="{} h",
    minutes="{} min",
)

_GERMAN = Language(
    point=",",
    symbol_first=False,
    now="jetzt",
    from_time="ab {}",
    from_day="ab {} {}",
    weekdays=("Mo", "Di", "Mi", "Do", "Fr", "Sa", "So"),
    labels={
        "ENERGY": "Energie",
        "TIME": "Ladezeit",
        "PARKING_TIME": "Parken nach dem Laden",
        "FLAT": "Je Ladevorgang",
        "RESERVATION_TIME": "Reservierung",
        "RESERVATION_FLAT": "Reservierungsgebühr",
        "RESERVATION_EXPIRES_TIME": "Nicht genutzte Reservierung",
        "RESERVATION_EXPIRES_FLAT": "Gebühr für nicht genutzte Reservierung",
        "MIN": "Mindestpreis",
        "MAX": "Höchstpreis",
        "PLAN": "Mitgliedschaft",
    },
    units={"ENERGY": "{}/kWh", "MINUTE": "{}/min", "HOUR": "{}/h", "FLAT": "{}"},
    free="kostenlos",
    vat="inkl. {} % {}",
    no_price="Das Laden ist kostenlos",
    limits={
        "energy": "kWh",
        "power": "kW",
        "current": "A",
        "duration": "Gesamtdauer",
        "charging": "Ladezeit",
        "idle": "Parkzeit",
    },
    least="ab {}",
    most="bis {}",
    steps={"ENERGY": "in Schritten von {} Wh", "TIME": "in Schritten von {}"},
    included_energy="{} kWh inklusive",
    included_time="{} inklusive",
    day_pass="Tageskarte {}, gültig {}",  # noqa: S106  a phrase, no password
    hours="{} h",
    minutes="{} min",
)

#: ISO 639-1 code -> phrases.
LANGUAGES = {"en": _ENGLISH, "de": _GERMAN}
#: What a tax is called where the tariff only says VAT.
VAT_NAMES = {"en": "VAT", "de": "MwSt."}
