"""Booking what arrived: one transaction, idempotent, an acknowledgement only for what it made durable.

    acks = Books.open(path).book(messages, now)     # publish these, then PUBACK the messages

Every device has a line of entries per epoch. `upto` is the end of its unbroken chain; entries that came early
wait behind the gap and are taken in when it closes, in order, so that the tables see each fact once.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from edge import log
from edge.backoffice.arrival import Message, Placed, Unplaced, read, split
from edge.backoffice.projection import project
from edge.backoffice.schema import open_books
from edge.domain.ledger.envelope import GENESIS
from edge.domain.ledger.facts import Fact, LedgerCarried, LedgerKeySucceeded, LedgerOpened
from edge.store.connection import one_commit, translated
from edge.sync.contract.messages import NAMED_MAX, Ack, Need, Refusal, State
from edge.sync.contract.topics import Peer

#: Entries of one line that may wait behind a gap: ten windows of a device; later ones come again.
EARLY_MAX = 10_000

#: What one device may leave in quarantine; more of it is dropped, the alarm has long been raised.
QUARANTINE_MAX = 1000
QUARANTINE_BYTES_MAX = 16 * 1024 * 1024

#: Epochs of one device: each is a reset or a restore, and a person had a hand in it.
EPOCHS_MAX = 1000

#: Of bytes that are no entry at all, the beginning says enough.
_UNPLACED_BYTES_MAX = 65_536


class Line(msgspec.Struct, kw_only=True):
    """A line within one transaction: where its chain ends, the newest entry that is stored, what went wrong."""

    peer: Peer
    device_id: int
    line_id: int
    epoch: str
    upto: int
    head: str
    top: int
    bad: list[int] = []
    refused: Refusal | None = None

    def ack(self) -> Ack:
        return Ack(
            epoch=self.epoch,
            upto=self.upto,
            head=self.head,
            quarantined=tuple(self.bad[:NAMED_MAX]),
            refused=self.refused,
        )


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """How many entries the tables were made from, and how many of them could not be understood."""

    entries: int
    problems: int


class Books:
    """The back office's database. One thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.db = open_books(path)

    def close(self) -> None:
        self.db.close()

    def book(self, messages: Iterable[Message], now: datetime) -> list[tuple[Peer, Ack]]:
        """Store the messages' entries durably; what to acknowledge to whom. Raises StoreError; then nothing is."""
        by_peer: dict[Peer, list[bytes]] = defaultdict(list)
        for message in messages:
            by_peer[message.peer].extend(split(message.payload))
        with one_commit(self.db, self._path):
            lines = [
                line
                for peer in sorted(by_peer)
                for line in _Intake(self.db, peer, now.isoformat()).take(by_peer[peer])
            ]
        return [(line.peer, line.ack()) for line in lines]

    def answer(self, peer: Peer, state: State, now: datetime, *, retained: bool) -> Ack | None:
        """Keep a device's state; where its journal stands here, for the epoch that it names.

        A `retained` state was said before we listened: what the device sent since may be lost, so it is asked
        to send again whatever is missing.
        """
        with one_commit(self.db, self._path):
            device_id = _device_id(self.db, peer, now.isoformat())
            self.db.execute(
                "UPDATE device SET online = ?, state_at = ?, "
                "state = CASE WHEN ? THEN ? ELSE state END WHERE device_id = ?",
                (
                    int(state.online),
                    state.at.isoformat(),
                    int(state.online),
                    msgspec.json.encode(state).decode(),
                    device_id,
                ),
            )
        with translated("read", self._path):
            if state.position is None:
                return None
            epoch = state.position.epoch
            row = self.db.execute(
                "SELECT upto, head FROM line WHERE device_id = ? AND epoch = ?", (device_id, epoch)
            ).fetchone()
        upto, head = row or (0, GENESIS)
        missing = retained and upto < state.position.seq
        return Ack(epoch=epoch, upto=upto, head=head, need=Need(from_=upto + 1) if missing else None)

    def rebuild(self, now: datetime) -> Rebuilt:
        """Make the tables anew from the entries, as this version understands them. Raises StoreError."""
        with one_commit(self.db, self._path):
            return self._rebuild(now.isoformat())

    def _rebuild(self, at: str) -> Rebuilt:
        for table in (
            "session",
            "payment",
            "invoice",
            "statement",
            "refund",
            "meter_value",
            "tariff",
            "boot",
        ):
            self.db.execute(f"DELETE FROM {table}")  # noqa: S608  (names are ours)
        self.db.execute(
            "DELETE FROM quarantine WHERE EXISTS (SELECT 1 FROM line JOIN entry USING (line_id) "
            "WHERE line.device_id = quarantine.device_id AND line.epoch = quarantine.epoch "
            "AND entry.seq = quarantine.seq AND entry.hash = quarantine.hash)"
        )
        self.db.execute("UPDATE entry SET problem = NULL WHERE problem IS NOT NULL")
        entries = problems = 0
        rows = self.db.execute(
            "SELECT site, device, epoch FROM line JOIN device USING (device_id) ORDER BY line_id"
        ).fetchall()
        for site, device, epoch in rows:
            intake = _Intake(self.db, Peer(site, device), at)
            line = intake.line(epoch)
            raws = self.db.execute(
                "SELECT raw FROM entry WHERE line_id = ? AND seq <= ? ORDER BY seq", (line.line_id, line.upto)
            )
            for (raw,) in raws:
                entry = read(bytes(raw))
                assert isinstance(entry, Placed), "only placed entries are stored"
                intake.learn(line, entry)
                entries += 1
            problems += len(line.bad)
        return Rebuilt(entries=entries, problems=problems)

    def gaps(self) -> list[tuple[Peer, Ack]]:
        """Every line with entries that wait behind a gap, as the request to close it."""
        with translated("read", self._path):
            rows = self.db.execute(
                "SELECT site, device, epoch, upto, head FROM line JOIN device USING (device_id) WHERE top > upto"
            ).fetchall()
        return [
            (Peer(site, device), Ack(epoch=epoch, upto=upto, head=head, need=Need(from_=upto + 1)))
            for site, device, epoch, upto, head in rows
        ]


