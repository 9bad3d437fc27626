"""Money commands that wait for the terminal: what ends a hold before what takes a new one, each in order."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Awaitable, Callable
from enum import IntEnum
from itertools import count
from typing import Any, Final

from edge.errors import HardwareError

#: More commands than EVSEs can ask for, and than an operator gives; beyond it something is wrong.
WAITING_MAX: Final = 64


class DeskUnavailable(HardwareError):
    """The command was not sent: the desk does not run, or too many wait."""

    code = "terminal.desk_unavailable"
    hint = "the till tries again by itself"


class Rank(IntEnum):
    """What goes first."""

    END = 0
    OPERATOR = 1
    RESERVE = 2


class Job:
    """One command. `name` is the same for the same command; `answer` has what came of it, `broken` is what is
    told where it was begun and nobody will hear its end.
    """

    def __init__(self, rank: Rank, name: str, run: Callable[[], Awaitable[Any]], *, broken: object) -> None:
        self.rank = rank
        self.name = name
        self.run = run
        self.broken = broken
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.started = False
        self.asked = 0

    def tell(self, answer: object) -> None:
        """The outcome, to whoever still waits."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # heard, also where nobody waits any more


class Queue:
    """Jobs by rank, then by age. A job that is asked for again is joined.

    >>> answer = await queue.ask(Rank.END, "end 17ab", run, broken=doubt)
    """

    def __init__(self) -> None:
        self._jobs: list[tuple[Rank, int, Job]] = []
        self._ages = count()
        self.running: Job | None = None
        self.filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._jobs)

    async def ask(
        self,
        rank: Rank,
        name: str,
        run: Callable[[], Awaitable[Any]],
        *,
        broken: object,
        within_s: float | None = None,
        late: object = None,
    ) -> Any:
        """The answer to a command. One that was not begun `within_s` is withdrawn and answered with `late`. Raises
        DeskUnavailable where too many wait.
        """
        job = self._find(name)
        if job is None:
            if len(self._jobs) >= WAITING_MAX:
                raise DeskUnavailable("too many commands wait for the terminal")
            job = Job(rank, name, run, broken=broken)
            heapq.heappush(self._jobs, (rank, next(self._ages), job))
            self.filled.set()
        job.asked += 1
        try:
            await asyncio.wait((job.answer,), timeout=within_s)
            if not job.answer.done() and not job.started:
                self.withdraw(job, late)
            return await asyncio.shield(job.answer)
        finally:
            job.asked -= 1
            if not job.asked and not job.started:
                self.withdraw(job, late)

    def take(self) -> Job | None:
        """The next job, begun."""
        self.filled.clear()
        if not self._jobs:
            return None
        _, _, self.running = heapq.heappop(self._jobs)
        self.running.started = True
        return self.running

    def withdraw(self, job: Job | str, answer: object) -> bool:
        """Take a job back that was not begun. False where there is none."""
        found = self._find(job) if isinstance(job, str) else job
        if found is None or found.started:
            return False
        with contextlib.suppress(StopIteration):
            self._jobs.remove(next(entry for entry in self._jobs if entry[2] is found))
            heapq.heapify(self._jobs)
        found.tell(answer)
        return True

    def fail(self, error: BaseException) -> None:
        """Nothing of what waits will be sent."""
        while self._jobs:
            heapq.heappop(self._jobs)[2].fail(error)

    def _find(self, name: str) -> Job | None:
        if self.running is not None and self.running.name == name and not self.running.answer.done():
            return self.running
        return next((job for _, _, job in self._jobs if job.name == name), None)
