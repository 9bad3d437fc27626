"""The collective invoice over sessions of every kind: it closes to the cent and keeps the official rules."""

from __future__ import annotations

from datetime import UTC, date, datetime

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from edge.documents.collective import document, format_named, render
from edge.domain.collective import BilledSession, Collective, CollectiveInvoice, together
from edge.domain.credit import credit

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def billed(sales):
    return tuple(
        BilledSession(
            site="s1",
            device="d1",
            session_id=f"{n:032x}",
            evse_id=sale.invoice.draft.place.evse_id,
            begin=sale.invoice.draft.begin,
            end=sale.invoice.draft.end,
            energy_wh=sale.invoice.draft.energy_wh,
            tax_included=sale.invoice.draft.tax_included,
            figures=sale.invoice.draft.figures,
        )
        for n, sale in enumerate(sales)
    )


def invoice_of(sales):
    sessions = billed(sales)
    draft = sales[0].invoice.draft
    content = Collective(
        account="A-1",
        month="2026-06",
        begin=date(2026, 6, 1),
        end=date(2026, 6, 30),
        currency=draft.currency,
        seller=draft.seller,
        time_zone="Europe/Berlin",
        figures=together(sessions, ()),
        sessions=sessions,
    )
    issued_at = datetime(2026, 7, 1, 8, tzinfo=UTC)
    return CollectiveInvoice(
        number="BO-000001", series="BO", sequence=1, issued_at=issued_at, content=content
    )


@given(data=st.data())
@settings(RELAXED, max_examples=100)
def test_it_costs_what_its_sessions_cost_and_closes(any_sale, data):
    sales = data.draw(st.lists(any_sale, min_size=1, max_size=5))
    currency = sales[0].invoice.draft.currency
    sales = [s for s in sales if s.invoice.draft.currency == currency]
    figures = together(billed(sales), ())
    assert figures.payable_minor == sum(s.invoice.draft.figures.payable_minor for s in sales)
    net = sum(line.before_taxes_minor for line in figures.lines)
    net += sum(c.amount_minor for c in figures.charges) - sum(a.amount_minor for a in figures.allowances)
    assert net == figures.total_before_taxes_minor
    assert net + sum(t.amount_minor for t in figures.taxes) == figures.total_after_taxes_minor
    assert figures.total_after_taxes_minor + figures.rounding_minor == figures.payable_minor
    if figures.payable_minor > 1:
        part = credit(figures, (), amount_minor=figures.payable_minor // 2, currency=currency)
        rest = credit(figures, (part.figures,), amount_minor=None, currency=currency)
        assert part.figures.payable_minor + rest.figures.payable_minor == figures.payable_minor


@given(data=st.data())
@settings(RELAXED, max_examples=15)
def test_the_official_rules_find_nothing(any_sale, ubl_rules, cii_rules, data):
    sales = data.draw(st.lists(any_sale, min_size=1, max_size=4))
    currency = sales[0].invoice.draft.currency
    sales = [s for s in sales if s.invoice.draft.currency == currency]
    invoice = invoice_of(sales)
    assume(invoice.content.figures.lines or invoice.content.figures.charges)
    assert ubl_rules.broken(render(format_named("ubl"), invoice, None, language="de")) == []
    assert cii_rules.broken(render(format_named("cii"), invoice, None)) == []
    totals = document(invoice, None).totals
    assert totals.due == totals.gross + totals.rounding
