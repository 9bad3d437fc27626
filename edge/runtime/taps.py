"""From a card in the field to an event at the right EVSE, with the driver's choice where there are several."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Sequence
from typing import Literal

from edge import log
from edge.domain.identity import IdToken
from edge.domain.session import events as ev
from edge.errors import HardwareError
from edge.ports import CardReader, Clock, MemberList, Tap
from edge.runtime.controller import EvseController
from edge.runtime.recognition import Recognition, Unrecognized

#: Between two tries to open a reader that is gone.
_REOPEN_S = 2

#: A reader that was opened again and has raised nothing for so long works: its drivers notice silence in a few
#: seconds (real ones, also where the clock is virtual).
_BELIEVED_S = 10.0


#: How long a tap waits for its driver to choose an EVSE; as long as any step at a screen may take.
_CHOICE_S = 60


class Taps:
    """One reader's taps, for all EVSEs that it serves."""

    def __init__(
        self,
        reader: CardReader,
        controllers: Sequence[EvseController],
        *,
        members: MemberList,
        recognition: Recognition,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._controllers = controllers
        self._members = members
        self._recognition = recognition
        self._clock = clock
        self.failing: str | None = None
        self._waiting: IdToken | None = None
        self._expiry: asyncio.Task[None] | None = None

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
        if isinstance(token, Unrecognized):
            for controller in self._controllers:
                controller.tell(token.code)
            return
        target = choose(self._controllers, token)
        self._forget()
        if target is not None:
            await self._post(target, token)
        elif free := [c for c in self._controllers if c.state.session is None]:
            self._waiting = token
            for controller in free:
                controller.offer_choice(on=True)
            self._expiry = asyncio.get_running_loop().create_task(self._expire())
        else:
            for controller in self._controllers:
                controller.tell("busy")

    async def choose(self, evse_id: str) -> bool:
        """The driver's choice on the screen for the tap that waits. False when none waits, or not for this EVSE."""
        token = self._waiting
        target = next((c for c in self._controllers if c.evse_id == evse_id), None)
        if token is None or target is None or target.state.session is not None:
            return False
        self._forget()
        await self._post(target, token)
        return True

    async def _post(self, target: EvseController, token: IdToken) -> None:
        await target.post(
            ev.CardTapped(
                at=self._clock.now(),
                token=token,
                member=self._members.find(token),
                session_id=secrets.token_hex(16),
                payment_ref=secrets.token_hex(8),
                salt=secrets.token_bytes(16),
                stop_code=f"{secrets.randbelow(10_000):04d}",
            )
        )

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
            for controller in self._controllers:
                controller.offer_choice(on=False)


class ScreenActions:
    """What a driver does on the screen itself; implements the screen's Actions."""

    def __init__(self, controllers: Sequence[EvseController], readers: Sequence[Taps]) -> None:
        self._controllers = {c.evse_id: c for c in controllers}
        self._readers = readers

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
        for reader in self._readers:
            if await reader.choose(evse_id):
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
