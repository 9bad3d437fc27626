"""The collective invoice in the formats that fit it: JSON, HTML, PDF, UBL, CII and CSV."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import msgspec

from edge.documents import accounting, cii, html, ubl
from edge.documents import en16931 as en
from edge.documents.address import Address
from edge.documents.collective_json import collective_json
from edge.documents.formats import COLLECTIVE_NAMES, FORMATS, Format, FormatUnknown
from edge.documents.parties import Party, parties
from edge.documents.sale import NotExpressible, require
from edge.documents.sheet import (
    Item,
    Numbers,
    Row,
    Sheet,
    adjusted,
    buyer_lines,
    item,
    seller_lines,
    taxed,
    zero_tax_remarks,
)
from edge.documents.vat import Category, category
from edge.documents.words import Words, words_in
from edge.domain.buyer import Buyer
from edge.domain.collective import BilledSession, CollectiveInvoice
from edge.domain.money import from_minor
from edge.domain.pricing import InvoiceLine
from edge.domain.tariffs import TaxRate

#: UNTDID 4461: no instrument is named; the terms say how it is paid.
_MEANS = "1"


class _Entry(msgspec.Struct, frozen=True):
    """One line of the invoice with what it was for."""

    line: InvoiceLine
    name: str
    note: str
    tax_included: bool


def format_named(name: str) -> Format:
    """Raises FormatUnknown, which lists those that fit a collective invoice."""
    if name not in COLLECTIVE_NAMES:
        raise FormatUnknown(
            f"no format {name[:40]} of a collective invoice", hint=f"one of {', '.join(COLLECTIVE_NAMES)}"
        )
    return FORMATS[name]


def render(
    form: Format,
    invoice: CollectiveInvoice,
    buyer: Buyer | None,
    *,
    language: str = "en",
    heading: bool = True,
) -> bytes:
    """The document. Raises NotExpressible, PartMissing."""
    require(*form.needs)
    match form.name:
        case "json":
            return _encoder.encode(collective_json(invoice, buyer)) + b"\n"
        case "html":
            return html.written(sheet(invoice, buyer, language))
        case "pdf":
            return _pdf(invoice, buyer, language)
        case "ubl":
            return ubl.written(document(invoice, buyer, language=language))
        case "cii":
            return cii.written(document(invoice, buyer, language=language))
        case "csv":
            above = accounting.heading() if heading else b""
            return above + accounting.written(_table(invoice, buyer))
        case _:
            raise NotExpressible(f"a collective invoice cannot be written as {form.name}")


_encoder = msgspec.json.Encoder(decimal_format="number")


def _pdf(invoice: CollectiveInvoice, buyer: Buyer | None, language: str) -> bytes:
    from edge.documents import pdf_page  # noqa: PLC0415  (the writer is loaded when a PDF is asked for)

    try:
        xml: bytes | None = cii.written(document(invoice, buyer, language=language))
    except NotExpressible:
        xml = None
    return pdf_page.written(sheet(invoice, buyer, language), xml, at=invoice.issued_at)


def document(invoice: CollectiveInvoice, buyer: Buyer | None, *, language: str = "en") -> en.Document:
    """The collective invoice in EN 16931's terms. Raises NotExpressible."""
    content, figures = invoice.content, invoice.content.figures
    en.require_decimals(content.currency)
    words = words_in(language)

    def money(amount_minor: int) -> Decimal:
        return from_minor(amount_minor, content.currency)

    def kind(taxes: tuple[TaxRate, ...]) -> Category:
        return category(taxes, words, content.zero_tax)

    lines = tuple(
        en.line(
            entry.line,
            number=number,
            name=entry.name,
            note=" · ".join(
                part for part in (entry.note, words.included if entry.line.included else "") if part
            ),
            currency=content.currency,
            tax_included=entry.tax_included,
            category=kind(entry.line.taxes),
        )
        for number, entry in enumerate(_entries(invoice, words), 1)
    )
    adjustments = tuple(
        en.DocumentAdjustment(
            charge=charge,
            amount=money(a.amount_minor),
            reason=words.reasons[a.reason],
            category=kind(a.taxes),
        )
        for charge, given in ((False, figures.allowances), (True, figures.charges))
        for a in given
    )
    lines = lines or (
        en.empty_line(words.collective_part, money(0), adjustments[0].category if adjustments else kind(())),
    )
    unnamed = Party(
        name=f"{words.account} {content.account}",
        address=Address(street="", postal_code=None, town=None, country=content.seller.country),
    )
    seller, buys = parties(
        content.seller, buyer, unnamed=unnamed, categories={line.category.code for line in lines}
    )
    corrects = invoice.corrects
    return en.Document(
        type_code=en.CREDIT_NOTE if corrects else en.INVOICE,
        number=invoice.number,
        day=invoice.issued_at.date(),
        currency=content.currency,
        account=content.account,
        reference=None if buyer is None else buyer.reference,
        preceding=en.Preceding(corrects.number, corrects.issued_at.date()) if corrects else None,
        notes=_notes(invoice, words),
        seller=seller,
        buyer=buys,
        begin=content.begin,
        end=content.end,
        delivery=en.Delivery(day=content.end),
        means=_MEANS,
        terms=content.terms or words.due_later,
        lines=lines,
        adjustments=adjustments,
        breakdown=en.breakdown(
            lines,
            adjustments,
            [(kind(t.category), money(t.amount_minor)) for t in figures.taxes],
            zero=money(0),
        ),
        totals=en.Totals(
            lines=money(sum(line.before_taxes_minor for line in figures.lines)),
            allowances=money(sum(a.amount_minor for a in figures.allowances)),
            charges=money(sum(c.amount_minor for c in figures.charges)),
            net=money(figures.total_before_taxes_minor),
            tax=money(sum(t.amount_minor for t in figures.taxes)),
            gross=money(figures.total_after_taxes_minor),
            paid=money(0),
            rounding=money(figures.rounding_minor),
            due=money(figures.payable_minor),
        ),
    )


