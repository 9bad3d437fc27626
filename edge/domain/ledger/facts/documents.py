"""Invoices, their corrections, and money that goes back (I4)."""

from __future__ import annotations

from typing import ClassVar

from edge.domain.invoice import Invoice, Statement
from edge.domain.ledger.facts.base import SessionFact
from edge.domain.ledger.facts.payments import PaymentFact
from edge.domain.payment import Method


class InvoiceSealed(SessionFact, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "chargetill.invoice.sealed.v1"
    invoice: Invoice


class CreditNoteSealed(SessionFact, frozen=True, kw_only=True):
    """An invoice is taken back, in whole or in part; `credit_note.corrects` names it. Its series is another one."""

    TYPE: ClassVar[str] = "chargetill.credit_note.sealed.v1"
    credit_note: Invoice


class StatementSealed(SessionFact, frozen=True, kw_only=True):
    """What a session cost that the account's collective invoice will bill (I4)."""

    TYPE: ClassVar[str] = "chargetill.statement.sealed.v1"
    statement: Statement


class RefundFact(PaymentFact, frozen=True, kw_only=True):
    """Captured money goes back; `refund_ref` is the number of its credit note."""

    refund_ref: str


class RefundRequested(RefundFact, frozen=True, kw_only=True):
    """The intent; a lost answer is asked for again under the same reference."""

    TYPE: ClassVar[str] = "chargetill.refund.requested.v1"
    method: Method
    amount_minor: int
    currency: str


class PaymentRefunded(RefundFact, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "chargetill.refund.done.v1"
    amount_minor: int


class RefundDeclined(RefundFact, frozen=True, kw_only=True):
    """Whoever holds the money said no: the operator pays it back."""

    TYPE: ClassVar[str] = "chargetill.refund.declined.v1"
    reason: str


class RefundDue(RefundFact, frozen=True, kw_only=True):
    """Their way to pay gives nothing back by itself: the operator pays it back."""

    TYPE: ClassVar[str] = "chargetill.refund.due.v1"
    reason: str
