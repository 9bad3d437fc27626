"""The queue upstream as the database has it: readable with or without a running daemon."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from edge.sync.uplink.outbox import Outbox, Refused


class EpochQueue(msgspec.Struct, frozen=True, kw_only=True):
    epoch: str
    entries: int
    acknowledged: int


class QueueHead(msgspec.Struct, frozen=True, kw_only=True):
    """The newest entry: its number and its hash."""

    seq: int
    hash: str


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over all epochs; `epoch` and `head` are of the newest. Ages in whole seconds by the wall clock.

    `acknowledged` is what was written down; a running daemon may know up to a second more. `refused` counts entries
    that the back office refuses and has not booked since; `newest_refused` is the last of them.
    """

    entries: int
    acknowledged: int
    waiting: int
    oldest_waiting_s: int | None
    epoch: str | None
    head: QueueHead | None
    epochs: tuple[EpochQueue, ...]
    brokers: tuple[str, ...] | None
    refused: int
    newest_refused: Refused | None


def queue_status(database: Path, *, brokers: tuple[str, ...] | None, now: datetime) -> QueueStatus:
    """Raises StoreError."""
    outbox = Outbox(database)
    try:
        lines = outbox.lines()
        newest = lines[-1] if lines else None
        first = next((line for line in lines if line.acked < line.last), None)
        since = None if first is None else outbox.time_of(first.epoch, first.acked + 1)
        head = None if newest is None else outbox.hash_of(newest.epoch, newest.last)
        refused = outbox.refused(lines)
    finally:
        outbox.close()
    return QueueStatus(
        entries=sum(line.last for line in lines),
        acknowledged=sum(line.acked for line in lines),
        waiting=sum(line.last - line.acked for line in lines),
        oldest_waiting_s=None if since is None else max(0, int((now - since).total_seconds())),
        epoch=None if newest is None else newest.epoch,
        head=None if newest is None or head is None else QueueHead(seq=newest.last, hash=head),
        epochs=tuple(EpochQueue(epoch=e.epoch, entries=e.last, acknowledged=e.acked) for e in lines),
        brokers=brokers,
        refused=len(refused),
        newest_refused=refused[0] if refused else None,
    )
