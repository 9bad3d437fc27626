"""Where the one anchor of a pruned ledger is kept."""

from __future__ import annotations

import sqlite3

from edge.domain.ledger.anchor import Anchor, SignedAnchor, anchor_message, encode, signed_anchor
from edge.store.transaction import Tx


def write_anchor(tx: Tx, anchor: Anchor, entry_id: int) -> SignedAnchor:
    """Sign the anchor and put it in the place of the one before it. `entry_id`: the last row that it stands for."""
    data = encode(anchor)
    signature = tx.key.sign(anchor_message(data))
    tx.connection.execute("DELETE FROM anchor")
    tx.connection.execute(
        "INSERT INTO anchor (id, entry_id, epoch, upto, key_id, signature, data) VALUES (1, ?, ?, ?, ?, ?, ?)",
        (entry_id, anchor.epoch, anchor.upto, tx.key.key_id, signature, data),
    )
    return signed_anchor(data, key_id=tx.key.key_id, signature=signature)


def anchor_of(db: sqlite3.Connection) -> tuple[SignedAnchor | None, int]:
    """The anchor, and the last row that it stands for. Raises LedgerError."""
    row = db.execute("SELECT data, key_id, signature, entry_id FROM anchor").fetchone()
    if row is None:
        return None, 0
    return signed_anchor(bytes(row[0]), key_id=row[1], signature=row[2]), row[3]
