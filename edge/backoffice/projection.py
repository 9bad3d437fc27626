"""What each fact changes in the tables, applied once and in the order of the chain."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import msgspec

from edge.domain.invoice import Invoice
from edge.domain.ledger import facts
from edge.domain.tariffs.wall import to_us


def project(db: sqlite3.Connection, device_id: int, fact: facts.Fact, at: str) -> None:
    """`at`: the entry's own time. Raises sqlite3.IntegrityError for a number or reference used twice."""
    match fact:
        case facts.SessionOpened():
            _open_session(db, device_id, fact, at)
        case facts.ClockTrusted(boot_id=boot_id, zero_at=zero_at) if (
            boot_id is not None and zero_at is not None
        ):
            _boot(db, device_id, boot_id, zero_at, zero_at)
        case facts.BootBounded(boot_id=boot_id, not_before=not_before, not_after=not_after):
            _boot(db, device_id, boot_id, not_before, not_after)
        case facts.TariffFrozen():
            db.execute(
                "INSERT OR IGNORE INTO tariff (hash, document) VALUES (?, ?)", (fact.hash, fact.document)
            )
        case facts.RefundFact():
            _refund(db, device_id, fact)
        case facts.PaymentFact():
            _payment(db, device_id, fact)
        case facts.SessionFact():
            _session(db, device_id, fact)
        case _:
            pass


def _boot(
    db: sqlite3.Connection, device_id: int, boot_id: str, not_before: datetime | None, not_after: datetime
) -> None:
    """When a boot's monotonic clock stood at 0; the last word counts."""
    low = None if not_before is None else to_us(not_before)
    db.execute(
        "INSERT INTO boot (device_id, boot_id, not_before_us, not_after_us) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (device_id, boot_id) DO UPDATE SET not_before_us = excluded.not_before_us, "
        "not_after_us = excluded.not_after_us",
        (device_id, boot_id, low, to_us(not_after)),
    )


def _session(db: sqlite3.Connection, device_id: int, fact: facts.SessionFact) -> None:
    match fact:
        case facts.EnergyBegan():
            _set(
                db,
                device_id,
                fact,
                status="charging",
                began_at=fact.began_at.isoformat(),
                begin_wh=fact.register_wh,
                meter_model=fact.meter.model,
                meter_serial=fact.meter.serial,
            )
            _measured(db, device_id, fact, fact.began_at.isoformat(), "Transaction.Begin", fact.register_wh)
        case facts.SessionCheckpoint():
            _measured(db, device_id, fact, fact.reached_at.isoformat(), "Sample.Periodic", fact.register_wh)
        case facts.EnergyEnded():
            _set(
                db,
                device_id,
                fact,
                status="settling",
                ended_at=fact.ended_at.isoformat(),
                end_wh=fact.register_wh,
                energy_wh=fact.energy_wh,
                estimated=int(fact.estimated),
                stop_reason=fact.reason,
            )
            _measured(db, device_id, fact, fact.ended_at.isoformat(), "Transaction.End", fact.register_wh)
        case facts.SessionSettled():
            _set(db, device_id, fact, currency=fact.currency, payable_minor=fact.payable_minor)
        case facts.InvoiceSealed(invoice=invoice):
            _numbered(db, device_id, invoice)
            _set(db, device_id, fact, invoice_number=invoice.number)
        case facts.CreditNoteSealed(credit_note=note):
            _numbered(db, device_id, note)
        case facts.StatementSealed():
            _statement(db, device_id, fact)
        case facts.SessionEnded():
            _set(db, device_id, fact, status="ended", outcome=fact.outcome)
        case _:
            pass


def _open_session(db: sqlite3.Connection, device_id: int, fact: facts.SessionOpened, at: str) -> None:
    db.execute(
        "INSERT INTO session (device_id, session_id, evse_id, opened_at, method, account, authorization_id, "
        "tariff_hash, receipt_hash, status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'authorizing')",
        (
            device_id,
            fact.session_id,
            fact.evse_id,
            at,
            fact.method,
            fact.account,
            fact.authorization_id,
            fact.tariff_hash,
            fact.receipt_token_hash,
        ),
    )


