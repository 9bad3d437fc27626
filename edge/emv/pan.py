"""What a card number (PAN) is, and the one way in which it may be shown.

ISO/IEC 7812-1: up to 19 digits, the first of which name the issuer, the last of which is a Luhn digit.
PCI DSS 3.4.1 allows the first six and the last four digits to be shown.
"""

from __future__ import annotations

from typing import Final

#: Below 13 digits no scheme issues payment cards; ISO/IEC 7812-1 ends at 19.
PAN_MIN: Final = 13
PAN_MAX: Final = 19

_SHOWN_FIRST: Final = 6
_SHOWN_LAST: Final = 4
HIDDEN: Final = "*"

#: What schemes issue, by first digit: from two or four digits, to, and the lengths. ISO/IEC 7812 leaves 0 and
#: 1 and most of 8 and 9 to others than payment cards.
_ISSUED: Final[dict[str, tuple[tuple[int, int, range | tuple[int, ...]], ...]]] = {
    "0": (),
    "1": (),
    "2": ((2221, 2720, (16,)), (2200, 2204, range(16, 20))),  # Mastercard, Mir
    "3": (
        (34, 34, (15,)),  # American Express
        (37, 37, (15,)),
        (30, 30, range(14, 20)),  # Diners Club
        (36, 36, range(14, 20)),
        (38, 39, range(14, 20)),
        (3528, 3589, range(16, 20)),  # JCB
    ),
    "4": ((40, 49, (13, 16, 18, 19)),),  # Visa
    "5": ((51, 55, (16,)), (50, 50, range(13, 20)), (56, 59, range(13, 20))),  # Mastercard, Maestro
    "6": ((60, 69, range(13, 20)),),  # Maestro, girocard, UnionPay, Discover, RuPay
    "7": (),
    "8": ((81, 82, range(16, 20)),),  # UnionPay, RuPay
    "9": ((9792, 9792, (16,)),),  # Troy
}

_ODD_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def truncate(digits: str) -> str:
    """`5413330089020044` as `541333******0044`; what is too short for a PAN is hidden whole."""
    if len(digits) < PAN_MIN:
        return HIDDEN * len(digits)
    hidden = HIDDEN * (len(digits) - _SHOWN_FIRST - _SHOWN_LAST)
    return digits[:_SHOWN_FIRST] + hidden + digits[-_SHOWN_LAST:]


def is_pan(digits: str) -> bool:
    """True for 13 to 19 digits with a right Luhn digit that a payment scheme may have issued."""
    return PAN_MIN <= len(digits) <= PAN_MAX and _is_issued(digits) and luhn(digits)


def luhn(digits: str) -> bool:
    """The check of ISO/IEC 7812-1 annex B."""
    total = 0
    for i, c in enumerate(reversed(digits)):
        total += _ODD_DOUBLED[ord(c) - 48] if i & 1 else ord(c) - 48
    return total % 10 == 0


def _is_issued(digits: str) -> bool:
    length, two, four = len(digits), int(digits[:2]), int(digits[:4])
    return any(
        first <= (two if first < 100 else four) <= last and length in lengths
        for first, last, lengths in _ISSUED[digits[0]]
    )
