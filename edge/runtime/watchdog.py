"""What systemd is told: that the till is ready, that it lives, that it stops (sd_notify(3)).

The sign of life is sent by the event loop, and only when events are being handled, the database takes a commit, and
the drivers of at least one EVSE come back: a thread that ticks for itself would hide a till that hangs. When it stays
away, systemd ends the process, and with it every permission to charge that is a lease of the kind `restart`. One EVSE
of several whose driver hangs is out of order by itself and costs the others nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from typing import NoReturn

from edge.errors import TillError
from edge.runtime.controller import EvseController
from edge.store.store import Store

#: A controller handles a tick every second; one that has handled nothing for this long hangs.
_SILENCE_MAX_S = 10.0

#: An empty commit waits behind at most a few others; one that takes longer is a disk that hangs.
_COMMIT_MAX_S = 5.0

#: A driver has come back long before (edge/runtime/calls.py). Where all of them hang, a new process is worth a try.
_STUCK_MAX_S = 120.0

#: Threads that hang in drivers, of all devices: some devices with as many as one may have (hw/worker.py). More of
#: them would leave the others no room.
_HUNG_MAX = 12

#: How often they are counted.
_COUNT_S = 5.0

#: A database that somebody has deleted is noticed within this: what is sold meanwhile would be lost.
_FILE_S = 5.0


def notify(state: str) -> None:
    """Send one message to systemd, where it listens; nothing elsewhere."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.setblocking(False)
        s.sendto(state.encode(), address)


def interval_s() -> float | None:
    """How often systemd wants to hear from this process; None when it does not."""
    wanted = os.environ.get("WATCHDOG_USEC", "")
    meant = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not wanted.isdigit() or meant != str(os.getpid()):
        return None
    return int(wanted) / 1e6


async def watch(
    controllers: Sequence[EvseController], store: Store, *, send: Callable[[str], None] = notify
) -> None:
    """Tell systemd that the till lives, for as long as it does. Returns at once where nobody asks."""
    wanted_s = interval_s()
    if wanted_s is None:
        return
    while True:
        await asyncio.sleep(wanted_s / 3)
        handled = all(c.silent_s() <= _SILENCE_MAX_S for c in controllers)
        if handled and _drives(controllers) and await _commits(store):
            send("WATCHDOG=1")


def _drives(controllers: Sequence[EvseController]) -> bool:
    return not controllers or any(c.stuck_s() <= _STUCK_MAX_S for c in controllers)


class ThreadsHung(TillError):
    code = "device.threads_hung"
    hint = "unplug what hangs (`journalctl -u chargetill` names it); the till starts again by itself"


async def watch_threads(hung: Callable[[], int]) -> NoReturn:
    """Raises ThreadsHung when too many threads hang in drivers: only a new process is rid of them."""
    while True:
        await asyncio.sleep(_COUNT_S)
        count = hung()
        if count > _HUNG_MAX:
            raise ThreadsHung(f"{count} threads hang in the drivers of devices")


async def watch_file(store: Store) -> NoReturn:
    """Raises StoreUnreadable when the database is not where it was."""
    while True:
        await asyncio.sleep(_FILE_S)
        store.check_file()


async def _commits(store: Store) -> bool:
    try:
        async with asyncio.timeout(_COMMIT_MAX_S):
            await store.tx(lambda _tx: None)
    except TimeoutError:
        return False
    return True
