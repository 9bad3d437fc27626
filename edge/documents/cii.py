"""The e-invoice as UN/CEFACT CII D22B in the EN 16931 profile of Factur-X / ZUGFeRD (CEN/TS 16931-3-3).

BT numbers: edge.documents.en16931.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from edge.documents import en16931 as en
from edge.documents.address import Address
from edge.documents.markup import HEAD, node, text
from edge.documents.parties import Party
from edge.documents.sale import Sale
from edge.documents.vat import Category

_SPACES = {
    "xmlns:rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    "xmlns:ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "xmlns:qdt": "urn:un:unece:uncefact:data:standard:QualifiedDataType:100",
    "xmlns:udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
}
_DAY = "102"  # UNTDID 2379: CCYYMMDD


def cii(sale: Sale, language: str = "en") -> bytes:
    """The invoice or credit note as CII. Raises NotExpressible."""
    return written(en.document(sale, language=language))


def written(document: en.Document) -> bytes:
    """A document of EN 16931 as CII."""
    body = node(
        "rsm:CrossIndustryInvoice",
        node(
            "rsm:ExchangedDocumentContext",
            node("ram:GuidelineSpecifiedDocumentContextParameter", text("ram:ID", en.SPECIFICATION)),
        ),
        node(
            "rsm:ExchangedDocument",
            text("ram:ID", document.number),
            text("ram:TypeCode", document.type_code),
            _day("ram:IssueDateTime", document.day),
            *(node("ram:IncludedNote", text("ram:Content", note)) for note in document.notes),
        ),
        node(
            "rsm:SupplyChainTradeTransaction",
            *(_line(line) for line in document.lines),
            node(
                "ram:ApplicableHeaderTradeAgreement",
                text("ram:BuyerReference", document.reference),
                _party("ram:SellerTradeParty", document.seller),
                _party("ram:BuyerTradeParty", document.buyer),
            ),
            _delivery(document.delivery),
            _settlement(document),
        ),
        **_SPACES,
    )
    return (HEAD + body).encode()


def _day(name: str, day: date) -> str:
    return node(name, text("udt:DateTimeString", f"{day:%Y%m%d}", format=_DAY))


def _amount(name: str, value: Decimal) -> str:
    return text(name, format(value, "f"))


def _party(name: str, party: Party) -> str:
    return node(
        name,
        text("ram:ID", party.tax_number),
        text("ram:Name", party.name),
        _address(party.address),
        node("ram:SpecifiedTaxRegistration", text("ram:ID", party.vat_id, schemeID="VA")),
        node("ram:SpecifiedTaxRegistration", text("ram:ID", party.tax_number, schemeID="FC")),
    )


def _address(address: Address) -> str:
    return node(
        "ram:PostalTradeAddress",
        text("ram:PostcodeCode", address.postal_code),
        text("ram:LineOne", address.street),
        text("ram:CityName", address.town),
        text("ram:CountryID", address.country),
    )


def _tax(name: str, category: Category) -> str:
    return node(
        name,
        text("ram:TypeCode", "VAT"),
        text("ram:CategoryCode", category.code),
        text("ram:RateApplicablePercent", category.rate),
    )


def _line(line: en.Line) -> str:
    return node(
        "ram:IncludedSupplyChainTradeLineItem",
        node(
            "ram:AssociatedDocumentLineDocument",
            text("ram:LineID", line.number),
            node("ram:IncludedNote", text("ram:Content", line.note)),
        ),
        node("ram:SpecifiedTradeProduct", text("ram:Name", line.name)),
        node(
            "ram:SpecifiedLineTradeAgreement",
            node(
                "ram:NetPriceProductTradePrice",
                _amount("ram:ChargeAmount", line.price),
                text("ram:BasisQuantity", line.base_quantity, unitCode=line.unit),
            ),
        ),
        node(
            "ram:SpecifiedLineTradeDelivery",
            text("ram:BilledQuantity", format(line.quantity, "f"), unitCode=line.unit),
        ),
        node(
            "ram:SpecifiedLineTradeSettlement",
            _tax("ram:ApplicableTradeTax", line.category),
            node(
                "ram:SpecifiedTradeSettlementLineMonetarySummation",
                _amount("ram:LineTotalAmount", line.amount),
            ),
        ),
    )


def _delivery(delivery: en.Delivery) -> str:
    address = "" if delivery.address is None else _address(delivery.address)
    return node(
        "ram:ApplicableHeaderTradeDelivery",
        node("ram:ShipToTradeParty", text("ram:ID", delivery.place_id), address),
        node("ram:ActualDeliverySupplyChainEvent", _day("ram:OccurrenceDateTime", delivery.day)),
    )


def _settlement(document: en.Document) -> str:
    return node(
        "ram:ApplicableHeaderTradeSettlement",
        text("ram:InvoiceCurrencyCode", document.currency),
        node("ram:SpecifiedTradeSettlementPaymentMeans", text("ram:TypeCode", document.means)),
        *(_breakdown(b) for b in document.breakdown),
        node(
            "ram:BillingSpecifiedPeriod",
            _day("ram:StartDateTime", document.begin),
            _day("ram:EndDateTime", document.end),
        ),
        *(_adjustment(a) for a in document.adjustments),
        node("ram:SpecifiedTradePaymentTerms", text("ram:Description", document.terms)),
        _totals(document.totals, document.currency),
        _preceding(document.preceding),
        node("ram:ReceivableSpecifiedTradeAccountingAccount", text("ram:ID", document.account)),
    )


def _preceding(preceding: en.Preceding | None) -> str:
    if preceding is None:
        return ""
    day = preceding.day and node(
        "ram:FormattedIssueDateTime", text("qdt:DateTimeString", f"{preceding.day:%Y%m%d}", format=_DAY)
    )
    return node("ram:InvoiceReferencedDocument", text("ram:IssuerAssignedID", preceding.number), day or "")


def _breakdown(breakdown: en.Breakdown) -> str:
    category = breakdown.category
    return node(
        "ram:ApplicableTradeTax",
        _amount("ram:CalculatedAmount", breakdown.tax),
        text("ram:TypeCode", "VAT"),
        text("ram:ExemptionReason", category.reason),
        _amount("ram:BasisAmount", breakdown.base),
        text("ram:CategoryCode", category.code),
        text("ram:ExemptionReasonCode", category.exemption),
        text("ram:RateApplicablePercent", category.rate),
    )


def _adjustment(adjustment: en.DocumentAdjustment) -> str:
    return node(
        "ram:SpecifiedTradeAllowanceCharge",
        node("ram:ChargeIndicator", text("udt:Indicator", "true" if adjustment.charge else "false")),
        _amount("ram:ActualAmount", adjustment.amount),
        text("ram:Reason", adjustment.reason),
        _tax("ram:CategoryTradeTax", adjustment.category),
    )


def _totals(totals: en.Totals, currency: str) -> str:
    return node(
        "ram:SpecifiedTradeSettlementHeaderMonetarySummation",
        _amount("ram:LineTotalAmount", totals.lines),
        _amount("ram:ChargeTotalAmount", totals.charges),
        _amount("ram:AllowanceTotalAmount", totals.allowances),
        _amount("ram:TaxBasisTotalAmount", totals.net),
        text("ram:TaxTotalAmount", format(totals.tax, "f"), currencyID=currency),
        _amount("ram:RoundingAmount", totals.rounding) if totals.rounding else "",
        _amount("ram:GrandTotalAmount", totals.gross),
        _amount("ram:TotalPrepaidAmount", totals.paid),
        _amount("ram:DuePayableAmount", totals.due),
    )
