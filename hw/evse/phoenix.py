"""Phoenix Contact charge controllers: CHARX SEC over Modbus TCP, and EV-CC-AC1-M over Modbus RTU.

CHARX SEC, Modbus register table (connector n at n * 1000): 299 vehicle state as two ASCII characters such as C2,
300 release, 301 current in A. EV-CC-AC1-M: input 24000 state (ASCII in the high byte), coil 20000 release, holding
22000 current in A.
"""

from __future__ import annotations

from typing import Annotated, Literal, cast

from msgspec import Meta

from edge.ports import Clock, EvseStatus, Pilot
from hw.bus.budget import Load
from hw.bus.frames import Span
from hw.bus.pool import BusPool
from hw.evse import guarded
from hw.evse.controls import Controls
from hw.evse.errors import EvseNotSafe
from hw.evse.guarded import CURRENT_MIN_A, Guarded, GuardedOptions

STATE, RELEASE, CURRENT_A = 299, 300, 301
EVCC_STATE, EVCC_RELEASE, EVCC_CURRENT_A = Span(4, 24000), 20000, 22000
GAP_MS = 50
_PILOTS = frozenset("ABCDEF")


class Options(GuardedOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`driver = "phoenix"`. `connector` numbers the charge points of a CHARX from 1."""

    model: Literal["charx", "ev_cc"]
    connector: Annotated[int, Meta(ge=1, le=12)] = 1


def load(options: Options) -> Load:
    """What one poll costs the line."""
    return guarded.load(options, name=f"Phoenix {options.model}", gap_ms=GAP_MS, registers=3)


def create(options: Options, *, clock: Clock, buses: BusPool) -> Guarded:
    """The controller behind its guard. Raises NoWatchdog without one, LineConflict."""
    del clock
    bus = buses.bus(options.line(), gap_s=options.gap_s(GAP_MS))
    controls = Controls(bus, options.unit, options.timeout_s)
    if options.model == "charx":
        return Guarded(Charx(controls, options.connector), options, name="CHARX SEC over Modbus")
    return Guarded(EvCc(controls), options, name="EV-CC-AC1-M")


class Charx:
    """Implements hw.evse.guarded.Controller for one connector."""

    def __init__(self, controls: Controls, connector: int) -> None:
        self._controls, self._base = controls, 1000 * connector

    async def prepare(self) -> None:
        await self.allow(0)

    async def intact(self, *, allowed: bool) -> bool:
        return allowed or (await self._controls.read(Span(3, self._base + RELEASE))).registers[0] == 0

    async def status(self) -> EvseStatus:
        answer = await self._controls.read(Span(3, self._base + STATE, 3))
        letter, digit = _letter(answer.data[0]), chr(answer.data[1])
        released, current_a = answer.registers[1:3]
        return EvseStatus(
            at=answer.at,
            pilot=letter,
            contactor_closed=letter in {"C", "D"} and digit == "2",
            limited=letter in {"B", "C", "D"} and digit == "1" and released == 1 and current_a > 0,
            sure=answer.sure,
        )

    async def allow(self, current_a: int) -> None:
        if current_a >= CURRENT_MIN_A:
            await self._controls.set(self._base + CURRENT_A, current_a, many=True)
        await self._controls.set(self._base + RELEASE, int(current_a >= CURRENT_MIN_A), many=True)


class EvCc:
    """Implements hw.evse.guarded.Controller."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    async def prepare(self) -> None:
        await self.allow(0)

    async def intact(self, *, allowed: bool) -> bool:
        return allowed or not await self._released()

    async def status(self) -> EvseStatus:
        answer = await self._controls.read(EVCC_STATE)
        letter = _letter(answer.data[0])
        closed = await self._released() and letter in {"C", "D"}
        return EvseStatus(at=answer.at, pilot=letter, contactor_closed=closed, sure=answer.sure)

    async def allow(self, current_a: int) -> None:
        if current_a >= CURRENT_MIN_A:
            await self._controls.set(EVCC_CURRENT_A, current_a)
        await self._controls.switch(EVCC_RELEASE, on=current_a >= CURRENT_MIN_A)

    async def _released(self) -> bool:
        return bool((await self._controls.read(Span(1, EVCC_RELEASE))).data[0] & 1)


def _letter(byte: int) -> Pilot:
    letter = chr(byte)
    if letter not in _PILOTS:
        raise EvseNotSafe(f"the controller reports vehicle state 0x{byte:02X}, which it does not have")
    return cast("Pilot", letter)
