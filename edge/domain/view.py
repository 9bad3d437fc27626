"""What the driver sees: one view per state of an EVSE, facts that a page draws without deciding anything."""

from __future__ import annotations

from typing import Literal

import msgspec

#: Each state of the screen; the page has one picture for each.
Kind = Literal[
    "starting_up",  # the till reads its devices
    "out_of_order",  # `reason` says why
    "idle",  # price and "hold your card here"
    "authorizing",  # the card is being checked
    "plug_in",  # accepted: connect the cable within `seconds_left`
    "preparing",  # cable is in, begin reading and contactor
    "charging",
    "suspended",  # the car takes no power: `by` says who pauses
    "stopping",
    "paid",  # total, how it was paid, receipt
    "ended",  # nothing to pay; `reason` says what happened
]


class PriceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the price in the driver's words: a label, an amount, and when it applies."""

    label: str
    amount: str
    note: str = ""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A passing message beside the view, such as `card_unknown`; the page has the words for each code."""

    code: str
    serial: int


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One EVSE's screen. Amounts in minor units, energy in Wh, durations in whole seconds; None is not known.

    `offered_hold_minor` is what a bank card's tap will reserve, None while none can pay; `terminal`: a payment
    terminal takes cards. `hold_minor` is what a tap has reserved; charging stops before that is used up. `pending`:
    the payment is being confirmed, and the receipt is provisional. `stop_code` is shown while the session starts; it
    stops on the screen what is `stoppable`. `choosing`: a tap waits for the driver to choose this EVSE or another
    one on the screen. `fallback`: the price is the one for when the clock is not set.
    """

    evse_id: str
    label: str
    kind: Kind
    reason: str | None = None
    by: Literal["ev", "evse"] | None = None
    vehicle_connected: bool | None = None
    price: dict[str, tuple[PriceLine, ...]] = {}
    fallback: bool = False
    currency: str = "EUR"
    exponent: int = 2
    offered_hold_minor: int | None = None
    terminal: bool = False
    hold_minor: int | None = None
    seconds_left: int | None = None
    began: str | None = None
    energy_wh: int | None = None
    seconds: int | None = None
    power_w: int | None = None
    cost_minor: int | None = None
    paid_method: str | None = None
    invoice_number: str | None = None
    receipt_url: str | None = None
    estimated: bool = False
    pending: bool = False
    online: bool | None = None
    notice: Notice | None = None
    stop_code: str | None = None
    stoppable: bool = False
    choosing: bool = False
