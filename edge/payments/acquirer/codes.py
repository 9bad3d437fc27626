"""What the host's answer (DE39) means for a hold. ISO 8583:1987, annex A: response codes."""

from __future__ import annotations

from typing import Final

APPROVED: Final = frozenset(("00", "08", "11"))

#: Approved for less than was asked; DE4 says how much.
PARTIAL: Final = "10"

#: The host has had this message before, under the same numbers.
DUPLICATE: Final = "94"

#: Reasons that the screen has words for, by code.
_REASONS: Final = {
    "14": "card_not_accepted",
    "30": "failed",  # a format error: the operator has to look, the driver cannot help it
    "33": "card_expired",
    "36": "card_blocked",
    "41": "card_blocked",
    "43": "card_blocked",
    "51": "insufficient_funds",
    "54": "card_expired",
    "55": "pin_required",
    "61": "amount_refused",
    "62": "card_blocked",
    "65": "amount_refused",
    "91": "no_connection",
    "92": "no_connection",
    "96": "no_connection",
}

#: A plain no of the issuer, and every code without a word of its own.
_OTHER: Final = "card_declined"


def reason(code: str) -> str:
    """Why not, as the screen and the journal have it."""
    return _REASONS.get(code, _OTHER)
