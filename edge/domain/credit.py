"""What a credit note says: an invoice taken back in whole or in part, to the minor unit and by VAT category (I4).

The first credit of the whole invoice repeats its lines. Every other one has a line for each VAT category: its share
of the amount. Together they never take back more than the invoice asked for, and the last one takes what is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import msgspec
from msgspec.structs import replace

from edge.domain.invoice import Invoice, InvoiceDraft, Paid
from edge.domain.money import exponent, from_minor, round_half_up
from edge.domain.pricing import Invoice as Figures
from edge.domain.pricing import InvoiceLine
from edge.domain.pricing.invoice import Target, compose, spread
from edge.domain.tariffs.model import TaxRate
from edge.domain.tariffs.taxes import stacked
from edge.errors import CallError

#: Why, in words that go on the document: a line of it.
REASON_MAX = 200

_Category = tuple[TaxRate, ...]


class CreditRefused(CallError):
    code = "credit.refused"
    exit_code = 1
    hint = "`chargetill invoice list` shows what was credited already"


class Credit(msgspec.Struct, frozen=True, kw_only=True):
    """What a credit note takes back. `whole`: the invoice line by line; `full`: nothing of it is left afterwards."""

    figures: Figures
    whole: bool
    full: bool


def left_minor(figures: Figures, before: Iterable[Figures]) -> int:
    """What is still to be paid after the credit notes before."""
    return figures.payable_minor - sum(f.payable_minor for f in before)


def credit(figures: Figures, before: Iterable[Figures], *, amount_minor: int | None, currency: str) -> Credit:
    """Take back `amount_minor` with tax, or all that is left. Raises CreditRefused."""
    earlier = tuple(before)
    left = left_minor(figures, earlier)
    wanted = left if amount_minor is None else amount_minor
    if left <= 0:
        raise CreditRefused("nothing is left of this invoice: it is credited in full")
    if not 0 < wanted <= left:
        said, most = (f"{from_minor(v, currency)} {currency}" for v in (wanted, left))
        raise CreditRefused(f"{said} cannot be credited, at most {most} can")
    if not earlier and wanted == left:
        return Credit(figures=figures, whole=True, full=True)
    bases = _left(figures, earlier)
    if wanted < left:
        bases = _share(bases, wanted)
    lines = tuple(
        (
            InvoiceLine(
                dimension="FLAT",
                unit_price=from_minor(base, currency),
                quantity=1,
                before_taxes_minor=base,
                taxes=rates,
            ),
            stacked(rates),
        )
        for rates, base in bases.items()
        if base or len(bases) == 1
    )
    return Credit(
        figures=compose(lines, Target(gross=wanted), ()),
        whole=False,
        full=wanted == left,
    )


def draft_of(invoice: Invoice, given: Credit) -> InvoiceDraft:
    """The credit note's content: the invoice's, with what is taken back and nothing paid yet."""
    draft = invoice.draft
    return replace(
        draft,
        figures=given.figures,
        tax_included=draft.tax_included and given.whole,  # the lines of a part are made of net amounts
        paid=Paid(method=draft.paid.method, hold_minor=None, captured_minor=0, status="refund"),
    )


def amount_of(text: str, currency: str) -> int:
    """An amount as a person writes it, `4.50`, in minor units. Raises CallError."""
    places = exponent(currency)
    whole, _, cents = text.strip().partition(".")
    digits = whole + cents.ljust(places, "0")
    if not (whole.isascii() and whole.isdigit() and len(cents) <= places and len(digits) <= _DIGITS_MAX):
        raise CallError(f"{text[:20]!r} is no amount in {currency}", hint=f"such as 4{'.50'[: places and 3]}")
    if cents and not (cents.isascii() and cents.isdigit()):
        raise CallError(f"{text[:20]!r} is no amount in {currency}")
    return int(digits)


#: More than any invoice of a charger, and far below a 64-bit number.
_DIGITS_MAX = 12


def _bases(figures: Figures) -> dict[_Category, int]:
    """Net by VAT category, document allowances and charges included."""
    found: dict[_Category, int] = {}
    for line in figures.lines:
        found[line.taxes] = found.get(line.taxes, 0) + line.before_taxes_minor
    for given, sign in ((figures.allowances, -1), (figures.charges, 1)):
        for a in given:
            found[a.taxes] = found.get(a.taxes, 0) + sign * a.amount_minor
    return found


def _left(figures: Figures, earlier: tuple[Figures, ...]) -> dict[_Category, int]:
    """Net that is left by category. A share was rounded by itself: it may have taken a cent too many of one."""
    bases = _bases(figures)
    for given in earlier:
        for rates, base in _bases(given).items():
            bases[rates] = bases.get(rates, 0) - base
    return {rates: max(0, base) for rates, base in bases.items()}


def _share(bases: dict[_Category, int], gross: int) -> dict[_Category, int]:
    """Net by category of a gross amount that is split as the categories' own gross amounts are."""
    factors = [stacked(rates).factor for rates in bases]
    weights = [round_half_up(base * factor) for base, factor in zip(bases.values(), factors, strict=True)]
    shares = spread(gross, weights)
    return {
        rates: min(base, round_half_up(Fraction(share) / factor)) if sum(weights) else base
        for (rates, base), share, factor in zip(bases.items(), shares, factors, strict=True)
    }
