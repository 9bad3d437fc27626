"""Documents whose time is over: invoices and credit notes whose entries were pruned, and what the tables know of them.

The anchor keeps the roll over what went, so that what stays still has to be what was sealed.
"""

from __future__ import annotations

import hashlib
import sqlite3
from datetime import datetime

import msgspec
from msgspec.structs import replace

from edge.domain.instant import Instant
from edge.domain.ledger.anchor import SeriesAnchor, rolled
from edge.store.anchors import anchor_of, write_anchor
from edge.store.transaction import Tx

#: Documents that one commit removes: each is a few kilobytes.
STEP_DOCUMENTS = 200

_ORPHANS = (
    "SELECT session_id FROM session WHERE status = 'ended' AND opened_at < ? "
    "AND session_id NOT IN (SELECT session_id FROM invoice) "
    "AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.subject = session.session_id) LIMIT ?"
)


def forget_documents(tx: Tx, before: datetime, at: Instant) -> int:
    """Remove documents that were issued before then, oldest first, and sessions that nothing else needs; how many.

    0: nothing is left to do.
    """
    db = tx.connection
    signed, entry_id = anchor_of(db)
    if signed is None:
        return 0
    series, gone = dict(signed.anchor.series), 0
    for name, anchored in signed.anchor.series.items():
        series[name], count = _forget_series(db, name, anchored, before)
        gone += count
    if gone:
        write_anchor(tx, replace(signed.anchor, series=series, at=at.utc), entry_id)
    return gone + _forget_sessions(db, before)


def _forget_series(
    db: sqlite3.Connection, name: str, anchored: SeriesAnchor, before: datetime
) -> tuple[SeriesAnchor, int]:
    rows = db.execute(
        "SELECT sequence, issued_at, document FROM invoice WHERE series = ? AND sequence > ? AND sequence <= ? "
        "ORDER BY sequence LIMIT ?",
        (name, anchored.gone, anchored.last, STEP_DOCUMENTS),
    ).fetchall()
    now, count = anchored, 0
    for sequence, issued_at, document in rows:
        if datetime.fromisoformat(issued_at) >= before:
            break
        roll = rolled(now.gone_roll, hashlib.sha256(bytes(document)).hexdigest())
        now, count = replace(now, gone=sequence, gone_roll=roll), count + 1
    if count:
        db.execute("DELETE FROM invoice WHERE series = ? AND sequence <= ?", (name, now.gone))
    return now, count


def _forget_sessions(db: sqlite3.Connection, before: datetime) -> int:
    over = [s for (s,) in db.execute(_ORPHANS, (before.isoformat(), STEP_DOCUMENTS))]
    if not over:
        return 0
    names = msgspec.json.encode(over).decode()
    for table in ("personal", "signed", "payment", "refund", "statement", "session"):
        db.execute(f"DELETE FROM {table} WHERE session_id IN (SELECT value FROM json_each(?))", (names,))  # noqa: S608  (names are ours)
    db.execute(
        "DELETE FROM buyer WHERE commitment NOT IN (SELECT buyer FROM (SELECT json_extract(CAST(document AS TEXT), "
        "'$.draft.buyer') AS buyer FROM invoice UNION SELECT json_extract(CAST(document AS TEXT), '$.draft.buyer') "
        "FROM statement) WHERE buyer IS NOT NULL)"
    )
    db.execute(
        "DELETE FROM tariff WHERE hash NOT IN (SELECT tariff_hash FROM session) "
        "AND rowid != (SELECT MAX(rowid) FROM tariff)"
    )
    return len(over)
