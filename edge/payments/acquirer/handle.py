"""What the journal keeps of a hold at the acquirer: enough to end it after any restart, and no card data.

Written before the request that it names goes out; a repeat uses the same numbers.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta

from edge.emv.scrub import has_card_data
from edge.payments.acquirer.errors import AcquirerFailed

#: ISO 8583: six digits each; 0 is not used.
STAN_MAX: Final = 999_999

#: A payment is not given back in more parts than this; it bounds the note.
REFUNDS_MAX: Final = 8

#: A host's name for a hold is a number of a few dozen digits; a note is written to the journal and sent upstream.
_NAME_MAX: Final = 99

Stan = Annotated[int, Meta(ge=1, le=STAN_MAX)]
Rrn = Annotated[str, Meta(pattern=r"^[0-9]{12}$")]


class HandleBroken(AcquirerFailed):
    """The journal has a note that this link did not write."""

    code: ClassVar[str] = "acquirer.note"
    retryable: ClassVar[bool] = False
    hint = "the payment belongs to another version of the till, or to another way to pay"


class Step(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One request: its STAN (DE11), when it was first made (DE7; seconds since 1970), and its amount (DE4)."""

    stan: Stan
    at_s: int
    amount_minor: int


class Giving(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A refund, under a reference of its own; `settled` once it was answered."""

    ref: str
    rrn: Rrn
    step: Step
    settled: bool = False


class Handle(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One payment. `rrn` (DE37) is the same in all its messages but refunds.

    `code`: DE38 of the approval. `name`: what the host calls the hold, in the field that it wants back.
    `hold_minor`: None until it was approved.
    `extension`, `extension_void`: an increment whose answer is not known, and the reversal of it.
    """

    rrn: Rrn
    currency: str
    authorization: Step
    code: str | None = None
    name: str | None = None
    hold_minor: int | None = None
    extension: Step | None = None
    extension_void: Step | None = None
    completion: Step | None = None
    reversal: Step | None = None
    refunds: tuple[Giving, ...] = ()

    def stans(self) -> frozenset[int]:
        """Every number that this payment has used and may still repeat."""
        steps = (
            self.authorization, self.extension, self.extension_void, self.completion, self.reversal,
            *(g.step for g in self.refunds),
        )  # fmt: skip
        return frozenset(s.stan for s in steps if s is not None)


def write(handle: Handle) -> str:
    """Compact JSON."""
    return msgspec.json.encode(handle).decode()


def read(note: str) -> Handle:
    """Raises HandleBroken."""
    try:
        return msgspec.json.decode(note, type=Handle)
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise HandleBroken("the note of a payment cannot be read") from None


def stans(note: str) -> frozenset[int]:
    """The numbers in use by a payment; none where the note is not ours."""
    try:
        return read(note).stans()
    except HandleBroken:
        return frozenset()


def harmless(text: str | None) -> str | None:
    """What a host calls something, fit for the journal: None where it is too long, or holds a card number."""
    return None if not text or len(text) > _NAME_MAX or has_card_data(text) else text


#: ISO 4217: the numbers that DE49 has, for the currencies in which energy is sold at chargers.
NUMBERS: Final = {
    "AED": 784, "ARS": 32, "AUD": 36, "BAM": 977, "BGN": 975, "BHD": 48, "BRL": 986, "CAD": 124, "CHF": 756,
    "CLP": 152, "CNY": 156, "COP": 170, "CZK": 203, "DKK": 208, "EGP": 818, "EUR": 978, "GBP": 826, "GEL": 981,
    "HKD": 344, "HUF": 348, "IDR": 360, "ILS": 376, "INR": 356, "ISK": 352, "JOD": 400, "JPY": 392, "KRW": 410,
    "KWD": 414, "KZT": 398, "MAD": 504, "MDL": 498, "MKD": 807, "MXN": 484, "MYR": 458, "NOK": 578, "NZD": 554,
    "OMR": 512, "PEN": 604, "PHP": 608, "PLN": 985, "QAR": 634, "RON": 946, "RSD": 941, "RUB": 643, "SAR": 682,
    "SEK": 752, "SGD": 702, "THB": 764, "TND": 788, "TRY": 949, "TWD": 901, "UAH": 980, "USD": 840, "UYU": 858,
    "VND": 704, "ZAR": 710,
}  # fmt: skip
