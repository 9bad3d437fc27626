"""The tables that people ask: sessions, payments and invoices, kept from each fact in the commit that holds it."""

from __future__ import annotations

import sqlite3

import msgspec

from edge.domain.instant import Instant
from edge.domain.invoice import Invoice
from edge.domain.ledger import facts


def project(db: sqlite3.Connection, fact: facts.Fact, at: Instant) -> None:
    """What `fact` changes in the tables. Facts about the device and the ledger itself change none."""
    match fact:
        case facts.TariffFrozen():
            db.execute("INSERT INTO tariff (hash, document) VALUES (?, ?)", (fact.hash, fact.document))
        case facts.PlanFrozen():
            db.execute("INSERT INTO plan (hash, document) VALUES (?, ?)", (fact.hash, fact.document))
        case facts.PlanBalanceChanged():
            db.execute(
                "INSERT INTO plan_balance (account, plan_id, balance, statement) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (account, plan_id) DO UPDATE SET balance = excluded.balance, "
                "statement = COALESCE(excluded.statement, statement)",
                (fact.account, fact.plan_id, msgspec.json.encode(fact.balance), fact.statement),
            )
        case facts.SignedFact():
            _signed(db, fact)
        case facts.TerminalDayEnded():
            db.execute(
                "INSERT INTO terminal_day (terminal, ended_at) VALUES (?, ?) "
                "ON CONFLICT (terminal) DO UPDATE SET ended_at = excluded.ended_at",
                (fact.terminal, at.utc.isoformat()),
            )
        case facts.RefundFact():
            _refund(db, fact)
        case facts.PaymentFact():
            _payment(db, fact)
        case facts.SessionFact():
            _session(db, fact, at)
        case _:
            pass


def _signed(db: sqlite3.Connection, fact: facts.SignedFact) -> None:
    value, reason = None, None
    match fact:
        case facts.SignedBegun():
            kind, value = "begin", fact.value
        case facts.SignedRecordKept():
            kind, value = "record", fact.value
        case facts.SignedRecordLost():
            kind, reason = "lost", fact.reason
        case _:
            return
    db.execute(
        "INSERT INTO signed (evse_id, session_id, kind, ocmf, public_key, verified, reason) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            fact.evse_id,
            fact.session_id,
            kind,
            value and value.ocmf,
            value and value.public_key,
            value and int(value.verified),
            reason,
        ),
    )


def _session(db: sqlite3.Connection, fact: facts.SessionFact, at: Instant) -> None:
    match fact:
        case facts.SessionOpened():
            db.execute(
                "INSERT INTO session (session_id, evse_id, opened_at, method, account, tariff_hash, receipt_hash, "
                "status) VALUES (?, ?, ?, ?, ?, ?, ?, 'authorizing')",
                (
                    fact.session_id,
                    fact.evse_id,
                    at.utc.isoformat(),
                    fact.method,
                    fact.account,
                    fact.tariff_hash,
                    fact.receipt_token_hash,
                ),
            )
        case facts.EnergyBegan():
            _set(
                db, fact, status="charging", began_at=fact.began_at.isoformat(), begin_wh=fact.register_wh,
            )  # fmt: skip
        case facts.EnergyEnded():
            _set(
                db,
                fact,
                status="settling",
                ended_at=fact.ended_at.isoformat(),
                end_wh=fact.register_wh,
                energy_wh=fact.energy_wh,
                estimated=int(fact.estimated),
                stop_reason=fact.reason,
            )
        case facts.SessionSettled():
            _set(db, fact, currency=fact.currency, payable_minor=fact.payable_minor)
        case facts.InvoiceSealed(invoice=invoice):
            _numbered(db, invoice)
            _set(db, fact, invoice_number=invoice.number)
        case facts.CreditNoteSealed(credit_note=note):
            _numbered(db, note)
        case facts.StatementSealed(statement=statement):
            db.execute(
                "INSERT INTO statement (session_id, issued_at, document) VALUES (?, ?, ?)",
                (fact.session_id, statement.issued_at.isoformat(), msgspec.json.encode(statement)),
            )
        case facts.SessionEnded():
            _set(db, fact, status="ended", outcome=fact.outcome)
        case _:
            pass


