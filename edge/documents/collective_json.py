"""The collective invoice as JSON: amounts as numbers in major units with all their places."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from edge.documents.invoice_json import figures_json
from edge.domain.buyer import Buyer
from edge.domain.collective import CollectiveInvoice
from edge.domain.money import from_minor


def collective_json(invoice: CollectiveInvoice, buyer: Buyer | None) -> dict[str, Any]:
    """Everything that the invoice says; amounts in major units."""
    content = invoice.content

    def money(amount_minor: int) -> Decimal:
        return from_minor(amount_minor, content.currency)

    return {
        "kind": "credit_note" if invoice.corrects else "collective_invoice",
        "number": invoice.number,
        "issued_at": invoice.issued_at.isoformat(),
        "account": content.account,
        "month": content.month,
        "seller": content.seller,
        "buyer": buyer,
        "corrects": invoice.corrects,
        "sessions": [
            {
                "site": s.site,
                "device": s.device,
                "session_id": s.session_id,
                "evse_id": s.evse_id,
                "begin": s.begin.isoformat(),
                "end": s.end.isoformat(),
                "energy_wh": s.energy_wh,
                "payable": money(s.figures.payable_minor),
            }
            for s in content.sessions
        ],
        "fees": [
            {"plan": f.plan_id, "name": f.name, "period": f.period, "payable": money(f.payable_minor)}
            for f in content.fees
        ],
        **figures_json(content.figures, content.currency),
        "currency": content.currency,
        "zero_tax": content.zero_tax,
        "terms": content.terms,
    }
