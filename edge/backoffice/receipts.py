"""Receipts from the books: what a device sealed can be had here as soon as it has synced."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path

import msgspec

from edge.backoffice.schema import read_books
from edge.documents.sale import Sale, stated
from edge.domain.buyer import Buyer, BuyerRecord
from edge.domain.invoice import Invoice, Statement
from edge.receipts.receipt import NothingToPay, Provisional, Ready, Receipt, Running
from edge.store.connection import translated


class BookReceipts:
    """Implements Receipts. Each look opens the books read-only."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def find(self, token_hash: str) -> Receipt | None:
        """Raises StoreError."""
        db = read_books(self._database)
        try:
            with translated("read", self._database):
                row = db.execute(
                    "SELECT device_id, session_id, evse_id, status, energy_wh, currency, payable_minor, began_at, "
                    "ended_at FROM session WHERE receipt_hash = ?",
                    (token_hash,),
                ).fetchone()
                return None if row is None else _receipt(db, *row)
        finally:
            db.close()


def _receipt(  # noqa: PLR0913, PLR0917  (one per column)
    db: sqlite3.Connection,
    device_id: int,
    session_id: str,
    evse_id: str,
    status: str,
    energy_wh: int | None,
    currency: str | None,
    payable_minor: int | None,
    began_at: str | None,
    ended_at: str | None,
) -> Receipt:
    documents = [
        msgspec.json.decode(document, type=Invoice)
        for (document,) in db.execute(
            "SELECT document FROM invoice WHERE device_id = ? AND session_id = ? ORDER BY rowid",
            (device_id, session_id),
        )
    ]
    statement = db.execute(
        "SELECT document FROM statement WHERE device_id = ? AND session_id = ?", (device_id, session_id)
    ).fetchone()
    if statement is not None:
        documents.append(stated(msgspec.json.decode(statement[0], type=Statement)))
    if documents:
        return Ready(documents=tuple(Sale(invoice=i, buyer=buyer_of(db, i.draft.buyer)) for i in documents))
    if status == "ended":
        return NothingToPay()
    if payable_minor is None or currency is None:
        return Running()
    zone = db.execute(
        "SELECT json_extract(document, '$.draft.place.time_zone') FROM invoice WHERE device_id = ? "
        "ORDER BY rowid DESC LIMIT 1",
        (device_id,),
    ).fetchone()
    return Provisional(
        evse_id=evse_id,
        energy_wh=energy_wh,
        currency=currency,
        payable_minor=payable_minor,
        time_zone=zone and zone[0],
        began_at=_moment(began_at),
        ended_at=_moment(ended_at),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def buyer_of(db: sqlite3.Connection, commitment: str | None) -> Buyer | None:
    """Who is behind an invoice's commitment, while the record is kept and is the one."""
    row = db.execute("SELECT record FROM buyer WHERE commitment = ?", (commitment,)).fetchone()
    if row is None:
        return None
    record = msgspec.json.decode(row[0], type=BuyerRecord)
    return record.buyer if record.commitment == commitment else None
