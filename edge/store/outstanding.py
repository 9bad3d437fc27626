"""What a till still owes before it may go: sessions, holds, refunds, and entries that the back office does not have."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from edge.domain.ledger.facts import DeviceDecommissioned, LedgerCheckpoint
from edge.store.connection import open_reader, translated
from edge.store.epochs import DECOMMISSIONED


class Outstanding(msgspec.Struct, frozen=True, kw_only=True):
    """`sessions` are open or hold money; `refunds` are on their way; `due` the operator pays back himself.

    `captures` were taken at a payment terminal since its last end of day, as far as is known: it hands them in then.
    `waiting` entries are not acknowledged; of a decommissioned ledger only those up to its signed last word count,
    for a till that still runs goes on to say when it stops.
    """

    epoch: str
    entries: int
    closed: str | None
    sessions: tuple[str, ...]
    refunds: tuple[str, ...]
    due: tuple[str, ...]
    captures: int
    waiting: int


def outstanding(database: Path) -> Outstanding:
    """As of now, beside a running till or without one. Raises StoreError."""
    with closing(open_reader(database)) as db, translated("read", database):
        db.execute("BEGIN")
        return owed(db)


def owed(db: sqlite3.Connection) -> Outstanding:
    """The same on an open connection."""
    epoch, closed = db.execute("SELECT epoch, closed FROM epoch ORDER BY ordinal DESC LIMIT 1").fetchone()
    (entries,) = db.execute("SELECT MAX(seq) FROM entry WHERE epoch = ?", (epoch,)).fetchone()
    return Outstanding(
        epoch=epoch,
        entries=entries,
        closed=closed,
        sessions=_names(
            db,
            "SELECT session_id FROM session WHERE status != 'ended' UNION SELECT session_id FROM payment "
            "WHERE status NOT IN ('captured', 'reversed', 'declined', 'expired') ORDER BY 1",
        ),
        refunds=_names(db, "SELECT refund_ref FROM refund WHERE status = 'requested' ORDER BY 1"),
        due=_names(db, "SELECT refund_ref FROM refund WHERE status = 'due' ORDER BY 1"),
        captures=_captures(db),
        waiting=_waiting(db, _last_word(db) if closed == DECOMMISSIONED else None),
    )


def _captures(db: sqlite3.Connection) -> int:
    """With several terminals the one that was closed first counts: rather one too many is named than one too few."""
    (count,) = db.execute(
        "SELECT COUNT(*) FROM payment JOIN session USING (session_id) WHERE payment.method = 'terminal' "
        "AND payment.status = 'captured' AND ended_at > COALESCE((SELECT MIN(ended_at) FROM terminal_day), '')"
    ).fetchone()
    return int(count)


def _names(db: sqlite3.Connection, statement: str) -> tuple[str, ...]:
    return tuple(name for (name,) in db.execute(statement))


def _last_word(db: sqlite3.Connection) -> int | None:
    """The row of the signature over the device's last word."""
    (entry_id,) = db.execute(
        "SELECT MIN(id) FROM entry WHERE type = ? AND id > (SELECT MAX(id) FROM entry WHERE type = ?)",
        (LedgerCheckpoint.TYPE, DeviceDecommissioned.TYPE),
    ).fetchone()
    return None if entry_id is None else int(entry_id)


def _waiting(db: sqlite3.Connection, upto: int | None) -> int:
    """Each epoch for itself, by the index of its numbers: a journal may have some hundred thousand entries."""
    total = 0
    for epoch, acknowledged in db.execute(
        "SELECT e.epoch, COALESCE(w.upto, 0) FROM epoch e LEFT JOIN watermark w USING (epoch)"
    ).fetchall():
        (count,) = db.execute(
            "SELECT COUNT(*) FROM entry WHERE epoch = ? AND seq > ? AND (? IS NULL OR id <= ?)",
            (epoch, acknowledged, upto, upto),
        ).fetchone()
        total += count
    return total
