"""A copy of the till's database on other media, made beside the running daemon."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from edge.errors import CallError, StoreError, TillError
from edge.store.connection import open_reader, translated
from edge.store.reading import Reading


class BackupTarget(CallError):
    code = "call.backup"


class BackupFailed(StoreError):
    code = "store.backup"
    hint = "check the medium: its space, whether it may be written, and whether it is still there"


def back_up(database: Path, target: Path) -> Path:
    """Copy the database as of one moment to the file `target`, or into the folder `target`; returns the file.

    The copy is one file without a log beside it, readable by its owner only: it holds what the database holds
    (the device's keys lie elsewhere). It takes its name when all of it is on the medium and SQLite finds it
    whole; a copy that fails leaves an earlier one as it was. In a folder it is named after the last entry that
    it holds: `till-7CHFYKPE-1234.db`. Raises BackupTarget, BackupFailed, or StoreError for the database.
    """
    with Reading(database) as till:
        position = till.stats()["epochs"][-1:]
    if target.is_dir():
        last = position[0] if position else {"epoch": "empty", "last": 0}
        target /= f"{database.stem}-{last['epoch']}-{last['last']}.db"
    _may_replace(target, database)
    part = target.with_name(target.name + ".part")
    try:
        try:
            copy_of(database, part)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        settle_folder(target.parent)
    except (OSError, sqlite3.Error) as e:
        reason = e.strerror if isinstance(e, OSError) else e
        raise BackupFailed(f"write {target}: {reason}") from e
    return target


def _may_replace(target: Path, database: Path) -> None:
    """An earlier backup may be replaced; the database itself, and what is no till's database, may not."""
    if not target.exists():
        return
    if target.samefile(database):
        raise BackupTarget(
            f"{target} is the database itself", hint="name a file or a folder on another medium"
        )
    try:
        with Reading(target):
            pass
    except TillError as e:
        hint = "name another file, or remove this one"
        raise BackupTarget(f"{target} exists and is no backup", hint=hint) from e


def copy_of(database: Path, part: Path) -> None:
    """A copy of the database as of one moment in the file `part`: all of it on the medium, and found whole."""
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    with (
        closing(open_reader(database)) as source,
        closing(sqlite3.connect(part, isolation_level=None)) as copy,
    ):
        source.backup(copy)  # in one step: a snapshot, whatever the daemon commits meanwhile
        copy.execute("PRAGMA journal_mode = DELETE")
    with part.open("rb+") as written:
        os.fsync(written.fileno())
        _forget(written.fileno())
    with closing(open_reader(part)) as copy, translated("check", part):
        (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise BackupFailed(f"the copy on this medium is damaged: {found}", hint="use another medium")


def _forget(file: int) -> None:
    """Drop the pages from memory, so that what is checked comes from the medium."""
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def settle_folder(folder: Path) -> None:
    """Make the new name durable, where the file system of the medium can do that for a folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as e:
        if e.errno != errno.EINVAL:
            raise
    finally:
        os.close(handle)
