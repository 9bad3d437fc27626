"""Money: integers in the currency's minor unit, and the one place where an exact amount is rounded to it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

#: ISO 4217 currencies whose minor unit is not a hundredth: the exponent of each.
_EXPONENTS = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


def exponent(currency: str) -> int:
    """Decimal places of the ISO 4217 minor unit: 2 for EUR, 0 for JPY, 3 for KWD."""
    return _EXPONENTS.get(currency, 2)


def round_half_up(exact: Fraction) -> int:
    """The nearest integer; halves go away from zero, as tax offices round."""
    n, d = abs(exact.numerator), exact.denominator
    rounded = (2 * n + d) // (2 * d)
    return rounded if exact >= 0 else -rounded


def to_minor(exact: Fraction, currency: str) -> int:
    """An exact amount of major units (1.005 EUR) in minor units (101), rounded half-up."""
    return round_half_up(exact * 10 ** exponent(currency))


def from_minor(amount_minor: int, currency: str) -> Decimal:
    """Minor units as a decimal of major units with all its places: 101 EUR cents are 1.01."""
    return Decimal(amount_minor).scaleb(-exponent(currency))
