"""The VAT category of a price (UNTDID 5305): a rate, or why there is none."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, assert_never

import msgspec

from edge.documents.sale import NotExpressible
from edge.documents.words import Words
from edge.domain.buyer import ZeroTax
from edge.domain.tariffs import TaxRate


class Category(msgspec.Struct, frozen=True):
    """A VAT category (UNTDID 5305): S a rate, Z a rate of zero; E, AE and O are no tax at all, for a `reason` (BT-120)
    and by a VATEX `exemption` (BT-121). Outside the scope of VAT (O) there is not even a rate.
    """

    code: Literal["S", "Z", "E", "AE", "O"]
    percent: Decimal | None
    reason: str | None = None
    exemption: str | None = None

    @property
    def rate(self) -> str | None:
        """The percentage as it is written; None where there must be none."""
        return None if self.percent is None else plain(self.percent)


def category(taxes: tuple[TaxRate, ...], words: Words, zero: ZeroTax | None) -> Category:
    """The VAT category of a price's taxes; `zero` says why a price without tax has none. Raises NotExpressible where
    several taxes lie on it.
    """
    if len(taxes) > 1:
        names = ", ".join(f"{t.name} {plain(t.percent)} %" for t in taxes)
        raise NotExpressible(f"EN 16931 knows one VAT rate a line, this price has {names}")
    if taxes and taxes[0].percent:
        return Category("S", taxes[0].percent)
    if zero is None:
        return Category("Z", Decimal(0)) if taxes else Category("E", Decimal(0), words.untaxed)
    match zero.category:
        case "Z":
            return Category("Z", Decimal(0))
        case "E":
            return Category("E", Decimal(0), zero.reason or words.untaxed, zero.code or None)
        case "AE":
            reason, code = zero.reason or words.reverse_charge, zero.code or "VATEX-EU-AE"
            return Category("AE", Decimal(0), reason, code)
        case "O":
            return Category("O", None, zero.reason or words.outside_tax, zero.code or "VATEX-EU-O")
        case _:
            assert_never(zero.category)


def plain(value: Decimal) -> str:
    """Digits without exponent and without zeros at the end: 19, 7.7, 0.4118."""
    shown = format(value, "f")
    return shown.rstrip("0").rstrip(".") if "." in shown else shown
