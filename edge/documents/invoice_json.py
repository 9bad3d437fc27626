"""The invoice as JSON: amounts as numbers in major units with all their places, times with the place's offset."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from edge.documents.sale import kind
from edge.domain.buyer import Buyer
from edge.domain.invoice import Invoice
from edge.domain.money import from_minor
from edge.domain.pricing import Exact, rational
from edge.domain.pricing import Invoice as Figures
from edge.domain.tariffs import TaxRate

#: Unit of a quantity and what one unit price is for, by dimension: Wh and s are billed per kWh and hour.
_UNITS = {
    "ENERGY": ("Wh", "kWh"),
    "TIME": ("s", "h"),
    "PARKING_TIME": ("s", "h"),
    "FLAT": ("each", "each"),
}


def invoice_json(invoice: Invoice, buyer: Buyer | None = None) -> dict[str, Any]:
    """Everything that the invoice says, under the names of the command line's contract.

    The amounts of a credit note are what it takes back. A statement has no number.
    """
    draft, figures = invoice.draft, invoice.draft.figures
    zone = ZoneInfo(draft.place.time_zone)

    return {
        "kind": kind(invoice),
        "number": None if draft.billing == "statement" else invoice.number,
        "issued_at": invoice.issued_at.isoformat(),
        "session_id": draft.session_id,
        "seller": draft.seller,
        "buyer": buyer,
        "corrects": invoice.corrects,
        "replaces": invoice.replaces,
        "place": draft.place,
        "begin": local(draft.begin, zone),
        "end": local(draft.end, zone),
        "energy_wh": draft.energy_wh,
        "meter": draft.meter,
        "ended_by": draft.ended_by,
        "estimated": draft.estimated,
        "dated": draft.dated,
        **figures_json(figures, draft.currency),
        "currency": draft.currency,
        "tax_included": draft.tax_included,
        "zero_tax": draft.zero_tax,
        "paid": draft.paid,
        "tariff": draft.tariff,
        "plan": draft.plan,
        "account": draft.account,
    }


def figures_json(figures: Figures, currency: str) -> dict[str, Any]:
    """Lines, taxes, allowances, charges and totals; amounts in major units."""

    def money(amount_minor: int) -> Decimal:
        return from_minor(amount_minor, currency)

    return {
        "lines": [
            {
                "dimension": line.dimension,
                "unit_price": line.unit_price,
                "price_unit": _UNITS[line.dimension][1],
                "quantity": quantity(line.quantity),
                "unit": _UNITS[line.dimension][0],
                "before_taxes": money(line.before_taxes_minor),
                "taxes": _rates(line.taxes),
                "included": line.included,
            }
            for line in figures.lines
        ],
        "taxes": [
            {"name": t.name, "rate": t.percent, "base": money(t.base_minor), "amount": money(t.amount_minor)}
            for t in figures.taxes
        ],
        "allowances": [
            {"reason": a.reason, "amount": money(a.amount_minor), "taxes": _rates(a.taxes)}
            for a in figures.allowances
        ],
        "charges": [
            {"reason": c.reason, "amount": money(c.amount_minor), "taxes": _rates(c.taxes)}
            for c in figures.charges
        ],
        "rounding": money(figures.rounding_minor),
        "total_before_taxes": money(figures.total_before_taxes_minor),
        "total_after_taxes": money(figures.total_after_taxes_minor),
        "payable": money(figures.payable_minor),
    }


def local(at: datetime, zone: ZoneInfo) -> str:
    """Whole seconds in the place's time, with the offset."""
    return at.astimezone(zone).replace(microsecond=0).isoformat()


def quantity(value: Exact) -> int | Decimal:
    """A billed quantity, exact where it is whole, else to three places."""
    exact = rational(value)
    if isinstance(exact, int):
        return exact
    return (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(Decimal("0.001")).normalize()


def _rates(taxes: tuple[TaxRate, ...]) -> list[dict[str, Any]]:
    return [{"name": t.name, "rate": t.percent} for t in taxes]


def kwh(energy: Exact | int) -> Decimal:
    """Wh as kWh with three places."""
    return (Decimal(int(Fraction(rational(energy)))) / 1000).quantize(Decimal("0.001"))
