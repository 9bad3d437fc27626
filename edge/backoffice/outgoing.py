"""The receiver's view of the orders: what to publish, and where the answers go. On the receiver's own connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

import msgspec

from edge.sync.contract.orders import Reply
from edge.sync.contract.topics import Peer


class Waiting(msgspec.Struct, frozen=True):
    """A command that its device has not answered: its row, its topic and what to publish."""

    order_id: int
    topic: str
    payload: bytes


class Retained(msgspec.Struct, frozen=True):
    """A document as it stands now: its newest row, its topic and what to keep there; empty: nothing any more."""

    order_id: int
    topic: str
    payload: bytes


class Outgoing:
    """See the module."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def waiting(self, now: datetime, *, limit: int) -> Sequence[Waiting]:
        """Commands without an answer that are still good, oldest first; for devices that seem away, last."""
        rows = self._db.execute(
            "SELECT order_id, topic, payload FROM orders LEFT JOIN device USING (site, device) "
            "WHERE stream = 'cmd' AND reply IS NULL AND (expires_at IS NULL OR expires_at > ?) "
            "ORDER BY coalesce(online, 1) DESC, order_id LIMIT ?",
            (now.isoformat(), limit),
        )
        return [Waiting(*row) for row in rows]

    def retained(self, after: int, *, limit: int) -> Sequence[Retained]:
        """Documents of rows after `after`, oldest first."""
        rows = self._db.execute(
            "SELECT order_id, topic, payload FROM orders WHERE stream <> 'cmd' AND order_id > ? "
            "ORDER BY order_id LIMIT ?",
            (after, limit),
        )
        return [Retained(*row) for row in rows]

    def answered(self, device: Peer, reply: Reply, now: datetime) -> None:
        """Keep a device's answer; the first one to a command counts."""
        if reply.stream == "cmd":
            self._db.execute(
                "UPDATE orders SET reply = ? WHERE stream = 'cmd' AND site = ? AND device = ? AND version = ? "
                "AND reply IS NULL",
                (msgspec.json.encode(reply).decode(), device.site, device.device, reply.version),
            )
            return
        self._db.execute(
            "INSERT INTO answer (site, device, stream, part, version, ok, reply, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (site, device, stream, part) DO UPDATE SET version = excluded.version, "
            "ok = excluded.ok, reply = excluded.reply, at = excluded.at",
            (
                device.site,
                device.device,
                reply.stream,
                reply.part or 0,
                reply.version,
                int(reply.ok),
                msgspec.json.encode(reply).decode(),
                now.isoformat(),
            ),
        )
