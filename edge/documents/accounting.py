"""The invoice as CSV for accountants (RFC 4180): one row per line, allowance, charge, tax and rounding.

The column `amount` sums to what is payable; what a credit note takes back is negative, its tax bases too. Numbers
have a point and no separators, times their offset.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from decimal import Decimal

from edge.documents.invoice_json import figures_json, invoice_json
from edge.documents.sale import NotExpressible, Sale
from edge.domain.pricing import Invoice as Figures

COLUMNS = (
    "number", "issued_at", "begin", "end", "evse_id", "session_id", "account", "payment",
    "row", "description", "quantity", "unit", "unit_price", "price_unit", "price_includes_tax",
    "tax", "tax_rate", "tax_base", "amount", "currency", "document", "corrects", "buyer", "buyer_vat_id",
)  # fmt: skip
#: A cell that a spreadsheet would run as a formula starts with one of these.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def heading() -> bytes:
    """The line of column names."""
    return _written([COLUMNS])


def accounting_rows(sale: Sale, _language: str = "en") -> bytes:
    """The rows of one invoice, without the heading. The words of a table are the same in every language."""
    return written(_rows(sale))


def written(rows: Iterable[dict[str, object]]) -> bytes:
    """Rows by column name as they stand in the file; a name that is missing is an empty cell."""
    return _written([row.get(column) for column in COLUMNS] for row in rows)


def _rows(sale: Sale) -> Iterator[dict[str, object]]:
    invoice = sale.invoice
    if sale.kind == "statement":
        raise NotExpressible("a statement is no invoice", hint="the account's collective invoice bills it")
    view = invoice_json(invoice)
    draft = invoice.draft
    counted = -1 if invoice.corrects else 1
    shared: dict[str, object] = {
        "number": view["number"],
        "issued_at": view["issued_at"],
        "begin": view["begin"],
        "end": view["end"],
        "evse_id": draft.place.evse_id,
        "session_id": draft.session_id,
        "account": draft.account,
        "payment": draft.paid.method,
        "currency": draft.currency,
        "document": sale.kind,
        "corrects": invoice.corrects and invoice.corrects.number,
        "buyer": sale.buyer and sale.buyer.name,
        "buyer_vat_id": sale.buyer and sale.buyer.vat_id,
    }
    figures, currency = draft.figures, draft.currency
    yield from of_lines(figures, shared, currency, sign=counted, tax_included=draft.tax_included)
    yield from of_totals(figures, shared, currency, sign=counted)


def of_lines(
    figures: Figures, shared: dict[str, object], currency: str, *, sign: int, tax_included: bool
) -> Iterator[dict[str, object]]:
    """A row for each line; `shared` is what all rows of the document say."""
    for line in figures_json(figures, currency)["lines"]:
        yield (
            shared
            | _taxed(line["taxes"])
            | {
                "row": "line",
                "description": line["dimension"],
                "quantity": line["quantity"],
                "unit": line["unit"],
                "unit_price": line["unit_price"],
                "price_unit": line["price_unit"],
                "price_includes_tax": "yes" if tax_included else "no",
                "amount": sign * line["before_taxes"],
            }
        )


def of_totals(
    figures: Figures, shared: dict[str, object], currency: str, *, sign: int
) -> Iterator[dict[str, object]]:
    """A row for each allowance, charge, tax and rounding of the whole document."""
    view = figures_json(figures, currency)
    for kind, direction in (("allowances", -1), ("charges", 1)):
        for a in view[kind]:
            yield (
                shared
                | _taxed(a["taxes"])
                | {
                    "row": kind.removesuffix("s"),
                    "description": a["reason"],
                    "amount": sign * direction * a["amount"],
                }
            )
    for tax in view["taxes"]:
        yield shared | {
            "row": "tax",
            "tax": tax["name"],
            "tax_rate": tax["rate"],
            "tax_base": sign * tax["base"],
            "amount": sign * tax["amount"],
        }
    if view["rounding"]:
        yield shared | {"row": "rounding", "amount": sign * view["rounding"]}


def _taxed(taxes: list[dict[str, object]]) -> dict[str, object]:
    return {
        "tax": " + ".join(str(t["name"]) for t in taxes),
        "tax_rate": " + ".join(str(t["rate"]) for t in taxes),
    }


def _written(rows: Iterable[Iterable[object]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return out.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
