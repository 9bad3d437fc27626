"""The store against what happens to files, disks and processes: a commit is whole and durable, or it never was."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from edge.domain.identity import IdToken
from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.ledger.checks import Checker
from edge.errors import LedgerError, StoreError
from edge.store.connection import StoreBusy, StoreCorrupt, StoreFull
from edge.store.keys import KeyUnusable, load_or_make
from edge.store.reading import Reading
from edge.store.schema import MIGRATIONS, SchemaTooNew
from edge.store.store import LedgerForeign, Owner, Store, StoreClosed, StoreInUse

OWNER = Owner(site="s", device="d")


def now() -> Instant:
    return Instant(utc=datetime.now(UTC), boot_id="b", monotonic_ns=1)


def halted(reason: str = "jump") -> facts.MeterHalted:
    return facts.MeterHalted(evse_id="E", reason=reason)


@pytest.fixture
def open_store(tmp_path):
    """`open_store()` opens the same database each time; what is open at the end is closed."""
    opened = []

    def make(**changes):
        key = changes.pop("key", None) or load_or_make(tmp_path / "key")
        options = {"key": key, "owner": OWNER, "prefix": "CT", "now": now(), **changes}
        opened.append(Store.open(tmp_path / "till.db", **options))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def commit(store, run):
    return store.submit(run).result(60)


def verified(path):
    checker = Checker()
    with Reading(path) as db:
        for entry in db.entries():
            checker.add(entry)
    return checker.report()


def test_a_new_database_opens_its_ledger_and_an_old_one_goes_on(open_store, tmp_path):
    store = open_store()
    epoch = store.head.epoch
    assert store.head.seq == 1
    commit(store, lambda tx: tx.append(halted(), now()))
    store.close()
    again = open_store()
    assert (again.head.epoch, again.head.seq) == (epoch, 2)
    assert verified(tmp_path / "till.db").problems == ()


def test_a_commit_that_fails_leaves_nothing_and_the_chain_goes_on(open_store, tmp_path):
    store = open_store()

    def fails(tx):
        tx.append(halted(), now())
        tx.save_evse("E", b"{}")
        tx.keep_personal("s", IdToken(kind="uid", value="v", key_id="k"), b"salt")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        commit(store, fails)
    assert store.head.seq == 1
    commit(store, lambda tx: tx.append(halted(), now()))
    store.close()
    assert open_store().evse_states() == {}
    assert verified(tmp_path / "till.db").entries == 2
    assert verified(tmp_path / "till.db").problems == ()


def test_commits_of_many_threads_make_one_chain(open_store, tmp_path):
    store = open_store()

    def many():
        for _ in range(25):
            commit(store, lambda tx: tx.append(halted(), now()))

    threads = [threading.Thread(target=many) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = verified(tmp_path / "till.db")
    assert (report.entries, report.problems) == (152, ())  # a checkpoint after a hundred of them


def test_a_waiter_who_is_cancelled_does_not_stop_the_store(open_store):
    store = open_store()
    slow = threading.Event()

    async def story():
        first = asyncio.ensure_future(store.tx(lambda _tx: slow.wait(30)))
        second = asyncio.ensure_future(store.tx(lambda tx: tx.append(halted(), now())))
        await asyncio.sleep(0.05)
        second.cancel()
        slow.set()
        assert await first
        await asyncio.gather(second, return_exceptions=True)
        await store.tx(lambda tx: tx.append(halted(), now()))

    asyncio.run(story())
    assert store.head.seq in (2, 3)


def test_a_full_disk_is_told_as_such_and_loses_nothing(open_store, tmp_path):
    store = open_store()
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    written = 0
    with pytest.raises(StoreFull) as found:  # noqa: PT012  (how many fit is SQLite's affair)
        for _ in range(200):
            commit(store, lambda tx: tx.append(halted("x" * 1000), now()))
            written += 1
    assert str(tmp_path / "till.db") in str(found.value)
    assert found.value.hint
    assert store.head.seq == 1 + written
    store._connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
    commit(store, lambda tx: tx.append(halted(), now()))
    store.close()
    report = verified(tmp_path / "till.db")
    assert (report.entries, report.problems) == (2 + written, ())


_WRITER = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.errors import StoreError
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store
folder = Path(sys.argv[1])
now = Instant(utc=datetime.now(UTC), boot_id="b", monotonic_ns=1)
store = Store.open(folder / "till.db", key=load_or_make(folder / "key"), owner=Owner(site="s", device="d"),
                   prefix="CT", now=now)
print("ready", flush=True)
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
number = 0
while True:
    try:
        store.submit(lambda tx: tx.append(facts.MeterHalted(evse_id="E", reason=str(number)), now)).result()
    except StoreError as e:
        print(f"failed {e.code}", flush=True)
        break
    number += 1
    print(number, flush=True)
"""


