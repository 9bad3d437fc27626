"""Result codes of the terminal: what each says, and which reason a driver can be told (ZVT 13.13, chapter 10)."""

from __future__ import annotations

from typing import Final

from edge.domain.terminal import Reason

OK: Final = 0x00
CARD_UNREADABLE: Final = 0x64
ABORTED: Final = 0x6C
WRONG_CURRENCY: Final = 0x6F
PLEASE_WAIT: Final = 0x9C
OPEN_RECEIPTS: Final = 0xB8

#: Up to here a code comes from the network operator or the card's issuer, not from the terminal.
_HOST_CODE_MAX: Final = 99

_CODES: Final[dict[int, tuple[str, Reason]]] = {
    0x64: ("card not readable", "card_unreadable"),
    0x65: ("card data not present", "card_unreadable"),
    0x66: ("processing error", "terminal_fault"),
    0x67: ("function not permitted for this kind of card", "card_not_accepted"),
    0x68: ("function not permitted for credit and fleet cards", "card_not_accepted"),
    0x6A: ("turnover file full", "terminal_fault"),
    0x6B: ("function deactivated: not registered", "terminal_fault"),
    0x6C: ("aborted by timeout or key", "cancelled"),
    0x6E: ("card in blocked list", "card_blocked"),
    0x6F: ("wrong currency", "terminal_fault"),
    0x71: ("credit not sufficient", "insufficient_funds"),
    0x72: ("chip error", "card_unreadable"),
    0x73: ("card data incorrect", "card_unreadable"),
    0x74: ("DUKPT engine exhausted", "terminal_fault"),
    0x75: ("text not authentic", "terminal_fault"),
    0x76: ("card not in white list", "card_not_accepted"),
    0x77: ("end-of-day batch not possible", "terminal_fault"),
    0x78: ("card expired", "card_expired"),
    0x79: ("card not yet valid", "card_not_accepted"),
    0x7A: ("card unknown", "card_not_accepted"),
    0x7B: ("fallback to the magnetic stripe not possible", "card_unreadable"),
    0x7C: ("fallback to the magnetic stripe not possible", "card_unreadable"),
    0x7D: ("communication error", "no_connection"),
    0x7E: ("fallback to the magnetic stripe not possible", "card_unreadable"),
    0x83: ("function not possible", "terminal_fault"),
    0x85: ("key missing", "terminal_fault"),
    0x89: ("PIN pad defective", "terminal_fault"),
    0x9A: ("protocol error", "terminal_fault"),
    0x9B: ("dial-up or communication fault", "no_connection"),
    0x9C: ("please wait", "terminal_busy"),
    0xA0: ("receiver not ready", "terminal_busy"),
    0xA1: ("remote station does not respond", "no_connection"),
    0xA3: ("no connection", "no_connection"),
    0xA5: ("function not allowed by PCI rules", "terminal_fault"),
    0xB1: ("memory full", "terminal_fault"),
    0xB2: ("merchant journal full", "terminal_fault"),
    0xB4: ("already reversed", "already_reversed"),
    0xB5: ("reversal not possible", "receipt_unknown"),
    0xB7: ("amount of the pre-authorization wrong or too high", "amount_refused"),
    0xB8: ("error of the pre-authorization", "receipt_unknown"),
    0xBF: ("supply voltage too low", "terminal_fault"),
    0xC0: ("card locking mechanism defective", "terminal_fault"),
    0xC1: ("merchant card locked", "terminal_fault"),
    0xC2: ("diagnosis required", "terminal_fault"),
    0xC3: ("maximum amount exceeded", "amount_refused"),
    0xC4: ("card profile invalid", "terminal_fault"),
    0xC5: ("payment method not supported", "card_not_accepted"),
    0xC6: ("currency not applicable", "terminal_fault"),
    0xC8: ("amount too small", "amount_refused"),
    0xC9: ("transaction amount too small", "amount_refused"),
    0xCB: ("function only allowed in euro", "terminal_fault"),
    0xCC: ("printer not ready", "terminal_fault"),
    0xD2: ("function not permitted for this kind of card", "card_not_accepted"),
    0xDC: ("card inserted", "card_unreadable"),
    0xDD: ("error while ejecting the card", "terminal_fault"),
    0xDE: ("error while inserting the card", "card_unreadable"),
    0xE0: ("remote maintenance active", "terminal_busy"),
    0xE2: ("card reader does not answer", "terminal_fault"),
    0xE3: ("shutter closed", "terminal_fault"),
    0xE4: ("terminal activation required", "terminal_fault"),
    0xEA: ("card code not permitted", "card_not_accepted"),
    0xEB: ("PIN algorithm unknown", "terminal_fault"),
    0xEC: ("PIN processing not possible", "pin_required"),
    0xED: ("PIN pad defective", "terminal_fault"),
    0xF0: ("open end-of-day batch present", "terminal_busy"),
    0xF1: ("offline error", "no_connection"),
    0xFA: ("error transmitting offline transactions", "no_connection"),
    0xFB: ("turnover record defective", "terminal_fault"),
    0xFC: ("a device is missing or defective", "terminal_fault"),
    0xFF: ("system error", "terminal_fault"),
}

#: Response codes of hosts (ISO 8583 field 39, as a binary byte) that a driver can do something about; others
#: are "declined".
_HOST_CODES: Final[dict[int, Reason]] = {
    4: "card_blocked",
    33: "card_expired",
    41: "card_blocked",
    43: "card_blocked",
    51: "insufficient_funds",
    54: "card_expired",
    55: "pin_required",
    57: "card_not_accepted",
    61: "amount_refused",
    62: "card_blocked",
    65: "amount_refused",
}


def meaning(code: int) -> str:
    """What a result code says, for whoever services the terminal."""
    if 0 < code <= _HOST_CODE_MAX:
        return f"declined by the issuer or network (code {code:02})"
    return _CODES.get(code, (f"result code {code:02X}", "terminal_fault"))[0]


def reason(code: int) -> Reason:
    """Why not, as the driver's screen has words for."""
    if code <= _HOST_CODE_MAX:
        return _HOST_CODES.get(code, "card_declined")
    return _CODES.get(code, ("", "terminal_fault"))[1]
