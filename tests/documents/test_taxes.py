"""Prices without VAT: why, as documents and official rules have it; and who is named."""

from __future__ import annotations

import csv
import io
import json

import pytest
from lxml import etree
from msgspec.structs import replace

from edge.documents.accounting import accounting_rows
from edge.documents.cii import cii
from edge.documents.html import html
from edge.documents.json_text import cdr_2_2_1, cdr_2_3_0, invoice
from edge.documents.pdf_page import page
from edge.documents.sale import NotExpressible
from edge.documents.sheet import sheet
from edge.documents.ubl import ubl
from edge.domain.buyer import Buyer, BuyerRecord, ZeroTax
from edge.domain.invoice import Coordinates

ACME = Buyer(
    name="Acme S.A.",
    address="Rue de Hof 2, 75001 Paris",
    country="FR",
    vat_id="FR12345678901",
    reference="PO-4711",
)
CODE = "{urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2}TaxExemptionReasonCode"


@pytest.fixture
def untaxed(make, tariff, price):
    def sold(zero, rate=None, **changes):
        prices = tariff(price("ENERGY", "0.49", rate), price("FLAT", "0.35", rate), included="YES")
        return make(prices, [(3000, 22_345, "Charging")], zero_tax=zero, method="account", **changes)

    return sold


@pytest.mark.parametrize("rate", [None, "0"])
@pytest.mark.parametrize(
    ("zero", "category", "code", "english", "german"),
    [
        (ZeroTax(category="E", reason="Small business"), "E", None, "Small business", "Small business"),
        (ZeroTax(category="E", code="VATEX-EU-132"), "E", "VATEX-EU-132", "No VAT applies", "keine Umsatzsteuer"),
        (ZeroTax(category="AE"), "AE", "VATEX-EU-AE", "Reverse charge", "Steuerschuldnerschaft des Leistungsempf"),
        (ZeroTax(category="O"), "O", "VATEX-EU-O", "Outside the scope", "Nicht steuerbar"),
        (ZeroTax(category="Z"), "Z", None, None, None),
    ],
)  # fmt: skip
def test_the_reason_is_said_and_the_official_rules_agree(
    untaxed, ubl_rules, cii_rules, rate, zero, category, code, english, german
):
    sale = replace(untaxed(zero, rate), buyer=ACME)
    for language, words in (("en", english), ("de", german)):
        xml = ubl(sale, language)
        assert ubl_rules.broken(xml) == []
        assert cii_rules.broken(cii(sale, language)) == []
        found = [e.text for e in etree.fromstring(xml).iter(CODE)]
        assert found == ([] if code is None else [code])
        assert f">{category}</cbc:ID>".encode() in xml
        if words is not None:
            assert any(words in remark for remark in sheet(sale, language).remarks)


def test_reverse_charge_without_the_vat_ids_of_both_is_no_invoice(untaxed):
    sale = untaxed(ZeroTax(category="AE"))
    for nobody in (sale, replace(sale, buyer=replace(ACME, vat_id=None))):
        for write in (ubl, cii):
            with pytest.raises(NotExpressible, match="VAT ids"):
                write(nobody)
        assert page(nobody).startswith(b"%PDF"), "the page says what is known, without an e-invoice inside"


def test_what_is_partly_outside_the_scope_of_vat_is_not_expressible(make, tariff, price):
    prices = tariff(price("ENERGY", "0.49", None), price("FLAT", "0.35"))
    sale = make(prices, [(3000, 22_345, "Charging")], zero_tax=ZeroTax(category="O"))
    with pytest.raises(NotExpressible, match="outside the scope"):
        ubl(sale)


def test_a_buyer_is_named_in_every_document(untaxed, ubl_rules, cii_rules):
    sale = replace(untaxed(None, "19"), buyer=ACME)
    for write, rules in ((ubl, ubl_rules), (cii, cii_rules)):
        xml = write(sale)
        assert rules.broken(xml) == []
        for part in (b"Acme S.A.", b"FR12345678901", b"PO-4711", b"75001", b"Paris"):
            assert part in xml
    shown = html(sale).decode()
    assert "Acme S.A." in shown
    assert "FR12345678901" in shown
    assert "section 33" not in shown
    assert json.loads(invoice(sale))["buyer"]["vat_id"] == "FR12345678901"
    [first, *_] = csv.reader(io.StringIO(accounting_rows(sale).decode()))
    assert first[22:] == ["Acme S.A.", "FR12345678901"]


def test_a_small_invoice_may_name_nobody_and_a_large_one_says_nothing_of_it(make, tariff, price):
    small = make(tariff(price("FLAT", "250.00"), included="YES"), [(60, 10, "Charging")])
    large = make(tariff(price("FLAT", "250.01"), included="YES"), [(60, 10, "Charging")])
    assert any("§ 33 UStDV" in remark for remark in sheet(small, "de").remarks)
    assert not any("33" in remark for remark in sheet(large, "de").remarks)


def test_the_commitment_is_the_buyers_and_says_nothing_without_its_salt():
    record = BuyerRecord(buyer=ACME, salt="ab" * 16)
    assert record.commitment == BuyerRecord(buyer=replace(ACME), salt="ab" * 16).commitment
    assert record.commitment != BuyerRecord(buyer=ACME, salt="ac" * 16).commitment
    assert record.commitment != BuyerRecord(buyer=replace(ACME, reference=None), salt="ab" * 16).commitment


def test_a_cdr_has_the_sites_coordinates_and_a_new_invoice_its_own_cdr(ordinary):
    place = replace(
        ordinary.invoice.draft.place, coordinates=Coordinates(latitude="52.520008", longitude="13.404954")
    )
    draft = replace(ordinary.invoice.draft, place=place)
    anew = replace(ordinary, invoice=replace(ordinary.invoice, draft=draft, replaces="CT-7J0Z9696-000001"))
    for write in (cdr_2_2_1, cdr_2_3_0):
        found = json.loads(write(anew))
        assert found["cdr_location"]["coordinates"] == {"latitude": "52.520008", "longitude": "13.404954"}
        assert found["id"] == "CT-7J0Z9696-000007"
        assert json.loads(write(ordinary))["id"] == ordinary.invoice.draft.session_id


def test_what_could_not_be_collected_asks_for_nothing(make, tariff, price, ubl_rules, cii_rules):
    sale = make(tariff(price("FLAT", "5")), [(60, 10, "Charging")])
    paid = replace(sale.invoice.draft.paid, captured_minor=0, status="expired")
    lost = replace(sale, invoice=replace(sale.invoice, draft=replace(sale.invoice.draft, paid=paid)))
    assert "nothing is left to pay" in html(lost).decode()
    assert ubl_rules.broken(ubl(lost)) == []
    assert cii_rules.broken(cii(lost)) == []


def test_a_statement_is_for_reading_and_no_invoice(untaxed):
    sale = untaxed(None, "19", billing="statement")
    shown = html(sale, "de").decode()
    assert "Ladebeleg" in shown
    assert "keine Rechnung" in shown
    for write in (ubl, cii, accounting_rows):
        with pytest.raises(NotExpressible, match="no invoice"):
            write(sale)
    found = json.loads(invoice(sale))
    assert (found["kind"], found["number"]) == ("statement", None)
    assert "invoice_reference_id" not in json.loads(cdr_2_2_1(sale))
