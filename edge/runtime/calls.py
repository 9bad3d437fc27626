"""Calls into a device's driver, none of them for ever.

    calls = Calls("DE*T*1 meter")
    value = await calls.within(30, meter.read())      # or HardwareError

A driver keeps its own time-outs. One that does not come back in spite of them (a line that another program locks, a
thread that never ends, a mistake) is given up here, so that whoever watches the device goes on and says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from time import monotonic
from typing import TypeVar

from edge.errors import HardwareError

T = TypeVar("T")

#: An ordinary call: every try of every request on a line that others use too, with their quarantines.
CALL_MAX_S = 30.0

#: What is written register by register, or waits for a meter to sign.
LONG_CALL_MAX_S = 90.0


class DeviceStuck(HardwareError):
    """A driver did not come back in spite of its own time-outs."""

    code = "device.stuck"
    hint = "unplug the device and plug it in again; the till is started again where nothing else helps"


class Calls:
    """All calls into one device, and how long it has not come back by itself."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._well_s = monotonic()
        self._stuck = False

    async def within(self, seconds: float, work: Awaitable[T]) -> T:
        """What `work` gives or raises; DeviceStuck where it does neither. Real seconds."""
        try:
            async with asyncio.timeout(seconds) as limit:
                value = await work
        except TimeoutError as e:
            if not limit.expired():
                self._came_back()
                raise  # the driver's own
            if not self._stuck:
                self._stuck, self._well_s = True, monotonic() - seconds
            raise DeviceStuck(f"{self._name} did not come back within {seconds:g} s") from e
        except HardwareError:
            self._came_back()
            raise
        self._came_back()
        return value

    def stuck_s(self) -> float:
        """How long nothing has come back by itself; 0 while the driver works, also where it only fails."""
        return monotonic() - self._well_s if self._stuck else 0.0

    def _came_back(self) -> None:
        self._stuck = False
