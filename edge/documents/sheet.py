"""What a person reads on an invoice, laid out for nobody in particular: HTML, page and roll set the same sheet.

Numbers, money and dates are written as the language's country writes them (CLDR, through babel).
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import assert_never
from zoneinfo import ZoneInfo

import msgspec
from babel import Locale
from babel.dates import format_date, format_skeleton
from babel.numbers import format_currency, format_decimal

from edge.documents.en16931 import line_name
from edge.documents.invoice_json import quantity
from edge.documents.sale import Sale
from edge.documents.words import Words, words_in
from edge.domain.buyer import Buyer, ZeroTax
from edge.domain.invoice import InvoiceDraft, Seller
from edge.domain.money import exponent, from_minor
from edge.domain.pricing import Invoice as Figures
from edge.domain.pricing import InvoiceLine
from edge.domain.tariffs import TaxRate

_PRICE_PLACES = 10  # of a unit price beyond the currency's own; tariffs have a few
#: A narrow space is not in every font; at a hyphen a line may end, at a minus not.
_TYPESET = str.maketrans({"\u202f": "\u00a0", "-": "\u2212"})


class Row(msgspec.Struct, frozen=True):
    """A label and what stands beside it."""

    label: str
    value: str


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the bill; its amount is net. `terms` says of the price what tax is in it or comes to it."""

    name: str
    quantity: str
    price: str
    terms: str
    tax: str
    amount: str
    note: str = ""


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """The whole invoice in words. `remarks` are sentences; `adjustments` stand below the lines.

    `title` is `Invoice CT-7CHFYKPE-000001`. `basis` says whether unit prices are with or without tax; amounts of lines
    are without. `subject` heads the `facts`; `place` is empty where many places were used.
    """

    words: Words
    title: str
    issued: str
    subject: str
    seller: tuple[str, ...]
    buyer: tuple[str, ...]
    place: tuple[str, ...]
    facts: tuple[Row, ...]
    items: tuple[Item, ...]
    adjustments: tuple[Row, ...]
    net: Row
    taxes: tuple[Row, ...]
    rounding: Row | None
    total: Row
    payment: tuple[Row, ...]
    remarks: tuple[str, ...]
    footer: str
    basis: str


def sheet(sale: Sale, language: str) -> Sheet:
    """The invoice as its reader's language tells it."""
    invoice, draft, figures = sale.invoice, sale.invoice.draft, sale.invoice.draft.figures
    words = words_in(language)
    told = Numbers(words, currency=draft.currency, time_zone=draft.place.time_zone)
    basis = words.with_tax if draft.tax_included else words.without_tax
    rounding = figures.rounding_minor
    return Sheet(
        words=words,
        title=_title(sale, words),
        issued=told.day(invoice.issued_at),
        subject=words.session,
        seller=seller_lines(draft.seller, words),
        buyer=buyer_lines(sale.buyer, words),
        place=(
            f"{draft.place.label} · {draft.place.evse_id}",
            *(part.strip() for part in draft.place.address.split(",")),
        ),
        facts=_facts(draft, words, told),
        items=tuple(
            item(line, words, told, basis=basis, name=line_name(invoice, line, words))
            for line in figures.lines
        ),
        adjustments=adjusted(figures, words, told),
        net=Row(words.net, told.money(figures.total_before_taxes_minor)),
        taxes=taxed(figures, words, told),
        rounding=Row(words.rounding, told.money(rounding)) if rounding else None,
        total=Row(words.total, told.money(figures.payable_minor)),
        payment=_payment(draft, words, told),
        remarks=_remarks(sale, words, told),
        footer=words.footer.format(hash=draft.tariff.hash),
        basis=basis,
    )


def adjusted(figures: Figures, words: Words, told: Numbers) -> tuple[Row, ...]:
    """Document allowances and charges, with the VAT that they are of."""
    return tuple(
        Row(
            words.reasons[a.reason] + (f" ({_tax(a.taxes, told)})" if a.taxes else ""),
            told.money(sign * a.amount_minor),
        )
        for given, sign in ((figures.allowances, -1), (figures.charges, 1))
        for a in given
    )


def taxed(figures: Figures, words: Words, told: Numbers) -> tuple[Row, ...]:
    """VAT by rate."""
    return tuple(
        Row(
            words.tax_of.format(
                name=words.tax_name(t.name), percent=told.percent(t.percent), base=told.money(t.base_minor)
            ),
            told.money(t.amount_minor),
        )
        for t in figures.taxes
    )


