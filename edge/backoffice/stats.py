"""What the back office holds, in figures."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from edge.backoffice.privacy import waiting
from edge.backoffice.retention import RetentionStats, noted
from edge.backoffice.schema import read_books
from edge.store.connection import translated


class EpochStats(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a device: `upto` entries without a gap; `early` wait behind one."""

    epoch: str
    entries: int
    upto: int
    early: int
    head: str


class DeviceStats(msgspec.Struct, frozen=True, kw_only=True):
    site: str
    device: str
    online: bool | None
    state_at: str | None
    epochs: tuple[EpochStats, ...]
    entries: int
    sessions: int
    invoices: int
    quarantined: int


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """All invoices of one currency less what was credited, in its minor unit."""

    currency: str
    invoices: int
    payable_minor: int


class Stats(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`erasures_waiting`: orders to erase somebody that their devices have not confirmed. `retention`: what the
    receiver enforced last; None before it has.
    """

    devices: tuple[DeviceStats, ...]
    entries: int
    sessions: int
    invoices: int
    totals: tuple[Total, ...]
    quarantined: int
    erasures_waiting: int = 0
    retention: RetentionStats | None = None


def collect(path: Path) -> Stats:
    """Raises StoreError."""
    db = read_books(path)
    try:
        with translated("read", path):
            db.execute("BEGIN")
            devices = tuple(
                _device(db, row)
                for row in db.execute(
                    "SELECT device_id, site, device, online, state_at FROM device ORDER BY site, device"
                ).fetchall()
            )
            totals = tuple(
                Total(currency=currency, invoices=count, payable_minor=payable)
                for currency, count, payable in db.execute(
                    "SELECT currency, sum(corrects IS NULL), "
                    "sum(CASE WHEN corrects IS NULL THEN payable_minor ELSE -payable_minor END) "
                    "FROM invoice GROUP BY currency ORDER BY currency"
                )
            )
            erasures, retention = waiting(db), noted(db)
    finally:
        db.close()
    return Stats(
        devices=devices,
        entries=sum(d.entries for d in devices),
        sessions=sum(d.sessions for d in devices),
        invoices=sum(d.invoices for d in devices),
        totals=totals,
        quarantined=sum(d.quarantined for d in devices),
        erasures_waiting=erasures,
        retention=retention,
    )


def _device(db: sqlite3.Connection, row: tuple[int, str, str, int | None, str | None]) -> DeviceStats:
    device_id, site, device, online, state_at = row
    epochs = tuple(
        EpochStats(epoch=epoch, entries=entries, upto=upto, early=entries - upto, head=head)
        for epoch, upto, head, entries in db.execute(
            "SELECT epoch, upto, head, (SELECT count(*) FROM entry WHERE entry.line_id = line.line_id) "
            "FROM line WHERE device_id = ? ORDER BY line_id",
            (device_id,),
        )
    )
    return DeviceStats(
        site=site,
        device=device,
        online=None if online is None else bool(online),
        state_at=state_at,
        epochs=epochs,
        entries=sum(e.entries for e in epochs),
        sessions=_count(db, "session", device_id),
        invoices=_count(db, "invoice", device_id, "AND corrects IS NULL"),
        quarantined=_count(db, "quarantine", device_id),
    )


def _count(db: sqlite3.Connection, table: str, device_id: int, more: str = "") -> int:
    (count,) = db.execute(
        f"SELECT count(*) FROM {table} WHERE device_id = ? {more}",  # noqa: S608  (names are ours)
        (device_id,),
    ).fetchone()
    return int(count)
