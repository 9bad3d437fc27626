"""The till's tables, by version. A migration runs whole or not at all; `user_version` says where we are."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.errors import StoreError

if TYPE_CHECKING:
    from sqlite_utils import Database


class SchemaTooNew(StoreError):
    code = "store.too_new"
    hint = "this database was written by a newer version of chargetill: install that version or a later one"


def _first(db: Database) -> None:
    db.table("epoch").create(
        {"epoch": str, "ordinal": int, "reason": str, "key_id": str, "closed": str},
        pk="epoch",
        not_null={"ordinal", "reason"},
    )
    db.table("anchor").create(
        {
            "id": int,
            "entry_id": int,
            "epoch": str,
            "upto": int,
            "key_id": str,
            "signature": str,
            "data": bytes,
        },
        pk="id",
        not_null={"entry_id", "epoch", "upto", "key_id", "signature", "data"},
    )
    db.table("acknowledged").create(
        {"epoch": str, "day": str, "upto": int}, pk=("epoch", "day"), not_null={"upto"}
    )
    db.table("entry").create(
        {"id": int, "epoch": str, "seq": int, "type": str, "subject": str, "raw": bytes, "hash": str},
        pk="id",
        not_null={"epoch", "seq", "type", "raw", "hash"},
    )
    db.table("entry").create_index(["epoch", "seq"], unique=True)
    db.table("entry").create_index(["subject"])
    db.table("watermark").create({"epoch": str, "upto": int, "head": str, "at": str}, pk="epoch")
    db.table("evse").create({"evse_id": str, "state": bytes}, pk="evse_id", not_null={"state"})
    db.table("tariff").create({"hash": str, "document": str}, pk="hash", not_null={"document"})
    db.table("plan").create({"hash": str, "document": str}, pk="hash", not_null={"document"})
    db.table("plan_balance").create(
        {"account": str, "plan_id": str, "balance": bytes, "statement": str},
        pk=("account", "plan_id"),
        not_null={"balance"},
    )
    db.table("session").create(
        {
            "session_id": str,
            "evse_id": str,
            "opened_at": str,
            "method": str,
            "account": str,
            "tariff_hash": str,
            "status": str,
            "began_at": str,
            "begin_wh": int,
            "ended_at": str,
            "end_wh": int,
            "energy_wh": int,
            "estimated": int,
            "stop_reason": str,
            "currency": str,
            "payable_minor": int,
            "outcome": str,
            "invoice_number": str,
            "receipt_hash": str,
        },
        pk="session_id",
        not_null={"evse_id", "opened_at", "method", "tariff_hash", "status"},
    )
    db.table("session").create_index(["receipt_hash"])
    db.table("payment").create(
        {
            "payment_ref": str,
            "session_id": str,
            "method": str,
            "currency": str,
            "status": str,
            "requested_minor": int,
            "hold_minor": int,
            "captured_minor": int,
            "loss_minor": int,
            "deferred": int,
            "handle": str,
            "reason": str,
        },
        pk="payment_ref",
        not_null={"session_id", "method", "currency", "status", "requested_minor"},
    )
    db.table("payment").create_index(["session_id"])
    db.table("terminal_day").create({"terminal": int, "ended_at": str}, pk="terminal", not_null={"ended_at"})
    db.table("series").create({"series": str, "last": int}, pk="series", not_null={"last"})
    db.table("invoice").create(
        {
            "number": str,
            "series": str,
            "sequence": int,
            "session_id": str,
            "issued_at": str,
            "currency": str,
            "payable_minor": int,
            "corrects": str,
            "document": bytes,
        },
        pk="number",
        not_null={"series", "sequence", "session_id", "issued_at", "document"},
    )
    db.table("invoice").create_index(["series", "sequence"], unique=True)
    db.table("invoice").create_index(["session_id"])
    db.table("invoice").create_index(["corrects"])
    db.table("statement").create(
        {"session_id": str, "issued_at": str, "document": bytes},
        pk="session_id",
        not_null={"issued_at", "document"},
    )
    db.table("refund").create(
        {
            "refund_ref": str,
            "payment_ref": str,
            "session_id": str,
            "method": str,
            "amount_minor": int,
            "currency": str,
            "status": str,
            "reason": str,
        },
        pk="refund_ref",
        not_null={"payment_ref", "session_id", "method", "amount_minor", "currency", "status"},
    )
    db.table("buyer").create({"commitment": str, "record": bytes}, pk="commitment", not_null={"record"})
    db.table("personal").create(
        {"session_id": str, "salt": bytes, "token": str, "key_id": str},
        pk="session_id",
    )
    db.table("personal").create_index(["token"])
    db.table("signed").create(
        {
            "id": int,
            "evse_id": str,
            "session_id": str,
            "kind": str,
            "ocmf": bytes,
            "public_key": bytes,
            "verified": int,
            "reason": str,
        },
        pk="id",
        not_null={"evse_id", "kind"},
    )
    db.table("signed").create_index(["session_id"])
    db.table("sun_counter").create(
        {"token": str, "highest": int, "at": str}, pk="token", not_null={"highest", "at"}
    )


def _orders(db: Database) -> None:
    """What the back office ordered and must not be forgotten with the lists that it sent (edge/store/kept.py)."""
    db.table("kept").create({"name": str, "value": str}, pk="name", not_null={"value"})


def _granted(db: Database) -> None:
    """Whose session it is that the back office gave leave for: known after it was opened, so beside the chain."""
    db.table("personal").add_column("account", str)


def _refused(db: Database) -> None:
    """Entries that the back office cannot put into the line; the newest has the highest rowid."""
    db.table("refused").create(
        {"epoch": str, "seq": int, "reason": str, "at": str},
        pk=("epoch", "seq"),
        not_null={"reason", "at"},
    )


MIGRATIONS: tuple[Callable[[Database], None], ...] = (_first, _orders, _granted, _refused)


def known(version: int) -> None:
    """Raises SchemaTooNew for what this version cannot know how to read."""
    if version > len(MIGRATIONS):
        raise SchemaTooNew(f"the database has schema {version}, this version knows {len(MIGRATIONS)}")


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to this version. Raises SchemaTooNew for a database from the future."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    known(version)
    if version == len(MIGRATIONS):
        return
    from sqlite_utils import Database  # noqa: PLC0415  (13 MiB that a daemon with current tables never loads)

    for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            step(Database(connection, strict=True))
            connection.execute(f"PRAGMA user_version = {number}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
