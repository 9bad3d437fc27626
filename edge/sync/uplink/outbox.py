"""The journal as the uplink sees it: read-only, on its own connection, never more than a batch in memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from edge.domain.ledger.envelope import GENESIS
from edge.errors import LedgerError
from edge.store.connection import open_reader, translated
from edge.store.epochs import CARRIED, ROLLED_BACK
from edge.sync.uplink.lines import Line


class _Dated(msgspec.Struct, frozen=True):
    time: datetime


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that the back office cannot put into the line, why (as it said), and when it said so first."""

    epoch: str
    seq: int
    reason: str
    at: datetime


class Outbox:
    """Opened and used by one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = open_reader(path)

    def close(self) -> None:
        self._db.close()

    def lines(self) -> list[Line]:
        """Every epoch, oldest first, with what was acknowledged as far as it was written down."""
        with translated("read", self._path):
            rows = self._db.execute(
                "SELECT e.epoch, (SELECT max(seq) FROM entry WHERE entry.epoch = e.epoch), w.upto, e.closed "
                "FROM epoch e LEFT JOIN watermark w ON w.epoch = e.epoch ORDER BY e.ordinal"
            ).fetchall()
        lines = []
        for number, (epoch, held, upto, closed) in enumerate(rows, start=1):
            acked = upto or 0  # no watermark: nothing of this epoch was acknowledged
            last = max(held or 0, acked)  # its end may be pruned
            settled = number < len(rows) and closed in (ROLLED_BACK, CARRIED)
            lines.append(Line(epoch=epoch, last=last, acked=acked, sent=acked, settled=settled))
        return lines

    def epochs(self) -> int:
        """How many there are."""
        with translated("read", self._path):
            (count,) = self._db.execute("SELECT count(*) FROM epoch").fetchone()
        return int(count)

    def last(self, epoch: str) -> int:
        """The newest entry's number, 0 when there is none."""
        with translated("read", self._path):
            (last,) = self._db.execute("SELECT max(seq) FROM entry WHERE epoch = ?", (epoch,)).fetchone()
        return int(last or 0)

    def read(self, epoch: str, after: int, *, rows_max: int, bytes_max: int) -> list[bytes]:
        """The entries that follow `after`, in order: at least one if there is one, else as many as fit."""
        rows: list[bytes] = []
        size, expected = 0, after
        with translated("read", self._path):
            found = self._db.execute(
                "SELECT seq, raw FROM entry WHERE epoch = ? AND seq > ? ORDER BY seq LIMIT ?",
                (epoch, after, rows_max),
            )
            for seq, raw in found:
                expected += 1
                if seq != expected:
                    break
                size += len(raw)
                if rows and size > bytes_max:
                    break
                rows.append(raw)
            found.close()
        if not rows and expected > after:
            raise LedgerError(f"{self._path}: epoch {epoch} has no entry {after + 1}: it was pruned")
        return rows

    def hash_of(self, epoch: str, seq: int) -> str | None:
        """The hash of one entry; None when we do not hold it."""
        if seq == 0:
            return GENESIS
        with translated("read", self._path):
            row = self._db.execute(
                "SELECT hash FROM entry WHERE epoch = ? AND seq = ?", (epoch, seq)
            ).fetchone()
        return None if row is None else str(row[0])

    def time_of(self, epoch: str, seq: int) -> datetime | None:
        """When an entry was written; None when we do not hold it."""
        with translated("read", self._path):
            row = self._db.execute(
                "SELECT raw FROM entry WHERE epoch = ? AND seq = ?", (epoch, seq)
            ).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=_Dated).time

    def refused(self, lines: list[Line]) -> list[Refused]:
        """What the back office refuses and has not booked since, the newest first."""
        waits = {line.epoch: line.acked for line in lines if not line.settled}
        with translated("read", self._path):
            there = self._db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'refused'").fetchone()
            if there is None:  # no daemon of this version has used the database yet
                return []
            rows = self._db.execute(
                "SELECT epoch, seq, reason, at FROM refused ORDER BY rowid DESC"
            ).fetchall()
        return [
            Refused(epoch=epoch, seq=seq, reason=reason, at=datetime.fromisoformat(at))
            for epoch, seq, reason, at in rows
            if epoch in waits and seq > waits[epoch]
        ]


def messages(rows: list[bytes], *, rows_max: int, bytes_max: int) -> Iterator[list[bytes]]:
    """Entries in groups that fit into one message each; an entry that is larger than that stands alone."""
    group: list[bytes] = []
    size = 0
    for raw in rows:
        if group and (len(group) >= rows_max or size + len(raw) + 1 > bytes_max):
            yield group
            group, size = [], 0
        group.append(raw)
        size += len(raw) + 1
    if group:
        yield group
