"""The computer's clocks, and whether its wall clock may be believed.

The kernel knows whether somebody keeps its clock (NTP). From the first such moment of a boot on the time is known: the
time of then, and the monotonic time that passed since, which drifts by seconds a day while the network is away. A step
that the kernel does not call synchronized (somebody's `date -s`, a program gone wild) changes nothing any more.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from edge.domain.instant import Instant
from edge.errors import HardwareError

Trust = Literal["ntp", "always"]

#: adjtimex(2): the kernel's clock is not synchronized to a reference
_TIME_ERROR = 5
_STA_UNSYNC = 0x0040
#: struct timex on Linux: 208 bytes on 64-bit; larger than any layout, zeroed, `modes` 0 reads only
_TIMEX_BYTES = 512
#: offsets in struct timex: modes, offset, freq, maxerror, esterror are one machine word each, then comes status
_MAXERROR_WORDS = 3
_STATUS_WORDS = 5

#: The two clocks are read one after the other, and a busy computer may do other things between; less than a second,
#: for a leap second is a step.
_STEP = timedelta(milliseconds=500)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ClockUnreadable(HardwareError):
    code = "clock.unreadable"
    hint = "the unit may forbid adjtimex (ProtectClock=yes): see systemd/README.md"


class KernelTime(msgspec.Struct, frozen=True):
    """What the kernel says of its wall clock: whether somebody keeps it, and how far it is off at most (us)."""

    synchronized: bool
    error_us: int


class SystemClock:
    """Implements edge.ports.Clock. `trust="ntp"` asks the kernel; `always` is for a computer with its own care."""

    def __init__(self, *, trust: Trust) -> None:
        self._always = trust == "always"
        self._boot_id = os.environ.get("CHARGETILL_BOOT_ID") or _boot_id()
        self._zero: datetime | None = None
        self.error_ms: int | None = None

    def now(self) -> Instant:
        monotonic_ns, utc = _monotonic_ns(), _utc()
        passed = timedelta(microseconds=monotonic_ns // 1000)
        if self._zero is not None and abs(utc - passed - self._zero) > _STEP:
            self._adopt(kernel_time())
            if self._zero is not None and abs(utc - passed - self._zero) > _STEP:
                utc = self._zero + passed
        return Instant(utc=utc, boot_id=self._boot_id, monotonic_ns=monotonic_ns)

    def trusted(self) -> bool:
        """Whether the time is known: somebody has kept it in this boot, be it a while ago. The kernel calls its clock
        unsynchronized after some hours offline, when it is still right to a second or two.
        """
        if not self._always and self._zero is None:
            self._adopt(kernel_time())
        return self._always or self._zero is not None

    def recall(self, zero_at: datetime) -> None:
        """What an earlier process of this boot has found: its monotonic clock stood at 0 then."""
        if not self._always and self._zero is None:
            self._zero = zero_at

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _adopt(self, kernel: KernelTime) -> None:
        """The kernel's time, if somebody keeps it."""
        if kernel.synchronized:
            self._zero = _utc() - timedelta(microseconds=_monotonic_ns() // 1000)
            self.error_ms = -(-kernel.error_us // 1000)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError as e:
        raise ClockUnreadable(
            "cannot read the boot id", hint="pass it as CHARGETILL_BOOT_ID (systemd: %b)"
        ) from e


def _monotonic_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _utc() -> datetime:
    return _EPOCH + timedelta(microseconds=time.time_ns() // 1000)


def kernel_time() -> KernelTime:
    """The kernel's own word, by adjtimex(2). Raises ClockUnreadable."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = libc.adjtimex(timex)
    if state < 0:
        raise ClockUnreadable(f"adjtimex: {os.strerror(ctypes.get_errno())}")
    word = ctypes.sizeof(ctypes.c_long)
    status = ctypes.c_int.from_buffer(timex, _STATUS_WORDS * word).value
    error_us = ctypes.c_long.from_buffer(timex, _MAXERROR_WORDS * word).value
    return KernelTime(synchronized=state != _TIME_ERROR and not status & _STA_UNSYNC, error_us=error_us)
