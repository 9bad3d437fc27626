"""Taxes on a price, also those that lie on other taxes (OCPP 2.1 TaxRateType.stack), and prices as they are
shown.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import msgspec

from edge.domain.tariffs.model import PriceComponent, Tariff, TaxRate

#: More decimals than a price of 30 has with five taxes on it: what has more has no end.
_DECIMALS_MAX = 400


class Taxes(msgspec.Struct, frozen=True):
    """A set of taxes. `parts` are the fractions of the net price that each one is, `factor` gross by net."""

    rates: tuple[TaxRate, ...] = ()
    parts: tuple[Fraction, ...] = ()
    factor: Fraction = Fraction(1)

    def amounts_minor(self, base_minor: int) -> list[int]:
        """Each tax on a net base of minor units, rounded half-up; a base is never negative."""
        return [
            (2 * base_minor * part.numerator + part.denominator) // (2 * part.denominator)
            for part in self.parts
        ]


UNTAXED = Taxes()


def stacked(rates: tuple[TaxRate, ...]) -> Taxes:
    """Taxes of stack 0 are on the net price, those of a higher stack on it and all taxes of lower stacks."""
    parts: dict[int, Fraction] = {}
    factor = Fraction(1)
    for level in sorted({rate.stack for rate in rates}):
        here = [i for i, rate in enumerate(rates) if rate.stack == level]
        for i in here:
            parts[i] = factor * Fraction(rates[i].percent) / 100
        factor += sum(parts[i] for i in here)
    return Taxes(rates, tuple(parts[i] for i in range(len(rates))), factor)


def gross_price(tariff: Tariff, component: PriceComponent) -> Fraction:
    """The price of a component with every tax, exactly."""
    price = Fraction(component.price)
    return price if tariff.tax_included == "YES" else price * stacked(component.taxes).factor


def exact_decimal(value: Fraction) -> Decimal | None:
    """The value as a finite decimal, or None where it has none that could be shown."""
    scaled = value * 10**_DECIMALS_MAX
    if scaled.denominator != 1:
        return None
    digits = f"{scaled.numerator:0{_DECIMALS_MAX + 1}d}"
    return Decimal(f"{digits[:-_DECIMALS_MAX]}.{digits[-_DECIMALS_MAX:].rstrip('0')}")
