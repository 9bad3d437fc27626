"""An event loop in which waiting costs nothing: when nobody can go on, its clock moves to the next timer.

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())          # an hour of `asyncio.sleep` takes a moment

For what lives in one process and talks to itself. A wait for another process would never be over: it is an error.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable

#: Nobody waits for anything but other tasks: a program that has locked itself up.
_STUCK = "everything waits, and no timer runs"


class _Selector(selectors.DefaultSelector):
    """What is there is taken; what is not there is not waited for."""

    def __init__(self, skip: Callable[[float], None]) -> None:
        super().__init__()
        self._skip = skip

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError(_STUCK)
            self._skip(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and runs only while everybody waits."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_Selector(self._skip))

    def time(self) -> float:
        return self._now_s

    def _skip(self, seconds: float) -> None:
        self._now_s += max(0.0, seconds)
