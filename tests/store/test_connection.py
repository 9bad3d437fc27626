"""A till's database on a medium that is read-only: a stick with its tab set, a mounted image."""

from __future__ import annotations

import os
import sqlite3
from types import SimpleNamespace

import pytest

from edge.store.connection import StoreUnreadable, open_reader, open_writer


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
