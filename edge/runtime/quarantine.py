"""An EVSE whose session ends the process again and again stands aside, so that the others go on selling.

An exception that nobody expected ends the process, and recovery is the ordinary way to start. Where recovery meets the
same exception, that would go on for ever, and for every EVSE of the till. So each end is counted to the EVSE in whose
tasks it arose, in a file beside the database: no transaction may be possible any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from edge import log
from edge.domain.session import events as ev
from edge.domain.session.state import EvseState
from edge.domain.view import View
from edge.errors import TillError
from edge.runtime.calls import Calls
from edge.runtime.controller import EvseController, Options, World

#: A process may end once for what is gone the next time; three ends of one EVSE are its own doing.
CRASHES_MAX = 3

#: A controller that has run for so long has left behind what ended the process before. Real seconds.
CALM_S = 600.0

#: How often a charge point that stands aside is told to give nothing. Many a lease is shorter than the next start.
_REVOKE_S = 10.0


class EvseQuarantined(TillError):
    """Nothing is done on this EVSE: its session has ended the process too often."""

    code = "evse.quarantined"
    hint = "report the log of `till.crashed`; after an update, or when the till was stopped in order, it is tried again"


class _Counted(msgspec.Struct, frozen=True):
    version: str
    crashes: dict[str, int]


class Crashes:
    """How often each EVSE has ended the process, under this version, since the last ordered stop or calm stretch."""

    def __init__(self, database: Path, version: str) -> None:
        self._path, self._version = database.with_name(database.name + ".crashes"), version
        self._crashes: dict[str, int] = {}
        with contextlib.suppress(OSError, msgspec.DecodeError):  # what cannot be read counts nothing
            counted = msgspec.json.decode(self._path.read_bytes(), type=_Counted)
            if counted.version == version:
                self._crashes = dict(counted.crashes)

    def quarantined(self, evse_id: str) -> bool:
        return self._crashes.get(evse_id, 0) >= CRASHES_MAX

    def note(self, evse_id: str) -> None:
        """Now the process ends by what arose in this EVSE."""
        self._crashes[evse_id] = self._crashes.get(evse_id, 0) + 1
        self._keep()

    def calm(self) -> None:
        """Whoever runs by now may start from nothing again."""
        running = [evse_id for evse_id in self._crashes if not self.quarantined(evse_id)]
        for evse_id in running:
            del self._crashes[evse_id]
        if running:
            self._keep()

    def forget(self) -> None:
        """An ordered stop: whoever asked for it wants a new beginning."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _keep(self) -> None:
        """A disk that takes nothing costs the count, no more."""
        new = self._path.with_name(self._path.name + ".new")
        counted = _Counted(version=self._version, crashes=self._crashes)
        with contextlib.suppress(OSError), new.open("wb") as file:
            file.write(msgspec.json.encode(counted))
            file.flush()
            os.fsync(file.fileno())
            new.replace(self._path)


async def counted(controller: EvseController, crashes: Crashes) -> None:
    """Run an EVSE; what nobody expected in it is counted, and goes on to end the process."""
    try:
        await controller.run()
    except Exception as e:
        if _unforeseen(e):
            crashes.note(controller.evse_id)
        raise


def _unforeseen(error: BaseException) -> bool:
    """An error of the till's own, such as a disk that fails, is not the EVSE's doing."""
    if isinstance(error, BaseExceptionGroup):
        return any(_unforeseen(e) for e in error.exceptions)
    return not isinstance(error, TillError | asyncio.CancelledError)


async def calmed(crashes: Crashes) -> None:
    """Forget, after a while in which nothing ended the process, what did before."""
    await asyncio.sleep(CALM_S)
    crashes.calm()


class StandingAside(EvseController):
    """An EVSE in quarantine: its contactor is kept open, its session stays as the last commit left it."""

    def __init__(self, options: Options, world: World, *, state: EvseState) -> None:
        super().__init__(options, world, state=state)
        self._charge_point, self._opening = world.evse, Calls(f"{options.evse_id} charge point")

    async def run(self) -> None:
        log.error("evse.quarantined", evse_id=self.evse_id)
        self._show()
        said = ""
        while True:
            try:
                await self._opening.within(_REVOKE_S, self._charge_point.revoke())
            except Exception as e:  # noqa: BLE001  (what ended the process may lie in this driver)
                if said != str(e):
                    log.error("evse.not_opened", evse_id=self.evse_id, error=e)
                said = str(e)
            await self._clock.sleep(_REVOKE_S)

    async def post(self, event: ev.Event) -> None:
        """Raises EvseQuarantined: no step is taken here."""
        raise EvseQuarantined(f"{self.evse_id}: {type(event).__name__} is not handled")

    async def request_stop(self, reason: Literal["remote", "screen"]) -> None:
        """Nothing flows here; the session ends when it is tried again."""
        log.error("evse.quarantined", evse_id=self.evse_id, asked=reason)

    async def checkpoint(self) -> None:
        """What was committed stands."""

    def silent_s(self) -> float:
        return 0.0

    @property
    def wants_cards(self) -> bool:
        return False

    @property
    def meter_read_at(self) -> datetime | None:
        return None

    def _show(self) -> None:
        reason = "quarantined"
        label = self._options.label
        self.shown = View(evse_id=self.evse_id, label=label, kind="out_of_order", reason=reason)
        self._display.show(self.shown)
