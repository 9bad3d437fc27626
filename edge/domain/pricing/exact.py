"""Exact quantities and amounts that survive JSON: a whole number, or a text such as `4000/3`."""

from __future__ import annotations

from fractions import Fraction

#: What stands in facts that are stored. Zero is 0, never `0/1`.
Exact = int | str


def exact(value: Fraction | int) -> Exact:
    """The storable form of a rational number."""
    if isinstance(value, int):
        return value
    return value.numerator if value.denominator == 1 else f"{value.numerator}/{value.denominator}"


def rational(value: Exact) -> Fraction | int:
    """The number behind its storable form."""
    if isinstance(value, int):
        return value
    numerator, denominator = value.split("/")
    return Fraction(int(numerator), int(denominator))


def ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
