"""Asking the host: once, or until it has answered; with numbers that no open payment uses."""

from __future__ import annotations

import random
from typing import Final, Literal, Protocol

from edge.payments.acquirer import codes, handle
from edge.payments.acquirer.errors import AcquirerUnreachable
from edge.payments.acquirer.handle import STAN_MAX, Step
from edge.payments.acquirer.link import Backoff
from edge.payments.acquirer.messages import Reply, Request
from edge.payments.acquirer.options import AcquirerOptions
from edge.ports import Clock, PaymentJournal

#: An RRN starts with the last digit of the year and the day of the year; the rest is drawn.
_RRN_DRAWN: Final = 10**8


class Line(Protocol):
    """What this needs of edge.payments.acquirer.link.AcquirerLink."""

    async def ready(self, within_s: float) -> bool: ...

    async def ask(self, request: Request, *, within_s: float) -> Reply | None: ...


class Asking:
    """What a request needs besides its content: its numbers, the time it has, and how often it goes out."""

    def __init__(
        self,
        line: Line,
        journal: PaymentJournal,
        *,
        options: AcquirerOptions,
        clock: Clock,
        draw: random.Random,
    ) -> None:
        self._line = line
        self._journal = journal
        self._options = options
        self._clock = clock
        self._draw = draw
        self._stan: int | None = None
        self._in_use: frozenset[int] = frozenset()
        #: when a request went out whose answer is missing, or when this process first met it
        self._asked_s: dict[str, float] = {}

    async def ready(self) -> bool:
        """True when the line is up, or comes up soon."""
        return await self._line.ready(self._options.ready_s)

    async def once(self, name: str, request: Request) -> Reply | None:
        """For what is never repeated. `name` is remembered while the answer is missing."""
        self._asked_s[name] = self.monotonic_s()
        try:
            reply = await self._line.ask(request, within_s=self._options.answer_s)
        except AcquirerUnreachable:
            del self._asked_s[name]
            raise
        if reply is not None and reply.code != codes.DUPLICATE:
            del self._asked_s[name]
        return reply

    async def insist(self, request: Request, *, repeated: bool) -> Reply | None:
        """Send until there is an answer, as a repeat from the second time on; None after `tries`."""
        backoff = Backoff(self._options.retry_s, self._options.retry_max_s, self._draw)
        for n in range(self._options.tries):
            if n:
                await self._clock.sleep(backoff.next_s())
            if not await self.ready():
                continue
            asked = request.repeat() if repeated else request
            try:
                reply = await self._line.ask(asked, within_s=self._options.answer_s)
            except AcquirerUnreachable:
                continue
            if reply is not None and not (reply.code == codes.DUPLICATE and not repeated):
                return reply
            repeated = True
        return None

    def end(self, reply: Reply | None) -> Literal["done", "unknown", "refused", "silent"]:
        """What an answer to an advice means. A repeat that the host has had before is done."""
        if reply is None:
            return "silent"
        if reply.code in codes.APPROVED or reply.code == codes.DUPLICATE:
            return "done"
        return "unknown" if reply.code in self._options.unknown_codes else "refused"

    async def reachable(self) -> None:
        """Raises AcquirerUnreachable before anything is written down or sent."""
        if not await self.ready():
            raise AcquirerUnreachable("no connection to the acquirer")

    def surely_arrived(self, name: str) -> bool:
        """A request that the host does not know could still be on its way, until as long has passed as answers
        take: since it went out, or since this process first met it.
        """
        now_s = self.monotonic_s()
        return now_s - self._asked_s.setdefault(name, now_s) >= self._options.answer_s

    def settled(self, name: str) -> None:
        """The missing answer is not missed any more."""
        self._asked_s.pop(name, None)

    async def step(self, amount_minor: int) -> Step:
        """A request with a number of its own: none that an open payment could still repeat."""
        if self._stan is None:
            notes = [p.handle for p in await self._journal.open("card") if p.handle is not None]
            self._in_use = frozenset(stan for note in notes for stan in handle.stans(note))
            self._stan = self._draw.randrange(STAN_MAX)
        self._stan = self._stan % STAN_MAX + 1
        while self._stan in self._in_use:
            self._stan = self._stan % STAN_MAX + 1
        return Step(self._stan, int(self._clock.now().utc.timestamp()), amount_minor)

    def rrn(self) -> str:
        now = self._clock.now().utc
        return f"{now.year % 10}{now.timetuple().tm_yday:03}{self._draw.randrange(_RRN_DRAWN):08}"

    def monotonic_s(self) -> float:
        return self._clock.now().monotonic_ns / 1e9
