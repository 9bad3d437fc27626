"""The guard: a small process that owns the contactor's line and opens it when nobody asks to keep it closed.

    python -m hw.evse.guard --relay gpio:17 --feedback gpio:27 --lease 5

A GPIO line stays as it is when the process behind it stops; so the till does not hold it. The guard does,
and it listens to one pipe: `K` keeps the contactor closed for another lease, `O` opens it, `?` asks. After
each it says `relay feedback` on its output, as in `1 1` or `0 -`. When the lease runs out, or the pipe
closes, it opens. It knows nothing else and imports next to nothing, because it must outlive everything.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, Protocol

KEEP, OPEN, ASK = b"K", b"O", b"?"


class Line(Protocol):
    """A digital line. `value` is 1 when active; None when it cannot be read."""

    def get(self) -> int | None: ...

    def set(self, value: int) -> None: ...

    def release(self) -> None: ...


class FileLine:
    """A line made of a file that holds 0 or 1: the virtual world's relay."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def get(self) -> int | None:
        try:
            return int(self._path.read_text("ascii"))
        except (OSError, ValueError):
            return None

    def set(self, value: int) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(str(value), "ascii")
        fresh.replace(self._path)

    def release(self) -> None:
        self.set(0)


class GpioOutput:
    """A relay on a pin (gpiozero; lgpio on a Raspberry Pi). Starts off, and is off again when released."""

    def __init__(self, pin: str, *, active_high: bool) -> None:
        import gpiozero  # noqa: PLC0415  # an extra, absent where the relay is virtual

        self._device: Any = gpiozero.OutputDevice(_pin(pin), active_high=active_high, initial_value=False)

    def get(self) -> int | None:
        return int(self._device.value)

    def set(self, value: int) -> None:
        self._device.value = value

    def release(self) -> None:
        self._device.off()
        self._device.close()


class GpioInput:
    """A contact on a pin."""

    def __init__(self, pin: str, *, active_high: bool) -> None:
        import gpiozero  # noqa: PLC0415

        self._device: Any = gpiozero.DigitalInputDevice(_pin(pin), pull_up=not active_high)

    def get(self) -> int | None:
        return int(self._device.value)

    def set(self, value: int) -> None:
        raise AssertionError(f"a contact is read, not set to {value}")

    def release(self) -> None:
        self._device.close()


def _pin(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def line(spec: str, *, output: bool) -> Line:
    """The line that `gpio:17`, `gpio-low:17` (active low) or `file:/run/relay` names. Raises ValueError."""
    kind, _, rest = spec.partition(":")
    match kind:
        case "file":
            return FileLine(rest)
        case "gpio" | "gpio-low":
            high = kind == "gpio"
            return GpioOutput(rest, active_high=high) if output else GpioInput(rest, active_high=high)
        case _:
            raise ValueError(f"`{spec}` is no line")


class Guard:
    """The rule itself: closed only while asked for within the lease. Time is given by the caller."""

    def __init__(self, relay: Line, feedback: Line | None, lease_s: float) -> None:
        self._relay, self._feedback, self._lease_s = relay, feedback, lease_s
        self._until: float | None = None
        relay.set(0)

    def command(self, command: bytes, now: float) -> str | None:
        """Obey one byte; what to say about it, nothing for a byte that means nothing."""
        if command == KEEP:
            self._until = now + self._lease_s
            self._relay.set(1)
        elif command == OPEN:
            self._until = None
            self._relay.set(0)
        elif command != ASK:
            return None
        return self.state()

    def rest_s(self, now: float) -> float | None:
        """How long until the lease ends; None while open."""
        return None if self._until is None else max(0.0, self._until - now)

    def lapse(self, now: float) -> bool:
        """Open when the lease is over; True when that happened."""
        if self._until is None or now < self._until:
            return False
        self._until = None
        self._relay.set(0)
        return True

    def state(self) -> str:
        """`relay feedback`."""
        seen = None if self._feedback is None else self._feedback.get()
        return f"{self._relay.get()} {'-' if seen is None else seen}"

    def release(self) -> None:
        self._relay.set(0)
        self._relay.release()


def main() -> int:
    """Guard until the pipe closes or a signal asks to stop."""
    parser = argparse.ArgumentParser(prog="hw.evse.guard", description="keeps a contactor on a lease")
    parser.add_argument("--relay", required=True)
    parser.add_argument("--feedback")
    parser.add_argument("--lease", type=float, required=True, metavar="S")
    given = parser.parse_args()
    guard = Guard(
        line(given.relay, output=True),
        line(given.feedback, output=False) if given.feedback else None,
        given.lease,
    )
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the till's; the pipe tells when it has gone
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        _serve(guard)
    finally:
        guard.release()
    return 0


def _serve(guard: Guard) -> None:
    while True:
        ready, _, _ = select.select([0], [], [], guard.rest_s(time.monotonic()))
        if guard.lapse(time.monotonic()) and not ready:
            continue
        if not ready:
            continue
        commands = os.read(0, 64)
        if not commands:
            return
        for byte in commands:
            said = guard.command(bytes([byte]), time.monotonic())
            if said is not None:
                os.write(1, said.encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
