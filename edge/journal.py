"""Log lines as journald's own entries, each field a field: `journalctl CHARGETILL_SESSION_ID=..` finds a session.

The native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/): one datagram an entry, a line for each field, or
its length and bytes where a value has newlines.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SOCKET: Final = Path("/run/systemd/journal/socket")

#: What our fields are called in the journal, beside those that journald adds itself.
_PREFIX: Final = "CHARGETILL_"
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Z0-9_]")
#: journald refuses longer names.
_NAME_MAX: Final = 64

#: sd-daemon(3): syslog's priorities.
_PRIORITIES: Final = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def is_ours() -> bool:
    """True where standard error goes to the journal: systemd says so in JOURNAL_STREAM."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino)) and SOCKET.exists()


def entry(message: str, level: int, event: str, fields: Mapping[str, object]) -> bytes:
    """One datagram. Values are text as a person reads them; None is left out."""
    priority = next((code for least, code in _PRIORITIES if level >= least), 7)
    parts = [_field("MESSAGE", message), _field("PRIORITY", str(priority))]
    parts += [_field("SYSLOG_IDENTIFIER", "chargetill"), _field(_PREFIX + "EVENT", event)]
    parts += [_field(_name(key), str(value)) for key, value in fields.items() if value is not None]
    return b"".join(parts)


def _name(key: str) -> str:
    return (_PREFIX + _NOT_IN_A_NAME.sub("_", key.upper()))[:_NAME_MAX]


def _field(name: str, value: str) -> bytes:
    raw = value.encode(errors="replace")
    if b"\n" in raw:
        return name.encode() + b"\n" + struct.pack("<Q", len(raw)) + raw + b"\n"
    return name.encode() + b"=" + raw + b"\n"


class Journal:
    """The way to journald. A datagram that is refused is dropped: whoever logs never waits."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def send(self, datagram: bytes) -> bool:
        """False where journald did not take it."""
        with contextlib.suppress(OSError):
            self._socket.sendto(datagram, self._path)
            return True
        return False
