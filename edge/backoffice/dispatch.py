"""Sending what was ordered: commands until they are answered, documents kept at every broker."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from edge.backoffice.attachment import Attachment
from edge.backoffice.outgoing import Outgoing
from edge.backoffice.privacy import answered as erasure_answered
from edge.store.connection import translated
from edge.sync.contract.orders import Reply
from edge.sync.contract.topics import Peer

#: The orders' table is looked at this often: other processes write to it.
LOOK_S = 0.5

#: A command that nobody answers is sent again after this, doubling up to the second figure.
AGAIN_S = 2.0
AGAIN_MAX_S = 60.0

#: Commands that are under way at once, and documents that a broker is given before it took the last ones: each
#: may have a megabyte.
_COMMANDS_MAX = 500
_DOCUMENTS_MAX = 4


class Dispatch:
    """On the receiver's thread. Times are monotonic seconds."""

    def __init__(self, db: sqlite3.Connection, path: Path, attachments: Sequence[Attachment]) -> None:
        self._db = db
        self._outgoing = Outgoing(db)
        self._path = path
        self._attachments = attachments
        self._look_at = 0.0
        self._again: dict[int, tuple[float, float]] = {}
        self._back: set[str] = set()
        self._reached: dict[str, tuple[int, int]] = {}

    def serve(self, now: float) -> None:
        """Send what is due."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        with translated("read", self._path):
            self._commands(now)
            for attachment in self._attachments:
                if attachment.link is not None:
                    self._documents(attachment)

    def back(self, device: Peer) -> None:
        """A device is there: what waits for it need not wait for its turn."""
        self._back.add(device.topic("cmd"))
        self._look_at = 0.0

    def answered(self, device: Peer, reply: Reply, now: datetime) -> None:
        """A device has answered. Raises StoreError."""
        with translated("write", self._path):
            self._outgoing.answered(device, reply, now)
            erasure_answered(self._db, device, reply)

    def _commands(self, now: float) -> None:
        waiting = self._outgoing.waiting(datetime.now(UTC), limit=_COMMANDS_MAX)
        again: dict[int, tuple[float, float]] = {}
        for order in waiting:
            due, period_s = self._again.get(order.order_id, (now, AGAIN_S))
            if order.topic in self._back:
                due, period_s = now, AGAIN_S
            if now >= due:
                for attachment in self._attachments:
                    attachment.publish(order.topic, order.payload, key=f"order {order.order_id}")
                due, period_s = now + period_s, min(AGAIN_MAX_S, period_s * 2)
            again[order.order_id] = due, period_s
        self._again = again
        self._back.clear()

    def _documents(self, attachment: Attachment) -> None:
        """A broker that was restarted has forgotten what it kept: each connection gets everything again."""
        visit, after = self._reached.get(attachment.broker, (0, 0))
        if visit != attachment.visits:
            after = 0
        room = _DOCUMENTS_MAX - attachment.in_flight
        if room > 0:
            for document in self._outgoing.retained(after, limit=room):
                attachment.publish(document.topic, document.payload, key=document.topic, retain=True)
                after = document.order_id
                self._look_at = 0.0
        self._reached[attachment.broker] = attachment.visits, after
