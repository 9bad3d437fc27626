"""The invoice in the terms of EN 16931, which UBL and CII only spell differently (BT and BG numbers as there).

Unit prices are net (BT-146). Where the tariff's price includes tax, the net price has no end in decimals: it is
written with as many places as it takes for quantity x price / base quantity to round to the line's amount, so
that whoever multiplies finds the cent that was billed.

The norm knows one VAT category a line and two decimals. A tariff with several taxes on one price, or a currency
of three decimals, is refused here rather than bent.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Literal

import msgspec

from edge.documents.address import Address, of_place, taken_apart
from edge.documents.sale import NotExpressible
from edge.documents.words import Words, words_in
from edge.domain.invoice import Invoice
from edge.domain.money import exponent, from_minor, round_half_up
from edge.domain.pricing import InvoiceLine, rational
from edge.domain.tariffs import TaxRate

SPECIFICATION = "urn:cen.eu:en16931:2017"
#: UNTDID 1001: commercial invoice.
TYPE_CODE = "380"
_DECIMALS_MAX = 2  # BR-DEC-*
_QUANTITY_PLACES = 9  # a thousandth of a Wh and a microsecond, with room; more only where the line needs it
_PRICE_PLACES = 4  # of a price without an end, to begin with
_PLACES_MAX = 60  # of both; quantities and prices are fractions of a few dozen digits at most
#: UNTDID 4461. A card at the charger is a bank card to the norm; an account is cleared between partners.
_MEANS = {"card": "48", "terminal": "48", "account": "97", "upstream": "97"}


class Category(msgspec.Struct, frozen=True):
    """A VAT category (UNTDID 5305): S a rate, Z a rate of zero, E no tax at all, which needs a `reason`."""

    code: Literal["S", "Z", "E"]
    percent: Decimal
    reason: str | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """BG-25. `price` (BT-146) is for `base_quantity` (BT-149) of `unit` (UN/ECE Recommendation 20)."""

    number: int
    name: str
    note: str
    quantity: Decimal
    unit: str
    price: Decimal
    base_quantity: int
    amount: Decimal
    category: Category


class DocumentAdjustment(msgspec.Struct, frozen=True, kw_only=True):
    """BG-20 (allowance) or BG-21 (charge)."""

    charge: bool
    amount: Decimal
    reason: str
    category: Category


class Breakdown(msgspec.Struct, frozen=True, kw_only=True):
    """BG-23: one VAT category with its base and tax."""

    category: Category
    base: Decimal
    tax: Decimal


class Party(msgspec.Struct, frozen=True, kw_only=True):
    """BG-4 or BG-7. `vat_id` begins with a country's code; any other number of the tax office is `tax_number`."""

    name: str
    address: Address
    vat_id: str | None = None
    tax_number: str | None = None


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """BG-22. BT-115 = BT-112 - BT-113 + BT-114."""

    lines: Decimal
    allowances: Decimal
    charges: Decimal
    net: Decimal
    tax: Decimal
    gross: Decimal
    paid: Decimal
    rounding: Decimal
    due: Decimal


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice of EN 16931, ready to be written. Amounts are major units."""

    invoice: Invoice
    notes: tuple[str, ...]
    seller: Party
    buyer: Party
    place: Address
    means: str
    terms: str
    lines: tuple[Line, ...]
    adjustments: tuple[DocumentAdjustment, ...]
    breakdown: tuple[Breakdown, ...]
    totals: Totals


def document(invoice: Invoice, *, language: str = "en") -> Document:
    """The invoice in EN 16931's terms. Raises NotExpressible."""
    draft, figures = invoice.draft, invoice.draft.figures
    if exponent(draft.currency) > _DECIMALS_MAX:
        raise NotExpressible(f"EN 16931 knows two decimals, {draft.currency} has {exponent(draft.currency)}")
    words = words_in(language)

    def money(amount_minor: int) -> Decimal:
        return from_minor(amount_minor, draft.currency)

    adjustments = tuple(
        DocumentAdjustment(
            charge=charge,
            amount=money(a.amount_minor),
            reason=words.reasons[a.reason],
            category=category(a.taxes, words),
        )
        for charge, given in ((False, figures.allowances), (True, figures.charges))
        for a in given
    )
    lines = tuple(_line(invoice, number, line, words) for number, line in enumerate(figures.lines, 1))
    if not lines:
        lines = (_empty_line(invoice, adjustments, words),)
    return Document(
        invoice=invoice,
        notes=_notes(invoice, words),
        seller=_seller(invoice),
        buyer=_buyer(invoice, words),
        place=of_place(draft),
        means=_MEANS[draft.paid.method],
        terms=words.methods[draft.paid.method],
        lines=lines,
        adjustments=adjustments,
        breakdown=_breakdown(invoice, lines, adjustments, words),
        totals=Totals(
            lines=money(sum(line.before_taxes_minor for line in figures.lines)),
            allowances=money(sum(a.amount_minor for a in figures.allowances)),
            charges=money(sum(c.amount_minor for c in figures.charges)),
            net=money(figures.total_before_taxes_minor),
            tax=money(sum(t.amount_minor for t in figures.taxes)),
            gross=money(figures.total_after_taxes_minor),
            paid=money(draft.paid.captured_minor),
            rounding=money(figures.rounding_minor),
            due=money(figures.payable_minor - draft.paid.captured_minor),
        ),
    )


