#!/usr/bin/env python3
"""The journal's commits beside bare SQLite commits (WAL, FULL) of the same bytes, in turn, on the same disk.

.venv/bin/python scripts/benchmarks/journal.py --json [--folder FOLDER]

An entry with its envelope, its hash, its place in the tables and its share of the signed checkpoints, against one row
with as many bytes in one table: what order, proof and lookup cost. Both are called without a thread between.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.ledger.facts import Fact
from edge.store.connection import open_writer
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store

GOAL: Final = 0.8
ROUNDS: Final = 12
COMMITS: Final = 150


def _now() -> Instant:
    return Instant(utc=datetime.now(UTC), boot_id="b", monotonic_ns=time.monotonic_ns())


def _fact(number: int) -> Fact:
    return facts.PaymentNoted(session_id=f"{number:032x}", payment_ref=f"{number:016x}", handle="x" * 200)


def _journal(store: Store, first: int) -> float:
    began = time.perf_counter()
    for number in range(first, first + COMMITS):
        fact = _fact(number)
        store._commit(lambda tx, fact=fact: tx.append(fact, _now()))  # noqa: SLF001  (as the store's thread does)
    return COMMITS / (time.perf_counter() - began)


def _bare(db: sqlite3.Connection, raw: bytes, first: int) -> float:
    began = time.perf_counter()
    for number in range(first, first + COMMITS):
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO entry (seq, raw) VALUES (?, ?)", (number, raw))
        db.execute("COMMIT")
    return COMMITS / (time.perf_counter() - began)


def measure(folder: Path) -> dict[str, Any]:
    """Commits a second of both, and their ratio: the median over rounds that follow each other closely."""
    store = Store.open(
        folder / "till.db",
        key=load_or_make(folder / "ledger.key"),
        owner=Owner(site="s1", device="d1"),
        prefix="CT",
        now=_now(),
    )
    store._commit(lambda tx: tx.append(_fact(0), _now()))  # noqa: SLF001
    (raw,) = store._connection.execute("SELECT raw FROM entry ORDER BY id DESC LIMIT 1").fetchone()  # noqa: SLF001
    db = open_writer(folder / "bare.db")
    db.execute("CREATE TABLE entry (seq INTEGER PRIMARY KEY, raw BLOB NOT NULL) STRICT")
    firsts = range(1, 1 + ROUNDS * COMMITS, COMMITS)
    rounds = [(_journal(store, first), _bare(db, bytes(raw), first)) for first in firsts]
    store.close()
    db.close()
    ratio = statistics.median(ours / bare for ours, bare in rounds)
    return {
        "entry_bytes": len(raw),
        "journal_per_s": round(statistics.median(ours for ours, _ in rounds)),
        "bare_per_s": round(statistics.median(bare for _, bare in rounds)),
        "ratio": round(ratio, 2),
        "goal": GOAL,
        "ok": ratio >= GOAL,
    }


def main() -> None:
    """Print the figures; exit 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help="on which disk; default: where temporary files are")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        found = measure(Path(folder))
    if given.json:
        print(json.dumps(found))
    else:
        print(
            f"journal {found['journal_per_s']}/s, bare SQLite {found['bare_per_s']}/s of {found['entry_bytes']} bytes: "
            f"{found['ratio']} (goal: {GOAL})"
        )
    if not found["ok"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
