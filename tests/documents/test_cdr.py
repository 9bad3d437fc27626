"""The OCPI CDR: every field that the specification asks for, and sums that agree with the invoice."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.documents.address import taken_apart
from edge.documents.cdr import cdr
from edge.documents.json_text import cdr_2_2_1
from edge.documents.sale import NotExpressible, Sale
from edge.domain.energy import SignedValue
from edge.domain.money import from_minor
from edge.domain.pricing import rational

REQUIRED = {
    "country_code", "party_id", "id", "start_date_time", "end_date_time", "cdr_token", "auth_method", "cdr_location",
    "currency", "charging_periods", "total_cost", "total_energy", "total_time", "last_updated",
}  # fmt: skip
VERSIONS = pytest.mark.parametrize("version", ["2.2.1", "2.3.0"])


@VERSIONS
def test_the_required_fields_stand_there(ordinary, version):
    found = cdr(ordinary, version)
    assert found.keys() >= REQUIRED
    assert (found["country_code"], found["party_id"]) == ("DE", "CHT")
    assert (found["start_date_time"], found["end_date_time"]) == (
        "2026-06-01T10:00:00Z",
        "2026-06-01T11:00:31Z",
    )
    assert found["invoice_reference_id"] == ordinary.invoice.number
    assert found["session_id"] == ordinary.invoice.draft.session_id
    assert len(found["id"]) <= 36
    assert found["cdr_token"].keys() == {"country_code", "party_id", "uid", "type", "contract_id"}
    location = found["cdr_location"]
    assert (location["city"], location["postal_code"], location["country"]) == ("Hamburg", "20095", "DEU")
    assert (location["connector_standard"], location["connector_power_type"]) == (
        "IEC_62196_T2",
        "AC_3_PHASE",
    )
    assert found["total_energy"] == Decimal("22.3450")
    assert (found["total_time"], found["total_parking_time"]) == (Decimal("1.0086"), Decimal("0.1753"))
    dimensions = [[(d["type"], d["volume"]) for d in p["dimensions"]] for p in found["charging_periods"]]
    assert dimensions == [
        [("ENERGY", Decimal("22.3450")), ("TIME", Decimal("0.8333"))],
        [("PARKING_TIME", Decimal("0.1753"))],
    ]


def test_a_price_is_told_as_its_version_tells_it(ordinary):
    assert cdr(ordinary, "2.2.1")["total_cost"] == {
        "excl_vat": Decimal("10.02"),
        "incl_vat": Decimal("11.93"),
    }
    newer = cdr(ordinary, "2.3.0")
    assert newer["total_cost"] == {
        "before_taxes": Decimal("10.02"),
        "taxes": [{"name": "VAT", "percentage": Decimal(19), "amount": Decimal("1.90")}],
    }
    assert "rounding 0.01 EUR" in newer["remark"]
    parts = [newer[f"total_{part}_cost"]["before_taxes"] for part in ("energy", "parking", "fixed")]
    assert sum(parts) == Decimal("10.02")
    assert "total_time_cost" not in newer


@VERSIONS
@given(data=st.data())
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_periods_add_up_to_the_totals_and_costs_to_the_invoice(any_sale, version, data):
    sale = data.draw(any_sale)
    found, draft, bill = cdr(sale, version), sale.invoice.draft, sale.bill
    volumes = {kind: Decimal(0) for kind in ("ENERGY", "TIME", "PARKING_TIME")}
    starts = [p["start_date_time"] for p in found["charging_periods"]]
    assert starts == sorted(starts)
    for period in found["charging_periods"]:
        assert period["dimensions"]
        for dimension in period["dimensions"]:
            assert dimension["volume"] >= 0
            volumes[dimension["type"]] += dimension["volume"]
    assert volumes["ENERGY"] == found["total_energy"]
    charging = sum(Fraction(rational(p.charging_s)) for p in bill.periods) / 3600
    assert abs(Fraction(volumes["TIME"]) - charging) <= Fraction(1, 20_000)
    net = from_minor(draft.figures.total_before_taxes_minor, draft.currency)
    payable = from_minor(draft.figures.payable_minor, draft.currency)
    if version == "2.2.1":
        assert found["total_cost"] == {"excl_vat": net, "incl_vat": payable}
    else:
        total = found["total_cost"]
        taxes = sum(t["amount"] for t in total["taxes"])
        assert total["before_taxes"] + taxes == payable - from_minor(
            draft.figures.rounding_minor, draft.currency
        )


def test_periods_follow_a_clock_that_was_set_right(ordinary):
    draft = ordinary.invoice.draft
    shifted = replace(draft, begin=draft.begin + timedelta(hours=3), end=draft.end + timedelta(hours=3))
    found = cdr(replace(ordinary, invoice=replace(ordinary.invoice, draft=shifted)), "2.3.0")
    assert (
        found["charging_periods"][0]["start_date_time"] == found["start_date_time"] == "2026-06-01T13:00:00Z"
    )


def test_what_flowed_while_nobody_watched_is_one_period_with_the_silence_after_it(ordinary):
    first = ordinary.bill.periods[0]
    nothing = replace(first, energy_wh=0, charging_s=0, parking_s=0)
    later = replace(nothing, begin=first.begin + timedelta(hours=1))
    found = cdr(replace(ordinary, bill=replace(ordinary.bill, periods=(first, nothing, later))), "2.2.1")
    starts = [p["start_date_time"] for p in found["charging_periods"]]
    assert len(starts) == len(set(starts)) == 2
    assert found["charging_periods"][1]["dimensions"] == [{"type": "TIME", "volume": 0}]


def test_the_tariff_goes_along_where_it_is_of_this_version(ordinary):
    old = json.dumps({"id": "T", "elements": [{"price_components": [{"price": 0.49}]}]})
    sale = replace(ordinary, tariff=old)
    assert json.loads(cdr_2_2_1(sale))["tariffs"][0]["elements"][0]["price_components"][0]["price"] == 0.49
    assert "tariffs" not in cdr(sale, "2.3.0")
    assert "tariffs" not in cdr(replace(ordinary, tariff='{"tariffId": "T", "energy": {}}'), "2.2.1")


def test_signed_values_go_along_byte_for_byte(ordinary):
    values = tuple(
        SignedValue(ocmf=f"OCMF|{{}}|{{{i}}}".encode(), public_key=b"\x30\x59", verified=True)
        for i in range(2)
    )
    signed = cdr(replace(ordinary, signed=values), "2.2.1")["signed_data"]
    assert signed["encoding_method"] == "OCMF"
    assert signed["public_key"] == "3059"
    assert [v["nature"] for v in signed["signed_values"]] == ["Start", "End"]
    assert signed["signed_values"][1]["signed_data"] == "OCMF|{}|{1}"
    assert signed["signed_values"][1]["plain_data"] == "{}"
    long = SignedValue(ocmf=b"OCMF|{" + b" " * 600 + b"}|{}", public_key=b"\x30\x59", verified=True)
    [only] = cdr(replace(ordinary, signed=(long,)), "2.2.1")["signed_data"]["signed_values"]
    assert only["plain_data"] == "4733.625 kWh"


@VERSIONS
def test_what_is_not_known_is_refused(ordinary, version):
    with pytest.raises(NotExpressible, match="no longer holds"):
        cdr(Sale(invoice=ordinary.invoice), version)
    draft = ordinary.invoice.draft
    nameless = replace(draft, place=replace(draft.place, evse_id="1"))
    nowhere = replace(ordinary, invoice=replace(ordinary.invoice, draft=nameless))
    with pytest.raises(NotExpressible, match="names an operator"):
        cdr(nowhere, version)
    named = cdr(replace(nowhere, tariff='{"country_code": "NL", "party_id": "ABC", "elements": []}'), version)
    assert (named["country_code"], named["party_id"]) == ("NL", "ABC")


@given(data=st.data())
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
def test_a_cdr_is_json_with_exact_numbers(any_sale, data):
    sale = data.draw(any_sale)
    assume(sale.bill.periods)
    line = cdr_2_2_1(sale)
    assert line.endswith(b"}\n")
    assert json.loads(line, parse_float=Decimal)["total_cost"]["incl_vat"] == from_minor(
        sale.invoice.draft.figures.payable_minor, sale.invoice.draft.currency
    )


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("Lange Straße 1, 10115 Berlin", ("Lange Straße 1", "10115", "Berlin")),
        ("Haus B, Am Ring 3, D-80331 München", ("Haus B, Am Ring 3", "80331", "München")),
        ("Platz 1, Berlin", ("Platz 1", None, "Berlin")),
        ("Storgatan 5, 111 29 Stockholm", ("Storgatan 5", "111 29", "Stockholm")),
        ("Rastplatz A9", ("Rastplatz A9", None, None)),
        ("10 Main Street, Springfield, IL 62701", ("10 Main Street, Springfield, IL 62701", None, None)),
    ],
)
def test_an_address_is_taken_apart_only_where_it_can_be_read(line, parts):
    found = taken_apart(line, country="DE")
    assert (found.street, found.postal_code, found.town) == parts
