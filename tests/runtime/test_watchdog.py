"""systemd hears from the till only while it works."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from datetime import UTC, datetime

import pytest

from edge.domain.instant import Instant
from edge.runtime import watchdog
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store
from hw.virtual.loop import VirtualLoop


class Controller:
    def __init__(self, silent_s: float, stuck_s: float = 0.0) -> None:
        self._silent_s = silent_s
        self._stuck_s = stuck_s

    def silent_s(self) -> float:
        return self._silent_s

    def stuck_s(self) -> float:
        return self._stuck_s


@pytest.fixture
def store(tmp_path):
    now = Instant(utc=datetime.now(UTC), boot_id="b", monotonic_ns=0)
    key = load_or_make(tmp_path / "key")
    store = Store.open(tmp_path / "t.db", key=key, owner=Owner(site="s", device="d"), prefix="CT", now=now)
    yield store
    store.close()


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """A socket that listens as systemd does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp_path / "notify"))
        s.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        yield s


def heard(s: socket.socket) -> list[str]:
    said = []
    while True:
        try:
            said.append(s.recv(100).decode())
        except BlockingIOError:
            return said


async def watched(store, *controllers, seconds=0.4):
    task = asyncio.create_task(watchdog.watch(controllers, store))
    await asyncio.sleep(seconds)
    task.cancel()


async def spoken(store, systemd, *controllers):
    """What is heard first, as long as that takes."""
    task = asyncio.create_task(watchdog.watch(controllers, store))
    async with asyncio.timeout(60):
        while not (said := heard(systemd)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
    return said


def test_a_till_that_works_says_so(store, systemd):
    assert "WATCHDOG=1" in asyncio.run(spoken(store, systemd, Controller(0.5), Controller(1.0)))


def test_a_controller_that_hangs_silences_the_till(store, systemd):
    asyncio.run(watched(store, Controller(0.5), Controller(11.0)))

    assert heard(systemd) == []


def test_a_database_that_hangs_silences_the_till(store, systemd, monkeypatch):
    monkeypatch.setattr(watchdog, "_COMMIT_MAX_S", 0.05)
    free = threading.Event()
    lock = store.submit(lambda _tx: free.wait(60))

    asyncio.run(watched(store, Controller(0.5), seconds=0.5))

    assert heard(systemd) == []
    free.set()
    lock.result()


def test_drivers_that_hang_silence_the_till_only_where_no_other_works(store, systemd):
    working = asyncio.run(spoken(store, systemd, Controller(0.5, stuck_s=1000), Controller(0.5)))
    assert "WATCHDOG=1" in working
    heard(systemd)

    asyncio.run(watched(store, Controller(0.5, stuck_s=1000), Controller(0.5, stuck_s=121)))
    assert heard(systemd) == []


def test_a_loop_that_is_blocked_says_nothing(store, systemd):
    """A driver that never lets go of the event loop: systemd counts from the last word that it heard."""

    async def blocked():
        task = asyncio.create_task(watchdog.watch([Controller(0.5)], store))
        while not heard(systemd):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        heard(systemd)
        time.sleep(0.5)  # noqa: ASYNC251  (that is the point)
        said = heard(systemd)
        task.cancel()
        return said

    assert asyncio.run(blocked()) == []


def test_threads_that_hang_without_end_end_the_process():
    counts = iter([0, 3, 12, 13])

    async def counted():
        await watchdog.watch_threads(lambda: next(counts))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner, pytest.raises(watchdog.ThreadsHung, match="13"):
        runner.run(counted())


def test_nobody_is_told_where_nobody_asked(store, systemd, monkeypatch):
    monkeypatch.setenv("WATCHDOG_PID", "1")

    asyncio.run(watched(store, Controller(0.5), seconds=0.1))

    assert heard(systemd) == []
