"""Loads tariffs of OCPI 2.2.1 and 2.3.0 (`mod_tariffs`, Tariff object).

Fields that the standards require but no price depends on (owner, last_updated, step_size) may be absent here:
a tariff typed in by an operator has no owner. Fields that the standards do not know are mistakes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import cast

from edge.domain.tariffs.currencies import CURRENCIES
from edge.domain.tariffs.model import (
    DIMENSIONS,
    Dimension,
    DisplayText,
    PriceComponent,
    PriceLimit,
    ReservationKind,
    Restrictions,
    Tariff,
    TariffElement,
    TaxIncluded,
    TaxRate,
)
from edge.domain.tariffs.reading import DURATION_MAX_S, STEP_MAX, Problem, Reader

#: A week of quarter-hour prices is 672 elements; three times that is no tariff that anybody can read.
ELEMENTS_MAX = 2_000
_WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
_TYPES = ("AD_HOC_PAYMENT", "PROFILE_CHEAP", "PROFILE_FAST", "PROFILE_GREEN", "REGULAR")
_PERCENT_MAX = Decimal(100)
#: What a tax is called that the standard only calls "vat".
VAT = "VAT"


def read_ocpi(root: Reader, *, tax_field: bool) -> Tariff | None:
    """The tariff, or None where a field that it cannot do without is missing; mistakes go to the reader.

    `tax_field`: True for 2.3.0, which has `tax_included`, price limits before and after taxes and
    `preauthorize_amount`.
    """
    tax_included: TaxIncluded = "NO"
    preauthorize = None
    if tax_field:
        given = root.text("tax_included", length_max=3, required=True, choices=("YES", "NO", "N/A"))
        tax_included = cast("TaxIncluded", given or "NO")
        preauthorize = root.number("preauthorize_amount")
    identity = root.text("id", length_max=36, required=True)
    currency = root.text("currency", length_max=3, required=True)
    if currency is not None and currency not in CURRENCIES:
        root.wrong("currency", f"{currency!r} is not a currency of ISO 4217")
    limit_names = ("before_taxes", "after_taxes") if tax_field else ("excl_vat", "incl_vat")
    min_price, max_price = (_limit(root.object(name), limit_names) for name in ("min_price", "max_price"))
    root.ignore("energy_mix")
    tariff_type = root.text("type", length_max=20, choices=_TYPES)
    alt_text = tuple(text for r in root.objects("tariff_alt_text", at_most=100) if (text := _display_text(r)))
    elements = tuple(
        element
        for r in root.objects("elements", at_most=ELEMENTS_MAX, at_least=1)
        if (element := _element(r, taxed=tax_included != "N/A"))
    )
    tariff = Tariff(
        id=identity or "",
        currency=currency or "",
        elements=elements,
        dialect="OCPI 2.3.0" if tax_field else "OCPI 2.2.1",
        tax_included=tax_included,
        country_code=root.text("country_code", length_max=2),
        party_id=root.text("party_id", length_max=3),
        type=tariff_type,
        alt_text=alt_text,
        alt_url=root.text("tariff_alt_url", length_max=255),
        min_price=min_price,
        max_price=max_price,
        preauthorize_amount=preauthorize,
        start_date_time=root.instant("start_date_time"),
        end_date_time=root.instant("end_date_time"),
        last_updated=root.instant("last_updated"),
    )
    root.close()
    check_limits(root, tariff)
    return tariff if identity and currency and elements else None


def check_limits(root: Reader, tariff: Tariff) -> None:
    """A minimum above the maximum, or a validity that never is, cannot be meant."""
    low, high = tariff.min_price, tariff.max_price
    if low and high:
        for side in ("before_taxes", "after_taxes"):
            least, most = getattr(low, side), getattr(high, side)
            if least is not None and most is not None and least > most:
                root.wrong("min_price", f"is above max_price {side.replace('_', ' ')}")
    if tariff.start_date_time and tariff.end_date_time and tariff.end_date_time <= tariff.start_date_time:
        root.wrong("end_date_time", "is not after start_date_time")


def _limit(r: Reader | None, names: tuple[str, str]) -> PriceLimit | None:
    if r is None:
        return None
    before = r.number(names[0], required=True)
    after = r.number(names[1])
    r.close()
    if before is not None and after is not None and after < before:
        r.wrong(names[1], f"is less than {names[0]}")
    return PriceLimit(before_taxes=before, after_taxes=after)


def _display_text(r: Reader) -> DisplayText | None:
    language = r.text("language", length_max=2, required=True)
    text = r.text("text", length_max=512, required=True)
    r.close()
    return DisplayText(language=language, text=text) if language and text else None


def _element(r: Reader, *, taxed: bool) -> TariffElement | None:
    components: list[PriceComponent] = []
    for c in r.objects("price_components", at_most=len(DIMENSIONS), at_least=1):
        component = _component(c, taxed=taxed)
        if component is None:
            continue
        if any(component.dimension == other.dimension for other in components):
            c.wrong("type", f"{component.dimension} stands twice in one element")
        components.append(component)
    given = r.object("restrictions")
    restrictions = _restrictions(given) if given else Restrictions()
    r.close()
    if restrictions.reservation:
        for i, component in enumerate(components):
            if component.dimension not in ("TIME", "FLAT"):
                r.wrong(f"price_components[{i}].type", "a reservation has only TIME and FLAT")
    return TariffElement(components=tuple(components), restrictions=restrictions) if components else None


def _component(r: Reader, *, taxed: bool) -> PriceComponent | None:
    dimension = r.text("type", length_max=20, required=True, choices=DIMENSIONS)
    price = r.number("price", required=True)
    vat = r.number("vat", at_most=_PERCENT_MAX)
    step = r.whole("step_size", at_most=STEP_MAX)
    r.close()
    if dimension is None or price is None:
        return None
    taxes = (TaxRate(name=VAT, percent=vat),) if taxed and vat is not None else ()
    known = cast("Dimension", dimension)
    return PriceComponent(dimension=known, price=price, taxes=taxes, step=0 if known == "FLAT" else step or 0)


def _restrictions(r: Reader) -> Restrictions:
    start, end = r.local_time("start_time"), r.local_time("end_time")
    if start is not None and start == end:
        r.wrong("end_time", "is the same as start_time; leave both out for the whole day")
    weekdays = r.choices("day_of_week", _WEEKDAYS)
    reservation = r.text("reservation", length_max=20, choices=("RESERVATION", "RESERVATION_EXPIRES"))
    restrictions = Restrictions(
        start_minute=start,
        end_minute=end_of_day(end),
        start_date=r.local_date("start_date"),
        end_date=r.local_date("end_date"),
        weekdays=tuple(sorted(_WEEKDAYS.index(day) for day in weekdays)),
        min_energy_wh=_thousandfold(r.number("min_kwh")),
        max_energy_wh=_thousandfold(r.number("max_kwh")),
        min_current_a=r.number("min_current"),
        max_current_a=r.number("max_current"),
        min_power_w=_thousandfold(r.number("min_power")),
        max_power_w=_thousandfold(r.number("max_power")),
        min_duration_s=r.whole("min_duration", at_most=DURATION_MAX_S),
        max_duration_s=r.whole("max_duration", at_most=DURATION_MAX_S),
        reservation=cast("ReservationKind | None", reservation),
    )
    r.close()
    return restrictions


def end_of_day(end_minute: int | None) -> int | None:
    """An end of 00:00 means the end of the day, also when it stands alone."""
    return 1440 if end_minute == 0 else end_minute


def _thousandfold(number: Decimal | None) -> Decimal | None:
    """The number in W or Wh of one in kW or kWh."""
    return None if number is None else number * 1000


def problems_of_nothing(reason: str) -> tuple[None, tuple[Problem, ...]]:
    """The answer for a document that is not even an object."""
    return None, (Problem("", reason),)
