"""Cutting off the acknowledged beginning of the journal, in small steps, each of which leaves a ledger that verifies.

    found = plan(path, retention, now)               # on a reader of its own: checks what is about to go
    await store.tx(lambda tx: cut(tx, found, now))   # one commit: the signed anchor, the rows, the fact

The cut lies at a signed checkpoint. It never passes an entry that is not acknowledged, or was acknowledged more
recently than the retention time; nor the first entry of a session that has not ended or whose money has not; nor the
newest entry. Problems in what would go stop it: evidence is not destroyed.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from edge.domain.instant import Instant
from edge.domain.ledger.anchor import Anchor, SeriesAnchor, SignedAnchor, rolled
from edge.domain.ledger.checks import Checker
from edge.domain.ledger.envelope import GENESIS, Entry
from edge.domain.ledger.facts import (
    LedgerCheckpoint,
    LedgerKeySucceeded,
    LedgerOpened,
    LedgerPruned,
    PlanBalanceChanged,
    PlanFrozen,
    TariffFrozen,
)
from edge.errors import LedgerError
from edge.store.anchors import anchor_of, write_anchor
from edge.store.connection import open_reader, translated
from edge.store.epochs import Owner
from edge.store.transaction import Tx

#: Rows that one step looks at: a commit of a fraction of a second on an SD card, and some megabytes in memory.
STEP_ROWS = 2000


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """Acknowledged entries stay `keep_days`, so that a back office restored from a backup gets them again.

    Above `entries_max` acknowledged ones go sooner: the disk is bounded, as long as the back office acknowledges.
    """

    keep_days: int = 90
    entries_max: int = 200_000


class PruneRefused(LedgerError):
    code = "ledger.not_pruned"
    hint = "`chargetill ledger verify` lists every problem; nothing is pruned while there is one"


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """Where the next step may cut, found on top of the anchor with the hash `base` (None: there is none)."""

    base: str | None
    entry_id: int
    epoch: str
    upto: int
    head: str
    open_holds: tuple[str, ...]
    series: dict[str, SeriesAnchor]


def plan(database: Path, retention: Retention, now: datetime, *, rows_max: int = STEP_ROWS) -> Cut | None:
    """The next step, or None when there is nothing to cut. Raises PruneRefused, StoreError."""
    with closing(open_reader(database)) as db, translated("read", database):
        db.execute("BEGIN")
        return _Search(db, retention, now).run(rows_max)


class _Search:
    """One look at the beginning of the journal."""

    def __init__(self, db: sqlite3.Connection, retention: Retention, now: datetime) -> None:
        self._db = db
        self._retention = retention
        self._day = (now - timedelta(days=retention.keep_days)).date().isoformat()
        self._allowed: dict[str, tuple[int, int]] = {}

    def run(self, rows_max: int) -> Cut | None:
        base, base_id = anchor_of(self._db)
        checker = Checker()
        rows = self._db.execute(
            "SELECT id, epoch, seq, type, subject, raw, hash FROM entry WHERE id > ? ORDER BY id LIMIT ?",
            (base_id, rows_max),
        )
        found: tuple[int, Entry] | None = None
        waiting: list[Entry] = []
        needed, newest, crowded = self._bounds()
        for entry_id, entry in map(_entry, rows):
            if entry_id >= min(needed, newest) or not self._may_go(entry, crowded=entry_id <= crowded):
                break
            waiting.append(entry)
            if entry.type == LedgerCheckpoint.TYPE:
                if found is None:
                    self._start(checker, base, base_id)
                for each in waiting:
                    checker.add(each)
                waiting, found = [], (entry_id, entry)
        rows.close()
        if found is None:
            return None
        if checker.problems:
            raise PruneRefused(f"what would be pruned has problems: {checker.problems[0]}")
        entry_id, last = found
        return Cut(
            base=None if base is None else base.sha256,
            entry_id=entry_id,
            epoch=last.epoch,
            upto=last.seq,
            head=last.hash,
            open_holds=checker.open_holds,
            series=checker.series,
        )

    def _start(self, checker: Checker, base: SignedAnchor | None, base_id: int) -> None:
        if base is None:
            return
        checker.start(base)
        kept = "SELECT id, epoch, seq, type, subject, raw, hash FROM entry WHERE id <= ? ORDER BY id"
        for _, entry in map(_entry, self._db.execute(kept, (base_id,))):
            checker.add(entry)

    def _bounds(self) -> tuple[int, int, int]:
        """The first entry that something open needs, the newest one, and up to where there are too many."""
        open_ones = (
            "SELECT session_id FROM session WHERE status != 'ended' UNION SELECT session_id FROM payment "
            "WHERE status NOT IN ('captured', 'reversed', 'declined', 'expired') UNION SELECT session_id "
            "FROM refund WHERE status = 'requested'"
        )
        (needed,) = self._db.execute(f"SELECT MIN(id) FROM entry WHERE subject IN ({open_ones})").fetchone()  # noqa: S608  (ours)
        newest, count = self._db.execute("SELECT MAX(id), COUNT(*) FROM entry").fetchone()
        newest = newest or 0
        crowded = newest - self._retention.entries_max if count > self._retention.entries_max else 0
        return needed or newest, newest, crowded

    def _may_go(self, entry: Entry, *, crowded: bool) -> bool:
        if entry.epoch not in self._allowed:
            self._allowed[entry.epoch] = self._acknowledged(entry.epoch)
        long_ago, ever = self._allowed[entry.epoch]
        return entry.seq <= (ever if crowded else long_ago)

    def _acknowledged(self, epoch: str) -> tuple[int, int]:
        """Up to where the back office has acknowledged this epoch: longer than the retention time ago, and now."""
        row = self._db.execute("SELECT upto FROM watermark WHERE epoch = ?", (epoch,)).fetchone()
        ever = row[0] if row else 0
        (long_ago,) = self._db.execute(
            "SELECT MAX(upto) FROM acknowledged WHERE epoch = ? AND day <= ?", (epoch, self._day)
        ).fetchone()
        return min(long_ago or 0, ever), ever


def note_acknowledged(tx: Tx, now: datetime) -> None:
    """What is acknowledged today, where it is more than before; the retention time counts from here.

    By a clock that is trusted.
    """
    tx.connection.execute(
        "INSERT OR IGNORE INTO acknowledged (epoch, day, upto) SELECT epoch, ?, upto FROM watermark "
        "WHERE upto > (SELECT COALESCE(MAX(upto), 0) FROM acknowledged a WHERE a.epoch = watermark.epoch)",
        (now.date().isoformat(),),
    )


#: What stays of the rows up to a cut: see edge/domain/ledger/anchor.py.
_KEPT = """
SELECT id, hash FROM entry WHERE id <= :cut AND (
    type IN (:opened, :succeeded)
    OR (subject IS NOT NULL AND EXISTS (
        SELECT 1 FROM entry later WHERE later.subject = entry.subject AND later.id > :cut))
    OR (type = :tariff AND json_extract(CAST(raw AS TEXT), '$.data.hash') IN (SELECT hash FROM tariff))
    OR (type = :plan AND json_extract(CAST(raw AS TEXT), '$.data.hash') IN (SELECT hash FROM plan))
    OR id IN (
        SELECT MAX(id) FROM entry WHERE id <= :cut AND type = :balance GROUP BY
        json_extract(CAST(raw AS TEXT), '$.data.account'), json_extract(CAST(raw AS TEXT), '$.data.plan_id'))
) ORDER BY id
"""


def cut(tx: Tx, found: Cut, owner: Owner, at: Instant) -> int:
    """One step: the new anchor, without the rows that it stands for. How many went; 0 if things have changed."""
    db = tx.connection
    base, _ = anchor_of(db)
    row = db.execute("SELECT upto FROM watermark WHERE epoch = ?", (found.epoch,)).fetchone()
    if (base and base.sha256) != found.base or row is None or row[0] < found.upto:
        return 0
    kept = db.execute(
        _KEPT,
        {
            "cut": found.entry_id,
            "opened": LedgerOpened.TYPE,
            "succeeded": LedgerKeySucceeded.TYPE,
            "tariff": TariffFrozen.TYPE,
            "plan": PlanFrozen.TYPE,
            "balance": PlanBalanceChanged.TYPE,
        },
    ).fetchall()
    kept_hash = GENESIS
    for _, sha256 in kept:
        kept_hash = rolled(kept_hash, sha256)
    gone = db.execute(
        "DELETE FROM entry WHERE id <= ? AND id NOT IN (SELECT value FROM json_each(?))",
        (found.entry_id, msgspec.json.encode([entry_id for entry_id, _ in kept]).decode()),
    ).rowcount
    anchor = Anchor(
        site=owner.site,
        device=owner.device,
        epoch=found.epoch,
        upto=found.upto,
        head=found.head,
        entries=gone + (base.anchor.entries if base else 0),
        kept=len(kept),
        kept_hash=kept_hash,
        open_holds=found.open_holds,
        series=found.series,
        at=at.utc,
    )
    signed = write_anchor(tx, anchor, found.entry_id)
    db.execute("DELETE FROM acknowledged WHERE epoch = ? AND upto <= ?", (found.epoch, found.upto))
    tx.append(
        LedgerPruned(epoch=found.epoch, upto=found.upto, head=found.head, anchor_sha256=signed.sha256), at
    )
    return gone


def _entry(row: tuple[int, str, int, str, str | None, bytes, str]) -> tuple[int, Entry]:
    entry_id, epoch, seq, kind, subject, raw, sha256 = row
    return entry_id, Entry(epoch=epoch, seq=seq, type=kind, subject=subject, raw=bytes(raw), hash=sha256)