def category(taxes: tuple[TaxRate, ...], words: Words) -> Category:
    """The VAT category of a price's taxes. Raises NotExpressible where several taxes lie on it."""
    if not taxes:
        return Category("E", Decimal(0), words.untaxed)
    if len(taxes) > 1:
        names = ", ".join(f"{t.name} {plain(t.percent)} %" for t in taxes)
        raise NotExpressible(f"EN 16931 knows one VAT rate a line, this price has {names}")
    percent = taxes[0].percent
    return Category("S", percent) if percent else Category("Z", percent)


def plain(value: Decimal) -> str:
    """Digits without exponent and without zeros at the end: 19, 7.7, 0.4118."""
    shown = format(value, "f")
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def priced(
    quantity: Fraction, price: Fraction, base_quantity: int, amount: Decimal
) -> tuple[Decimal, Decimal]:
    """Quantity and price as decimals that multiply to `amount`, which is their exact product rounded half-up.

    What has no end is rounded up: a product that lies on half a cent is never pulled below it.
    """
    places = -int(amount.as_tuple().exponent)
    wanted = int(amount.scaleb(places))
    for more in range(_PLACES_MAX):
        shown_quantity = _upwards(quantity, _QUANTITY_PLACES + more)
        shown_price = _upwards(price, _PRICE_PLACES + more)
        product = Fraction(shown_quantity) * Fraction(shown_price) / base_quantity
        if round_half_up(product * 10**places) == wanted:
            return shown_quantity, shown_price
    raise NotExpressible(f"no decimals give {amount} for this quantity and price")


