"""A disk made of software under SQLite: it remembers what was never synced, and fails when it is told to.

    disk = install()                       # once a process: from now on SQLite writes through it
    volume = disk.mount(folder)            # what lies below this folder is on the virtual disk
    volume.fault = "full"
    volume.copy(other)                     # the files as the operating system has them: a process was killed
    volume.copy(other, power_cut=rng)      # what a power cut leaves of them: synced writes, and any of the others

It is a shim over SQLite's own VFS: the real file is read, locked and written as ever, and each write, truncation and
sync passes by here. After a power cut a write that was not synced is there, is not there, or is torn at sectors of
512 bytes, each for itself and in no order; a write never damages what lies beside it, which SQLite takes for granted
too (powersafe overwrite). Syncing costs nothing here: what it means is kept in memory. A new file's name is durable at
once: SQLite syncs the folder together with the first sync of a new log.
"""

from __future__ import annotations

import ctypes
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

SECTOR_BYTES: Final = 512

#: `full`: nothing can be written; `read_only`: the medium has protected itself; `io_error`: writes fail;
#: `sync_error`: what was written cannot be made durable.
DiskFault = Literal["full", "read_only", "io_error", "sync_error"]

_OK: Final = 0
_CODES: Final[dict[str, int]] = {"full": 13, "read_only": 8, "io_error": 778, "sync_error": 1034}

#: struct sqlite3_io_methods: a version, then pointers, in the order that SQLite's ABI fixes; which of them are ours.
_METHODS: Final = 19
_CLOSE, _WRITE, _TRUNCATE, _SYNC = 1, 3, 4, 5
_VFS_NAME: Final = b"virtual-disk"

_Close = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_Write = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64)
_Truncate = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)
_Sync = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_Open = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
)
_Delete = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("szOsFile", ctypes.c_int),
        ("mxPathname", ctypes.c_int),
        ("pNext", ctypes.c_void_p),
        ("zName", ctypes.c_char_p),
        ("pAppData", ctypes.c_void_p),
        ("xOpen", ctypes.c_void_p),
        ("xDelete", ctypes.c_void_p),
        ("others", ctypes.c_void_p * 14),
    )


class DiskUnavailable(Exception):
    """SQLite cannot be reached as a shared library: this Python has its own."""


@dataclass(slots=True)
class _File:
    """One file: as the operating system has it, as the medium has it, and the writes between the two."""

    now: bytearray
    durable: bytearray
    pending: list[tuple[int, bytes | None]]  # (offset, data), or (size, None) for a truncation


class Volume:
    """See the module. `operations` counts writes and syncs; `before` is called with each one's name and may end the
    volume (`dead`): from then on nothing reaches it. One that does not remember (`remembers`) holds no copy of its
    files in memory, and cannot lose power.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.remembers = True
        self.fault: DiskFault | None = None
        self.sync_s = 0.0
        self.before: Callable[[str], None] | None = None
        self.dead = False
        self.operations = self.syncs = self.written_bytes = 0
        self._files: dict[str, _File] = {}

    def copy(self, to: Path, *, power_cut: random.Random | None = None) -> None:
        """The files in another folder: as they are, or as a power cut leaves them."""
        assert self.remembers
        to.mkdir(parents=True, exist_ok=True)
        for name, file in self._files.items():
            data = file.now if power_cut is None else _after_power_cut(file, power_cut)
            (to / Path(name).name).write_bytes(data)

    def spoil(self, name: str, offset: int, data: bytes) -> None:
        """The medium loses what it had: these bytes are there instead."""
        path = self.folder / name
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(data)
        found = self._files[str(path)]
        _put(found.now, offset, data)
        _put(found.durable, offset, data)

    def opened(self, name: str) -> None:
        if self.remembers and name not in self._files:
            path = Path(name)
            data = path.read_bytes() if path.exists() else b""
            self._files[name] = _File(bytearray(data), bytearray(data), [])

    def deleted(self, name: str) -> None:
        self._files.pop(name, None)

    def refusal(self, operation: Literal["write", "truncate", "sync"]) -> int:
        """SQLite's code for an operation that fails now, or 0."""
        if operation != "truncate":
            self.operations += 1
            if self.before is not None and not self.dead:
                self.before(operation)
        if self.dead:
            return _CODES["io_error"]
        if self.fault is None or (self.fault == "sync_error") != (operation == "sync"):
            return _OK
        return _CODES[self.fault]

    def wrote(self, name: str, offset: int, data: bytes) -> None:
        self.written_bytes += len(data)
        if not self.remembers:
            return
        file = self._files[name]
        _put(file.now, offset, data)
        file.pending.append((offset, data))

    def truncated(self, name: str, size: int) -> None:
        if not self.remembers:
            return
        file = self._files[name]
        del file.now[size:]
        file.pending.append((size, None))

    def synced(self, name: str) -> None:
        self.syncs += 1
        if self.sync_s:
            time.sleep(self.sync_s)
        if not self.remembers:
            return
        file = self._files[name]
        for offset, data in file.pending:
            _do(file.durable, offset, data)
        file.pending.clear()


