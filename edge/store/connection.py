"""How a database file is opened, and what SQLite's errors mean to whoever has to mend them."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from edge.errors import StoreError

#: A reader may meet the writer's checkpoint; it waits this long before it is an error.
_BUSY_TIMEOUT_S = 5.0

#: Pages in memory, in KB (SQLite's default is 2000 a connection): what one commit touches; and for readers, which
#: stream, the inner pages of the indexes. The kernel's cache has the rest, and gives it back when it is needed.
_WRITER_CACHE_KB = 200
_READER_CACHE_KB = 150


class StoreFull(StoreError):
    code = "store.full"
    retryable = True
    hint = "free some space on this disk; the till sells again by itself when a write succeeds"


class StoreReadOnly(StoreError):
    code = "store.read_only"
    retryable = True
    hint = "the file, its folder or the file system is read-only: check `mount`, the owner and the SD card"


class StoreUnreadable(StoreError):
    code = "store.unreadable"
    hint = "check the path, the owner and the disk; `chargetill ledger restore` brings a backup back"


class StoreBusy(StoreError):
    code = "store.busy"
    retryable = True
    hint = "another process holds the database: is a second daemon running?"


class StoreCorrupt(StoreError):
    code = "store.corrupt"
    hint = (
        "keep the file for inspection, then `chargetill ledger restore` a backup; the back office holds what it "
        "acknowledged"
    )


#: How long a start may take to look through the whole database; a large one is looked through as far as that goes.
_CHECK_MAX_S = 2.0

_BY_CODE: dict[int, type[StoreError]] = {
    sqlite3.SQLITE_FULL: StoreFull,
    sqlite3.SQLITE_READONLY: StoreReadOnly,
    sqlite3.SQLITE_CANTOPEN: StoreUnreadable,
    sqlite3.SQLITE_IOERR: StoreUnreadable,
    sqlite3.SQLITE_BUSY: StoreBusy,
    sqlite3.SQLITE_LOCKED: StoreBusy,
    sqlite3.SQLITE_CORRUPT: StoreCorrupt,
    sqlite3.SQLITE_NOTADB: StoreCorrupt,
}


@contextmanager
def translated(operation: str, path: Path) -> Iterator[None]:
    """SQLite's errors as the till's: what was tried, on which file, and what to do."""
    try:
        yield
    except sqlite3.Error as e:
        raise _ours(e, operation, path) from e


def _ours(error: sqlite3.Error, operation: str, path: Path) -> StoreError:
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return _BY_CODE.get(primary, StoreError)(f"{operation} {path}: {error}")


@contextmanager
def one_commit(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """All of what is written meanwhile becomes durable together, or nothing of it. Raises StoreError."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    except sqlite3.Error as e:
        raise _ours(e, "write", path) from e


def open_writer(path: Path) -> sqlite3.Connection:
    """The one writing connection: WAL and FULL, so that a commit that returned survives a power cut."""
    with translated("open", path):
        with contextlib.suppress(OSError):  # SQLite says what is wrong, in its own time
            path.touch(mode=0o600)  # who charged where is nobody else's business
        connection = sqlite3.connect(
            path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KB}")
            # what is overwritten or deleted is zeroed wherever its page is written anyway (I6)
            connection.execute("PRAGMA secure_delete = FAST").fetchone()
        except BaseException:
            connection.close()
            raise
    if mode != "wal":
        connection.close()
        raise StoreReadOnly(f"{path} cannot use write-ahead logging (journal mode {mode})")
    return connection


def check_whole(connection: sqlite3.Connection, path: Path, *, at_most_s: float = _CHECK_MAX_S) -> None:
    """Look for torn and lost pages, for a bounded time. Raises StoreCorrupt with the first that is found.

    The tree of pages is one step of SQLite's machine (3.40), so only another thread can end it.
    """
    clock = threading.Timer(at_most_s, connection.interrupt)
    clock.daemon = True
    clock.start()
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as e:
        if e.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        found = "ok"
    finally:
        clock.cancel()
        clock.join()  # what comes next is not interrupted
        connection.execute("PRAGMA shrink_memory")  # the pages that were only looked at
    if found != "ok":
        raise StoreCorrupt(f"{path}: {found}")


def open_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection, beside a running daemon or without one, also on a medium that is read-only."""
    if not path.exists():
        raise StoreUnreadable(f"{path} does not exist", hint="give --db or --config, or start the till once")
    with translated("open", path):
        try:
            return _read(path, "mode=ro")
        except sqlite3.OperationalError as e:
            if e.sqlite_errorcode != sqlite3.SQLITE_CANTOPEN or not _at_rest(path):
                raise
        return _read(path, "mode=ro&immutable=1")


def _read(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{how}",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute(f"PRAGMA cache_size = -{_READER_CACHE_KB}")
        connection.execute("PRAGMA schema_version").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _at_rest(path: Path) -> bool:
    """Whether nobody can write this file, and no log beside it holds anything: then it needs no lock to be read.

    SQLite reads a file in WAL mode only where it may make its index of the log, which a read-only medium refuses.
    """
    log = path.with_name(path.name + "-wal")
    try:
        empty = not log.exists() or log.stat().st_size == 0
        return empty and bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False
