"""How a database is opened: looked through for as long as there is time, and on a medium that is read-only."""

from __future__ import annotations

import os
import sqlite3
from types import SimpleNamespace

import pytest

from edge.store.connection import StoreCorrupt, StoreUnreadable, check_whole, open_reader, open_writer


@pytest.fixture
def kept(tmp_path):
    """A database in WAL mode at rest, beside which SQLite can make no log, as on such a medium."""
    file = tmp_path / "till.db"
    db = open_writer(file)
    db.execute("CREATE TABLE t AS SELECT 7 AS n")
    db.close()
    (tmp_path / "till.db-wal").symlink_to(tmp_path / "none" / "log")
    return file


@pytest.fixture
def medium(monkeypatch):
    def mounted(*, read_only):
        flags = os.ST_RDONLY if read_only else 0
        monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_flag=flags))

    return mounted


def test_what_lies_at_rest_on_a_read_only_medium_is_read(kept, medium):
    medium(read_only=True)
    db = open_reader(kept)
    assert db.execute("SELECT n FROM t").fetchone() == (7,)
    with pytest.raises(sqlite3.OperationalError):
        db.execute("DELETE FROM t")
    db.close()


def test_where_somebody_may_write_or_a_log_holds_more_it_is_not_read_without_locks(kept, medium):
    medium(read_only=False)
    with pytest.raises(StoreUnreadable):
        open_reader(kept)
    medium(read_only=True)
    log = kept.with_name("till.db-wal")
    log.unlink()
    log.mkdir()  # it is there, is not empty, and cannot be read
    with pytest.raises(StoreUnreadable):
        open_reader(kept)


def test_a_database_is_looked_through_as_far_as_the_time_goes_and_is_of_use_afterwards(tmp_path):
    file = tmp_path / "till.db"
    db = open_writer(file)
    db.execute(
        "CREATE TABLE t AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000) "
        "SELECT n, hex(zeroblob(200)) AS filling FROM c"
    )
    for at_most_s in (0.0, 0.001, 60.0):  # it may be over before the time is: either is right
        check_whole(db, file, at_most_s=at_most_s)
        assert db.execute("SELECT count(*) FROM t").fetchone() == (20000,)
    db.close()
    with file.open("rb+") as pages:
        pages.seek(4096 * 1000)
        pages.write(b"\xff" * 4096)
    db = open_writer(file)
    with pytest.raises(StoreCorrupt):
        check_whole(db, file, at_most_s=60.0)
    db.close()
