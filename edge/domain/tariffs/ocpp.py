"""Loads tariffs of OCPP 2.1 (Part 2, TariffType and the types below it) into the shape of OCPI.

Each price becomes an element of its own: dimensions are looked up separately, so the order within a dimension
is all that counts. Prices exclude tax, are per kWh, per minute or fixed, and are billed without steps.
`idleTime` is PARKING_TIME. A condition on a fixed fee is asked once, at the start of the transaction; limits
of charging and idle time count over the whole session (the specification does not say whether idle time
starts anew).
"""

from __future__ import annotations

from decimal import Decimal
from typing import cast

import msgspec

from edge.domain.tariffs.currencies import CURRENCIES
from edge.domain.tariffs.model import (
    Dimension,
    DisplayText,
    EvseKind,
    PriceComponent,
    PriceLimit,
    ReservationKind,
    Restrictions,
    Tariff,
    TariffElement,
    TaxRate,
)
from edge.domain.tariffs.ocpi import ELEMENTS_MAX, check_limits, end_of_day
from edge.domain.tariffs.reading import DURATION_MAX_S, Reader

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: TaxRateType allows five taxes on a price.
_TAXES_MAX = 5
#: Deeper than the taxes are many, a stack level means nothing.
_STACK_MAX = 10
_PERCENT_MAX = Decimal(100)

#: field -> name of the price, dimension, factor to the unit of the model, conditions of a fixed fee,
#: reservation
_FIELDS: tuple[tuple[str, str, Dimension, int, ReservationKind | None], ...] = (
    ("energy", "priceKwh", "ENERGY", 1, None),
    ("chargingTime", "priceMinute", "TIME", 60, None),
    ("idleTime", "priceMinute", "PARKING_TIME", 60, None),
    ("fixedFee", "priceFixed", "FLAT", 1, None),
    ("reservationTime", "priceMinute", "TIME", 60, "RESERVATION"),
    ("reservationFixed", "priceFixed", "FLAT", 1, "RESERVATION"),
)


def read_ocpp(root: Reader) -> Tariff | None:
    """The tariff, or None where a field that it cannot do without is missing; mistakes go to the reader."""
    identity = root.text("tariffId", length_max=60, required=True)
    currency = root.text("currency", length_max=3, required=True)
    if currency is not None and currency not in CURRENCIES:
        root.wrong("currency", f"{currency!r} is not a currency of ISO 4217")
    texts = tuple(t for r in root.objects("description", at_most=10) if (t := _description(r)))
    elements: list[TariffElement] = []
    for field, price_name, dimension, factor, reservation in _FIELDS:
        group = root.object(field)
        if group is None:
            continue
        taxes = _taxes(group)
        for r in group.objects("prices", at_most=ELEMENTS_MAX, at_least=1):
            price = r.number(price_name, required=True)
            conditions = r.object("conditions")
            restrictions = (
                _conditions(conditions, fixed=dimension == "FLAT", reservation=reservation)
                if conditions
                else Restrictions(reservation=reservation)
            )
            r.ignore("customData")
            r.close()
            if price is not None:
                component = PriceComponent(dimension=dimension, price=price * factor, taxes=taxes)
                elements.append(TariffElement(components=(component,), restrictions=restrictions))
        group.ignore("customData")
        group.close()
    tariff = Tariff(
        id=identity or "",
        currency=currency or "",
        elements=tuple(elements),
        dialect="OCPP 2.1",
        alt_text=texts,
        min_price=_limit(root.object("minCost")),
        max_price=_limit(root.object("maxCost")),
        start_date_time=root.instant("validFrom"),
    )
    root.ignore("customData")
    root.close()
    check_limits(root, tariff)
    return tariff if identity and currency else None


def _taxes(r: Reader) -> tuple[TaxRate, ...]:
    rates = []
    for tax in r.objects("taxRates", at_most=_TAXES_MAX):
        name = tax.text("type", length_max=20, required=True)
        percent = tax.number("tax", required=True, at_most=_PERCENT_MAX)
        stack = tax.whole("stack", at_most=_STACK_MAX)
        tax.ignore("customData")
        tax.close()
        if name is not None and percent is not None:
            rates.append(TaxRate(name=name, percent=percent, stack=stack or 0))
    return tuple(sorted(rates, key=lambda rate: rate.stack))


def _limit(r: Reader | None) -> PriceLimit | None:
    """PriceType: at least one of its two sides. Its own tax rates would contradict those of the prices."""
    if r is None:
        return None
    before, after = r.number("exclTax"), r.number("inclTax")
    _taxes(r)
    r.ignore("customData")
    r.close()
    if before is None and after is None:
        r.wrong("", "needs exclTax or inclTax")
    elif before is not None and after is not None and after < before:
        r.wrong("inclTax", "is less than exclTax")
    return PriceLimit(before_taxes=before, after_taxes=after)


def _description(r: Reader) -> DisplayText | None:
    r.text("format", length_max=10, required=True, choices=("ASCII", "HTML", "URI", "UTF8", "QRCODE"))
    language = r.text("language", length_max=8)
    text = r.text("content", length_max=1024, required=True)
    r.ignore("customData")
    r.close()
    return DisplayText(language=language or "", text=text) if text else None


def _conditions(r: Reader, *, fixed: bool, reservation: ReservationKind | None) -> Restrictions:
    start, end = r.local_time("startTimeOfDay"), r.local_time("endTimeOfDay")
    if start is not None and start == end:
        r.wrong("endTimeOfDay", "is the same as startTimeOfDay; leave both out for the whole day")
    weekdays = r.choices("dayOfWeek", _WEEKDAYS)
    kind = r.text("evseKind", length_max=2, choices=("AC", "DC"))
    start_date, end_date = r.local_date("validFromDate"), r.local_date("validToDate")
    restrictions = Restrictions(
        start_minute=start,
        end_minute=end_of_day(end),
        start_date=start_date,
        end_date=end_date,
        weekdays=tuple(sorted(_WEEKDAYS.index(day) for day in weekdays)),
        evse_kind=cast("EvseKind | None", kind),
        reservation=reservation,
        at_start=fixed,
    )
    if fixed:
        for name in ("paymentBrand", "paymentRecognition"):
            if r.text(name, length_max=20) is not None:
                r.wrong(name, "the brand of a card is not known to the till, so no price can depend on it")
    else:
        restrictions = msgspec.structs.replace(
            restrictions,
            min_energy_wh=r.number("minEnergy"),
            max_energy_wh=r.number("maxEnergy"),
            min_current_a=r.number("minCurrent"),
            max_current_a=r.number("maxCurrent"),
            min_power_w=r.number("minPower"),
            max_power_w=r.number("maxPower"),
            min_duration_s=r.whole("minTime", at_most=DURATION_MAX_S),
            max_duration_s=r.whole("maxTime", at_most=DURATION_MAX_S),
            min_charging_s=r.whole("minChargingTime", at_most=DURATION_MAX_S),
            max_charging_s=r.whole("maxChargingTime", at_most=DURATION_MAX_S),
            min_idle_s=r.whole("minIdleTime", at_most=DURATION_MAX_S),
            max_idle_s=r.whole("maxIdleTime", at_most=DURATION_MAX_S),
        )
    r.ignore("customData")
    r.close()
    return restrictions
