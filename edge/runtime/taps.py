"""A contactless reader's taps: each becomes a token, and the token arrives at its EVSE."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import assert_never

from edge import log
from edge.domain.identity import IdToken
from edge.errors import HardwareError
from edge.ports import CardReader, Clock, Tap
from edge.runtime.arrivals import Arrivals
from edge.runtime.recognition import Pays, Recognition, Unrecognized

#: Between two tries to open a reader that is gone.
_REOPEN_S = 2

#: A reader that was opened again and has raised nothing for so long works: its drivers notice silence in a few
#: seconds (real ones, also where the clock is virtual).
_BELIEVED_S = 10.0


class Taps:
    """One reader. `failing` is the code of what is wrong with it, None while it works. `offer` is told of a card that
    pays before its payment is asked for.
    """

    def __init__(
        self,
        reader: CardReader,
        arrivals: Arrivals,
        *,
        recognition: Recognition,
        clock: Clock,
        offer: Callable[[Pays], None] = lambda _card: None,
    ) -> None:
        self._reader = reader
        self._arrivals = arrivals
        self._recognition = recognition
        self._clock = clock
        self._offer = offer
        self.failing: str | None = None

    async def run(self) -> None:
        """Until cancelled. A reader that goes away is opened again; sessions go on without it."""
        while True:
            believed = asyncio.get_running_loop().call_later(_BELIEVED_S, self._works)
            try:
                async for tap in self._reader.taps():
                    self._works()
                    await self._tapped(tap)
            except HardwareError as e:
                if self.failing != e.code:
                    log.warning("reader.failed", error=e)
                self.failing = e.code
            finally:
                believed.cancel()
            await self._clock.sleep(_REOPEN_S)

    def _works(self) -> None:
        if self.failing is not None:
            log.event("reader.recovered")
        self.failing = None

    async def _tapped(self, tap: Tap) -> None:
        token = await self._recognition.recognize(tap)
        match token:
            case Unrecognized(code=code):
                self._arrivals.tell(code)
            case Pays():
                self._offer(token)
                await self._arrivals.arrived(token.token, "card")
            case IdToken():
                await self._arrivals.arrived(token, "account")
            case _:
                assert_never(token)
