"""What one task waits for and the event loop's own callbacks bring: the task goes on at once, in the callback.

asyncio's Future wakes its task in the loop's next round, after one more look at all files: a seventh of what a poll
costs. This is the part of a Future that a Task asks for (`asyncio.isfuture`), for one waiter. Whoever sets it must be
called by the loop and not by a task, of which only one can run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """`await` it once; set it once. What comes after a cancellation is dropped."""

    __slots__ = ("_asyncio_future_blocking", "_context", "_error", "_loop", "_result", "_wakeup")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asyncio_future_blocking = False
        self._result: T | None = None
        self._error: BaseException | None = None
        self._wakeup: Callable[[Any], object] | None = None
        self._context: Context | None = None

    def set(self, result: T) -> None:
        """Here it is."""
        self._result = result
        self._hand_over()

    def fail(self, error: BaseException) -> None:
        """It will not come."""
        self._error = error
        self._hand_over()

    def done(self) -> bool:
        return self._result is not None or self._error is not None

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def _hand_over(self) -> None:
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None:
            assert self._context is not None
            self._context.run(wakeup, self)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(self, wakeup: Callable[[Any], object], *, context: Context) -> None:
        self._wakeup, self._context = wakeup, context

    def cancel(self, msg: object = None) -> bool:
        """By the task's own `cancel`, which another task may have called: that one goes on first."""
        if self.done():
            return False
        self._error = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self._loop.call_soon(self._hand_over)
        return True

    def __await__(self) -> Generator[Handover[T], None, T]:
        if not self.done():
            self._asyncio_future_blocking = True
            yield self
        return self.result()
