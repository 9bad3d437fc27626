"""Credit notes: what they take back, and how each format says it."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lxml import etree

from edge.documents.accounting import accounting_rows
from edge.documents.cii import cii
from edge.documents.html import html
from edge.documents.json_text import cdr_2_2_1, cdr_2_3_0, invoice
from edge.documents.pdf_page import page
from edge.documents.pdf_roll import roll_58, roll_80
from edge.documents.ubl import ubl
from edge.domain.credit import CreditRefused, amount_of, credit
from edge.domain.money import from_minor
from edge.errors import CallError

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
UBL = {
    "c": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
    "a": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
}


def closes(figures):
    lines = sum(line.before_taxes_minor for line in figures.lines)
    allowances = sum(a.amount_minor for a in figures.allowances)
    charges = sum(c.amount_minor for c in figures.charges)
    taxes = sum(t.amount_minor for t in figures.taxes)
    assert lines - allowances + charges == figures.total_before_taxes_minor
    assert figures.total_before_taxes_minor + taxes == figures.total_after_taxes_minor
    assert figures.total_after_taxes_minor + figures.rounding_minor == figures.payable_minor


@given(data=st.data())
@settings(RELAXED, max_examples=100)
def test_parts_take_back_the_whole_and_never_more(any_sale, data):
    sale = data.draw(any_sale)
    figures, currency = sale.invoice.draft.figures, sale.invoice.draft.currency
    assume(figures.payable_minor > 0)
    taken, left = [], figures.payable_minor
    for _ in range(data.draw(st.integers(0, 3))):
        amount = data.draw(st.integers(1, left))
        part = credit(figures, taken, amount_minor=amount, currency=currency)
        closes(part.figures)
        assert part.figures.payable_minor == amount
        slack = (1 + len(taken)) * (1 + len(part.figures.lines))  # a cent for each rounding that came before
        assert abs(part.figures.rounding_minor) <= slack + abs(figures.rounding_minor)
        taken.append(part.figures)
        left -= amount
        assert part.full == (left == 0)
        if not left:
            break
    if left:
        with pytest.raises(CreditRefused, match="at most"):
            credit(figures, taken, amount_minor=left + 1, currency=currency)
        last = credit(figures, taken, amount_minor=None, currency=currency)
        closes(last.figures)
        assert last.full
        assert last.whole == (not taken)
        assert last.figures.payable_minor == left
        taken.append(last.figures)
    assert sum(f.payable_minor for f in taken) == figures.payable_minor
    with pytest.raises(CreditRefused, match="nothing is left"):
        credit(figures, taken, amount_minor=None, currency=currency)


@given(data=st.data())
@settings(RELAXED, max_examples=12)
def test_official_rules_find_nothing_in_credit_notes(any_sale, credit_note, ubl_rules, cii_rules, data):
    sale = data.draw(any_sale)
    payable = sale.invoice.draft.figures.payable_minor
    assume(payable > 0)
    part = credit_note(sale, data.draw(st.none() | st.integers(1, payable)))
    assert ubl_rules.broken(ubl(part, "de")) == []
    assert cii_rules.broken(cii(part, "en")) == []


def test_a_credit_note_names_its_invoice_in_both_syntaxes(ordinary, credit_note):
    note = credit_note(ordinary)
    root = etree.fromstring(ubl(note))
    assert root.tag == "{urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2}CreditNote"
    assert root.findtext("c:CreditNoteTypeCode", namespaces=UBL) == "381"
    before = "a:BillingReference/a:InvoiceDocumentReference/"
    assert root.findtext(before + "c:ID", namespaces=UBL) == ordinary.invoice.number
    assert root.findtext(before + "c:IssueDate", namespaces=UBL) == "2026-06-01"
    text = cii(note).decode()
    assert "<ram:TypeCode>381</ram:TypeCode>" in text
    assert f"<ram:IssuerAssignedID>{ordinary.invoice.number}</ram:IssuerAssignedID>" in text
    assert ">20260601</qdt:DateTimeString>" in text


def test_a_credit_cdr_is_negative_and_names_the_cdr_that_it_takes_back(ordinary, credit_note):
    plain = json.loads(cdr_2_2_1(ordinary), parse_float=Decimal)
    for write, gross in ((cdr_2_2_1, "incl_vat"), (cdr_2_3_0, "before_taxes")):
        before = json.loads(write(ordinary), parse_float=Decimal)
        after = json.loads(write(credit_note(ordinary)), parse_float=Decimal)
        assert after["credit"] is True
        assert after["credit_reference_id"] == plain["id"]
        assert after["id"] == "CT-CN-7J0Z9696-000001"
        assert after["total_cost"][gross] == -before["total_cost"][gross]
        assert after["total_energy_cost"][gross] == -before["total_energy_cost"][gross]
        assert after["total_energy"] == before["total_energy"]
        assert "credit" not in before
    part = json.loads(cdr_2_2_1(credit_note(ordinary, 100)), parse_float=Decimal)
    assert part["total_cost"]["incl_vat"] == Decimal("-1.00")
    assert "total_energy_cost" not in part


def test_the_accountants_table_adds_up_over_invoices_and_credit_notes(ordinary, credit_note):
    rows = csv.reader(
        io.StringIO((accounting_rows(ordinary) + accounting_rows(credit_note(ordinary))).decode())
    )
    amounts = [Decimal(row[18]) for row in rows]
    assert sum(amounts) == 0
    part = list(csv.reader(io.StringIO(accounting_rows(credit_note(ordinary, 250)).decode())))
    assert sum(Decimal(row[18]) for row in part) == Decimal("-2.50")
    assert {row[20] for row in part} == {"credit_note"}


@pytest.mark.parametrize(
    ("language", "title"), [("en", "Credit note CT-CN-"), ("de", "Rechnungskorrektur CT-CN-")]
)
def test_people_read_what_is_taken_back_and_why(ordinary, credit_note, language, title):
    shown = html(credit_note(ordinary, 250), language).decode()
    assert title in shown
    assert ordinary.invoice.number in shown
    assert "Charged by mistake" in shown
    assert "§ 33" not in shown
    assert "section 33" not in shown
    for write in (page, roll_58, roll_80):
        assert write(credit_note(ordinary), language).startswith(b"%PDF")


def test_json_says_what_kind_of_document_it_is(ordinary, credit_note):
    found = json.loads(invoice(credit_note(ordinary, 250)), parse_float=Decimal)
    assert (found["kind"], found["payable"], found["paid"]["status"]) == (
        "credit_note",
        Decimal("2.50"),
        "refund",
    )
    assert found["corrects"]["number"] == ordinary.invoice.number
    assert json.loads(invoice(ordinary))["kind"] == "invoice"


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("4.50", "EUR", 450),
        ("4.5", "EUR", 450),
        ("4", "EUR", 400),
        ("450", "JPY", 450),
        ("1.234", "KWD", 1234),
    ],
)
def test_amounts_are_read_exactly(text, currency, minor):
    assert amount_of(text, currency) == minor
    assert amount_of(str(from_minor(minor, currency)), currency) == minor


@pytest.mark.parametrize("text", ["", "-1", "1.234", "1,5", "1e3", ".5", "nan", "٤", "1.-5", "9" * 20])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(CallError, match="no amount"):
        amount_of(text, "EUR")
