"""`chargetill sync status`: what waits, from the database alone."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.domain.instant import Instant
from edge.domain.ledger.facts import DeviceStopped
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store


def status(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "sync", "status", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A minute-old journal of four entries, two of them acknowledged."""
    at = Instant(utc=datetime.now(UTC) - timedelta(seconds=60), boot_id="boot-1", monotonic_ns=1)
    store = Store.open(
        tmp_path / "till.db",
        key=load_or_make(tmp_path / "key"),
        owner=Owner(site="s1", device="d1"),
        prefix="CT",
        now=at,
    )
    store.submit(lambda tx: [tx.append(DeviceStopped(reason="x"), at) for _ in range(3)]).result()
    store.submit(lambda tx: tx.set_watermark(store.head.epoch, 2, "ab" * 32, at)).result()
    refuse = "INSERT INTO refused (epoch, seq, reason, at) VALUES (?, 3, 'chain', ?)"
    store.submit(
        lambda tx: tx.connection.execute(refuse, (store.head.epoch, at.utc.isoformat())) and None
    ).result()
    store.close()
    return tmp_path / "till.db"


def test_what_waits_and_for_how_long(database) -> None:
    found = json.loads(status("--db", database, "--json").stdout)
    assert (found["entries"], found["acknowledged"], found["waiting"]) == (4, 2, 2)
    assert found["head"]["seq"] == 4
    assert 60 <= found["oldest_waiting_s"] < 3600
    assert found["epochs"] == [{"epoch": found["epoch"], "entries": 4, "acknowledged": 2}]
    assert found["brokers"] is None
    assert (found["refused"], found["newest_refused"]["reason"]) == (1, "chain")


def test_the_same_in_words(database) -> None:
    lines = status("--db", database).stdout.splitlines()
    assert lines[0].startswith("waiting       2 entries, the oldest for ")
    assert lines[1] == "acknowledged  2 of 4 entries"
    assert lines[2].startswith("refused       1 entry, the newest 3 of ")
    assert lines[2].endswith(": chain")


def test_a_database_that_is_not_there_is_an_error(tmp_path) -> None:
    done = status("--db", tmp_path / "none.db", "--json")
    assert done.returncode == 3
    assert json.loads(done.stderr)["error"]["code"] == "store.unreadable"
