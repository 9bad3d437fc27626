"""The computer below the till: who runs on it, who holds a device, and who may open a file."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

#: The user that systemd/chargetill.sysusers makes.
SERVICE_USER: Final = "chargetill"

#: Where serial devices appear, those with stable names first (systemd/60-chargetill.rules).
_SERIAL: Final = ("meter*", "charger*", "reader*", "serial/by-id/*", "ttyUSB*", "ttyACM*", "ttyAMA*")


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user as the kernel sees it."""

    name: str
    uid: int
    gids: frozenset[int]


class Holder(msgspec.Struct, frozen=True):
    """A process that has a file open or locked. The name is empty where it may not be seen."""

    pid: int
    name: str


def account() -> Account:
    """Whose rights count: the service's where root asks and there is such a user, else those of who asks."""
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(SERVICE_USER)
            gids = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
            return Account(name=entry.pw_name, uid=entry.pw_uid, gids=gids)
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Account(name=name, uid=uid, gids=frozenset((os.getegid(), *os.getgroups())))


def group_of(path: Path) -> str:
    """The group that a file belongs to, by name where it has one. Raises OSError."""
    gid = path.stat().st_gid
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def may(who: Account, path: Path, *, write: bool = False) -> bool:
    """Whether the mode bits of a file, and of every folder above it, let `who` read (and write) it."""
    real = path.resolve()
    try:
        return all(_bits(who, folder, 1) for folder in real.parents) and _bits(who, real, 6 if write else 4)
    except OSError:
        return False


def _bits(who: Account, path: Path, wanted: int) -> bool:
    if who.uid == 0:
        return True
    found = path.stat()
    if found.st_uid == who.uid:
        return (found.st_mode >> 6) & wanted == wanted
    if found.st_gid in who.gids:
        return (found.st_mode >> 3) & wanted == wanted
    return found.st_mode & wanted == wanted


class Machine:
    """The computer, or in a test the one whose files lie below `root`."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def text(self, path: str) -> str | None:
        """A small file of the kernel; None where it is not there."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None

    def processes(self) -> Iterator[Holder]:
        """Everything that runs, as far as it may be seen."""
        for folder in self.root.glob("proc/[0-9]*"):
            name = self.text(f"proc/{folder.name}/comm")
            if name:
                yield Holder(int(folder.name), name)

    def runs(self, *names: str) -> str | None:
        """The first of these programs that runs."""
        return next((p.name for p in self.processes() if p.name in names), None)

    def modules(self) -> frozenset[str]:
        """The kernel modules that are loaded."""
        lines = (self.text("proc/modules") or "").splitlines()
        return frozenset(line.split(maxsplit=1)[0] for line in lines if line)

    def serial_ports(self) -> tuple[str, ...]:
        """The serial devices that are there, each once, under its best name."""
        found: dict[Path, str] = {}
        for pattern in _SERIAL:
            for path in sorted((self.root / "dev").glob(pattern)):
                if path.is_char_device():
                    found.setdefault(path.resolve(), str(path))
        return tuple(found.values())

    def holder(self, path: Path) -> Holder | None:
        """Who has locked this file or device, or else who has it open; never this process itself."""
        try:
            real = path.resolve(strict=True)
            found = real.stat()
        except OSError:
            return None
        inode = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        for line in (self.text("proc/locks") or "").splitlines():
            fields = line.split()
            if inode in fields and fields[4].isdigit() and int(fields[4]) != os.getpid():
                pid = int(fields[4])
                return Holder(pid, self.text(f"proc/{pid}/comm") or "")
        return self._opened_by(real) if real.is_char_device() else None

    def _opened_by(self, real: Path) -> Holder | None:
        for process in self.processes():
            if process.pid == os.getpid():
                continue
            with contextlib.suppress(OSError):
                for handle in (self.root / f"proc/{process.pid}/fd").iterdir():
                    if handle.readlink() == real:
                        return process
        return None
