"""What a session's invoice says, as far as the session knows; its number and date are drawn when it is sealed."""

from __future__ import annotations

from datetime import timedelta

from edge.domain import pricing
from edge.domain.invoice import InvoiceDraft, MeterRecord, Paid, TariffText
from edge.domain.payment import Payment
from edge.domain.session.state import Session
from edge.domain.session.terms import Terms


def draft(session: Session, reason: str, terms: Terms) -> InvoiceDraft:
    """The invoice of a session whose hold has ended, on the terms of its own tap."""
    measured, payment = session.measured, session.payment
    assert measured is not None
    assert measured.ended is not None
    shift = timedelta(microseconds=session.shift_us)
    bill = pricing.settle(terms.compiled, measured.accrual, cap_minor=payment.hold_minor)
    return InvoiceDraft(
        session_id=session.session_id,
        seller=terms.seller,
        place=terms.place,
        begin=measured.began.utc + shift,
        end=measured.ended.utc + shift,
        dated=session.dated,
        energy_wh=measured.last_wh - measured.begin_wh,
        meter=MeterRecord(
            begin_wh=measured.begin_wh,
            end_wh=measured.last_wh,
            serial=measured.identity.serial,
            signed=measured.signed,
        ),
        ended_by=reason,
        estimated=measured.estimated,
        currency=bill.currency,
        tax_included=terms.compiled.tariff.tax_included == "YES",
        figures=bill.invoice,
        paid=_paid(payment),
        tariff=TariffText(hash=terms.tariff_hash, text=session.tariff_text, fallback=session.fallback),
        plan=_plan_text(terms),
        account=session.account,
        billing="statement" if session.invoicing.collective else "invoice",
        buyer=None if session.invoicing.buyer is None else session.invoicing.buyer.commitment,
        zero_tax=session.invoicing.zero_tax or terms.zero_tax,
    )


def _paid(payment: Payment) -> Paid:
    assert payment.due_minor is not None
    match payment.status:
        case "captured":
            return Paid(
                method=payment.method,
                hold_minor=payment.hold_minor,
                captured_minor=payment.due_minor,
                status="captured",
            )
        case "expired" | "reversed":
            return Paid(
                method=payment.method,
                hold_minor=payment.hold_minor,
                captured_minor=0,
                status=payment.status,
            )
        case _:
            raise AssertionError(payment.status)  # no hold is invoiced before it has ended


def _plan_text(terms: Terms) -> TariffText | None:
    if terms.plan is None:
        return None
    return TariffText(hash=terms.plan.hash, text=terms.plan.plan.name or terms.plan.plan.id)
