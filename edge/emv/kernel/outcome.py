"""How a tap ends: the outcomes of EMV Contactless Book A, 6.2, and what a card was read as.

A card number never leaves here by accident: it shows itself truncated, and nothing can serialize it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, Literal, NoReturn, TypeAlias

import msgspec

from edge.emv.oda.chain import Verdict
from edge.emv.pan import truncate

#: The reasons have words on the screen.
Why: TypeAlias = Literal[
    "no_payment_card",  # no directory, or nothing in it that is taken here
    "not_accepted",  # the card will not be used like this
    "declined",  # the card said no
    "not_genuine",  # data authentication failed
    "expired",
    "limit",  # the amount is above what is taken contactless
    "verification",  # the holder would have to enter a PIN or sign, which nobody can do here
    "card_data",  # the card said what EMV does not allow
]

Verified: TypeAlias = Literal["none", "device"]

_TOKEN_BY_PAR: Final = b"par:"
_TOKEN_BY_PAN: Final = b"pan:"


class CardNumber:
    """A card number with its expiry (YYMM) and track 2, for whoever asks the acquirer. Never shown, never encoded."""

    __slots__ = ("_expiry", "_pan", "_track_2")

    def __init__(self, pan: str, *, expiry: str, track_2: str | None) -> None:
        self._pan, self._expiry, self._track_2 = pan, expiry, track_2

    def __repr__(self) -> str:
        return f"CardNumber({self.truncated})"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a card number is not serialized")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CardNumber) and (self._pan, self._expiry) == (other._pan, other._expiry)

    def __hash__(self) -> int:
        return hash((self._pan, self._expiry))

    @property
    def truncated(self) -> str:
        """First six and last four digits."""
        return truncate(self._pan)

    def reveal(self) -> tuple[str, str, str | None]:
        """Number (DE 2), expiry YYMM (DE 14) and track 2 with its separator D (DE 35), for the acquirer's line only."""
        return self._pan, self._expiry, self._track_2


class CardRead(msgspec.Struct, frozen=True, kw_only=True):
    """A card as a kernel read it. `par` is its payment account reference, the same for a card and its phones."""

    aid: str
    kernel: Literal[2, 3]
    label: str
    number: CardNumber
    par: str | None
    sequence: int | None

    def token(self, key: bytes) -> str:
        """What stands for this card, in hex: keyed HMAC over its PAR, else over number and expiry. Under one key a
        card has one token on every charger.
        """
        pan, expiry, _ = self.number.reveal()
        text = _TOKEN_BY_PAR + self.par.encode() if self.par else _TOKEN_BY_PAN + f"{pan}{expiry}".encode()
        return hmac.new(key, text, hashlib.sha256).hexdigest()


class OnlineRequest(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The card asks its issuer. `de55`: the chip data for the acquirer, in BER-TLV."""

    card: CardRead
    oda: Verdict
    verified: Verified
    de55: bytes


class Approved(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The card approved offline; `de55` is cleared later."""

    card: CardRead
    oda: Verdict
    verified: Verified
    de55: bytes


class Declined(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """No. `card` where it was read."""

    why: Why
    detail: str = ""
    card: CardRead | None = None


class TryAnotherInterface(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Not over this reader; perhaps at a terminal with a slot and a PIN pad."""

    why: Why
    detail: str = ""


class TryAgain(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The same card once more."""

    detail: str = ""


class SeePhone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The phone wants something of its owner first; then once more."""


class EndApplication(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The card cannot pay here; another one may."""

    why: Why
    detail: str = ""


class SelectNext(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Not with this application of the card; another one of it may do. Never the end of a tap."""

    why: Why
    detail: str = ""


Outcome: TypeAlias = (
    OnlineRequest | Approved | Declined | TryAnotherInterface | TryAgain | SeePhone | EndApplication
)
