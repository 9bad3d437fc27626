"""The figures to pay: the one place where a price is rounded, so that the invoice's arithmetic closes
(EN 16931).

Net amounts are rounded half-up once per line, taxes once per VAT category on the sum of its lines. Minimum
and maximum prices become document allowances or charges, split over the categories so that net and gross both
come out. Where prices include tax the amount due is the rounded exact gross; what no net plus rounded tax can
reach is the invoice's rounding amount (BT-114).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from edge.domain.money import round_half_up
from edge.domain.pricing.exact import Exact
from edge.domain.tariffs.model import Dimension, TaxRate
from edge.domain.tariffs.taxes import UNTAXED, Taxes

#: What cannot be split nearer than this many minor units per category is rounding.
_ROUNDING_PER_CATEGORY = 1

Reason = Literal["minimum price", "maximum price", "amount held"]


class InvoiceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line: `quantity` in Wh, s or 1 (exact), its net amount rounded, the taxes that are on it.

    `unit_price` is the tariff's, per kWh, per hour or each, with tax if the tariff includes it. `included`
    units are a plan's.
    """

    dimension: Dimension
    unit_price: Decimal
    quantity: Exact
    before_taxes_minor: int
    taxes: tuple[TaxRate, ...] = ()
    included: bool = False


class InvoiceTax(msgspec.Struct, frozen=True, kw_only=True):
    """One tax of one VAT category: on `base_minor` net (plus the taxes of lower stacks), rounded once."""

    name: str
    percent: Decimal
    stack: int
    base_minor: int
    amount_minor: int
    category: tuple[TaxRate, ...]


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """A document allowance or charge (net, never negative) in one VAT category."""

    reason: Reason
    amount_minor: int
    taxes: tuple[TaxRate, ...] = ()


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """In minor units: lines - allowances + charges = before taxes, + taxes = after, + rounding = payable."""

    lines: tuple[InvoiceLine, ...] = ()
    taxes: tuple[InvoiceTax, ...] = ()
    allowances: tuple[Adjustment, ...] = ()
    charges: tuple[Adjustment, ...] = ()
    rounding_minor: int = 0
    total_before_taxes_minor: int = 0
    total_after_taxes_minor: int = 0
    payable_minor: int = 0


class Target(msgspec.Struct, frozen=True):
    """What the totals must be, in minor units; a side that is None follows from the other."""

    net: int | None = None
    gross: int | None = None
    reason: Reason = "maximum price"


def compose(
    lines: tuple[tuple[InvoiceLine, Taxes], ...], target: Target, known: tuple[Taxes, ...]
) -> Invoice:
    """The invoice over rounded lines that meets the target as far as tax rates allow.

    `known` are the taxes of the tariff, first the one on a charge where no line stands.
    """
    categories: list[Taxes] = []
    bases: list[int] = []
    for line, category in lines:
        if category not in categories:
            categories.append(category)
            bases.append(0)
        bases[categories.index(category)] += line.before_taxes_minor
    if not categories and target.net:
        categories, bases = [known[0]], [0]
    wanted, due = list(bases), target.gross
    if target.net is not None and target.net != sum(bases):
        wanted = spread(target.net, bases)
    if target.net is not None and due is not None:
        gap = due - _gross(categories, wanted)
        if abs(gap) > _ROUNDING_PER_CATEGORY * len(categories):
            categories += [taxes for taxes in known if taxes not in categories]
            categories, wanted, due = _bracket(categories, target.net, due, target.reason)
            bases += [0] * (len(categories) - len(bases))
    allowances: list[Adjustment] = []
    charges: list[Adjustment] = []
    for category, base, want in zip(categories, bases, wanted, strict=True):
        if want != base:
            adjustment = Adjustment(reason=target.reason, amount_minor=abs(want - base), taxes=category.rates)
            (charges if want > base else allowances).append(adjustment)
    taxes = tuple(
        tax
        for category, want in zip(categories, wanted, strict=True)
        if want or any(category == of_line for _, of_line in lines)
        for tax in _taxes(category, want)
    )
    before = sum(wanted)
    after = before + sum(tax.amount_minor for tax in taxes)
    payable = after if due is None else due
    return Invoice(
        lines=tuple(line for line, _ in lines),
        taxes=taxes,
        allowances=tuple(allowances),
        charges=tuple(charges),
        rounding_minor=payable - after,
        total_before_taxes_minor=before,
        total_after_taxes_minor=after,
        payable_minor=payable,
    )


def spread(total: int, weights: list[int]) -> list[int]:
    """Whole shares of `total` in proportion to the weights; the largest remainders take what is left over."""
    whole = sum(weights)
    if not whole:
        return [total, *([0] * (len(weights) - 1))]
    shares = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: -(total * weights[i] % whole))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def _gross(categories: list[Taxes], bases: list[int]) -> int:
    return sum(base + sum(c.amounts_minor(base)) for c, base in zip(categories, bases, strict=True))


def _taxes(category: Taxes, base_minor: int) -> tuple[InvoiceTax, ...]:
    return tuple(
        InvoiceTax(
            name=rate.name,
            percent=rate.percent,
            stack=rate.stack,
            base_minor=base_minor,
            amount_minor=amount_minor,
            category=category.rates,
        )
        for rate, amount_minor in zip(category.rates, category.amounts_minor(base_minor), strict=True)
    )


def _bracket(
    categories: list[Taxes], net: int, gross: int, reason: Reason
) -> tuple[list[Taxes], list[int], int]:
    """Categories, bases and the amount due that give `net` and `gross`, no base negative.

    The two categories whose rates lie around the wanted one share the net; an untaxed category stands in
    where every rate is above it. Where every rate is below it no invoice has that much tax: a maximum then
    leaves the net and asks for less, a minimum asks for more net, so that both limits hold.
    """
    highest = max(range(len(categories)), key=lambda i: categories[i].factor)
    factor = categories[highest].factor
    wanted = [0] * len(categories)
    if gross > net * factor:
        wanted[highest] = net if reason == "maximum price" else round_half_up(gross / factor)
        due = _gross(categories, wanted) if reason == "maximum price" else gross
        return categories, wanted, due
    if all(gross < net * c.factor for c in categories):
        categories, wanted = [*categories, UNTAXED], [*wanted, 0]
    low = max(
        (i for i, c in enumerate(categories) if net * c.factor <= gross), key=lambda i: categories[i].factor
    )
    above = (i for i, c in enumerate(categories) if net * c.factor >= gross)
    high = min(above, key=lambda i: categories[i].factor)
    span = categories[high].factor - categories[low].factor
    share = round_half_up((gross - net * categories[low].factor) / span) if span else 0
    wanted[high] += share
    wanted[low] += net - share
    return categories, wanted, gross
