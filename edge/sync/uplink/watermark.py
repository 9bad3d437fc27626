"""Writing down what was acknowledged, and what was refused: coalesced, on the store's thread, never waited for.

It is safe to lose: the next connection sends again what was not written down, and the receiver knows it.
"""

from __future__ import annotations

import queue
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from edge import log
from edge.domain.instant import Instant
from edge.errors import StoreError

#: So many acknowledged entries are written down at once, whatever the clock says.
ROWS_MAX = 1000

#: Refusals that are kept: a person looks at the newest, and at how many there are.
_REFUSALS_MAX = 1000


class WatermarkTx(Protocol):
    """What of the store's transaction is used here."""

    connection: sqlite3.Connection

    def set_watermark(self, epoch: str, upto: int, head: str, at: Instant) -> None: ...


class Submits(Protocol):
    """The store, from a thread that is not asyncio's."""

    def submit(self, run: Callable[[Any], Any]) -> Future[Any]: ...


class Watermark:
    """Used by the uplink's thread only."""

    def __init__(self, store: Submits, now: Callable[[], Instant], interval_s: float) -> None:
        self._store = store
        self._now = now
        self._interval_s = interval_s
        self._waiting: dict[str, tuple[int, str, bool]] = {}
        self._refusals: dict[tuple[str, int], str] = {}
        self._rows = 0
        self._since: float | None = None
        self._job: Future[Any] | None = None

    def rise(self, epoch: str, upto: int, head: str, *, rows: int, at: float) -> None:
        """`upto` is acknowledged; `at` is monotonic time."""
        _, _, lowered = self._waiting.get(epoch, (0, "", False))
        self._waiting[epoch] = (upto, head, lowered)
        self._rows += rows
        self._since = at if self._since is None else self._since

    def fall(self, epoch: str, upto: int, head: str, *, at: float) -> None:
        """The back office was restored: what lies above `upto` may not be pruned."""
        self._waiting[epoch] = (upto, head, True)
        self._rows += ROWS_MAX
        self._since = at if self._since is None else self._since

    def refuse(self, epoch: str, seq: int, reason: str, *, at: float) -> None:
        """The back office cannot book this entry, for `sync status`; the caller says it once for each."""
        self._refusals[epoch, seq] = reason
        self._since = at if self._since is None else self._since

    @property
    def due_at(self) -> float | None:
        """When `write` has something to do; None while nothing waits."""
        return None if self._since is None else self._since + self._interval_s

    def write(self, at: float, *, whatever: bool = False) -> None:
        """Hand over what waits, if it is time and the last hand-over is done. `whatever`: now, and wait for it."""
        if self._job is not None and self._job.done():
            self._finish(self._job)
        if whatever and self._job is not None:
            self._finish(self._job)  # also where nothing new waits: whoever stops may look at once
        if self._since is None:
            return
        due = whatever or self._rows >= ROWS_MAX or at >= self._since + self._interval_s
        if not due or self._job is not None:
            return
        rows, self._waiting, self._rows, self._since = self._waiting, {}, 0, None
        refusals, self._refusals = self._refusals, {}
        try:
            self._job = self._store.submit(lambda tx: _write(tx, rows, refusals, self._now()))
        except (StoreError, queue.Full) as e:
            log.warning("sync.watermark_lost", error=e)
            return
        if whatever:
            self._finish(self._job)

    def _finish(self, job: Future[Any]) -> None:
        self._job = None
        try:
            job.result(timeout=_PATIENCE_S)
        except (StoreError, TimeoutError) as e:
            log.warning("sync.watermark_lost", error=e)


#: A store that takes longer than this for one commit has other worries than the watermark.
_PATIENCE_S = 5.0


def _write(
    tx: WatermarkTx,
    rows: dict[str, tuple[int, str, bool]],
    refusals: dict[tuple[str, int], str],
    now: Instant,
) -> None:
    for (epoch, seq), reason in refusals.items():
        tx.connection.execute(
            "INSERT OR REPLACE INTO refused (epoch, seq, reason, at) VALUES (?, ?, ?, ?)",
            (epoch, seq, reason, now.utc.isoformat()),
        )
    if refusals:
        tx.connection.execute(
            "DELETE FROM refused WHERE rowid <= (SELECT max(rowid) FROM refused) - ?", (_REFUSALS_MAX,)
        )
    for epoch, (upto, head, lowered) in rows.items():
        if lowered:
            tx.connection.execute("DELETE FROM watermark WHERE epoch = ?", (epoch,))
            # what comes again is acknowledged anew, and stays as long as anything else from then on
            tx.connection.execute("DELETE FROM acknowledged WHERE epoch = ? AND upto > ?", (epoch, upto))
        tx.connection.execute("DELETE FROM refused WHERE epoch = ? AND seq <= ?", (epoch, upto))
        if upto:
            tx.set_watermark(epoch, upto, head, now)
