"""Whose a database file is: one process writes it, and it stays the file that it was."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from edge.errors import StoreError
from edge.store.connection import StoreBusy, StoreFull, StoreReadOnly, StoreUnreadable


class StoreInUse(StoreBusy):
    """Another daemon runs on this database, and so with these devices."""


def identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def take_lock(path: Path) -> int:
    """One writer a database: a lock that ends with the process, however that ends."""
    name = path.with_name(path.name + ".lock")
    try:
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise _cannot_create(path, e) from e
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        os.close(handle)
        raise StoreInUse(f"{path} is in use by another process") from e
    return handle


def _cannot_create(path: Path, cause: OSError) -> StoreError:
    match cause.errno:
        case errno.ENOSPC:
            kind: type[StoreError] = StoreFull
        case errno.EACCES | errno.EROFS:
            kind = StoreReadOnly
        case _:
            kind = StoreUnreadable
    return kind(f"open {path}: {cause.strerror}")
