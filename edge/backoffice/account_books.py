"""The collective invoices as they stand, for whoever reads or exports them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec

from edge.backoffice.receipts import buyer_of
from edge.backoffice.schema import read_books
from edge.domain.buyer import Buyer
from edge.domain.collective import CollectiveInvoice
from edge.errors import CallError
from edge.store.connection import translated


class AccountInvoiceUnknown(CallError):
    code = "call.not_found"
    exit_code = 1
    hint = "`chargetill backoffice account list`"


class AccountBooks:
    """The collective invoices as they stand, read-only; a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = read_books(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def invoices(self) -> Iterator[CollectiveInvoice]:
        """All of them and their credit notes, in the order of their making."""
        with translated("read", self._path):
            for (document,) in self._db.execute("SELECT document FROM account_invoice ORDER BY rowid"):
                yield msgspec.json.decode(document, type=CollectiveInvoice)

    def invoice(self, number: str) -> CollectiveInvoice:
        """Raises AccountInvoiceUnknown."""
        with translated("read", self._path):
            return read_invoice(self._db, number)

    def buyer(self, invoice: CollectiveInvoice) -> Buyer | None:
        """Who it is for, while that is kept."""
        with translated("read", self._path):
            return buyer_of(self._db, invoice.content.buyer)


def read_invoice(db: sqlite3.Connection, number: str) -> CollectiveInvoice:
    row = db.execute("SELECT document FROM account_invoice WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise AccountInvoiceUnknown(f"no collective invoice {number}")
    return msgspec.json.decode(row[0], type=CollectiveInvoice)


def credit_notes(db: sqlite3.Connection, number: str) -> list[CollectiveInvoice]:
    rows = db.execute("SELECT document FROM account_invoice WHERE corrects = ? ORDER BY rowid", (number,))
    return [msgspec.json.decode(row[0], type=CollectiveInvoice) for row in rows.fetchall()]
