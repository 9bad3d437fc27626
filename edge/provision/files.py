"""Files that are whole or not there: written beside, made durable, and put in their place."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge.errors import TillError

#: The user that systemd/chargetill.sysusers makes.
_SERVICE: Final = "chargetill"


class NotWritten(TillError):
    code = "provision.not_written"
    hint = "run it as root, or give --config in a folder that you may write"


class Exists(TillError):
    """What is there would be lost."""

    code = "provision.exists"
    hint = "--force keeps a dated copy of it and writes a new one"
    exit_code = 2


def write(path: Path, text: str, *, mode: int, mine: bool = False) -> None:
    """`mine`: only the service itself may read it, so it belongs to the service. Raises NotWritten."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        give(fresh, whole=mine)
        fresh.replace(path)
        _sync(path.parent)
    except OSError as e:
        raise NotWritten(f"{path}: {e.strerror}") from e


def give(path: Path, *, whole: bool) -> None:
    """A file to the service (`whole`), or to its group; nothing where there is no such user, or no right to."""
    if os.geteuid() != 0 or not path.exists():
        return
    with contextlib.suppress(KeyError):
        user = pwd.getpwnam(_SERVICE)
        os.chown(path, user.pw_uid if whole else -1, user.pw_gid)


def folder(path: Path, *, mode: int, mine: bool) -> None:
    """Make a folder where there is none. Raises NotWritten."""
    try:
        if not path.is_dir():
            path.mkdir(parents=True, mode=mode)
            give(path, whole=mine)
    except OSError as e:
        raise NotWritten(f"{path}: {e.strerror}") from e


def set_aside(path: Path, *, force: bool) -> Path | None:
    """A dated copy of what will be replaced; None where nothing is there. Raises Exists without `force`."""
    if not path.exists():
        return None
    if not force:
        raise Exists(f"{path} exists")
    copy = path.with_name(f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    try:
        shutil.copy2(path, copy)
    except OSError as e:
        raise NotWritten(f"{copy}: {e.strerror}") from e
    return copy


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
