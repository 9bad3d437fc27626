"""A file that broke makes room for a new one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from edge.errors import StoreError


def lay_aside(path: Path) -> None:
    """Make room for a new file; the old one stays for whoever wants to know. Raises StoreError."""
    try:
        for name in _files(path):
            with suppress(FileNotFoundError):
                name.replace(_aside(name))
    except OSError as e:
        raise StoreError(f"cannot lay {path} aside: {e.strerror}", hint="remove it by hand") from e


def remove_laid_aside(path: Path) -> None:
    """Nobody can be erased from a file that broke: all of it goes. Raises StoreError."""
    try:
        for name in _files(path):
            _aside(name).unlink(missing_ok=True)
    except OSError as e:
        raise StoreError(f"cannot remove {_aside(path)}: {e.strerror}", hint="remove it by hand") from e


def _files(path: Path) -> tuple[Path, ...]:
    return (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm"))


def _aside(name: Path) -> Path:
    return name.with_name(name.name + ".broken")
