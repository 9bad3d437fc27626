"""`ledger backup`: a copy that can be trusted, made beside the running till."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import stat
from datetime import UTC, datetime

import pytest

from edge.domain.instant import Instant
from edge.domain.ledger.facts import DeviceBooted
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store


@pytest.fixture
def copy(sold, tmp_path):
    return shutil.copy(sold, tmp_path / "till.db")


def test_a_backup_holds_the_same_ledger_in_one_private_file(call, copy, tmp_path):
    stick = tmp_path / "stick"
    stick.mkdir()
    done = call("--db", copy, "ledger", "backup", stick, "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer.keys() == {"file", "bytes", "entries", "problems"}
    (file,) = stick.iterdir()
    assert str(file) == answer["file"]
    assert file.name.startswith("till-")
    assert file.name.endswith(f"-{answer['entries']}.db")
    assert file.stat().st_size == answer["bytes"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert call("--db", file, "ledger", "verify").out == call("--db", copy, "ledger", "verify").out
    assert call("--db", file, "ledger", "export").out == call("--db", copy, "ledger", "export").out
    assert list(stick.iterdir()) == [file]  # reading it left no log beside it
    deep = call("--db", copy, "ledger", "backup", f"{tmp_path}/new/deep/", "--json")
    assert json.loads(deep.out)["file"] == f"{tmp_path}/new/deep/{file.name}"
    again = call("--db", copy, "ledger", "backup", file)
    assert again.code == 0, again.err
    assert "verified" in again.out


def test_a_backup_beside_a_daemon_holds_what_was_committed(call, tmp_path):
    now = Instant(utc=datetime(2026, 1, 1, tzinfo=UTC), boot_id="b", monotonic_ns=1)
    key = load_or_make(tmp_path / "key")
    store = Store.open(
        tmp_path / "till.db", key=key, owner=Owner(site="s1", device="d1"), prefix="CT", now=now
    )
    try:
        for _ in range(5):
            asyncio.run(store.tx(lambda tx: tx.append(DeviceBooted(version="1", clean_stop=True), now)))
        done = call("--db", tmp_path / "till.db", "ledger", "backup", tmp_path / "b.db", "--json")
        assert done.code == 0, done.err
        assert json.loads(done.out)["entries"] == store.head.seq == 6
    finally:
        store.close()


@pytest.mark.parametrize("kind", ["itself", "foreign", "no folder", "no till"])
def test_a_backup_that_cannot_be_made_leaves_everything_as_it_was(call, copy, tmp_path, kind):
    target = {"itself": copy, "foreign": tmp_path / "notes.txt", "no folder": tmp_path / "none" / "b.db",
              "no till": tmp_path / "b.db"}[kind]  # fmt: skip
    (tmp_path / "notes.txt").write_text("dear diary")
    source = tmp_path / "notes.txt" if kind == "no till" else copy
    before = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    done = call("--db", source, "ledger", "backup", target, "--json")
    code, name = {"itself": (2, "call.backup"), "foreign": (2, "call.backup"), "no folder": (3, "store.backup"),
                  "no till": (3, "store.corrupt")}[kind]  # fmt: skip
    assert (done.code, done.error["code"]) == (code, name)
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == before


def test_a_full_medium_keeps_the_earlier_backup(call, copy, tmp_path, monkeypatch):
    target = tmp_path / "b.db"
    assert call("--db", copy, "ledger", "backup", target).code == 0
    before = target.read_bytes()
    (tmp_path / "b.db.part").symlink_to("/dev/full")
    done = call("--db", copy, "ledger", "backup", target, "--json")
    assert (done.code, done.error["code"]) == (3, "store.backup")
    assert target.read_bytes() == before
    assert not (tmp_path / "b.db.part").is_symlink()


def test_a_backup_of_a_broken_ledger_is_kept_and_says_so(call, copy, tmp_path):
    db = sqlite3.connect(copy)
    db.execute("DELETE FROM entry WHERE seq = 7")
    db.commit()
    db.close()
    done = call("--db", copy, "ledger", "backup", tmp_path / "b.db")
    assert done.code == 1
    assert "problem: " in done.out
    assert (tmp_path / "b.db").exists()
