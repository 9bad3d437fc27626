"""An event loop in which waiting costs nothing: when nobody can go on, its clock moves to the next timer.

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())          # an hour of `asyncio.sleep` takes a moment

For what lives in one process and talks to itself. A wait for another process would never be over: it is an error.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple, Unpack

Args = TypeVarTuple("Args")

#: No wait is shorter: what is left of one after rounding would be waited for again and again, at the same time.
_MOMENT_S = 1e-6

#: Nobody waits for anything but other tasks: a program that has locked itself up.
_STUCK = "everything waits, and no timer runs"

#: Rounds of the loop in which no time passes, as no program has them: one that calls itself for ever.
_ROUNDS_MAX = 1_000_000
_ENDLESS = "no time passes any more"


class _Selector(selectors.DefaultSelector):
    """What is there is taken; what is not there is not waited for."""

    def __init__(self, skip: Callable[[float], None]) -> None:
        super().__init__()
        self._skip = skip
        self._rounds = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError(_STUCK)
            self._skip(timeout)
            self._rounds = 0 if timeout else self._rounds
        self._rounds += 1
        if self._rounds > _ROUNDS_MAX:
            raise RuntimeError(_ENDLESS)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and runs only while everybody waits."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_Selector(self._skip))

    def time(self) -> float:
        return self._now_s

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Args]], object],
        *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return super().call_later(
            max(delay, _MOMENT_S) if delay > 0 else 0.0, callback, *args, context=context
        )

    def _skip(self, seconds: float) -> None:
        """A wait takes a moment at least."""
        self._now_s += max(seconds, _MOMENT_S) if seconds > 0 else 0.0
