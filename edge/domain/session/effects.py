"""What the machine wants done, as data. An effect runs only after the commit of the step that asked for it."""

from __future__ import annotations

import msgspec

from edge.domain.buyer import BuyerRecord
from edge.domain.identity import IdToken
from edge.domain.invoice import InvoiceDraft
from edge.domain.ledger.facts import Fact
from edge.domain.payment import Method
from edge.domain.session.state import EvseState


class Preauthorize(msgspec.Struct, frozen=True, kw_only=True):
    """Hold up to `amount_minor`. Asked again under the same `ref` after a crash."""

    ref: str
    method: Method
    amount_minor: int
    currency: str
    token: IdToken


class Extend(msgspec.Struct, frozen=True, kw_only=True):
    """Ask for a hold of `amount_minor` in all. Never asked twice: no answer is a no."""

    ref: str
    method: Method
    amount_minor: int
    currency: str


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    ref: str
    method: Method
    amount_minor: int
    currency: str


class Reverse(msgspec.Struct, frozen=True, kw_only=True):
    ref: str
    method: Method


class ReadBegin(msgspec.Struct, frozen=True, kw_only=True):
    """Confirm a begin reading and who the meter is; a meter that signs begins to, with the price in words."""

    session_id: str
    tariff_text: str


class ReadEnd(msgspec.Struct, frozen=True, kw_only=True):
    """Confirm an end reading once the contactor is open; a meter that signs gives its record.

    After a power cut some meters want the price in words again.
    """

    session_id: str
    tariff_text: str


class Energize(msgspec.Struct, frozen=True, kw_only=True):
    """Grant permission, and renew it until told to open."""


class OpenContactor(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Tell(msgspec.Struct, frozen=True, kw_only=True):
    """A passing word to whoever stands there; the page has the words for each code."""

    code: str


Payment = Preauthorize | Extend | Capture | Reverse

Effect = Payment | ReadBegin | ReadEnd | Energize | OpenContactor | Tell


class Personal(msgspec.Struct, frozen=True, kw_only=True):
    """Who opened the session, and who is named on its invoice; kept beside the chain."""

    session_id: str
    token: IdToken
    salt: bytes
    buyer: BuyerRecord | None = None


class FreezeTariff(msgspec.Struct, frozen=True, kw_only=True):
    """Keep the document behind the hash before anything is priced with it."""

    hash: str
    document: str


class FreezePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Keep the member's plan behind the hash in the same way."""

    hash: str
    document: str


Record = Fact | InvoiceDraft | FreezeTariff | FreezePlan


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The next state; what the journal has to hold before anything is done about it; and what to do.

    A step without records needs no commit: samples move the state in memory only.
    """

    state: EvseState
    records: tuple[Record, ...] = ()
    effects: tuple[Effect, ...] = ()
    personal: Personal | None = None