def _numbered(db: sqlite3.Connection, device_id: int, document: Invoice) -> None:
    """An invoice or a credit note, as its device sealed it."""
    db.execute(
        "INSERT INTO invoice (device_id, number, series, sequence, session_id, issued_at, currency, "
        "payable_minor, corrects, document) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            device_id,
            document.number,
            document.series,
            document.sequence,
            document.draft.session_id,
            document.issued_at.isoformat(),
            document.draft.currency,
            document.draft.figures.payable_minor,
            None if document.corrects is None else document.corrects.number,
            msgspec.json.encode(document).decode(),
        ),
    )


def _statement(db: sqlite3.Connection, device_id: int, fact: facts.StatementSealed) -> None:
    """What a collective invoice will bill. One that names no account contradicts the books: nobody would pay it."""
    draft = fact.statement.draft
    db.execute(
        "INSERT INTO statement (device_id, session_id, account, ended_at, currency, payable_minor, document) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            device_id,
            fact.session_id,
            draft.account,
            draft.end.astimezone(UTC).isoformat(),
            draft.currency,
            draft.figures.payable_minor,
            msgspec.json.encode(fact.statement).decode(),
        ),
    )


def _refund(db: sqlite3.Connection, device_id: int, fact: facts.RefundFact) -> None:
    reason = None
    match fact:
        case facts.RefundRequested():
            db.execute(
                "INSERT INTO refund (device_id, refund_ref, payment_ref, session_id, method, amount_minor, currency, "
                "status) VALUES (?, ?, ?, ?, ?, ?, ?, 'requested')",
                (
                    device_id,
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
    ended: dict[str, object] = {"status": status, "reason": reason}
    _update(db, "refund", ended, "refund_ref", (device_id, fact.refund_ref))


def _measured(
    db: sqlite3.Connection, device_id: int, fact: facts.SessionFact, at: str, context: str, register_wh: int
) -> None:
    db.execute(
        "INSERT INTO meter_value (device_id, session_id, at, context, register_wh) VALUES (?, ?, ?, ?, ?)",
        (device_id, fact.session_id, at, context, register_wh),
    )


def _payment(db: sqlite3.Connection, device_id: int, fact: facts.PaymentFact) -> None:
    match fact:
        case facts.PaymentRequested():
            db.execute(
                "INSERT INTO payment (device_id, payment_ref, session_id, method, currency, status, "
                "requested_minor) VALUES (?, ?, ?, ?, ?, 'requested', ?)",
                (
                    device_id,
                    fact.payment_ref,
                    fact.session_id,
                    fact.method,
                    fact.currency,
                    fact.amount_minor,
                ),
            )
        case facts.PaymentAuthorized():
            _pay(
                db,
                device_id,
                fact,
                status="authorized",
                hold_minor=fact.hold_minor,
                deferred=int(fact.deferred),
            )
        case facts.HoldExtended():
            _pay(db, device_id, fact, hold_minor=fact.hold_minor)
        case facts.PaymentDeclined():
            _pay(db, device_id, fact, status="declined", reason=fact.reason)
        case facts.CaptureRequested():
            _pay(db, device_id, fact, status="capturing")
        case facts.PaymentCaptured():
            _pay(db, device_id, fact, status="captured", captured_minor=fact.amount_minor)
        case facts.ReversalRequested():
            _pay(db, device_id, fact, status="reversing", loss_minor=fact.loss_minor)
        case facts.PaymentReversed():
            _pay(db, device_id, fact, status="reversed", captured_minor=0)
        case facts.PaymentExpired():
            _pay(
                db,
                device_id,
                fact,
                status="expired",
                captured_minor=0,
                loss_minor=fact.loss_minor,
                reason=fact.reason,
            )
        case _:
            pass


def _set(db: sqlite3.Connection, device_id: int, fact: facts.SessionFact, **columns: object) -> None:
    _update(db, "session", columns, "session_id", (device_id, fact.session_id))


def _pay(db: sqlite3.Connection, device_id: int, fact: facts.PaymentFact, **columns: object) -> None:
    _update(db, "payment", columns, "payment_ref", (device_id, fact.payment_ref))


def _update(
    db: sqlite3.Connection, table: str, columns: dict[str, object], key: str, at: tuple[int, str]
) -> None:
    sets = ", ".join(f"{name} = ?" for name in columns)
    db.execute(
        f"UPDATE {table} SET {sets} WHERE device_id = ? AND {key} = ?",  # noqa: S608  (names are ours)
        (*columns.values(), *at),
    )
