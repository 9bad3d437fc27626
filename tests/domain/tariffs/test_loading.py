"""Strict loaders: every dialect into one shape, and every mistake refused with its place."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.domain.tariffs import (
    PriceComponent,
    PriceLimit,
    Restrictions,
    TaxRate,
    depends_on_time,
    freeze,
    load_tariff,
    read_tariff,
)
from edge.domain.tariffs.loading import DOCUMENT_BYTES_MAX
from edge.errors import TariffError

ENERGY = {"type": "ENERGY", "price": 0.49, "vat": 19, "step_size": 1}


def ocpi(restrictions: dict | None = None, component: dict | None = None, **fields: object) -> dict:
    element: dict = {"price_components": [component or ENERGY]}
    if restrictions is not None:
        element["restrictions"] = restrictions
    return {"id": "1", "currency": "EUR", "elements": [element], **fields}


def ocpp(**fields: object) -> dict:
    return {"tariffId": "o", "currency": "EUR", **fields}


def test_every_restriction_of_ocpi():
    tariff = load_tariff(
        ocpi(
            {
                "start_time": "22:00",
                "end_time": "06:30",
                "start_date": "2026-01-01",
                "end_date": "2027-01-01",
                "min_kwh": 1.5,
                "max_kwh": "20",
                "min_current": 6,
                "max_current": 32.5,
                "min_power": 3.7,
                "max_power": 50,
                "min_duration": 60,
                "max_duration": 7200,
                "day_of_week": ["SUNDAY", "MONDAY"],
            }
        )
    )
    assert tariff.elements[0].restrictions == Restrictions(
        start_minute=1320,
        end_minute=390,
        start_date=date(2026, 1, 1),
        end_date=date(2027, 1, 1),
        min_energy_wh=Decimal(1500),
        max_energy_wh=Decimal(20000),
        min_current_a=Decimal(6),
        max_current_a=Decimal("32.5"),
        min_power_w=Decimal(3700),
        max_power_w=Decimal(50000),
        min_duration_s=60,
        max_duration_s=7200,
        weekdays=(0, 6),
    )


def test_the_dialect_follows_from_the_fields():
    assert load_tariff(ocpi()).dialect == "OCPI 2.2.1"
    assert load_tariff(ocpi(tax_included="NO")).dialect == "OCPI 2.3.0"
    assert load_tariff(ocpp(energy={"prices": [{"priceKwh": 1}]})).dialect == "OCPP 2.1"


def test_limits_have_their_own_names_in_each_dialect():
    limit = PriceLimit(before_taxes=Decimal(10), after_taxes=Decimal("11.9"))
    assert load_tariff(ocpi(max_price={"excl_vat": 10, "incl_vat": 11.9})).max_price == limit
    assert (
        load_tariff(ocpi(tax_included="NO", max_price={"before_taxes": 10, "after_taxes": 11.9})).max_price
        == limit
    )
    assert load_tariff(ocpp(maxCost={"exclTax": 10, "inclTax": 11.9})).max_price == limit
    for wrong in (ocpi(max_price={"before_taxes": 10}), ocpi(tax_included="NO", max_price={"excl_vat": 10})):
        with pytest.raises(TariffError, match=r"max_price"):
            load_tariff(wrong)


def test_ocpp_prices_per_minute_become_prices_per_hour_with_their_taxes():
    tariff = load_tariff(
        ocpp(
            idleTime={
                "prices": [{"priceMinute": 0.1, "conditions": {"minIdleTime": 600, "dayOfWeek": ["Monday"]}}],
                "taxRates": [{"type": "City", "tax": 5, "stack": 1}, {"type": "State", "tax": 10}],
            }
        )
    )
    (element,) = tariff.elements
    taxes = (TaxRate(name="State", percent=Decimal(10)), TaxRate(name="City", percent=Decimal(5), stack=1))
    assert element.components == (PriceComponent(dimension="PARKING_TIME", price=Decimal(6), taxes=taxes),)
    assert element.restrictions == Restrictions(weekdays=(0,), min_idle_s=600)


def test_an_end_of_midnight_is_the_end_of_the_day():
    assert load_tariff(ocpi({"end_time": "00:00"})).elements[0].restrictions.end_minute == 1440
    assert (
        load_tariff(ocpi({"start_time": "18:00", "end_time": "00:00"})).elements[0].restrictions.end_minute
        == 1440
    )


def test_numbers_stay_exact():
    document = json.dumps(ocpi()).replace("0.49", "0.123456789012").encode()
    assert load_tariff(document).elements[0].components[0].price == Decimal("0.123456789012")
    assert load_tariff(ocpi(component={"type": "ENERGY", "price": 0.1})).elements[0].components[
        0
    ].price == Decimal("0.1")


def test_no_vat_differs_from_a_vat_of_zero():
    none = load_tariff(ocpi(component={"type": "ENERGY", "price": 1})).elements[0].components[0]
    zero = load_tariff(ocpi(component={"type": "ENERGY", "price": 1, "vat": 0})).elements[0].components[0]
    assert none.taxes == ()
    assert zero.taxes == (TaxRate(name="VAT", percent=Decimal(0)),)


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (ocpi({"dayOfWeek": ["MONDAY"]}), "elements[0].restrictions.dayOfWeek"),
        (ocpi({"day_of_week": ["monday"]}), "elements[0].restrictions.day_of_week[0]"),
        (ocpi({"start_time": "24:00"}), "elements[0].restrictions.start_time"),
        (ocpi({"end_time": "24:00"}), "elements[0].restrictions.end_time"),
        (ocpi({"start_time": "7:00"}), "elements[0].restrictions.start_time"),
        (ocpi({"start_time": "08:00", "end_time": "08:00"}), "elements[0].restrictions.end_time"),
        (ocpi({"start_time": "00:00", "end_time": "00:00"}), "elements[0].restrictions.end_time"),
        (ocpi({"start_date": "2026-02-30"}), "elements[0].restrictions.start_date"),
        (ocpi({"min_kwh": -1}), "elements[0].restrictions.min_kwh"),
        (ocpi({"min_duration": 1.5}), "elements[0].restrictions.min_duration"),
        (ocpi({"reservation": "RESERVATION"}), "elements[0].price_components[0].type"),
        (ocpi(component={**ENERGY, "step_size": -1}), "elements[0].price_components[0].step_size"),
        (ocpi(component={**ENERGY, "step_size": 10**12}), "elements[0].price_components[0].step_size"),
        (ocpi(component={**ENERGY, "price": float("nan")}), "elements[0].price_components[0].price"),
        (ocpi(component={**ENERGY, "price": "NaN"}), "elements[0].price_components[0].price"),
        (ocpi(component={**ENERGY, "price": "1e400"}), "elements[0].price_components[0].price"),
        (ocpi(component={**ENERGY, "price": True}), "elements[0].price_components[0].price"),
        (ocpi(component={**ENERGY, "price": -0.1}), "elements[0].price_components[0].price"),
        (ocpi(component={**ENERGY, "vat": 119}), "elements[0].price_components[0].vat"),
        (ocpi(component={**ENERGY, "type": "POWER"}), "elements[0].price_components[0].type"),
        (ocpi(component={"type": "ENERGY"}), "elements[0].price_components[0].price"),
        (ocpi(currency="EUX"), "currency"),
        (ocpi(currency="eur"), "currency"),
        (ocpi(id=None), "id"),
        (ocpi(id="x" * 37), "id"),
        (ocpi(tax_included="MAYBE"), "tax_included"),
        (ocpi(elements=[]), "elements"),
        (ocpi(elements=None), "elements"),
        (ocpi(elements=[{"price_components": [ENERGY, ENERGY]}]), "elements[0].price_components[1].type"),
        (ocpi(elements=[{"price_components": [ENERGY]}] * 2001), "elements"),
        (ocpi(min_price={"excl_vat": 5}, max_price={"excl_vat": 4}), "min_price"),
        (ocpi(min_price={"excl_vat": 5, "incl_vat": 4}), "min_price.incl_vat"),
        (ocpi(start_date_time="2026-01-01T00:00:00Z", end_date_time="2026-01-01T00:00:00Z"), "end_date_time"),
        (ocpi(surprise=1), "surprise"),
        (
            ocpp(energy={"prices": [{"priceKwh": 1, "conditions": {"minKwh": 1}}]}),
            "energy.prices[0].conditions.minKwh",
        ),
        (ocpp(energy={"prices": []}), "energy.prices"),
        (ocpp(energy={"prices": [{"priceMinute": 1}]}), "energy.prices[0].priceKwh"),
        (
            ocpp(fixedFee={"prices": [{"priceFixed": 1, "conditions": {"paymentBrand": "X"}}]}),
            "fixedFee.prices[0].conditions.paymentBrand",
        ),
        (ocpp(maxCost={}), "maxCost"),
        (ocpp(energy={"prices": [{"priceKwh": 1}], "taxRates": [{"tax": 5}]}), "energy.taxRates[0].type"),
    ],
)
def test_mistakes_are_refused_with_their_place(document, place):
    with pytest.raises(TariffError) as refused:
        load_tariff(document)
    assert refused.value.place == place
    assert refused.value.reason


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"1",
        b"{",
        b'{"id": NaN}',
        b'{"id": "1", "id": "2"}',
        rb'{"id": "\uD800"}',
        rb'{"\udfff": "1"}',
        b'"' + b"\xff" + b'"',
        b"[" * 100_000,
        b" " * (DOCUMENT_BYTES_MAX + 1),
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_tariff_at_all_is_refused(document):
    with pytest.raises(TariffError):
        load_tariff(document)


def test_all_problems_are_told_at_once():
    _, problems = read_tariff(ocpi({"dayOfWeek": [], "start_time": "24:00"}, currency="EUX"))
    assert {p.place for p in problems} == {
        "currency",
        "elements[0].restrictions.dayOfWeek",
        "elements[0].restrictions.start_time",
    }


def test_a_misspelled_field_is_told_what_may_be_meant():
    _, problems = read_tariff(ocpi({"dayOfWeek": ["MONDAY"]}))
    assert "day_of_week" in problems[0].reason


def test_a_frozen_tariff_has_one_hash_for_one_meaning_and_reads_back():
    one = freeze(
        b'{"id": "1", "currency": "EUR", "elements": [{"price_components": [{"type": "ENERGY", "price": 0.50}]}]}'
    )
    two = freeze(
        b'{"elements":[{"price_components":[{"price":0.5,"type":"ENERGY"}]}],"currency":"EUR","id":"1"}'
    )
    other = freeze(
        b'{"elements":[{"price_components":[{"price":0.51,"type":"ENERGY"}]}],"currency":"EUR","id":"1"}'
    )
    assert one.hash == two.hash != other.hash
    assert len(one.hash) == 64
    assert load_tariff(one.document.encode()) == one.tariff
    assert freeze(one.document.encode()) == one


@settings(deadline=None)
@given(st.decimals(min_value=0, max_value=1000, places=6))
def test_freezing_keeps_every_digit(price):
    document = json.dumps(ocpi()).replace("0.49", str(price)).encode()
    frozen = freeze(document)
    assert frozen.tariff.elements[0].components[0].price == price
    assert load_tariff(frozen.document.encode()).elements[0].components[0].price == price


def test_what_depends_on_the_time_of_day_or_the_date():
    assert not depends_on_time(load_tariff(ocpi({"min_kwh": 5, "max_duration": 60, "min_power": 1})))
    for restriction in ({"start_time": "08:00"}, {"end_date": "2027-01-01"}, {"day_of_week": ["MONDAY"]}):
        assert depends_on_time(load_tariff(ocpi(restriction)))
    assert depends_on_time(load_tariff(ocpi(start_date_time="2026-01-01T00:00:00Z")))


def test_validity_ends_before_its_end():
    tariff = load_tariff(ocpi(start_date_time="2026-01-01T00:00:00", end_date_time="2027-01-01T00:00:00Z"))
    assert [tariff.valid_at(datetime(y, 1, 1, tzinfo=UTC)) for y in (2025, 2026, 2027)] == [
        False,
        True,
        False,
    ]


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "id",
                        "currency",
                        "elements",
                        "price_components",
                        "restrictions",
                        "tariffId",
                        "energy",
                        "prices",
                        "type",
                        "price",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_document_does_worse_than_to_be_refused(value):
    with contextlib.suppress(TariffError):
        load_tariff(value if isinstance(value, dict) else json.dumps(value).encode())
