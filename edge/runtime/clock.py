"""The computer's clocks, and whether its wall clock may be believed."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from edge.domain.instant import Instant
from edge.errors import HardwareError

Trust = Literal["ntp", "always"]

#: adjtimex(2): the kernel's clock is not synchronized to a reference
_TIME_ERROR = 5
_STA_UNSYNC = 0x0040
#: struct timex on Linux: 208 bytes on 64-bit; larger than any layout, zeroed, `modes` 0 reads only
_TIMEX_BYTES = 512
#: offset of `status` in struct timex: modes, offset, freq, maxerror, esterror are one machine word each
_STATUS_WORDS = 5


class ClockUnreadable(HardwareError):
    code = "clock.unreadable"
    hint = "the unit may forbid adjtimex (ProtectClock=yes): see systemd/README.md"


class SystemClock:
    """Implements edge.ports.Clock. `trust="ntp"` asks the kernel; `always` is for a computer with its own care."""

    def __init__(self, *, trust: Trust) -> None:
        self._trusted = trust == "always"
        self._boot_id = os.environ.get("CHARGETILL_BOOT_ID") or _boot_id()

    def now(self) -> Instant:
        return Instant(
            utc=datetime.now(UTC),
            boot_id=self._boot_id,
            monotonic_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        )

    def trusted(self) -> bool:
        """Once the kernel was synchronized in this boot its clock is good enough for invoices: it drifts by
        seconds a day, while the kernel calls it unsynchronized after some hours offline.
        """
        self._trusted = self._trusted or _kernel_synchronized()
        return self._trusted

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError as e:
        raise ClockUnreadable(
            "cannot read the boot id", hint="pass it as CHARGETILL_BOOT_ID (systemd: %b)"
        ) from e


def _kernel_synchronized() -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = libc.adjtimex(timex)
    if state < 0:
        raise ClockUnreadable(f"adjtimex: {os.strerror(ctypes.get_errno())}")
    word = ctypes.sizeof(ctypes.c_long)
    status = ctypes.c_int.from_buffer(timex, _STATUS_WORDS * word).value
    return state != _TIME_ERROR and not status & _STA_UNSYNC
