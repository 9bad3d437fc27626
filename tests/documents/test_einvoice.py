"""The e-invoice: what EN 16931 asks of it, in both syntaxes, over sessions of every kind."""

from __future__ import annotations

from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lxml import etree

from edge.documents import en16931
from edge.documents.cii import cii
from edge.documents.sale import NotExpressible, Sale
from edge.documents.ubl import ubl
from edge.domain.money import exponent
from edge.domain.tariffs import TaxRate

UBL = {
    "c": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
    "a": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
}
CII = {"r": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100"}


class Read:
    """The figures of a written document, read back without our own code."""

    def __init__(self, xml, names, lines, line, adjustments, adjustment, breakdown, tax, totals):
        root = etree.fromstring(xml)

        def number(node, path):
            found = node.findtext(path, namespaces=names)
            return Decimal(0) if found is None else Decimal(found)

        self.lines = [
            {
                **{k: number(n, p) for k, p in line.items() if k != "code"},
                "code": n.findtext(line["code"], namespaces=names),
            }
            for n in root.findall(lines, names)
        ]
        self.adjustments = [
            {
                "charge": n.findtext(adjustment["charge"], namespaces=names) == "true",
                "amount": number(n, adjustment["amount"]),
                "code": n.findtext(adjustment["code"], namespaces=names),
                "percent": number(n, adjustment["percent"]),
            }
            for n in root.findall(adjustments, names)
        ]
        self.breakdown = [
            {
                "code": n.findtext(tax["code"], namespaces=names),
                **{k: number(n, p) for k, p in tax.items() if k != "code"},
            }
            for n in root.findall(breakdown, names)
        ]
        self.totals = {k: number(root, p) for k, p in totals.items()}


def read_ubl(xml):
    total = "a:LegalMonetaryTotal/c:"
    return Read(
        xml,
        UBL,
        "a:InvoiceLine",
        {"quantity": "c:InvoicedQuantity", "amount": "c:LineExtensionAmount", "price": "a:Price/c:PriceAmount",
         "base": "a:Price/c:BaseQuantity", "code": "a:Item/a:ClassifiedTaxCategory/c:ID",
         "percent": "a:Item/a:ClassifiedTaxCategory/c:Percent"},
        "a:AllowanceCharge",
        {"charge": "c:ChargeIndicator", "amount": "c:Amount", "code": "a:TaxCategory/c:ID", "percent": "a:TaxCategory/c:Percent"},
        "a:TaxTotal/a:TaxSubtotal",
        {"code": "a:TaxCategory/c:ID", "percent": "a:TaxCategory/c:Percent", "base": "c:TaxableAmount", "tax": "c:TaxAmount"},
        {"lines": total + "LineExtensionAmount", "allowances": total + "AllowanceTotalAmount",
         "charges": total + "ChargeTotalAmount", "net": total + "TaxExclusiveAmount", "tax": "a:TaxTotal/c:TaxAmount",
         "gross": total + "TaxInclusiveAmount", "paid": total + "PrepaidAmount",
         "rounding": total + "PayableRoundingAmount", "due": total + "PayableAmount"},
    )  # fmt: skip


def read_cii(xml):
    settled = ".//r:ApplicableHeaderTradeSettlement/"
    total = settled + "r:SpecifiedTradeSettlementHeaderMonetarySummation/r:"
    line_tax = "r:SpecifiedLineTradeSettlement/r:ApplicableTradeTax/r:"
    price = "r:SpecifiedLineTradeAgreement/r:NetPriceProductTradePrice/r:"
    return Read(
        xml,
        CII,
        ".//r:IncludedSupplyChainTradeLineItem",
        {"quantity": "r:SpecifiedLineTradeDelivery/r:BilledQuantity",
         "amount": "r:SpecifiedLineTradeSettlement/r:SpecifiedTradeSettlementLineMonetarySummation/r:LineTotalAmount",
         "price": price + "ChargeAmount", "base": price + "BasisQuantity",
         "code": line_tax + "CategoryCode", "percent": line_tax + "RateApplicablePercent"},
        settled + "r:SpecifiedTradeAllowanceCharge",
        {"charge": "r:ChargeIndicator/*", "amount": "r:ActualAmount",
         "code": "r:CategoryTradeTax/r:CategoryCode", "percent": "r:CategoryTradeTax/r:RateApplicablePercent"},
        settled + "r:ApplicableTradeTax",
        {"code": "r:CategoryCode", "percent": "r:RateApplicablePercent", "base": "r:BasisAmount", "tax": "r:CalculatedAmount"},
        {"lines": total + "LineTotalAmount", "allowances": total + "AllowanceTotalAmount",
         "charges": total + "ChargeTotalAmount", "net": total + "TaxBasisTotalAmount", "tax": total + "TaxTotalAmount",
         "gross": total + "GrandTotalAmount", "paid": total + "TotalPrepaidAmount",
         "rounding": total + "RoundingAmount", "due": total + "DuePayableAmount"},
    )  # fmt: skip


SYNTAXES = pytest.mark.parametrize(("write", "read"), [(ubl, read_ubl), (cii, read_cii)], ids=["ubl", "cii"])
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@SYNTAXES
@given(data=st.data())
@settings(RELAXED, max_examples=300)
def test_the_arithmetic_closes_to_the_cent(any_sale, write, read, data):
    sale = data.draw(any_sale)
    figures = sale.invoice.draft.figures
    assume(figures.lines or figures.charges)
    found, t = read(write(sale)), read(write(sale)).totals
    unit = Decimal(1).scaleb(-exponent(sale.invoice.draft.currency))

    for line in found.lines:  # BT-131 = BT-129 x BT-146 / BT-149
        exact = Fraction(line["quantity"]) * Fraction(line["price"]) / Fraction(line["base"])
        assert (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(unit, ROUND_HALF_UP) == line[
            "amount"
        ]
        assert line["price"] >= 0  # BR-27
    assert t["lines"] == sum(line["amount"] for line in found.lines)  # BR-CO-10
    assert t["allowances"] == sum(a["amount"] for a in found.adjustments if not a["charge"])  # BR-CO-11
    assert t["charges"] == sum(a["amount"] for a in found.adjustments if a["charge"])  # BR-CO-12
    assert t["net"] == t["lines"] - t["allowances"] + t["charges"]  # BR-CO-13
    assert t["tax"] == sum(b["tax"] for b in found.breakdown)  # BR-CO-14
    assert t["gross"] == t["net"] + t["tax"]  # BR-CO-15
    assert t["due"] == t["gross"] - t["paid"] + t["rounding"]  # BR-CO-16
    bases = Counter()
    for line in found.lines:
        bases[line["code"], line["percent"]] += line["amount"]
    for a in found.adjustments:
        bases[a["code"], a["percent"]] += a["amount"] if a["charge"] else -a["amount"]
    assert bases == {
        (b["code"], b["percent"]): b["base"] for b in found.breakdown
    }  # BR-S-08, BR-Z-08, BR-E-08
    for b in found.breakdown:  # BR-CO-17
        assert (b["base"] * b["percent"] / 100).quantize(unit, ROUND_HALF_UP) == b["tax"]
        assert b["base"] >= 0
    assert t["paid"] == sale.invoice.draft.paid.captured_minor * unit


@given(data=st.data())
@settings(RELAXED, max_examples=60)
def test_official_rules_find_nothing_in_ubl(any_sale, ubl_rules, data):
    sale = data.draw(any_sale)
    assert ubl_rules.broken(ubl(sale, data.draw(st.sampled_from(["en", "de"])))) == []


@given(data=st.data())
@settings(RELAXED, max_examples=60)
def test_official_rules_find_nothing_in_cii(any_sale, cii_rules, data):
    sale = data.draw(any_sale)
    assert cii_rules.broken(cii(sale, data.draw(st.sampled_from(["en", "de"])))) == []


def test_the_official_rules_find_a_wrong_total(ordinary, ubl_rules, cii_rules):
    spoilt = ubl(ordinary).replace(
        b'<cbc:TaxInclusiveAmount currencyID="EUR">', b'<cbc:TaxInclusiveAmount currencyID="EUR">1'
    )
    assert any("BR-CO-15" in said for said in ubl_rules.broken(spoilt))
    spoilt = cii(ordinary).replace(b"<ram:GrandTotalAmount>", b"<ram:GrandTotalAmount>1")
    assert any("BR-CO-15" in said for said in cii_rules.broken(spoilt))


@given(
    wh=st.integers(1, 200_000),
    over=st.integers(1, 7),
    price=st.decimals("0.0001", "20", places=4),
    percent=st.sampled_from(["0", "7", "7.7", "19", "25.5"]),
)
@settings(RELAXED, max_examples=300)
def test_quantity_times_net_price_is_the_line_whatever_the_tax(wh, over, price, percent):
    quantity = Fraction(wh, over * 1000)
    net = Fraction(price) / (1 + Fraction(Decimal(percent)) / 100)
    cents = (2 * quantity * net * 100 + 1) // 2
    amount = Decimal(int(cents)).scaleb(-2)
    shown_quantity, shown_price = en16931.priced(quantity, net, 1, amount)
    product = Fraction(shown_quantity) * Fraction(shown_price)
    assert (2 * product * 100 + 1) // 2 == cents
    assert abs(Fraction(shown_price) - net) < Fraction(1, 1000)


def test_half_a_cent_stays_half_a_cent_when_the_price_has_no_end():
    net = Fraction(3, 7)
    quantity = Fraction(7, 600)  # exactly half a cent
    shown_quantity, shown_price = en16931.priced(quantity, net, 1, Decimal("0.01"))
    assert Fraction(shown_quantity) * Fraction(shown_price) >= Fraction(1, 200)


def test_a_price_with_tax_is_written_net_and_time_in_seconds_per_hour_or_whole_minutes(make, tariff, price):
    prices = tariff(price("ENERGY", "0.49"), price("TIME", "3.60"), included="YES")
    document = en16931.document(make(prices, [(3001, 10_000, "Charging")]))
    energy, time = document.lines
    assert (energy.price, energy.base_quantity, energy.unit, energy.quantity) == (
        Decimal("0.4118"),
        1,
        "KWH",
        10,
    )
    assert (time.base_quantity, time.unit, time.quantity) == (3600, "SEC", 3001)
    [_, minutes] = en16931.document(make(prices, [(3000, 10_000, "Charging")])).lines
    assert (minutes.base_quantity, minutes.unit, minutes.quantity) == (60, "MIN", 50)


def test_the_parties_and_the_place_are_named(ordinary, make, tariff, price):
    document = en16931.document(ordinary)
    assert document.seller.vat_id == "DE123456789"
    assert (document.seller.address.street, document.seller.address.postal_code, document.seller.address.town) == (
        "Lange Straße 1", "10115", "Berlin")  # fmt: skip
    assert document.delivery.address.town == "Hamburg"
    assert document.buyer.name == "Driver at the charging station"
    member = make(tariff(price("FLAT", "1")), [(60, 10, "Charging")], method="account")
    assert en16931.document(member, language="de").buyer.name == "Konto A-1001"


def test_a_seller_with_a_tax_number_only_is_identified_by_it(make, tariff, price, ubl_rules, cii_rules):
    seller = make(tariff(price("FLAT", "1")), [(60, 10, "Charging")]).invoice.draft.seller
    from msgspec.structs import replace

    sale = make(
        tariff(price("FLAT", "1")),
        [(60, 10, "Charging")],
        seller=replace(seller, tax_id="27/123/45678", address="Irgendwo"),
    )
    assert ubl_rules.broken(ubl(sale)) == []
    assert cii_rules.broken(cii(sale)) == []


def test_texts_with_markup_and_control_characters_stay_texts(make, tariff, price, ubl_rules, cii_rules):
    from edge.domain.invoice import TariffText

    text = TariffText(hash="00" * 32, text='a <b> & "c" \x00\x1b ]]> €')
    sale = make(tariff(price("FLAT", "1")), [(60, 10, "Charging")], tariff=text)
    for write, rules in ((ubl, ubl_rules), (cii, cii_rules)):
        xml = write(sale)
        assert rules.broken(xml) == []
        assert 'a <b> & "c"  ]]> €' in "".join(etree.fromstring(xml).itertext())


@SYNTAXES
def test_what_the_norm_cannot_say_is_refused(make, tariff, price, write, read):
    dinar = make(tariff(price("FLAT", "1.234"), currency="KWD"), [(60, 10, "Charging")])
    with pytest.raises(NotExpressible, match="two decimals"):
        write(dinar)
    taxes = (TaxRate(name="GST", percent=Decimal(5)), TaxRate(name="PST", percent=Decimal(7)))
    component = price("FLAT", "1")
    stacked = type(component)(dimension="FLAT", price=Decimal(1), taxes=taxes)
    with pytest.raises(NotExpressible, match="GST 5 %, PST 7 %"):
        write(make(tariff(stacked), [(60, 10, "Charging")]))


def test_a_sale_is_all_that_a_renderer_needs(ordinary):
    assert ubl(Sale(invoice=ordinary.invoice)) == ubl(ordinary)
