"""Signals that end a demo: the first one does, and the others leave alone what stops everything in its order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable


class EndSignals:
    """Ctrl-C, SIGTERM and SIGHUP, from here to the end of the running loop; made in the task that they cancel.

    Where whoever started us ignores SIGHUP (`nohup`), a logout is no end.
    """

    def __init__(self) -> None:
        playing = asyncio.current_task()
        assert playing is not None
        self._end: Callable[[], object] | None = playing.cancel
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, self._came)

    def call(self, end: Callable[[], object]) -> None:
        """`end`, instead of cancelling, when the first one comes; nothing where it has come already."""
        if self._end is not None:
            self._end = end

    def ignore(self) -> None:
        """It ends already."""
        self._end = None

    def _came(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            end()
