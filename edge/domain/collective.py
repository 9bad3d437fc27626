"""The collective invoice of an account: a month's sessions and the fees of its plans, in one document (I4).

Each session was rounded when its driver saw what it costs; the sum of these is what is payable. VAT is rounded once per
category on the whole invoice (EN 16931), and what lies between the two is the rounding amount (BT-114).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from fractions import Fraction

import msgspec
from msgspec.structs import replace

from edge.domain.buyer import ZeroTax
from edge.domain.credit import Credit
from edge.domain.invoice import Correction, Seller
from edge.domain.money import round_half_up, to_minor
from edge.domain.plan import Fee, Plan
from edge.domain.pricing import Adjustment, InvoiceLine, InvoiceTax
from edge.domain.pricing import Invoice as Figures
from edge.domain.tariffs.model import TaxRate
from edge.domain.tariffs.taxes import stacked


class BilledSession(msgspec.Struct, frozen=True, kw_only=True):
    """One session as its statement has it. `begin` and `end` carry the offset of the place's own time."""

    site: str
    device: str
    session_id: str
    evse_id: str
    begin: datetime
    end: datetime
    energy_wh: int
    tax_included: bool
    figures: Figures


class BilledFee(msgspec.Struct, frozen=True, kw_only=True):
    """The fee of a plan for one of its billing periods, `2026-11` or `2026`. `line` is what it costs."""

    plan_id: str
    name: str
    period: str
    tax_included: bool
    line: InvoiceLine
    payable_minor: int


class Collective(msgspec.Struct, frozen=True, kw_only=True):
    """All of a collective invoice but its number and issue date. `begin` and `end` are the first and last day."""

    account: str
    month: str
    begin: date
    end: date
    currency: str
    seller: Seller
    time_zone: str
    figures: Figures
    sessions: tuple[BilledSession, ...] = ()
    fees: tuple[BilledFee, ...] = ()
    terms: str = ""
    buyer: str | None = None
    zero_tax: ZeroTax | None = None


class CollectiveInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed collective invoice, or a credit note where it `corrects` one."""

    number: str
    series: str
    sequence: int
    issued_at: datetime
    content: Collective
    corrects: Correction | None = None


def fee(plan: Plan, price: Fee, *, period: str, currency: str, tax_included: bool) -> BilledFee:
    """A plan's fee with its net amount and what the member pays, each rounded once."""
    taxes = stacked(price.taxes)
    if tax_included:
        gross = to_minor(Fraction(price.price), currency)
        net = round_half_up(Fraction(gross) / taxes.factor)
    else:
        net = to_minor(Fraction(price.price), currency)
        gross = net + sum(taxes.amounts_minor(net))
    line = InvoiceLine(
        dimension="FLAT", unit_price=price.price, quantity=1, before_taxes_minor=net, taxes=price.taxes
    )
    return BilledFee(
        plan_id=plan.id,
        name=plan.name or plan.id,
        period=period,
        tax_included=tax_included,
        line=line,
        payable_minor=gross,
    )


def together(sessions: Iterable[BilledSession], fees: Iterable[BilledFee]) -> Figures:
    """The figures of all of them: every line, adjustments summed by reason and VAT category, VAT once per category."""
    sold, paid = tuple(sessions), tuple(fees)
    lines = (*(line for s in sold for line in s.figures.lines), *(f.line for f in paid))
    allowances = _summed(a for s in sold for a in s.figures.allowances)
    charges = _summed(c for s in sold for c in s.figures.charges)
    bases: dict[tuple[TaxRate, ...], int] = {}
    for line in lines:
        bases[line.taxes] = bases.get(line.taxes, 0) + line.before_taxes_minor
    for given, sign in ((allowances, -1), (charges, 1)):
        for a in given:
            bases[a.taxes] = bases.get(a.taxes, 0) + sign * a.amount_minor
    taxes = tuple(
        InvoiceTax(
            name=rate.name,
            percent=rate.percent,
            stack=rate.stack,
            base_minor=base,
            amount_minor=amount,
            category=rates,
        )
        for rates, base in bases.items()
        for rate, amount in zip(rates, stacked(rates).amounts_minor(base), strict=True)
    )
    before = sum(bases.values())
    after = before + sum(tax.amount_minor for tax in taxes)
    payable = sum(s.figures.payable_minor for s in sold) + sum(f.payable_minor for f in paid)
    return Figures(
        lines=lines,
        taxes=taxes,
        allowances=allowances,
        charges=charges,
        rounding_minor=payable - after,
        total_before_taxes_minor=before,
        total_after_taxes_minor=after,
        payable_minor=payable,
    )


def has_untaxed(figures: Figures) -> bool:
    """Whether some price in it bears no tax."""
    taxes = [line.taxes for line in figures.lines]
    taxes += [a.taxes for a in (*figures.allowances, *figures.charges)]
    return any(not any(rate.percent for rate in rates) for rates in taxes)


def taken_back(invoice: CollectiveInvoice, given: Credit) -> Collective:
    """The content of a credit note: the whole again, or a part that names no session."""
    if given.whole:
        return invoice.content
    return replace(invoice.content, figures=given.figures, sessions=(), fees=())


def _summed(given: Iterable[Adjustment]) -> tuple[Adjustment, ...]:
    sums: dict[tuple[str, tuple[TaxRate, ...]], Adjustment] = {}
    for a in given:
        known = sums.get((a.reason, a.taxes))
        amount = a.amount_minor + (known.amount_minor if known else 0)
        sums[a.reason, a.taxes] = replace(a, amount_minor=amount)
    return tuple(sums.values())