class Numbers:
    """Numbers of one currency in one language."""

    def __init__(self, words: Words, *, currency: str, time_zone: str) -> None:
        self._locale = _locale(words.locale)
        self._currency = currency
        self._zone = ZoneInfo(time_zone)

    def money(self, amount_minor: int) -> str:
        """An amount with all places of its currency."""
        return self._written(from_minor(amount_minor, self._currency), more=0)

    def price(self, price: Decimal) -> str:
        """A unit price with at least the currency's places, and as many more as it has."""
        return self._written(price, more=_PRICE_PLACES)

    def number(self, value: Decimal | int, *, places: int = 0) -> str:
        pattern = "#,##0" + ("." + "0" * places if places else "")
        return str(format_decimal(value, format=pattern, locale=self._locale)).translate(_TYPESET)

    def percent(self, percent: Decimal) -> str:
        shown = format_decimal(percent.normalize(), locale=self._locale, format="0.####")
        return f"{shown}\u00a0%"

    def day(self, at: datetime) -> str:
        return str(format_date(at.astimezone(self._zone), "long", locale=self._locale))

    def month(self, day: date) -> str:
        return str(format_skeleton("yMMMM", day, locale=self._locale))

    def minute(self, at: datetime) -> str:
        """Day and time as the instant's own offset has them."""
        return f"{format_date(at, 'medium', locale=self._locale)}, {at:%H:%M}"

    def moment(self, at: datetime) -> str:
        """Day, time and offset from UTC in the place's own time: an hour that comes twice is told apart."""
        local = at.astimezone(self._zone)
        offset = local.strftime("%z")
        day = format_date(local, "medium", locale=self._locale)
        return f"{day}, {local:%H:%M:%S} (UTC{offset[:3]}:{offset[3:5]})"

    def _written(self, amount: Decimal, *, more: int) -> str:
        pattern = _money_pattern(self._locale, exponent(self._currency), more)
        shown = format_currency(
            amount,
            self._currency,
            format=pattern,
            locale=self._locale,
            currency_digits=False,
            decimal_quantization=True,
        )
        told = str(shown).translate(_TYPESET)
        return re.sub(rf"({self._currency})(?=\d)", "\\1\u00a0", told)  # a code of letters keeps its distance


@cache
def _locale(name: str) -> Locale:
    return Locale.parse(name)


@cache
def _money_pattern(locale: Locale, places: int, more: int) -> str:
    """The language's pattern for money, with the places of our currency table in it."""
    decimals = "0" * places + "#" * more
    pattern = locale.currency_formats["standard"].pattern
    return str(pattern).replace("0.00", f"0.{decimals}" if decimals else "0")


def _title(sale: Sale, words: Words) -> str:
    number = sale.invoice.number
    match sale.kind:
        case "invoice":
            return f"{words.title} {number}"
        case "credit_note":
            return f"{words.credit_note} {number}"
        case "statement":
            return words.statement
        case _:
            assert_never(sale.kind)


def seller_lines(seller: Seller, words: Words) -> tuple[str, ...]:
    """Name, address and tax id."""
    address = (part.strip() for part in seller.address.split(","))
    return (seller.name, *address, f"{words.tax_id} {seller.tax_id}")


def buyer_lines(buyer: Buyer | None, words: Words) -> tuple[str, ...]:
    """Name, address, VAT id and own reference; nothing where nobody is named."""
    if buyer is None:
        return ()
    lines = [buyer.name, *(part.strip() for part in buyer.address.split(",")), buyer.country]
    lines += [f"{words.tax_id} {buyer.vat_id}"] if buyer.vat_id else []
    lines += [buyer.reference] if buyer.reference else []
    return tuple(lines)


def _facts(draft: InvoiceDraft, words: Words, told: Numbers) -> tuple[Row, ...]:
    shown = words.local(draft.end, draft) - words.local(draft.begin, draft)
    elapsed = shown.days * 86_400 + shown.seconds
    energy = words.kwh(draft.energy_wh) + (f" ({words.estimated})" if draft.estimated else "")
    return (
        Row(words.begin, told.moment(draft.begin)),
        Row(words.end, told.moment(draft.end)),
        Row(words.duration, _duration(elapsed)),
        Row(words.energy, energy),
        Row(
            f"{words.meter} {draft.meter.serial or words.unknown}",
            f"{_register(draft.meter.begin_wh, told)} \u2013 {_register(draft.meter.end_wh, told)}\u00a0kWh",
        ),
    )


def _register(wh: int, told: Numbers) -> str:
    return told.number(Decimal(wh) / 1000, places=3)


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}\u00a0h"