def sheet(invoice: CollectiveInvoice, buyer: Buyer | None, language: str) -> Sheet:
    """The collective invoice as a person reads it."""
    content, figures, corrects = invoice.content, invoice.content.figures, invoice.corrects
    words = words_in(language)
    told = Numbers(words, currency=content.currency, time_zone=content.time_zone)
    name = words.credit_note if corrects else words.collective
    energy_wh = sum(s.energy_wh for s in content.sessions)
    facts = [Row(words.account, content.account), Row(words.month, told.month(content.begin))]
    if content.sessions:
        facts += [
            Row(words.sessions, told.number(len(content.sessions))),
            Row(words.energy, words.kwh(energy_wh)),
        ]
    remarks = [
        words.corrects.format(number=corrects.number, day=told.day(corrects.issued_at)) if corrects else "",
        f"{words.reason}: {corrects.reason}" if corrects else "",
        *zero_tax_remarks(figures, content.zero_tax, words),
    ]
    rounding = figures.rounding_minor
    return Sheet(
        words=words,
        title=f"{name} {invoice.number}",
        issued=told.day(invoice.issued_at),
        subject=words.collective_part,
        seller=seller_lines(content.seller, words),
        buyer=buyer_lines(buyer, words),
        place=(),
        facts=tuple(facts),
        items=tuple(_items(invoice, words, told)),
        adjustments=adjusted(figures, words, told),
        net=Row(words.net, told.money(figures.total_before_taxes_minor)),
        taxes=taxed(figures, words, told),
        rounding=Row(words.rounding, told.money(rounding)) if rounding else None,
        total=Row(words.total, told.money(figures.payable_minor)),
        payment=(Row(content.terms or words.due_later, told.money(figures.payable_minor)),),
        remarks=tuple(remark for remark in remarks if remark),
        footer=f"{words.account} {content.account}",
        basis="",
    )


def _items(invoice: CollectiveInvoice, words: Words, told: Numbers) -> Iterator[Item]:
    for entry in _entries(invoice, words, told):
        basis = words.with_tax if entry.tax_included else words.without_tax
        made = item(entry.line, words, told, basis=basis, name=entry.name)
        notes = (entry.note, made.note)
        yield msgspec.structs.replace(made, note=" · ".join(note for note in notes if note))


def _entries(invoice: CollectiveInvoice, words: Words, told: Numbers | None = None) -> Iterator[_Entry]:
    """Every line with its session or fee; those of a part of the invoice stand for themselves."""
    content = invoice.content
    if invoice.corrects is not None and not invoice.corrects.whole:
        for line in content.figures.lines:
            yield _Entry(line, words.credited_part, "", tax_included=False)
        return
    for s in content.sessions:
        note = f"{_begun(s, told)}, {s.evse_id}"
        for line in s.figures.lines:
            yield _Entry(line, words.dimensions[line.dimension], note, s.tax_included)
    for f in content.fees:
        name = words.fee.format(name=f.name, period=_period(f.period, told))
        yield _Entry(f.line, name, "", f.tax_included)


def _period(period: str, told: Numbers | None) -> str:
    """A month by its name where a person reads it."""
    if told is None or "-" not in period:
        return period
    return told.month(date(int(period[:4]), int(period[5:]), 1))


def _begun(session: BilledSession, told: Numbers | None) -> str:
    return session.begin.isoformat() if told is None else told.minute(session.begin)


def _notes(invoice: CollectiveInvoice, words: Words) -> tuple[str, ...]:
    content, corrects = invoice.content, invoice.corrects
    reason = () if corrects is None else (f"{words.reason}: {corrects.reason}",)
    return (*reason, f"{words.account}: {content.account}", f"{words.month}: {content.month}")


def _table(invoice: CollectiveInvoice, buyer: Buyer | None) -> Iterator[dict[str, object]]:
    content, corrects = invoice.content, invoice.corrects
    shared: dict[str, object] = {
        "number": invoice.number,
        "issued_at": invoice.issued_at.isoformat(),
        "account": content.account,
        "payment": "account",
        "currency": content.currency,
        "document": "credit_note" if corrects else "collective_invoice",
        "corrects": corrects and corrects.number,
        "buyer": buyer and buyer.name,
        "buyer_vat_id": buyer and buyer.vat_id,
    }
    sign = -1 if corrects else 1
    if corrects is not None and not corrects.whole:
        yield from accounting.of_lines(
            content.figures, shared, content.currency, sign=sign, tax_included=False
        )
    for s in content.sessions:
        named = {
            "begin": s.begin.isoformat(),
            "end": s.end.isoformat(),
            "evse_id": s.evse_id,
            "session_id": s.session_id,
        }
        yield from accounting.of_lines(
            s.figures, shared | named, content.currency, sign=sign, tax_included=s.tax_included
        )
    for f in content.fees:
        one = msgspec.structs.replace(content.figures, lines=(f.line,))
        yield from accounting.of_lines(one, shared, content.currency, sign=sign, tax_included=f.tax_included)
    yield from accounting.of_totals(content.figures, shared, content.currency, sign=sign)


def file_name(form: Format, invoice: CollectiveInvoice) -> str:
    """`<number>.<format>.<suffix>`."""
    return f"{invoice.number.replace('/', '-').lstrip('.')}.{form.name}.{form.suffix}"
