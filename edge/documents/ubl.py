"""The e-invoice as UBL 2.1, in the syntax binding of EN 16931 (CEN/TS 16931-3-2).

BT numbers: edge.documents.en16931.
"""

from __future__ import annotations

from decimal import Decimal

from edge.documents import en16931 as en
from edge.documents.address import Address
from edge.documents.markup import HEAD, node, text
from edge.documents.sale import Sale

_SPACES = {
    "xmlns": "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2",
    "xmlns:cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
    "xmlns:cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
}
_VAT = node("cac:TaxScheme", text("cbc:ID", "VAT"))


def ubl(sale: Sale, language: str = "en") -> bytes:
    """The invoice as UBL. Raises NotExpressible."""
    invoice = sale.invoice
    document = en.document(invoice, language=language)
    draft = invoice.draft
    begin, end = (at.astimezone(invoice.issued_at.tzinfo).date() for at in (draft.begin, draft.end))
    place = draft.place
    body = node(
        "Invoice",
        text("cbc:CustomizationID", en.SPECIFICATION),
        text("cbc:ID", invoice.number),
        text("cbc:IssueDate", invoice.issued_at.date()),
        text("cbc:InvoiceTypeCode", en.TYPE_CODE),
        text("cbc:Note", "\n".join(document.notes)),
        text("cbc:DocumentCurrencyCode", draft.currency),
        text("cbc:AccountingCost", draft.account),
        node("cac:InvoicePeriod", text("cbc:StartDate", begin), text("cbc:EndDate", end)),
        node("cac:AccountingSupplierParty", _party(document.seller)),
        node("cac:AccountingCustomerParty", _party(document.buyer)),
        node(
            "cac:Delivery",
            text("cbc:ActualDeliveryDate", end),
            node(
                "cac:DeliveryLocation", text("cbc:ID", place.evse_id), _address("cac:Address", document.place)
            ),
        ),
        node("cac:PaymentMeans", text("cbc:PaymentMeansCode", document.means)),
        node("cac:PaymentTerms", text("cbc:Note", document.terms)),
        *(_adjustment(a, draft.currency) for a in document.adjustments),
        node(
            "cac:TaxTotal",
            _amount("cbc:TaxAmount", document.totals.tax, draft.currency),
            *(_breakdown(b, draft.currency) for b in document.breakdown),
        ),
        _totals(document.totals, draft.currency),
        *(_line(line, draft.currency) for line in document.lines),
        **_SPACES,
    )
    return (HEAD + body).encode()


def _amount(name: str, value: Decimal, currency: str) -> str:
    return text(name, format(value, "f"), currencyID=currency)


def _party(party: en.Party) -> str:
    number = party.vat_id or party.tax_number
    scheme = _VAT if party.vat_id else node("cac:TaxScheme", text("cbc:ID", "FC"))
    return node(
        "cac:Party",
        node("cac:PartyIdentification", text("cbc:ID", party.tax_number)),
        _address("cac:PostalAddress", party.address),
        node("cac:PartyTaxScheme", text("cbc:CompanyID", number), scheme) if number else "",
        node("cac:PartyLegalEntity", text("cbc:RegistrationName", party.name)),
    )


def _address(name: str, address: Address) -> str:
    return node(
        name,
        text("cbc:StreetName", address.street),
        text("cbc:CityName", address.town),
        text("cbc:PostalZone", address.postal_code),
        node("cac:Country", text("cbc:IdentificationCode", address.country)),
    )


def _category(name: str, category: en.Category, *, with_reason: bool = False) -> str:
    return node(
        name,
        text("cbc:ID", category.code),
        text("cbc:Percent", en.plain(category.percent)),
        text("cbc:TaxExemptionReason", category.reason if with_reason else None),
        _VAT,
    )


def _adjustment(adjustment: en.DocumentAdjustment, currency: str) -> str:
    return node(
        "cac:AllowanceCharge",
        text("cbc:ChargeIndicator", "true" if adjustment.charge else "false"),
        text("cbc:AllowanceChargeReason", adjustment.reason),
        _amount("cbc:Amount", adjustment.amount, currency),
        _category("cac:TaxCategory", adjustment.category),
    )


def _breakdown(breakdown: en.Breakdown, currency: str) -> str:
    return node(
        "cac:TaxSubtotal",
        _amount("cbc:TaxableAmount", breakdown.base, currency),
        _amount("cbc:TaxAmount", breakdown.tax, currency),
        _category("cac:TaxCategory", breakdown.category, with_reason=True),
    )


def _totals(totals: en.Totals, currency: str) -> str:
    rounding = _amount("cbc:PayableRoundingAmount", totals.rounding, currency) if totals.rounding else ""
    return node(
        "cac:LegalMonetaryTotal",
        _amount("cbc:LineExtensionAmount", totals.lines, currency),
        _amount("cbc:TaxExclusiveAmount", totals.net, currency),
        _amount("cbc:TaxInclusiveAmount", totals.gross, currency),
        _amount("cbc:AllowanceTotalAmount", totals.allowances, currency),
        _amount("cbc:ChargeTotalAmount", totals.charges, currency),
        _amount("cbc:PrepaidAmount", totals.paid, currency),
        rounding,
        _amount("cbc:PayableAmount", totals.due, currency),
    )


def _line(line: en.Line, currency: str) -> str:
    return node(
        "cac:InvoiceLine",
        text("cbc:ID", line.number),
        text("cbc:Note", line.note),
        text("cbc:InvoicedQuantity", format(line.quantity, "f"), unitCode=line.unit),
        _amount("cbc:LineExtensionAmount", line.amount, currency),
        node("cac:Item", text("cbc:Name", line.name), _category("cac:ClassifiedTaxCategory", line.category)),
        node(
            "cac:Price",
            _amount("cbc:PriceAmount", line.price, currency),
            text("cbc:BaseQuantity", line.base_quantity, unitCode=line.unit),
        ),
    )
