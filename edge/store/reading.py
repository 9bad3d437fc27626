"""What people and tools ask the database for, read-only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec

from edge.domain.buyer import Buyer, BuyerRecord
from edge.domain.energy import SignedValue
from edge.domain.invoice import Invoice, Statement
from edge.domain.ledger.anchor import SignedAnchor
from edge.domain.ledger.envelope import Entry, open_envelope, read_fact
from edge.domain.ledger.facts import SessionOpened, SessionSettled
from edge.errors import CallError, LedgerError, StoreError
from edge.store.anchors import anchor_of
from edge.store.connection import open_reader, translated
from edge.store.payments import exposure, last_day
from edge.store.schema import known

Row = dict[str, Any]

#: The back office's books have an `entry` too, but no `evse`.
_TABLES_TOLD_BY = 2


class NotFound(CallError):
    code = "call.not_found"
    exit_code = 1


class NoTill(StoreError):
    code = "store.no_till"
    hint = "give --db with the database of a till"


class Reading:
    """A read-only view of one till's database, as of one moment; a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = open_reader(path)
        self._db.row_factory = sqlite3.Row
        try:
            self._begin()
        except BaseException:
            self._db.close()
            raise

    def _begin(self) -> None:
        with translated("read", self._path):
            self._db.execute("BEGIN")
            (found,) = self._db.execute(
                "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('entry', 'evse')"
            ).fetchone()
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if found != _TABLES_TOLD_BY:
            raise NoTill(f"{self._path} is a database, but not a till's")
        known(version)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def sessions(self) -> list[Row]:
        """All sessions, oldest first, each with its payment."""
        rows = self._rows(
            "SELECT s.*, p.status AS payment_status, p.hold_minor, p.captured_minor FROM session s "
            "LEFT JOIN payment p USING (session_id) ORDER BY s.opened_at, s.rowid"
        )
        return [
            {**row, "estimated": None if row["estimated"] is None else bool(row["estimated"])} for row in rows
        ]

    def session(self, session_id: str) -> Row:
        """One session by its id, or by the unambiguous start of it. Raises NotFound."""
        found = [s for s in self.sessions() if str(s["session_id"]).startswith(session_id)]
        if len(found) != 1:
            raise NotFound(
                f"{len(found) or 'no'} sessions start with {session_id}", hint="`chargetill session list`"
            )
        entries = self._rows(
            "SELECT epoch, seq, type, raw FROM entry WHERE subject = ? ORDER BY id", (found[0]["session_id"],)
        )
        events = [
            {"epoch": e["epoch"], "seq": e["seq"], "type": e["type"], "entry": msgspec.Raw(bytes(e["raw"]))}
            for e in entries
        ]
        return {**found[0], "events": events}

    def invoices(self) -> Iterator[Invoice]:
        """All invoices and credit notes in the order of their sealing."""
        with translated("read", self._path):
            for row in self._db.execute("SELECT document FROM invoice ORDER BY rowid"):
                yield _invoice(bytes(row["document"]), self._path)

    def documents_of(self, session_id: str) -> tuple[Invoice, ...]:
        """The invoices and credit notes of a session, oldest first."""
        rows = self._rows("SELECT document FROM invoice WHERE session_id = ? ORDER BY rowid", (session_id,))
        return tuple(_invoice(bytes(row["document"]), self._path) for row in rows)

    def credits_of(self, number: str) -> tuple[Invoice, ...]:
        """The credit notes of an invoice, oldest first."""
        rows = self._rows("SELECT document FROM invoice WHERE corrects = ? ORDER BY rowid", (number,))
        return tuple(_invoice(bytes(row["document"]), self._path) for row in rows)

    def buyer(self, commitment: str | None) -> Buyer | None:
        """Who is behind an invoice's commitment; None where it has none, or the record was erased."""
        rows = self._rows("SELECT record FROM buyer WHERE commitment = ?", (commitment,))
        if not rows:
            return None
        record = msgspec.json.decode(bytes(rows[0]["record"]), type=BuyerRecord)
        if record.commitment != commitment:
            raise LedgerError(f"{self._path}: the buyer kept under {commitment} is another one")
        return record.buyer

    def statement(self, session_id: str) -> Statement | None:
        """What a session cost that a collective invoice bills."""
        rows = self._rows("SELECT document FROM statement WHERE session_id = ?", (session_id,))
        return msgspec.json.decode(bytes(rows[0]["document"]), type=Statement) if rows else None

    def refunds(self) -> list[Row]:
        """Every refund with its state, oldest first."""
        return self._rows("SELECT * FROM refund ORDER BY rowid")

    def session_of_receipt(self, token_hash: str) -> str | None:
        """The session whose receipt has the token of this hash."""
        rows = self._rows("SELECT session_id FROM session WHERE receipt_hash = ?", (token_hash,))
        return str(rows[0]["session_id"]) if rows else None

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """Number and JSON of each invoice and credit note, as they are kept."""
        with translated("read", self._path):
            for row in self._db.execute("SELECT number, document FROM invoice ORDER BY rowid"):
                yield row["number"], bytes(row["document"])

    def invoice(self, number: str) -> Invoice:
        """One invoice by its number. Raises NotFound."""
        rows = self._rows("SELECT document FROM invoice WHERE number = ?", (number,))
        if not rows:
            raise NotFound(f"no invoice {number}", hint="`chargetill invoice list`")
        return _invoice(bytes(rows[0]["document"]), self._path)

    def settled(self, session_id: str) -> tuple[SessionOpened | None, SessionSettled | None]:
        """How a session was opened and what it cost, as far as the journal still holds it."""
        opened, settled = None, None
        rows = self._rows(
            "SELECT raw FROM entry WHERE subject = ? AND type IN (?, ?) ORDER BY id",
            (session_id, SessionOpened.TYPE, SessionSettled.TYPE),
        )
        for row in rows:
            fact = read_fact(open_envelope(bytes(row["raw"])))
            match fact:
                case SessionOpened():
                    opened = fact
                case SessionSettled():
                    settled = fact
                case _:
                    pass
        return opened, settled

    def tariff(self, tariff_hash: str) -> str | None:
        """The frozen document behind a tariff's hash."""
        rows = self._rows("SELECT document FROM tariff WHERE hash = ?", (tariff_hash,))
        return str(rows[0]["document"]) if rows else None

    def signed(self, session_id: str) -> tuple[SignedValue, ...]:
        """What the meter signed in a session, in the order in which it was kept."""
        rows = self._rows(
            "SELECT ocmf, public_key, verified FROM signed WHERE session_id = ? AND ocmf IS NOT NULL "
            "ORDER BY rowid",
            (session_id,),
        )
        return tuple(
            SignedValue(
                ocmf=bytes(row["ocmf"]), public_key=bytes(row["public_key"]), verified=bool(row["verified"])
            )
            for row in rows
        )

    def anchor(self) -> SignedAnchor | None:
        """What pruned entries left; None while nothing was pruned."""
        with translated("read", self._path):
            return anchor_of(self._db)[0]

    def entries(self) -> Iterator[Entry]:
        """The journal as far as it is held, in order; entries from before the anchor come first."""
        with translated("read", self._path):
            for row in self._db.execute("SELECT epoch, seq, type, subject, raw, hash FROM entry ORDER BY id"):
                yield Entry(
                    epoch=row["epoch"],
                    seq=row["seq"],
                    type=row["type"],
                    subject=row["subject"],
                    raw=bytes(row["raw"]),
                    hash=row["hash"],
                )

    def stats(self) -> Row:
        """Counts and sums, and how much of the journal is acknowledged."""
        (one,) = self._rows(
            "SELECT (SELECT COUNT(*) FROM entry) AS entries, (SELECT COUNT(*) FROM session) AS sessions, "
            "(SELECT COUNT(*) FROM session WHERE status != 'ended') AS open_sessions, "
            "(SELECT COUNT(*) FROM invoice WHERE corrects IS NULL) AS invoices, "
            "(SELECT COUNT(*) FROM invoice WHERE corrects IS NOT NULL) AS credit_notes, "
            "(SELECT COUNT(*) FROM statement) AS statements, "
            "(SELECT COALESCE(SUM(energy_wh), 0) FROM session WHERE outcome IN ('invoiced', 'stated')) AS invoiced_wh"
        )
        totals = self._rows(
            "SELECT currency, SUM(corrects IS NULL) AS invoices, "
            "SUM(CASE WHEN corrects IS NULL THEN payable_minor ELSE -payable_minor END) AS payable_minor "
            "FROM invoice GROUP BY currency ORDER BY currency"
        )
        holds = self._rows(
            "SELECT payment_ref, session_id, status, hold_minor, currency FROM payment "
            "WHERE status NOT IN ('captured', 'reversed', 'declined', 'expired') ORDER BY rowid"
        )
        epochs = self._rows(
            "SELECT e.epoch, COUNT(*) AS entries, MAX(MAX(e.seq), COALESCE(w.upto, 0)) AS last, "
            "COALESCE(w.upto, 0) AS acknowledged FROM entry e LEFT JOIN watermark w USING (epoch) "
            "GROUP BY e.epoch ORDER BY MIN(e.id)"
        )
        (risk,) = self._rows(
            "SELECT COALESCE(SUM(CASE WHEN status IN ('expired', 'reversed') THEN loss_minor END), 0) AS lost_minor "
            "FROM payment"
        )
        with translated("read", self._path):
            at_risk = exposure(self._db, day=last_day(datetime.now(UTC)))
        return {
            **one,
            **self._ledger(epochs),
            **risk,
            "exposure": {"device_minor": at_risk.device_minor, "day_minor": at_risk.day_minor},
            "totals": totals,
            "open_holds": holds,
            "epochs": epochs,
        }

    def outcomes(self) -> dict[str, tuple[int, int]]:
        """Of the sessions that ended: how many, and their energy in Wh, by outcome."""
        rows = self._rows(
            "SELECT outcome, COUNT(*) AS sessions, COALESCE(SUM(energy_wh), 0) AS energy_wh FROM session "
            "WHERE status = 'ended' AND outcome IS NOT NULL GROUP BY outcome ORDER BY outcome"
        )
        return {row["outcome"]: (row["sessions"], row["energy_wh"]) for row in rows}

    def _ledger(self, epochs: list[Row]) -> Row:
        """Where the journal stands: its newest epoch, key and anchor, what waits, and the space that it takes."""
        current = self._rows("SELECT epoch, key_id, closed FROM epoch ORDER BY ordinal DESC LIMIT 1")
        (space,) = self._rows(
            "SELECT page_count * page_size AS database_bytes, freelist_count * page_size AS free_bytes "
            "FROM pragma_page_count, pragma_page_size, pragma_freelist_count"
        )
        anchor = self.anchor()
        return {
            "epoch": current[0]["epoch"] if current else None,
            "key_id": current[0]["key_id"] if current else None,
            "closed": current[0]["closed"] if current else None,
            "waiting": sum(e["last"] - e["acknowledged"] for e in epochs),
            "pruned": None
            if anchor is None
            else {
                "epoch": anchor.anchor.epoch,
                "upto": anchor.anchor.upto,
                "entries": anchor.anchor.entries,
            },
            **space,
        }

    def _rows(self, sql: str, values: tuple[object, ...] = ()) -> list[Row]:
        with translated("read", self._path):
            return [dict(row) for row in self._db.execute(sql, values)]


def _invoice(document: bytes, path: Path) -> Invoice:
    try:
        return msgspec.json.decode(document, type=Invoice)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise LedgerError(f"{path}: an invoice cannot be read: {e}", hint="`chargetill ledger verify`") from e
