"""What a document is made of: the sealed invoice, and what the journal holds beside it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

import msgspec

from edge.domain.buyer import Buyer
from edge.domain.energy import SignedValue
from edge.domain.invoice import Invoice, Statement
from edge.domain.pricing import Bill
from edge.domain.tariffs import EvseKind
from edge.errors import TillError

Kind = Literal["invoice", "credit_note", "statement"]


class NotExpressible(TillError):
    """The format has no words for what this invoice says; a wrong document is never written instead."""

    code = "document.not_expressible"
    hint = "choose another --format"


class PartMissing(TillError):
    """A package or font that this format needs is not installed."""

    code = "document.part_missing"
    hint = "pip install 'chargetill[documents]'"


class Sale(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice and the facts of its session; None where the journal no longer holds them.

    `token_commitment` is the chain's salted hash, `tariff` the frozen document, `signed` what the meter signed
    in the order in which it did. `buyer` is who the invoice's commitment stands for, while that is kept.
    """

    invoice: Invoice
    bill: Bill | None = None
    evse_kind: EvseKind | None = None
    token_commitment: str | None = None
    tariff: str | None = None
    signed: tuple[SignedValue, ...] = ()
    buyer: Buyer | None = None

    @property
    def kind(self) -> Kind:
        return kind(self.invoice)


def kind(invoice: Invoice) -> Kind:
    """What a sealed document is."""
    if invoice.corrects is not None:
        return "credit_note"
    return invoice.draft.billing


def stated(statement: Statement) -> Invoice:
    """A statement in the shape that renderers read. It has no number: it is called by its session."""
    draft = statement.draft
    return Invoice(number=draft.session_id, series="", sequence=0, issued_at=statement.issued_at, draft=draft)


def require(*packages: str) -> None:
    """Raises PartMissing, naming the first package that is not there."""
    for package in packages:
        if find_spec(package) is None:
            raise PartMissing(f"this format needs the package {package}")