def writer(folder, limit=0):
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(folder), str(limit)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("after", [1, 7, 40])
def test_what_was_committed_before_a_kill_is_there_after_it(open_store, tmp_path, after):
    process = writer(tmp_path)
    said = 0
    for line in process.stdout:
        if line.strip() == str(after):
            process.kill()
        if line.strip().isdigit():
            said = int(line)
    process.wait(30)
    store = open_store()
    assert store.head.seq - 1 in (said, said + 1)  # the last one may have been committed and not yet said
    assert verified(tmp_path / "till.db").problems == ()


def test_a_file_that_may_not_grow_is_a_store_error_and_the_next_start_goes_on(open_store, tmp_path):
    process = writer(tmp_path, limit=200_000)
    *_, last = process.stdout
    process.wait(30)
    assert last.startswith("failed store.")
    open_store()
    assert verified(tmp_path / "till.db").problems == ()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 200_000


def test_one_process_at_a_time(open_store, tmp_path):
    process = writer(tmp_path)
    assert process.stdout.readline() == "ready\n"
    with pytest.raises(StoreInUse):
        open_store()
    process.kill()
    process.wait(30)
    open_store()


def test_somebody_elses_lock_on_the_file_is_an_error_not_a_hang(open_store, tmp_path, monkeypatch):
    store = open_store()
    store._connection.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(tmp_path / "till.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy):
        commit(store, lambda tx: tx.append(halted(), now()))
    other.close()
    commit(store, lambda tx: tx.append(halted(), now()))
    assert store.head.seq == 2


def test_a_database_of_another_device_or_signed_by_another_key(open_store, tmp_path):
    open_store().close()
    with pytest.raises(LedgerForeign, match="is the ledger of s/d"):
        open_store(owner=Owner(site="s", device="other"))
    with pytest.raises(KeyUnusable, match="is signed by key"):
        open_store(key=load_or_make(tmp_path / "another"))
    open_store()


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE entry SET raw = x'7b7d' WHERE seq = 2", LedgerError),
        ("UPDATE entry SET raw = x'7b7d' WHERE seq = 1", LedgerError),
        ("DELETE FROM entry", LedgerError),
        ("DROP TABLE entry", StoreError),
        ("PRAGMA user_version = 999", SchemaTooNew),
    ],
)
def test_a_database_that_is_not_what_it_says_is_refused(open_store, tmp_path, statement, kind):
    store = open_store()
    commit(store, lambda tx: tx.append(halted(), now()))
    store.close()
    db = sqlite3.connect(tmp_path / "till.db")
    db.execute(statement)
    db.commit()
    db.close()
    with pytest.raises(kind) as found:
        open_store()
    assert found.value.message


def test_a_file_full_of_something_else_is_corrupt(open_store, tmp_path):
    (tmp_path / "till.db").write_bytes(os.urandom(8192))
    with pytest.raises(StoreCorrupt):
        open_store()


def test_a_closed_store_says_so(open_store):
    store = open_store()
    store.close()
    store.close()
    with pytest.raises(StoreClosed):
        store.submit(lambda tx: None)


def test_a_migration_that_fails_leaves_the_database_as_it_was(open_store, tmp_path, monkeypatch):
    open_store().close()

    def fails(db):
        db.table("half").create({"a": int})
        raise sqlite3.OperationalError("no")

    monkeypatch.setattr("edge.store.schema.MIGRATIONS", (*MIGRATIONS, fails))
    with pytest.raises(StoreError):
        open_store()
    monkeypatch.undo()
    open_store()
    db = sqlite3.connect(tmp_path / "till.db")
    assert db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'half'").fetchone() is None
    db.close()


def test_the_key_is_made_once_for_nobody_else(tmp_path):
    first = load_or_make(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert load_or_make(tmp_path / "key").key_id == first.key_id
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(KeyUnusable, match="readable by others"):
        load_or_make(tmp_path / "key")
    with pytest.raises(KeyUnusable, match="cannot"):
        load_or_make(tmp_path / "nowhere" / "key")
