"""The invoice in the terms of EN 16931, which UBL and CII only spell differently (BT and BG numbers as there).

Unit prices are net (BT-146). Where the tariff's price includes tax, the net price has no end in decimals: it is
written with as many places as it takes for quantity x price / base quantity to round to the line's amount, so
that whoever multiplies finds the cent that was billed.

The norm knows one VAT category a line and two decimals. A tariff with several taxes on one price, or a currency
of three decimals, is refused here rather than bent.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import assert_never

import msgspec

from edge.documents.address import Address, of_place
from edge.documents.parties import Party, parties
from edge.documents.sale import NotExpressible, Sale
from edge.documents.vat import Category, category
from edge.documents.words import Words, words_in
from edge.domain.invoice import Invoice
from edge.domain.money import exponent, from_minor, round_half_up
from edge.domain.pricing import InvoiceLine, rational
from edge.domain.tariffs import TaxRate

SPECIFICATION = "urn:cen.eu:en16931:2017"
#: UNTDID 1001: commercial invoice, credit note.
INVOICE, CREDIT_NOTE = "380", "381"
_DECIMALS_MAX = 2  # BR-DEC-*
_QUANTITY_PLACES = 9  # a thousandth of a Wh and a microsecond, with room; more only where the line needs it
_PRICE_PLACES = 4  # of a price without an end, to begin with
_PLACES_MAX = 60  # of both; quantities and prices are fractions of a few dozen digits at most
#: UNTDID 4461. A card at the charger is a bank card to the norm; an account is cleared between partners.
MEANS = {"card": "48", "terminal": "48", "account": "97", "upstream": "97"}


class Preceding(msgspec.Struct, frozen=True):
    """BG-3: the invoice that a credit note corrects, or that this one replaces."""

    number: str
    day: date | None


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


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """BG-13: the charging station and the day; no place where there were many."""

    day: date
    place_id: str | None = None
    address: Address | None = None


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
    """An invoice or credit note of EN 16931, ready to be written. Amounts are major units.

    `begin` and `end` are the period that is billed (BG-14); `delivery` is where and when it was delivered (BG-13).
    """

    type_code: str
    number: str
    day: date
    currency: str
    account: str | None
    reference: str | None
    preceding: Preceding | None
    notes: tuple[str, ...]
    seller: Party
    buyer: Party
    begin: date
    end: date
    delivery: Delivery
    means: str
    terms: str
    lines: tuple[Line, ...]
    adjustments: tuple[DocumentAdjustment, ...]
    breakdown: tuple[Breakdown, ...]
    totals: Totals


def document(sale: Sale, *, language: str = "en") -> Document:
    """The invoice or credit note in EN 16931's terms. Raises NotExpressible."""
    invoice = sale.invoice
    draft, figures = invoice.draft, invoice.draft.figures
    if sale.kind == "statement":
        raise NotExpressible("a statement is no invoice", hint="the account's collective invoice bills it")
    require_decimals(draft.currency)
    words = words_in(language)

    def money(amount_minor: int) -> Decimal:
        return from_minor(amount_minor, draft.currency)

    def kind(taxes: tuple[TaxRate, ...]) -> Category:
        return category(taxes, words, draft.zero_tax)

    adjustments = tuple(
        DocumentAdjustment(
            charge=charge,
            amount=money(a.amount_minor),
            reason=words.reasons[a.reason],
            category=kind(a.taxes),
        )
        for charge, given in ((False, figures.allowances), (True, figures.charges))
        for a in given
    )
    lines = tuple(_line(invoice, number, line, words) for number, line in enumerate(figures.lines, 1))
    lines = lines or (
        empty_line(words.session, money(0), adjustments[0].category if adjustments else kind(())),
    )
    seller, buyer = parties(
        draft.seller,
        sale.buyer,
        unnamed=Party(
            name=f"{words.account} {draft.account}" if draft.account else words.driver,
            address=Address(street="", postal_code=None, town=None, country=of_place(draft).country),
        ),
        categories={line.category.code for line in lines},
    )
    begin, end = (words.local(at, draft).date() for at in (draft.begin, draft.end))
    return Document(
        type_code=INVOICE if invoice.corrects is None else CREDIT_NOTE,
        number=invoice.number,
        day=invoice.issued_at.date(),
        currency=draft.currency,
        account=draft.account,
        reference=None if sale.buyer is None else sale.buyer.reference,
        preceding=_preceding(invoice),
        notes=_notes(invoice, words),
        seller=seller,
        buyer=buyer,
        begin=begin,
        end=end,
        delivery=Delivery(place_id=draft.place.evse_id, address=of_place(draft), day=end),
        means=MEANS[draft.paid.method],
        terms=_terms(invoice, words),
        lines=lines,
        adjustments=adjustments,
        breakdown=breakdown(
            lines,
            adjustments,
            [(kind(t.category), money(t.amount_minor)) for t in figures.taxes],
            zero=money(0),
        ),
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


def require_decimals(currency: str) -> None:
    """Raises NotExpressible for a currency with more places than the norm has."""
    if exponent(currency) > _DECIMALS_MAX:
        raise NotExpressible(f"EN 16931 knows two decimals, {currency} has {exponent(currency)}")


def breakdown(
    lines: tuple[Line, ...],
    adjustments: tuple[DocumentAdjustment, ...],
    taxes: list[tuple[Category, Decimal]],
    *,
    zero: Decimal,
) -> tuple[Breakdown, ...]:
    """Base and tax by category; two names of one rate are one category to the norm. Raises NotExpressible for what is
    outside the scope of VAT beside something that is inside (BR-O-11 to 14).
    """
    bases: dict[Category, Decimal] = {}
    for line in lines:
        bases[line.category] = bases.get(line.category, zero) + line.amount
    for a in adjustments:
        bases[a.category] = bases.get(a.category, zero) + (a.amount if a.charge else -a.amount)
    amounts = dict.fromkeys(bases, zero)
    for kind, amount in taxes:
        amounts[kind] += amount
    if len(bases) > 1 and any(kind.code == "O" for kind in bases):
        raise NotExpressible("EN 16931 has no invoice that is partly outside the scope of VAT")
    return tuple(Breakdown(category=kind, base=base, tax=amounts[kind]) for kind, base in bases.items())


def _preceding(invoice: Invoice) -> Preceding | None:
    if invoice.corrects is not None:
        return Preceding(invoice.corrects.number, invoice.corrects.issued_at.date())
    return None if invoice.replaces is None else Preceding(invoice.replaces, None)


def _terms(invoice: Invoice, words: Words) -> str:
    paid = invoice.draft.paid
    match paid.status:
        case "captured":
            return words.methods[paid.method]
        case "refund":
            return words.refund
        case "expired" | "reversed":
            return words.lost
        case _:
            assert_never(paid.status)


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


def _line(invoice: Invoice, number: int, billed: InvoiceLine, words: Words) -> Line:
    draft = invoice.draft
    return line(
        billed,
        number=number,
        name=line_name(invoice, billed, words),
        note=words.included if billed.included else "",
        currency=draft.currency,
        tax_included=draft.tax_included,
        category=category(billed.taxes, words, draft.zero_tax),
    )


def line(
    billed: InvoiceLine,
    *,
    number: int,
    name: str,
    note: str,
    currency: str,
    tax_included: bool,
    category: Category,
) -> Line:
    """A billed line with its net price (BT-146), in the unit that its quantity has no end of decimals in."""
    price = Fraction(billed.unit_price)
    if tax_included and category.percent is not None:
        price /= 1 + Fraction(category.percent) / 100
    counted = Fraction(rational(billed.quantity))
    match billed.dimension:
        case "ENERGY":
            quantity, unit, base = counted / 1000, "KWH", 1
        case "FLAT":
            quantity, unit, base = counted, "C62", 1
        case _ if counted % 60 == 0:
            quantity, unit, base = counted / 60, "MIN", 60
        case _:
            quantity, unit, base = counted, "SEC", 3600
    amount = from_minor(billed.before_taxes_minor, currency)
    shown_quantity, shown_price = priced(quantity, price, base, amount)
    return Line(
        number=number,
        name=name,
        note=note,
        quantity=shown_quantity,
        unit=unit,
        price=shown_price,
        base_quantity=base,
        amount=amount,
        category=category,
    )


def line_name(invoice: Invoice, line: InvoiceLine, words: Words) -> str:
    """What a line is for; a credit note that takes back a part names no service again."""
    corrects = invoice.corrects
    part = corrects is not None and not corrects.whole
    return words.credited_part if part else words.dimensions[line.dimension]


def empty_line(name: str, zero: Decimal, category: Category) -> Line:
    """BR-16 asks for a line; what costs its minimum price alone has none of its own."""
    return Line(
        number=1,
        name=name,
        note="",
        quantity=Decimal(1),
        unit="C62",
        price=zero,
        base_quantity=1,
        amount=zero,
        category=category,
    )


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
    fallback = (words.fallback,) if draft.tariff.fallback else ()
    undated = () if draft.dated else (words.undated,)
    corrects = invoice.corrects
    reason = () if corrects is None else (f"{words.reason}: {corrects.reason}",)
    place = f"EVSE {draft.place.evse_id}"
    signed = words.signed if draft.meter.signed else words.unsigned
    return (*reason, place, *times, *undated, energy, meter, signed, *plan, tariff, *fallback)
