"""EVSE-DIN and EVSE-WB (Simple EVSE) over Modbus RTU.

EVSE-WB/DIN manual, register table: 1000 current in A (0 is off), 1001 current given, 1002 vehicle state
(1 ready, 2 present, 3 charging, 4 charging with ventilation, 5 failure), 1004 bit 0 off, 2000 current after power-on.
"""

from __future__ import annotations

from edge.ports import Clock, EvseStatus, Pilot
from hw.bus.budget import Load
from hw.bus.frames import Span
from hw.bus.pool import BusPool
from hw.evse import guarded
from hw.evse.controls import Controls
from hw.evse.errors import EvseNotSafe
from hw.evse.guarded import Guarded, GuardedOptions

CURRENT_A, BOOT_CURRENT_A = 1000, 2000
STATE = Span(3, 1000, 3, spare=4)  # current set, current given, vehicle, cable, switches, firmware, state
SETTING = Span(3, 1000, 5, spare=2)  # as far as the switches
GAP_MS = 200  # it loses requests that follow sooner
_BEHIND = 4  # registers that follow the current, as far as the switches
_SWITCHES, _OFF = 1004 - SETTING.address, 1  # bit 0: charging is turned off
_PILOT: dict[int, Pilot] = {1: "A", 2: "B", 3: "C", 4: "D", 5: "E"}


class Options(GuardedOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`driver = "simple_evse"`. The vendor's line is 9600 Bd 8N1."""


def load(options: Options) -> Load:
    """What one poll costs the line."""
    return guarded.load(options, name="EVSE-DIN", gap_ms=GAP_MS, registers=STATE.count + STATE.spare)


def create(options: Options, *, clock: Clock, buses: BusPool) -> Guarded:
    """The controller behind its guard. Raises NoWatchdog without one, LineConflict."""
    del clock
    bus = buses.bus(options.line(), gap_s=options.gap_s(GAP_MS))
    return Guarded(SimpleEvse(Controls(bus, options.unit, options.timeout_s)), options, name="EVSE-DIN")


class SimpleEvse:
    """Implements hw.evse.guarded.Controller."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._allowed = False
        self._given_a: int | None = None
        """What was confirmed and is to be found again."""
        self._off = False
        """A switch turns charging off, as of the last renewal."""

    async def prepare(self) -> None:
        await self._controls.set(BOOT_CURRENT_A, 0, spare=2)
        await self.allow(0)

    async def intact(self) -> bool:
        """It starts with the boot current, and keeps that over a restart."""
        if not await self._controls.holds(Span(3, BOOT_CURRENT_A, spare=2), 0):
            return False
        return self._allowed or (await self._controls.read(STATE)).registers[0] == 0

    async def status(self) -> EvseStatus:
        answer = await self._controls.read(STATE)
        limit_a, given_a, state = answer.registers[:3]
        pilot = _PILOT.get(state)
        if pilot is None:
            raise EvseNotSafe(f"the controller reports vehicle state {state}, which it does not have")
        gives = limit_a > 0 and given_a > 0 and not self._off
        return EvseStatus(
            at=answer.at,
            pilot=pilot,
            contactor_closed=pilot in {"C", "D"} and gives,
            limited=guarded.withheld(pilot, allowed=self._allowed, gives=gives),
            sure=answer.sure,
        )

    async def allow(self, current_a: int) -> None:
        """It has no watchdog to feed: what it holds is not written once more, on a line that has little time."""
        self._allowed = current_a > 0
        if self._allowed and self._given_a == current_a and await self._holds(current_a):
            return
        self._given_a, self._off = None, False
        await self._controls.set(CURRENT_A, current_a, spare=_BEHIND, many=True)
        self._given_a = current_a

    async def _holds(self, current_a: int) -> bool:
        registers = (await self._controls.read(SETTING)).registers
        self._off = bool(registers[_SWITCHES] & _OFF)
        return registers[0] == current_a
