"""The e-invoice as UBL 2.1, in the syntax binding of EN 16931 (CEN/TS 16931-3-2).

BT numbers: edge.documents.en16931.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from edge.documents import en16931 as en
from edge.documents.address import Address
from edge.documents.markup import HEAD, node, text
from edge.documents.parties import Party
from edge.documents.sale import Sale
from edge.documents.vat import Category

_SPACES = {
    "xmlns:cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
    "xmlns:cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
}
_VAT = node("cac:TaxScheme", text("cbc:ID", "VAT"))


def ubl(sale: Sale, language: str = "en") -> bytes:
    """The invoice or credit note as UBL. Raises NotExpressible."""
    return written(en.document(sale, language=language))


class _Names(msgspec.Struct, frozen=True):
    """What the two documents of UBL call the same things."""

    root: str
    type_code: str
    line: str
    quantity: str


_INVOICE = _Names("Invoice", "cbc:InvoiceTypeCode", "cac:InvoiceLine", "cbc:InvoicedQuantity")
_CREDIT_NOTE = _Names("CreditNote", "cbc:CreditNoteTypeCode", "cac:CreditNoteLine", "cbc:CreditedQuantity")


def written(document: en.Document) -> bytes:
    """A document of EN 16931 as UBL."""
    names = _CREDIT_NOTE if document.type_code == en.CREDIT_NOTE else _INVOICE
    currency = document.currency
    body = node(
        names.root,
        text("cbc:CustomizationID", en.SPECIFICATION),
        text("cbc:ID", document.number),
        text("cbc:IssueDate", document.day),
        text(names.type_code, document.type_code),
        text("cbc:Note", "\n".join(document.notes)),
        text("cbc:DocumentCurrencyCode", currency),
        text("cbc:AccountingCost", document.account),
        text("cbc:BuyerReference", document.reference),
        node("cac:InvoicePeriod", text("cbc:StartDate", document.begin), text("cbc:EndDate", document.end)),
        _preceding(document.preceding),
        node("cac:AccountingSupplierParty", _party(document.seller)),
        node("cac:AccountingCustomerParty", _party(document.buyer)),
        _delivery(document.delivery),
        node("cac:PaymentMeans", text("cbc:PaymentMeansCode", document.means)),
        node("cac:PaymentTerms", text("cbc:Note", document.terms)),
        *(_adjustment(a, currency) for a in document.adjustments),
        node(
            "cac:TaxTotal",
            _amount("cbc:TaxAmount", document.totals.tax, currency),
            *(_breakdown(b, currency) for b in document.breakdown),
        ),
        _totals(document.totals, currency),
        *(_line(line, currency, names) for line in document.lines),
        xmlns=f"urn:oasis:names:specification:ubl:schema:xsd:{names.root}-2",
        **_SPACES,
    )
    return (HEAD + body).encode()


def _preceding(preceding: en.Preceding | None) -> str:
    if preceding is None:
        return ""
    named = (text("cbc:ID", preceding.number), text("cbc:IssueDate", preceding.day))
    return node("cac:BillingReference", node("cac:InvoiceDocumentReference", *named))


def _delivery(delivery: en.Delivery) -> str:
    address = "" if delivery.address is None else _address("cac:Address", delivery.address)
    return node(
        "cac:Delivery",
        text("cbc:ActualDeliveryDate", delivery.day),
        node("cac:DeliveryLocation", text("cbc:ID", delivery.place_id), address),
    )


def _amount(name: str, value: Decimal, currency: str) -> str:
    return text(name, format(value, "f"), currencyID=currency)


def _party(party: Party) -> str:
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


def _category(name: str, category: Category, *, with_reason: bool = False) -> str:
    return node(
        name,
        text("cbc:ID", category.code),
        text("cbc:Percent", category.rate),
        text("cbc:TaxExemptionReasonCode", category.exemption if with_reason else None),
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


def _line(line: en.Line, currency: str, names: _Names) -> str:
    return node(
        names.line,
        text("cbc:ID", line.number),
        text("cbc:Note", line.note),
        text(names.quantity, format(line.quantity, "f"), unitCode=line.unit),
        _amount("cbc:LineExtensionAmount", line.amount, currency),
        node("cac:Item", text("cbc:Name", line.name), _category("cac:ClassifiedTaxCategory", line.category)),
        node(
            "cac:Price",
            _amount("cbc:PriceAmount", line.price, currency),
            text("cbc:BaseQuantity", line.base_quantity, unitCode=line.unit),
        ),
    )