def _upwards(value: Fraction, places: int) -> Decimal:
    scaled = -(-value.numerator * 10**places // value.denominator)
    digits = f"{scaled:0{places + 1}d}"
    return Decimal(f"{digits[:-places]}.{digits[-places:].rstrip('0')}" if places else digits)


def _line(invoice: Invoice, number: int, line: InvoiceLine, words: Words) -> Line:
    draft = invoice.draft
    kind = category(line.taxes, words)
    price = Fraction(line.unit_price)
    if draft.tax_included:
        price /= 1 + Fraction(kind.percent) / 100
    billed = Fraction(rational(line.quantity))
    match line.dimension:
        case "ENERGY":
            quantity, unit, base = billed / 1000, "KWH", 1
        case "FLAT":
            quantity, unit, base = billed, "C62", 1
        case _ if billed % 60 == 0:
            quantity, unit, base = billed / 60, "MIN", 60
        case _:
            quantity, unit, base = billed, "SEC", 3600
    amount = from_minor(line.before_taxes_minor, draft.currency)
    shown_quantity, shown_price = priced(quantity, price, base, amount)
    return Line(
        number=number,
        name=words.dimensions[line.dimension],
        note=words.included if line.included else "",
        quantity=shown_quantity,
        unit=unit,
        price=shown_price,
        base_quantity=base,
        amount=amount,
        category=kind,
    )


def _empty_line(invoice: Invoice, adjustments: tuple[DocumentAdjustment, ...], words: Words) -> Line:
    """BR-16 asks for a line; a session that costs its minimum price alone has none of its own."""
    kind = adjustments[0].category if adjustments else category((), words)
    zero = from_minor(0, invoice.draft.currency)
    return Line(
        number=1,
        name=words.session,
        note="",
        quantity=Decimal(1),
        unit="C62",
        price=zero,
        base_quantity=1,
        amount=zero,
        category=kind,
    )


def _breakdown(
    invoice: Invoice,
    lines: tuple[Line, ...],
    adjustments: tuple[DocumentAdjustment, ...],
    words: Words,
) -> tuple[Breakdown, ...]:
    """Base and tax by category; two names of one rate are one category to the norm."""
    zero = from_minor(0, invoice.draft.currency)
    bases: dict[Category, Decimal] = {}
    for line in lines:
        bases[line.category] = bases.get(line.category, zero) + line.amount
    for a in adjustments:
        bases[a.category] = bases.get(a.category, zero) + (a.amount if a.charge else -a.amount)
    taxes = dict.fromkeys(bases, zero)
    for tax in invoice.draft.figures.taxes:
        taxes[category(tax.category, words)] += from_minor(tax.amount_minor, invoice.draft.currency)
    return tuple(Breakdown(category=kind, base=base, tax=taxes[kind]) for kind, base in bases.items())


def _seller(invoice: Invoice) -> Party:
    seller = invoice.draft.seller
    vat = seller.tax_id[:2].isalpha() and seller.tax_id[:2].isupper()
    return Party(
        name=seller.name,
        address=taken_apart(seller.address, country=seller.country),
        vat_id=seller.tax_id.replace(" ", "") if vat else None,
        tax_number=None if vat else seller.tax_id,
    )


def _buyer(invoice: Invoice, words: Words) -> Party:
    """Who pays at a charger says no name; an account is known by its opaque id. The country is the charger's."""
    draft = invoice.draft
    name = f"{words.account} {draft.account}" if draft.account else words.driver
    country = of_place(draft).country
    return Party(name=name, address=Address(street="", postal_code=None, town=None, country=country))


def _notes(invoice: Invoice, words: Words) -> tuple[str, ...]:
    """What the norm has no field for: times with their offset, the meter, the tariff and its hash."""
    draft = invoice.draft
    times = [
        f"{label}: {at.isoformat()}"
        for label, at in (
            (words.begin, words.local(draft.begin, draft)),
            (words.end, words.local(draft.end, draft)),
        )
    ]
    energy = f"{words.energy}: {words.kwh(draft.energy_wh)}" + (
        f" ({words.estimated})" if draft.estimated else ""
    )
    meter = (
        f"{words.meter} {draft.meter.serial or words.unknown}: "
        f"{words.kwh(draft.meter.begin_wh)} - {words.kwh(draft.meter.end_wh)}"
    )
    tariff = f"{words.tariff}: {draft.tariff.text} (SHA-256 {draft.tariff.hash})"
    plan = (f"{words.plan}: {draft.plan.text}",) if draft.plan else ()
    undated = () if draft.dated else (words.undated,)
    return (f"EVSE {draft.place.evse_id}", *times, *undated, energy, meter, *plan, tariff)
