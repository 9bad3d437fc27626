"""What the host's answer (DE39) means for a hold. ISO 8583:1987, annex A: response codes."""

from __future__ import annotations

from typing import Final

APPROVED: Final = frozenset(("00", "08", "11"))

#: Approved for less than was asked; DE4 says how much.
PARTIAL: Final = "10"

#: The host has had this message before, under the same numbers.
DUPLICATE: Final = "94"

#: Reasons for a driver, by code; everything else is a plain `declined`.
_REASONS: Final = {
    "14": "card_invalid",
    "33": "card_expired",
    "36": "card_blocked",
    "41": "card_blocked",
    "43": "card_blocked",
    "51": "insufficient_funds",
    "54": "card_expired",
    "61": "limit_reached",
    "62": "card_blocked",
    "65": "limit_reached",
    "91": "issuer_unavailable",
    "92": "issuer_unavailable",
    "96": "acquirer_unavailable",
    "30": "acquirer_format",
}


def reason(code: str) -> str:
    """Why not, as the screen and the journal have it."""
    return _REASONS.get(code, "declined")
