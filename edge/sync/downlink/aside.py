"""A file that broke makes room for a new one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from edge.errors import StoreError


def lay_aside(path: Path) -> None:
    """Make room for a new file; the old one stays for whoever wants to know. Raises StoreError."""
    try:
        for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            with suppress(FileNotFoundError):
                name.replace(name.with_name(name.name + ".broken"))
    except OSError as e:
        raise StoreError(f"cannot lay {path} aside: {e.strerror}", hint="remove it by hand") from e
