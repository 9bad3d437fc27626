"""Taking an invoice back, in one commit: the credit note with its number, what becomes of the money, and where it is
asked for the invoice that takes its place. A crash leaves all of it or nothing (I4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from edge.domain import refund as refunds
from edge.domain.buyer import BuyerRecord
from edge.domain.credit import REASON_MAX, CreditRefused, amount_of, credit, draft_of
from edge.domain.invoice import Correction, Invoice
from edge.errors import CallError

if TYPE_CHECKING:
    from edge.domain.instant import Instant
    from edge.store.transaction import Tx


class InvoiceUnknown(CallError):
    code = "call.not_found"
    exit_code = 1
    hint = "`chargetill invoice list`"


class CreditOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to take back: `amount` with tax in major units such as `4.50`, or None for all that is left.

    `reissue`: the whole invoice is taken back for a new one that says the same, and the money stays; `buyer` is who
    the new one is for.
    """

    number: Annotated[str, Meta(min_length=1, max_length=80)]
    reason: Annotated[str, Meta(min_length=1, max_length=REASON_MAX)]
    amount: Annotated[str, Meta(max_length=20)] | None = None
    reissue: bool = False
    buyer: BuyerRecord | None = None


class Credited(msgspec.Struct, frozen=True, kw_only=True):
    """The credit note, the refund that it asks for, and the new invoice where there is one."""

    credit_note: Invoice
    refund: refunds.Refund | None
    invoice: Invoice | None


def take_back(tx: Tx, order: CreditOrder, at: Instant) -> Credited:
    """Within a commit, at a trusted time. Raises InvoiceUnknown, CreditRefused; then nothing is written."""
    if tx.closed is not None:
        raise CreditRefused(
            f"this ledger is closed ({tx.closed}): its numbers may be another's",
            hint="`chargetill ledger new-epoch` goes on; credit the invoice then",
        )
    invoice = _invoice(tx, order.number)
    before = _credit_notes(tx, order.number)
    currency = invoice.draft.currency
    if order.reissue and (before or order.amount is not None):
        raise CreditRefused("only a whole invoice of which nothing was credited can be issued anew")
    wanted = None if order.amount is None else amount_of(order.amount, currency)
    given = credit(
        invoice.draft.figures, [n.draft.figures for n in before], amount_minor=wanted, currency=currency
    )
    corrects = Correction(
        number=invoice.number,
        issued_at=invoice.issued_at,
        reason=order.reason,
        full=given.full,
        whole=given.whole,
        replaces=invoice.replaces,
    )
    note = tx.seal_credit(draft_of(invoice, given), corrects, at)
    if order.reissue:
        draft = invoice.draft
        if order.buyer is not None:
            tx.keep_buyer(order.buyer)
            draft = replace(draft, buyer=order.buyer.commitment)
        anew = tx.seal(draft, at, replaces=invoice.number)
        return Credited(credit_note=note, refund=None, invoice=anew)
    refund = _refund(tx, note)
    if refund is not None:
        tx.append(refunds.request(refund), at)
    tx.sign(at)
    return Credited(credit_note=note, refund=refund, invoice=None)


def open_refunds(tx: Tx) -> tuple[refunds.Refund, ...]:
    """Refunds without an end, oldest first."""
    rows = tx.connection.execute(
        "SELECT refund_ref, payment_ref, session_id, method, amount_minor, currency FROM refund "
        "WHERE status = 'requested' ORDER BY rowid"
    ).fetchall()
    return tuple(
        refunds.Refund(
            refund_ref=ref,
            payment_ref=payment_ref,
            session_id=session_id,
            method=method,
            amount_minor=amount_minor,
            currency=currency,
        )
        for ref, payment_ref, session_id, method, amount_minor, currency in rows
    )


def _invoice(tx: Tx, number: str) -> Invoice:
    row = tx.connection.execute("SELECT document FROM invoice WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise InvoiceUnknown(f"no invoice {number}")
    invoice = msgspec.json.decode(bytes(row[0]), type=Invoice)
    if invoice.corrects is not None:
        raise CreditRefused(f"{number} is a credit note itself")
    return invoice


def _credit_notes(tx: Tx, number: str) -> list[Invoice]:
    rows = tx.connection.execute("SELECT document FROM invoice WHERE corrects = ? ORDER BY rowid", (number,))
    return [msgspec.json.decode(bytes(row[0]), type=Invoice) for row in rows.fetchall()]


def _refund(tx: Tx, note: Invoice) -> refunds.Refund | None:
    """The money back the way it came; None where none came."""
    row = tx.connection.execute(
        "SELECT payment_ref, method FROM payment WHERE session_id = ? AND status = 'captured'",
        (note.draft.session_id,),
    ).fetchone()
    if row is None:
        return None
    return refunds.Refund(
        refund_ref=note.number,
        payment_ref=row[0],
        session_id=note.draft.session_id,
        method=row[1],
        amount_minor=note.draft.figures.payable_minor,
        currency=note.draft.currency,
    )