class Disk:
    """The shim. Made by `install`."""

    def __init__(self, library: ctypes.CDLL) -> None:
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
        found = library.sqlite3_vfs_find(None)
        if not found:
            raise DiskUnavailable("SQLite has no default VFS")
        self._lock = threading.Lock()
        self._volumes: dict[str, Volume] = {}
        self._open_files: dict[int, tuple[Volume, str, int]] = {}
        self._tables: dict[int, Any] = {}
        base = found.contents
        assert base.xOpen is not None
        assert base.xDelete is not None
        self._real_open = _Open(base.xOpen)
        self._real_delete = _Delete(base.xDelete)
        self._real: dict[int, tuple[Any, Any, Any, Any]] = {}
        self._vfs = _Vfs.from_buffer_copy(base)
        self._callbacks = (
            _Open(self._opened),
            _Delete(self._deleted),
            _Close(self._closed),
            _Write(self._write),
            _Truncate(self._truncate),
            _Sync(self._sync),
        )
        self._vfs.zName = _VFS_NAME
        self._vfs.pNext = None
        self._vfs.xOpen = ctypes.cast(self._callbacks[0], ctypes.c_void_p).value
        self._vfs.xDelete = ctypes.cast(self._callbacks[1], ctypes.c_void_p).value
        library.sqlite3_vfs_register.argtypes = [ctypes.POINTER(_Vfs), ctypes.c_int]
        if library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1) != _OK:
            raise DiskUnavailable("SQLite does not take the virtual disk")

    def mount(self, folder: Path) -> Volume:
        """From now on this folder is on the virtual disk."""
        volume = self._volumes[f"{folder.resolve()}/"] = Volume(folder.resolve())
        return volume

    def unmount(self, volume: Volume) -> None:
        """What is still open there goes on to the real file."""
        self._volumes.pop(f"{volume.folder}/", None)

    def _volume(self, name: str) -> Volume | None:
        return next((v for folder, v in self._volumes.items() if name.startswith(folder)), None)

    def _opened(self, vfs: int, named: int | None, file: int, flags: int, out: int) -> int:
        """SQLite keeps the pointer to the name, and finds parameters behind it: it goes on as it came."""
        name = None if named is None else ctypes.string_at(named).decode()
        volume = None if name is None else self._volume(name)
        if volume is not None and name is not None:
            volume.opened(name)
        code = int(self._real_open(vfs, named, file, flags, out))
        if code == _OK and volume is not None and name is not None:
            slot = ctypes.c_void_p.from_address(file)
            assert slot.value is not None
            with self._lock:
                self._open_files[file] = (volume, name, slot.value)
                slot.value = self._table(slot.value)
        return code

    def _table(self, real: int) -> int:
        """A method table as this one, with ours in the four places that count."""
        if real not in self._tables:
            pointers = ctypes.c_void_p * _METHODS
            table = pointers.from_buffer_copy(pointers.from_address(real))
            self._real[real] = (
                _Close(table[_CLOSE] or 0),
                _Write(table[_WRITE] or 0),
                _Truncate(table[_TRUNCATE] or 0),
                _Sync(table[_SYNC] or 0),
            )
            for place, callback in zip((_CLOSE, _WRITE, _TRUNCATE, _SYNC), self._callbacks[2:], strict=True):
                table[place] = ctypes.cast(callback, ctypes.c_void_p).value
            self._tables[real] = table
        return ctypes.addressof(self._tables[real])

    def _deleted(self, vfs: int, name: bytes, sync: int) -> int:
        volume = self._volume(name.decode())
        if volume is not None:
            if volume.dead:
                return _CODES["io_error"]
            volume.deleted(name.decode())
        return int(self._real_delete(vfs, name, sync))

    def _closed(self, file: int) -> int:
        with self._lock:
            _, _, real = self._open_files.pop(file)
        return int(self._real[real][0](file))

    def _write(self, file: int, data: int, size: int, offset: int) -> int:
        volume, name, real = self._open_files[file]
        code = volume.refusal("write") or int(self._real[real][1](file, data, size, offset))
        if code == _OK:
            volume.wrote(name, offset, ctypes.string_at(data, size))
        return code

    def _truncate(self, file: int, size: int) -> int:
        volume, name, real = self._open_files[file]
        code = volume.refusal("truncate") or int(self._real[real][2](file, size))
        if code == _OK:
            volume.truncated(name, size)
        return code

    def _sync(self, file: int, flags: int) -> int:
        del flags
        volume, name, _ = self._open_files[file]
        code = volume.refusal("sync")
        if code == _OK:
            volume.synced(name)
        return code


_installed: list[Disk] = []


def install() -> Disk:
    """The virtual disk of this process. Raises DiskUnavailable where SQLite is no shared library."""
    if not _installed:
        try:
            library = ctypes.CDLL("libsqlite3.so.0")
        except OSError as e:
            raise DiskUnavailable(str(e)) from e
        library.sqlite3_libversion.restype = ctypes.c_char_p
        if library.sqlite3_libversion().decode() != sqlite3.sqlite_version:
            raise DiskUnavailable("this Python has a SQLite of its own")
        _installed.append(Disk(library))
    return _installed[0]


def _put(data: bytearray, offset: int, new: bytes) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(new)] = new


def _do(data: bytearray, offset: int, new: bytes | None) -> None:
    if new is None:
        del data[offset:]
    else:
        _put(data, offset, new)


def _after_power_cut(file: _File, rng: random.Random) -> bytearray:
    left = bytearray(file.durable)
    for offset, new in file.pending:
        match rng.choice(("kept", "lost", "torn")):
            case "kept":
                _do(left, offset, new)
            case "torn" if new is not None:
                for start in range(0, len(new), SECTOR_BYTES):
                    if rng.random() < 0.5:
                        _put(left, offset + start, new[start : start + SECTOR_BYTES])
            case _:
                pass
    return left
