"""The invoice as plain text for a terminal, in the order of a receipt."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, assert_never

from edge.documents.invoice_json import invoice_json
from edge.domain.buyer import Buyer
from edge.domain.invoice import Invoice, InvoiceDraft

WIDTH = 64

_LABELS = {"ENERGY": "Energy", "TIME": "Charging time", "PARKING_TIME": "Parking time", "FLAT": "Session fee"}
_METHODS = {
    "account": "charged to your account",
    "terminal": "paid by card",
    "card": "paid by card",
    "upstream": "settled by your provider",
}


_TITLES = {"invoice": "Invoice", "credit_note": "Credit note", "statement": "Charging statement"}


def invoice_text(invoice: Invoice, buyer: Buyer | None = None) -> str:
    """A receipt of WIDTH columns."""
    view = invoice_json(invoice)
    draft, corrects = invoice.draft, invoice.corrects
    part = corrects is not None and not corrects.whole
    currency = view["currency"]
    lines = [
        draft.seller.name,
        f"{draft.seller.address}  {draft.seller.tax_id}",
        "-" * WIDTH,
        _row(f"{_TITLES[view['kind']]} {view['number'] or ''}".rstrip(), view["issued_at"][:10]),
        *([_row("for invoice", corrects.number), f"Reason: {corrects.reason}"] if corrects else []),
        *([_row("replaces invoice", invoice.replaces)] if invoice.replaces else []),
        *([f"Buyer: {buyer.name}, {buyer.address}  {buyer.vat_id or ''}".rstrip()] if buyer else []),
        _row("EVSE", f"{draft.place.label}  {draft.place.evse_id}"),
        draft.place.address,
        _row("Begin", view["begin"]),
        _row("End", view["end"]),
        _row(
            "Meter " + (draft.meter.serial or "(no serial number)"),
            f"{_kwh(draft.meter.begin_wh)} -> {_kwh(draft.meter.end_wh)}",
        ),
        _row("Energy" + (" (estimated)" if draft.estimated else ""), _kwh(draft.energy_wh)),
        "-" * WIDTH,
    ]
    lines += [
        _row(
            "Part of the invoice that is taken back, net"
            if part
            else _line(line, tax_included=draft.tax_included),
            f"{line['before_taxes']} {currency}",
        )
        for line in view["lines"]
    ]
    lines += [_row(f"Allowance: {a['reason']}", f"-{a['amount']} {currency}") for a in view["allowances"]]
    lines += [_row(f"Charge: {c['reason']}", f"{c['amount']} {currency}") for c in view["charges"]]
    lines.append(_row("Net", f"{view['total_before_taxes']} {currency}"))
    lines += [
        _row(f"{t['name']} {t['rate']} % of {t['base']}", f"{t['amount']} {currency}") for t in view["taxes"]
    ]
    if view["rounding"]:
        lines.append(_row("Rounding", f"{view['rounding']} {currency}"))
    lines += [
        _row("Total", f"{view['payable']} {currency}"),
        _paid(draft),
        "-" * WIDTH,
        "Meter values are signed by the meter" if draft.meter.signed else "Meter values are not signed",
        *([f"Plan: {draft.plan.text}"] if draft.plan else []),
        f"Price: {draft.tariff.text}",
        *(["Clock not set: fallback tariff"] if draft.tariff.fallback else []),
        f"Tariff {draft.tariff.hash[:16]}",
    ]
    return "\n".join(lines)


def _paid(draft: InvoiceDraft) -> str:
    match draft.paid.status:
        case "captured":
            return _METHODS[draft.paid.method]
        case "refund":
            return "goes back the way it was paid"
        case "expired" | "reversed":
            return "could not be collected; nothing is left to pay"
        case _:
            assert_never(draft.paid.status)


def _line(line: dict[str, Any], *, tax_included: bool) -> str:
    label = _LABELS[line["dimension"]]
    tax = " incl. tax" if tax_included else ""
    match line["dimension"]:
        case "ENERGY":
            return f"{label} at {line['unit_price']}/kWh{tax}, net"
        case "FLAT":
            return f"{label} of {line['unit_price']}{tax}, net"
        case _:
            return f"{label} {_duration(line['quantity'])} at {line['unit_price']}/h{tax}, net"


def _duration(seconds: Decimal | int) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d} min"


def _kwh(energy_wh: int) -> str:
    return f"{energy_wh // 1000}.{energy_wh % 1000:03d} kWh"


def _row(left: str, right: str) -> str:
    return f"{left}{right.rjust(max(len(right) + 1, WIDTH - len(left)))}"
