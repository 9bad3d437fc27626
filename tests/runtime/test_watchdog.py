"""systemd hears from the till only while it works."""

from __future__ import annotations

import asyncio
import os
import socket
from datetime import UTC, datetime

import pytest

from edge.domain.instant import Instant
from edge.runtime import watchdog
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store


class Controller:
    def __init__(self, silent_s: float) -> None:
        self._silent_s = silent_s

    def silent_s(self) -> float:
        return self._silent_s


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


def test_a_till_that_works_says_so(store, systemd):
    asyncio.run(watched(store, Controller(0.5), Controller(1.0)))

    assert "WATCHDOG=1" in heard(systemd)


def test_a_controller_that_hangs_silences_the_till(store, systemd):
    asyncio.run(watched(store, Controller(0.5), Controller(11.0)))

    assert heard(systemd) == []


def test_a_database_that_hangs_silences_the_till(store, systemd, monkeypatch):
    monkeypatch.setattr(watchdog, "_COMMIT_MAX_S", 0.05)
    lock = store.submit(lambda _tx: __import__("time").sleep(1.0))

    asyncio.run(watched(store, Controller(0.5), seconds=0.5))

    assert heard(systemd) == []
    lock.result()


def test_nobody_is_told_where_nobody_asked(store, systemd, monkeypatch):
    monkeypatch.setenv("WATCHDOG_PID", "1")

    asyncio.run(watched(store, Controller(0.5), seconds=0.1))

    assert heard(systemd) == []