def _numbered(db: sqlite3.Connection, document: Invoice) -> None:
    """An invoice or a credit note, as it was sealed."""
    db.execute(
        "INSERT INTO invoice (number, series, sequence, session_id, issued_at, currency, payable_minor, corrects, "
        "document) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            document.number,
            document.series,
            document.sequence,
            document.draft.session_id,
            document.issued_at.isoformat(),
            document.draft.currency,
            document.draft.figures.payable_minor,
            None if document.corrects is None else document.corrects.number,
            msgspec.json.encode(document),
        ),
    )


def _refund(db: sqlite3.Connection, fact: facts.RefundFact) -> None:
    reason = None
    match fact:
        case facts.RefundRequested():
            db.execute(
                "INSERT INTO refund (refund_ref, payment_ref, session_id, method, amount_minor, currency, status) "
                "VALUES (?, ?, ?, ?, ?, ?, 'requested')",
                (
                    fact.refund_ref,
                    fact.payment_ref,
                    fact.session_id,
                    fact.method,
                    fact.amount_minor,
                    fact.currency,
                ),
            )
            return
        case facts.PaymentRefunded():
            status = "refunded"
        case facts.RefundDeclined():
            status, reason = "declined", fact.reason
        case facts.RefundDue():
            status, reason = "due", fact.reason
        case _:
            return
    _update(db, "refund", {"status": status, "reason": reason}, "refund_ref", fact.refund_ref)


def _payment(db: sqlite3.Connection, fact: facts.PaymentFact) -> None:
    match fact:
        case facts.PaymentRequested():
            db.execute(
                "INSERT INTO payment (payment_ref, session_id, method, currency, status, requested_minor) "
                "VALUES (?, ?, ?, ?, 'requested', ?)",
                (fact.payment_ref, fact.session_id, fact.method, fact.currency, fact.amount_minor),
            )
        case facts.PaymentNoted():
            _pay(db, fact, handle=fact.handle)
        case facts.PaymentAuthorized():
            _pay(db, fact, status="authorized", hold_minor=fact.hold_minor, deferred=int(fact.deferred))
        case facts.HoldExtended():
            _pay(db, fact, hold_minor=fact.hold_minor)
        case facts.PaymentDeclined():
            _pay(db, fact, status="declined", reason=fact.reason)
        case facts.CaptureRequested():
            _pay(db, fact, status="capturing")
        case facts.PaymentCaptured():
            _pay(db, fact, status="captured", captured_minor=fact.amount_minor)
        case facts.ReversalRequested():
            _pay(db, fact, status="reversing", loss_minor=fact.loss_minor)
        case facts.PaymentReversed():
            _pay(db, fact, status="reversed", captured_minor=0)
        case facts.PaymentExpired():
            _pay(db, fact, status="expired", captured_minor=0, loss_minor=fact.loss_minor, reason=fact.reason)
        case _:
            pass


def _set(db: sqlite3.Connection, fact: facts.SessionFact, **columns: object) -> None:
    _update(db, "session", columns, "session_id", fact.session_id)


def _pay(db: sqlite3.Connection, fact: facts.PaymentFact, **columns: object) -> None:
    _update(db, "payment", columns, "payment_ref", fact.payment_ref)


def _update(db: sqlite3.Connection, table: str, columns: dict[str, object], key: str, value: str) -> None:
    sets = ", ".join(f"{name} = ?" for name in columns)
    db.execute(f"UPDATE {table} SET {sets} WHERE {key} = ?", (*columns.values(), value))  # noqa: S608  (names are ours)
