"""A reader's driver that never comes back (libnfc, pcscd) costs its thread, and no more than three of them."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from edge.errors import HardwareError
from hw.readers import stream
from hw.readers.stream import Found, TapStream
from hw.virtual.clock import VirtualClock
from hw.worker import HUNG_OF_ONE_MAX, hung_threads

NAME = "reader that hangs"
UID = bytes.fromhex("D0C1B2A3")


class Blocking:
    """Implements hw.readers.stream.Coupler: `find` hangs in the driver until it is let go."""

    def __init__(self, free, opened):
        self._free, self._opened = free, opened

    def open(self):
        self._opened.append("open")

    def find(self, within_s):
        assert within_s
        self._free.wait(60)
        return Found(uid=UID, speaks=False)

    def present(self):
        return False

    def transmit(self, command):
        raise AssertionError(command)

    def close(self):
        self._opened.append("close")


async def first_tap(reader):
    async for tap in reader.taps():
        return tap
    return None


def test_a_driver_that_hangs_is_opened_anew_a_few_times_and_again_once_it_comes_back(monkeypatch):
    free, opened = threading.Event(), []

    async def story():
        reader = TapStream(NAME, lambda: Blocking(free, opened), clock=VirtualClock(speed=1))
        monkeypatch.setattr(stream, "FIND_MAX_S", 0.2)
        for _ in range(HUNG_OF_ONE_MAX):
            with pytest.raises(HardwareError, match="did not answer"):
                await first_tap(reader)
        assert hung_threads(NAME) == HUNG_OF_ONE_MAX
        with pytest.raises(HardwareError, match="threads hang"):
            await first_tap(reader)
        assert opened == ["open"] * HUNG_OF_ONE_MAX
        monkeypatch.setattr(stream, "FIND_MAX_S", 30)
        free.set()
        ends = time.monotonic() + 30
        while hung_threads(NAME) and time.monotonic() < ends:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (await first_tap(reader)).uid == UID
        await reader.close()

    asyncio.run(story())
    assert opened.count("open") == HUNG_OF_ONE_MAX + 1
