"""Whoever stands before a reader or a terminal, and the EVSE that he came for: his own, the only one, or his choice."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from edge.domain.identity import IdToken
from edge.domain.instant import Instant
from edge.domain.payment import Method
from edge.domain.session import events as ev
from edge.ports import Clock, MemberList
from edge.runtime.controller import EvseController

#: How long a tap waits for its driver to choose an EVSE; as long as any step at a screen may take.
_CHOICE_S = 60


#: Cards that the list does not know and upstream is asked for within an hour: each of them is written down, and
#: a stranger with a stack of cards must not wear out the SD card.
_UNKNOWN_MAX = 30
_UNKNOWN_S = 3600


class _Waiting(msgspec.Struct, frozen=True):
    token: IdToken
    method: Method


class Arrivals:
    """The arrivals at one reader or terminal, for all EVSEs that it serves.

    `asks_upstream` is True while a card that the list does not know may be asked for at the back office.
    """

    def __init__(
        self,
        controllers: Sequence[EvseController],
        *,
        members: MemberList,
        clock: Clock,
        asks_upstream: Callable[[], bool] = lambda: False,
    ) -> None:
        self.controllers = controllers
        self._members = members
        self._clock = clock
        self._asks_upstream = asks_upstream
        self._unknown: deque[Instant] = deque()
        self._waiting: _Waiting | None = None
        self._expiry: asyncio.Task[None] | None = None

    def tell(self, code: str) -> None:
        """A passing word on every screen: it is not known yet which one is meant."""
        for controller in self.controllers:
            controller.tell(code)

    async def arrived(self, token: IdToken, method: Method) -> EvseController | None:
        """Deliver a token to its EVSE, and say which; None while the driver has to choose, or where none is free."""
        target = choose(self.controllers, token)
        self._forget()
        if target is not None:
            await self._post(target, _Waiting(token, method))
        elif free := [c for c in self.controllers if c.state.session is None]:
            self._waiting = _Waiting(token, method)
            for controller in free:
                controller.offer_choice(on=True)
            self._expiry = asyncio.get_running_loop().create_task(self._expire())
        else:
            self.tell("busy")
        return target

    async def choose(self, evse_id: str) -> bool:
        """The driver's choice on the screen for the tap that waits. False when none waits, or not for this EVSE."""
        waiting = self._waiting
        target = next((c for c in self.controllers if c.evse_id == evse_id), None)
        if waiting is None or target is None or target.state.session is not None:
            return False
        self._forget()
        await self._post(target, waiting)
        return True

    async def _post(self, target: EvseController, arrival: _Waiting) -> None:
        member, method = None, arrival.method
        if method == "account":
            member = self._members.find(arrival.token)
            if member is None and self._may_ask():
                method = "upstream"
        await target.post(
            ev.CardTapped(
                at=self._clock.now(),
                token=arrival.token,
                member=member,
                method=method,
                session_id=secrets.token_hex(16),
                payment_ref=secrets.token_hex(8),
                salt=secrets.token_bytes(16),
                stop_code=f"{secrets.randbelow(10_000):04d}",
                receipt_token=secrets.token_urlsafe(16),
            )
        )

    def _may_ask(self) -> bool:
        """Whether the back office is asked about one more card that nobody here knows."""
        now = self._clock.now()
        while self._unknown and now.seconds_since(self._unknown[0]) >= _UNKNOWN_S:
            self._unknown.popleft()
        if len(self._unknown) >= _UNKNOWN_MAX or not self._asks_upstream():
            return False
        self._unknown.append(now)
        return True

    async def _expire(self) -> None:
        await self._clock.sleep(_CHOICE_S)
        self._expiry = None
        self._forget()

    def _forget(self) -> None:
        """No tap waits any more."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self._waiting is not None:
            self._waiting = None
            for controller in self.controllers:
                controller.offer_choice(on=False)


class ScreenActions:
    """What a driver does on the screen itself; implements the screen's Actions."""

    def __init__(self, controllers: Sequence[EvseController], arrivals: Sequence[Arrivals]) -> None:
        self._controllers = {c.evse_id: c for c in controllers}
        self._arrivals = arrivals

    async def stop(self, evse_id: str, code: str) -> Literal["done", "wrong_code", "refused"]:
        """End the session here if `code` is the one that its driver was shown."""
        controller = self._controllers.get(evse_id)
        session = controller.state.session if controller is not None else None
        if controller is None or session is None:
            return "refused"
        if not hmac.compare_digest(code, session.stop_code):
            return "wrong_code"
        await controller.request_stop("screen")
        return "done"

    async def choose(self, evse_id: str) -> Literal["done", "refused"]:
        """The tap that waits is for this EVSE."""
        for arrivals in self._arrivals:
            if await arrivals.choose(evse_id):
                return "done"
        return "refused"


def choose(controllers: Sequence[EvseController], token: IdToken) -> EvseController | None:
    """The card's own session first, then the only one plugged in and free, then the only one free."""
    if len(controllers) == 1:
        return controllers[0]
    for controller in controllers:
        session = controller.state.session
        if session is not None and session.token == token:
            return controller
    free = [c for c in controllers if c.state.session is None]
    plugged = [c for c in free if c.state.pilot is not None and c.state.pilot in "BCD"]
    for candidates in (plugged, free):
        if len(candidates) == 1:
            return candidates[0]
    return None