def item(line: InvoiceLine, words: Words, told: Numbers, *, basis: str, name: str) -> Item:
    """One line of a bill."""
    billed = quantity(line.quantity)
    match line.dimension:
        case "ENERGY":
            amount = f"{told.number(Decimal(billed) / 1000, places=3)}\u00a0kWh"
            per = "/kWh"
        case "FLAT":
            amount, per = told.number(billed), ""
        case _:
            amount, per = _duration(int(billed)), f"/{words.hours}"
    return Item(
        name=name,
        quantity=amount,
        price=told.price(line.unit_price) + per,
        terms=f" {basis} ({_tax(line.taxes, told)})" if line.taxes else "",
        tax=_tax(line.taxes, told),
        amount=told.money(line.before_taxes_minor),
        note=words.included if line.included else "",
    )


def _tax(taxes: tuple[TaxRate, ...], told: Numbers) -> str:
    return " + ".join(told.percent(t.percent) for t in taxes) or "\u2013"


def _payment(draft: InvoiceDraft, words: Words, told: Numbers) -> tuple[Row, ...]:
    paid, payable = draft.paid, draft.figures.payable_minor
    match paid.status:
        case "captured":
            label = words.due_later if draft.billing == "statement" else words.methods[paid.method]
            rows = [Row(label, told.money(paid.captured_minor))]
            due = payable - paid.captured_minor
            return (*rows, Row(words.due, told.money(due))) if due else tuple(rows)
        case "refund":
            return (Row(words.refund, told.money(payable)),)
        case "expired" | "reversed":
            return (Row(words.lost, told.money(0)),)
        case _:
            assert_never(paid.status)


def _remarks(sale: Sale, words: Words, told: Numbers) -> tuple[str, ...]:
    draft, corrects, replaces = sale.invoice.draft, sale.invoice.corrects, sale.invoice.replaces
    hold = draft.paid.hold_minor
    said = [
        words.no_invoice if draft.billing == "statement" else "",
        words.corrects.format(number=corrects.number, day=told.day(corrects.issued_at)) if corrects else "",
        f"{words.reason}: {corrects.reason}" if corrects else "",
        words.replaces.format(number=replaces) if replaces else "",
        *zero_tax_remarks(draft.figures, draft.zero_tax, words),
        words.small_amount if _small_amount(sale) else "",
        f"{words.tariff}: {draft.tariff.text}",
        words.fallback if draft.tariff.fallback else "",
        f"{words.plan}: {draft.plan.text}" if draft.plan else "",
        f"{words.account}: {draft.account}" if draft.account else "",
        words.held.format(amount=told.money(hold))
        if hold is not None and hold > draft.paid.captured_minor
        else "",
        words.signed if draft.meter.signed else words.unsigned,
        f"{words.signing_key}: {_signing_key(sale)}" if draft.meter.signed and sale.signed else "",
        "" if draft.dated else words.undated,
    ]
    return tuple(sentence for sentence in said if sentence)


def _signing_key(sale: Sale) -> str:
    """The meter's key as the transparency software takes it, in groups that can be compared and broken into lines."""
    return sale.signed[-1].public_key.hex(" ", _KEY_GROUP_BYTES).upper()


def zero_tax_remarks(figures: Figures, zero: ZeroTax | None, words: Words) -> tuple[str, ...]:
    """Why prices bear no VAT, where some do not and a reason has to be given."""
    lines = [line.taxes for line in figures.lines] + [
        a.taxes for a in (*figures.allowances, *figures.charges)
    ]
    if not any(len(taxes) < 2 and not any(t.percent for t in taxes) for taxes in lines):
        return ()
    if zero is None:
        return (words.untaxed,) if () in lines else ()
    match zero.category:
        case "AE":
            return (zero.reason or words.reverse_charge,)
        case "E":
            return (zero.reason or words.untaxed,)
        case "O":
            return (zero.reason or words.outside_tax,)
        case "Z":
            return ()
        case _:
            assert_never(zero.category)


def _small_amount(sale: Sale) -> bool:
    """An invoice that need not name its buyer: section 33 UStDV, up to 250 EUR with tax, not for reverse charge."""
    draft = sale.invoice.draft
    return (
        sale.kind == "invoice"
        and sale.buyer is None
        and draft.seller.country == "DE"
        and draft.currency == "EUR"
        and draft.figures.payable_minor <= _SMALL_MAX_CENT
        and not (draft.zero_tax is not None and draft.zero_tax.category == "AE")
    )


_KEY_GROUP_BYTES = 4
#: Section 33 UStDV: an invoice of at most 250 EUR.
_SMALL_MAX_CENT = 25_000
