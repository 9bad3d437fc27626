"""The till's memory: one SQLite file, one thread that writes it, one durable commit per step.

    store = Store.open(path, key=key, owner=Owner(site="s1", device="d1"), prefix="CT", now=clock.now())
    await store.tx(lambda tx: tx.append(fact, at))

A commit that returned survives a power cut (WAL with synchronous=FULL). A second process is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import msgspec

from edge.domain.instant import Instant
from edge.domain.ledger.envelope import Entry, Head, digest, open_envelope, read_fact
from edge.domain.ledger.facts import DeviceStopped, Fact, LedgerCheckpoint, LedgerOpened, LedgerRolledBack
from edge.domain.plan import PlanBalance
from edge.errors import LedgerError, StoreError
from edge.store.connection import StoreBusy, StoreUnreadable, check_whole, one_commit, open_writer, translated
from edge.store.epochs import Opened, Owner, Reason, decommission, open_epoch, roll_back, succeed
from edge.store.keys import KeyUnusable, LedgerKey, make_successor, take_over
from edge.store.lock import StoreInUse, identity, take_lock
from edge.store.schema import migrate
from edge.store.transaction import Tx

__all__ = ["CHECKPOINT_ENTRIES", "LedgerForeign", "Owner", "Store", "StoreClosed", "StoreInUse", "take_lock"]

T = TypeVar("T")

#: Entries between two signatures: whoever cuts the end off a stolen database can hide at most so many.
CHECKPOINT_ENTRIES = 100

#: Commits that may wait: each EVSE waits for its own, so a longer queue means that something runs away.
_QUEUE_MAX = 1024


class LedgerForeign(LedgerError):
    code = "ledger.foreign"
    hint = "each device has its own database: give --db or correct [device] in the configuration"


class StoreClosed(StoreError):
    code = "store.closed"


class Store:
    """See the module. Made by `open`; closed by `close`, which waits for what was submitted."""

    def __init__(
        self,
        path: Path,
        *,
        key: LedgerKey,
        owner: Owner,
        prefix: str,
        lock: int,
        now: Instant,
        checkpoint_entries: int = CHECKPOINT_ENTRIES,
    ) -> None:
        self.path = path
        self._key = key
        self._owner = owner
        self._prefix = prefix
        self._lock = lock
        self._signed = 0
        self._checkpoint_entries = checkpoint_entries
        self._epoch_closed: str | None = None
        self._connection = open_writer(path)
        try:
            with translated("check", path):
                check_whole(self._connection, path)
            with translated("migrate", path):
                migrate(self._connection)
            with translated("read", path):
                self._head = self._open_ledger(now)
        except BaseException:
            self._connection.close()
            raise
        self._file = identity(path)
        self._after_commit: Callable[[], None] = lambda: None
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(_QUEUE_MAX)
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        key: LedgerKey,
        owner: Owner,
        prefix: str,
        now: Instant,
        checkpoint_entries: int = CHECKPOINT_ENTRIES,
    ) -> Store:
        """Open or create the database for one process; it signs at least every `checkpoint_entries` entries.

        Raises StoreError with what to mend.
        """
        lock = take_lock(path)
        try:
            return cls(
                path,
                key=key,
                owner=owner,
                prefix=prefix,
                lock=lock,
                now=now,
                checkpoint_entries=checkpoint_entries,
            )
        except BaseException:
            os.close(lock)
            raise

    @property
    def head(self) -> Head:
        """The chain's end as of the last commit."""
        return self._head

    @property
    def closed(self) -> str | None:
        """Why nothing is sold in this epoch any more, as a code; None while it may be."""
        return self._epoch_closed

    @property
    def key_id(self) -> str:
        return self._key.key_id

    def check_file(self) -> None:
        """SQLite goes on writing to a file that was deleted or replaced. Raises StoreUnreadable when ours was."""
        if identity(self.path) != self._file:
            raise StoreUnreadable(f"{self.path} was deleted or replaced while the till ran")

    def on_commit(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each commit, on the store's thread: the uplink looks for new entries then."""
        self._after_commit = wake

    async def tx(self, run: Callable[[Tx], T]) -> T:
        """Run a synchronous function in one commit; what it returns is returned once that is durable."""
        return await asyncio.wrap_future(self.submit(run))

    def submit(self, run: Callable[[Tx], T]) -> Future[T]:
        """`tx` for other threads. Raises StoreClosed after `close`."""
        future: Future[T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = self._commit(run)
            except BaseException as e:  # noqa: BLE001  (it belongs to whoever waits)
                future.set_exception(e)
            else:
                future.set_result(result)

        self._put(job)
        return future

    def _put(self, job: Callable[[], None]) -> None:
        if self._closed:
            raise StoreClosed(f"{self.path} is closed")
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise StoreBusy(f"{self.path}: {_QUEUE_MAX} commits wait already") from None

    def fold(self) -> Future[None]:
        """Write the log into the database and empty it, so that what was erased is in neither."""
        future: Future[None] = Future()

        def job() -> None:
            try:
                with translated("fold", self.path):
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except BaseException as e:  # noqa: BLE001  (it belongs to whoever waits)
                future.set_exception(e)
            else:
                future.set_result(None)

        self._put(job)
        return future

    def close(self) -> None:
        """Finish what was submitted, fold the log into the file, and let go of it."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        self._thread.join()
        with translated("close", self.path):
            self._connection.close()
        os.close(self._lock)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _commit(self, run: Callable[[Tx], T]) -> T:
        with one_commit(self._connection, self.path):
            tx = Tx(
                self._connection,
                head=self._head,
                source=self._owner.source,
                key=self._key,
                prefix=self._prefix,
            )
            tx.signed_upto, tx.closed = self._signed, self._epoch_closed
            result = run(tx)
            if tx.at is not None and tx.head.seq - tx.signed_upto >= self._checkpoint_entries:
                tx.sign(tx.at)
        self._head, self._signed, self._epoch_closed = tx.head, tx.signed_upto, tx.closed
        if tx.key is not self._key:
            self._take_over(tx.key)
        self._after_commit()
        return result

    def open_epoch(self, reason: Reason, at: Instant) -> Future[Opened]:
        """A new epoch after the current one; nothing that was committed before changes."""
        return self.submit(lambda tx: open_epoch(tx, self._owner, reason, at))

    def roll_back(self, found: LedgerRolledBack, at: Instant) -> Future[bool]:
        """The back office knows another end of the current epoch: from here on it is `closed`."""
        return self.submit(lambda tx: roll_back(tx, found, at))

    def decommission(self, reason: str, at: Instant) -> Future[None]:
        """The device's last word; the ledger is `closed`."""
        return self.submit(lambda tx: decommission(tx, reason, at))

    def rotate_key(self, at: Instant) -> Future[str]:
        """A new key, named by the one in force; gives its id. A crash in between leaves one of the two in force."""

        def run(tx: Tx) -> str:
            if tx.key.path is None:
                raise KeyUnusable("the ledger key lies in no file, so no other can take its place")
            successor = make_successor(tx.key.path)
            succeed(tx, successor, at)
            return successor.key_id

        return self.submit(run)

    def _open_ledger(self, now: Instant) -> Head:
        row = self._connection.execute(
            "SELECT epoch, key_id, closed FROM epoch ORDER BY ordinal DESC LIMIT 1"
        ).fetchone()
        if row is None:
            return self._found(now)
        epoch, key_id, self._epoch_closed = row
        first = self._fact(epoch, 1)
        if isinstance(first, LedgerOpened):
            if (first.site, first.device) != (self._owner.site, self._owner.device):
                raise LedgerForeign(f"{self.path} is the ledger of {first.site}/{first.device}")
            self._adopt(key_id or first.key_id)
        last = self._last(epoch)
        if last is None:
            raise LedgerError(f"{self.path}: epoch {epoch} has no entries")
        if digest(last.raw) != last.hash:
            raise LedgerError(f"{self.path}: entry {last.seq} of epoch {epoch} does not match its hash")
        self._signed = self._signed_upto(epoch, last.seq)
        return Head(epoch=epoch, seq=last.seq, hash=last.hash)

    def _take_over(self, successor: LedgerKey) -> None:
        """The new key signs already; where its file cannot take the old one's place now, the next start does it."""
        path, self._key = self._key.path, successor
        with contextlib.suppress(KeyUnusable):
            self._key = (path and take_over(path, successor.key_id)) or successor

    def _adopt(self, key_id: str) -> None:
        """The key that the ledger names; after a crash it may still lie beside its predecessor."""
        if self._key.key_id == key_id:
            return
        successor = None if self._key.path is None else take_over(self._key.path, key_id)
        if successor is None:
            raise KeyUnusable(f"{self.path} is signed by key {key_id}, not by {self._key.key_id}")
        self._key = successor

    def _signed_upto(self, epoch: str, last: int) -> int:
        row = self._connection.execute(
            "SELECT MAX(seq) FROM entry WHERE epoch = ? AND seq > ? AND type = ?",
            (epoch, last - self._checkpoint_entries, LedgerCheckpoint.TYPE),
        ).fetchone()
        return row[0] or max(0, last - self._checkpoint_entries)

    def _found(self, now: Instant) -> Head:
        with one_commit(self._connection, self.path):
            tx = Tx(
                self._connection,
                head=Head(epoch=""),
                source=self._owner.source,
                key=self._key,
                prefix=self._prefix,
            )
            open_epoch(tx, self._owner, "provisioned", now)
        return tx.head

    def _last(self, epoch: str) -> Entry | None:
        row = self._connection.execute(
            "SELECT epoch, seq, type, subject, raw, hash FROM entry WHERE epoch = ? ORDER BY seq DESC LIMIT 1",
            (epoch,),
        ).fetchone()
        return row and Entry(
            epoch=row[0], seq=row[1], type=row[2], subject=row[3], raw=bytes(row[4]), hash=row[5]
        )

    def _fact(self, epoch: str, seq: int) -> Fact | None:
        row = self._connection.execute(
            "SELECT raw FROM entry WHERE epoch = ? AND seq = ?", (epoch, seq)
        ).fetchone()
        return read_fact(open_envelope(bytes(row[0]))) if row else None

    def stopped_cleanly(self) -> bool:
        """Whether the last thing that the journal holds is an ordered stop. Before the first commit only."""
        last = self._fact(self._head.epoch, self._head.seq)
        if isinstance(last, LedgerCheckpoint):
            last = self._fact(self._head.epoch, self._head.seq - 1)
        return isinstance(last, DeviceStopped)

    def evse_states(self) -> dict[str, bytes]:
        """The state of each EVSE as of its last commit. Before the first commit only."""
        return {k: bytes(v) for k, v in self._connection.execute("SELECT evse_id, state FROM evse")}

    def tariff(self, tariff_hash: str) -> str:
        """The frozen document behind a hash. Before the first commit only."""
        row = self._connection.execute(
            "SELECT document FROM tariff WHERE hash = ?", (tariff_hash,)
        ).fetchone()
        if row is None:
            raise LedgerError(f"{self.path} has no tariff {tariff_hash}")
        return str(row[0])

    def plan(self, plan_hash: str) -> str:
        """The frozen plan behind a hash. Before the first commit only."""
        row = self._connection.execute("SELECT document FROM plan WHERE hash = ?", (plan_hash,)).fetchone()
        if row is None:
            raise LedgerError(f"{self.path} has no plan {plan_hash}")
        return str(row[0])

    def plan_balances(self) -> dict[tuple[str, str], PlanBalance]:
        """What members have left of their plans, by account and plan. Before the first commit only."""
        rows = self._connection.execute("SELECT account, plan_id, balance FROM plan_balance")
        return {(a, p): msgspec.json.decode(bytes(b), type=PlanBalance) for a, p, b in rows}

    def plan_statements(self) -> dict[tuple[str, str], str]:
        """What upstream last said of a balance, by account and plan. Before the first commit only."""
        rows = self._connection.execute(
            "SELECT account, plan_id, statement FROM plan_balance WHERE statement IS NOT NULL"
        )
        return {(a, p): s for a, p, s in rows}