class _Intake:
    """One device's entries within the running transaction."""

    def __init__(self, db: sqlite3.Connection, peer: Peer, at: str) -> None:
        self._db = db
        self._peer = peer
        self._at = at
        self._device_id = _device_id(db, peer, at)
        self._lines: dict[str, Line] = {}

    def take(self, raws: Iterable[bytes]) -> list[Line]:
        for raw in raws:
            match read(raw):
                case Unplaced() as unplaced:
                    self._quarantine(unplaced.raw[:_UNPLACED_BYTES_MAX], unplaced.hash, unplaced.reason)
                case Placed() as entry if self._may_open(entry.epoch):
                    self._place(self.line(entry.epoch), entry)
                case Placed() as entry:
                    self._quarantine(entry.raw, entry.hash, "epochs")
        for line in self._lines.values():
            self._db.execute(
                "UPDATE line SET upto = ?, head = ?, top = ? WHERE line_id = ?",
                (line.upto, line.head, max(line.top, line.upto), line.line_id),
            )
        return list(self._lines.values())

    def _may_open(self, epoch: str) -> bool:
        """Whether this line is there, or there is room for one more."""
        if epoch in self._lines:
            return True
        known, others = self._db.execute(
            "SELECT coalesce(sum(epoch = ?), 0), count(*) FROM line WHERE device_id = ?",
            (epoch, self._device_id),
        ).fetchone()
        return bool(known) or others + len(self._lines) < EPOCHS_MAX

    def line(self, epoch: str) -> Line:
        if epoch not in self._lines:
            self._lines[epoch] = _line(self._db, self._peer, self._device_id, epoch)
        return self._lines[epoch]

    def _place(self, line: Line, entry: Placed) -> None:
        if entry.seq == line.upto + 1 and line.top <= line.upto:
            if entry.prevhash != line.head:
                self._refuse(line, entry, "chain")
                return
            self._store(line, entry)
            self._advance(line, entry)
            return
        if entry.seq > line.upto + EARLY_MAX:
            return
        known = self._db.execute(
            "SELECT hash FROM entry WHERE line_id = ? AND seq = ?", (line.line_id, entry.seq)
        ).fetchone()
        if known is None:
            self._store(line, entry)
            line.top = max(line.top, entry.seq)
            self._close_gap(line)
        elif known[0] != entry.hash:
            self._refuse(line, entry, "conflict")

    def _close_gap(self, line: Line) -> None:
        """Take in what waited, as far as the chain goes."""
        while line.top > line.upto:
            row = self._db.execute(
                "SELECT raw FROM entry WHERE line_id = ? AND seq = ?", (line.line_id, line.upto + 1)
            ).fetchone()
            if row is None:
                return
            entry = read(bytes(row[0]))
            assert isinstance(entry, Placed), "only placed entries are stored"
            if entry.prevhash != line.head:
                self._db.execute("DELETE FROM entry WHERE line_id = ? AND seq = ?", (line.line_id, entry.seq))
                self._refuse(line, entry, "chain")
                return
            self._advance(line, entry)

    def _store(self, line: Line, entry: Placed) -> None:
        self._db.execute(
            "INSERT INTO entry (line_id, seq, type, subject, time, hash, received_at, problem, raw) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                line.line_id,
                entry.seq,
                entry.type,
                entry.subject,
                entry.time,
                entry.hash,
                self._at,
                entry.problem,
                entry.raw,
            ),
        )

    def _advance(self, line: Line, entry: Placed) -> None:
        """The chain grows by this entry; the tables learn what it says."""
        line.upto, line.head = entry.seq, entry.hash
        line.top = max(line.top, entry.seq)
        self.learn(line, entry)

    def learn(self, line: Line, entry: Placed) -> None:
        """Bring what a booked entry says into the tables; what cannot be understood goes to quarantine as well."""
        problem = entry.problem
        if entry.fact is not None:
            problem = self._project(line, entry)
        elif problem is not None:
            self._misunderstood(line, entry, problem)
        if problem is not None:
            line.bad.append(entry.seq)
            self._quarantine(entry.raw, entry.hash, problem, entry)

    def _project(self, line: Line, entry: Placed) -> str | None:
        """None, or why the fact could not be booked; then nothing of it is."""
        fact = entry.fact
        assert fact is not None
        assert entry.time is not None
        if isinstance(fact, LedgerOpened) and entry.seq != 1:
            return self._misunderstood(line, entry, "opens a ledger that is open")
        if isinstance(fact, LedgerOpened | LedgerKeySucceeded):
            self._db.execute(
                "UPDATE line SET key_id = ?, public_key = ? WHERE line_id = ?",
                (fact.key_id, fact.public_key, line.line_id),
            )
            return None
        said = self._carried(fact) if isinstance(fact, LedgerCarried) else (fact, entry.time)
        if said is None:
            return None
        self._db.execute("SAVEPOINT fact")
        try:
            project(self._db, self._device_id, *said)
        except (sqlite3.IntegrityError, OverflowError) as e:
            self._db.execute("ROLLBACK TO fact")
            self._db.execute("RELEASE fact")
            return self._misunderstood(line, entry, f"contradicts the books: {e}")
        self._db.execute("RELEASE fact")
        return None

    def _misunderstood(self, line: Line, entry: Placed, problem: str) -> str:
        self._db.execute(
            "UPDATE entry SET problem = ? WHERE line_id = ? AND seq = ?", (problem, line.line_id, entry.seq)
        )
        return problem

    def _carried(self, fact: LedgerCarried) -> tuple[Fact, str] | None:
        """What an entry said that its own epoch had no place for; None where it was booked there after all."""
        inner = read(fact.raw.encode())
        if not isinstance(inner, Placed) or inner.fact is None or inner.time is None:
            return None
        booked = self._db.execute(
            "SELECT 1 FROM entry JOIN line USING (line_id) "
            "WHERE device_id = ? AND epoch = ? AND seq = ? AND hash = ? AND seq <= upto",
            (self._device_id, inner.epoch, inner.seq, inner.hash),
        ).fetchone()
        return None if booked else (inner.fact, inner.time)

    def _refuse(self, line: Line, entry: Placed, reason: str) -> None:
        line.refused = Refusal(seq=entry.seq, reason=reason)
        self._quarantine(entry.raw, entry.hash, reason, entry)

    def _quarantine(self, raw: bytes, sha256: str, reason: str, entry: Placed | None = None) -> None:
        where = (None, None) if entry is None else (entry.epoch, entry.seq)
        count, size = self._db.execute(
            "SELECT count(*), coalesce(sum(length(raw)), 0) FROM quarantine WHERE device_id = ?",
            (self._device_id,),
        ).fetchone()
        if count >= QUARANTINE_MAX or size + len(raw) > QUARANTINE_BYTES_MAX:
            return
        fresh = self._db.execute(
            "INSERT INTO quarantine (device_id, epoch, seq, reason, hash, received_at, raw) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (self._device_id, *where, reason, sha256, self._at, raw),
        ).rowcount
        if fresh:
            log.error(
                "backoffice.quarantined",
                site=self._peer.site,
                device=self._peer.device,
                epoch=where[0],
                seq=where[1],
                reason=reason,
            )


def _device_id(db: sqlite3.Connection, peer: Peer, at: str) -> int:
    row = db.execute(
        "SELECT device_id FROM device WHERE site = ? AND device = ?", (peer.site, peer.device)
    ).fetchone()
    if row is None:
        row = db.execute(
            "INSERT INTO device (site, device, first_seen_at) VALUES (?, ?, ?) RETURNING device_id",
            (peer.site, peer.device, at),
        ).fetchone()
    return int(row[0])


def _line(db: sqlite3.Connection, peer: Peer, device_id: int, epoch: str) -> Line:
    row = db.execute(
        "SELECT line_id, upto, head, top FROM line WHERE device_id = ? AND epoch = ?", (device_id, epoch)
    ).fetchone()
    if row is None:
        row = db.execute(
            "INSERT INTO line (device_id, epoch, upto, head, top) VALUES (?, ?, 0, ?, 0) "
            "RETURNING line_id, upto, head, top",
            (device_id, epoch, GENESIS),
        ).fetchone()
    return Line(
        peer=peer, device_id=device_id, line_id=row[0], epoch=epoch, upto=row[1], head=row[2], top=row[3]
    )
