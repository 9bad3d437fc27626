"""What a payment terminal says: facts and answers, of whatever protocol.

Every money command ends in one of three answers. `Done` and `Declined` are certain. `InDoubt` is not: the
command went out and the reply was lost, so it may or may not have taken effect (I2). Who asked reconciles; it is
never sent again blindly.
"""

from __future__ import annotations

from typing import Literal

import msgspec

#: Why not, in codes that the driver's screen has words for.
Reason = Literal[
    "already_reversed",
    "amount_refused",
    "cancelled",
    "card_blocked",
    "card_declined",
    "card_expired",
    "card_not_accepted",
    "card_unreadable",
    "holds_open",
    "insufficient_funds",
    "no_connection",
    "pin_required",
    "receipt_unknown",
    "terminal_busy",
    "terminal_fault",
]


class Done(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It took effect. `receipt_no` is the number of this step: for a reservation the one that every later step
    on the hold names, for the others one of their own. `amount_minor` is what the terminal says, if it says.

    Nothing here identifies the card.
    """

    receipt_no: int | None = None
    amount_minor: int | None = None
    trace_no: int | None = None
    terminal_id: int | None = None
    card_name: str | None = None


class Declined(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A plain no: nothing has changed. `code` is the terminal's own (None where the till itself said no)."""

    reason: Reason
    code: int | None = None
    text: str = ""


class InDoubt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The reply is lost. `seen` is what had been heard before, where anything was: no proof, but a lead."""

    why: str
    seen: Done | None = None


Answer = Done | Declined | InDoubt


class BankCard(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A card or phone that pays. `token` is the terminal's own name for the card, `par` its payment account
    reference (EMV tag 9F24): either recognizes it, where the terminal gives one. `uid` is canonical hex, None
    where it is drawn anew at each tap.
    """

    token: str | None = None
    par: str | None = None
    uid: str | None = None


class MemberCard(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A card with no payment application. `uid` in the order of the air interface."""

    uid: bytes


class NoCard(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Nobody came, or what came cannot be read."""

    reason: Reason
    code: int


Presented = BankCard | MemberCard | NoCard


class OpenReceipts(msgspec.Struct, frozen=True, kw_only=True):
    """Receipt numbers of holds that the terminal still has. Unless `complete`, there may be more."""

    numbers: tuple[int, ...]
    complete: bool


class TerminalState(msgspec.Struct, frozen=True, kw_only=True):
    """What the terminal says of itself. `code` 0 is ready."""

    code: int
    ready: bool
    text: str
    device_name: str | None = None
    software: str | None = None
    terminal_id: int | None = None
