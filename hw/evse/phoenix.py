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
EVCC_STATE = Span(4, 24000, spare=3)  # behind it what the cable and the pilot allow
EVCC_RELEASE, EVCC_CURRENT_A = 20000, 22000
_EVCC_RELEASED = Span(1, EVCC_RELEASE, spare=16, step=8)  # a byte more each, where there are so many coils
GAP_MS = 50
_PILOTS = frozenset("ABCDEF")


class Options(GuardedOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`driver = "phoenix"`. `connector` numbers the charge points of a CHARX from 1."""

    model: Literal["charx", "ev_cc"]
    connector: Annotated[int, Meta(ge=1, le=12)] = 1

    @property
    def channel(self) -> int | None:
        """Which of several charge points behind one unit; None where it has one."""
        return self.connector if self.model == "charx" else None


def load(options: Options) -> Load:
    """What one poll costs the line."""
    return guarded.load(
        options, name=f"Phoenix {options.model}", gap_ms=GAP_MS, registers=1 + EVCC_STATE.spare
    )


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
        self._allowed = False
        self._given_a: int | None = None
        """What was confirmed and is to be found again."""

    async def prepare(self) -> None:
        await self.allow(0)

    async def intact(self) -> bool:
        return self._allowed or (await self._controls.read(Span(3, self._base + RELEASE))).registers[0] == 0

    async def status(self) -> EvseStatus:
        answer = await self._controls.read(Span(3, self._base + STATE, spare=2))
        letter, digit = _letter(answer.data[0]), chr(answer.data[1])
        return EvseStatus(
            at=answer.at,
            pilot=letter,
            contactor_closed=letter in {"C", "D"} and digit == "2",
            limited=guarded.withheld(letter, allowed=self._allowed, gives=digit != "1"),
            sure=answer.sure,
        )

    async def allow(self, current_a: int) -> None:
        self._allowed = current_a >= CURRENT_MIN_A
        if self._allowed and self._given_a == current_a and await self._gives(current_a):
            return
        self._given_a = None
        if self._allowed:
            await self._controls.set(self._base + CURRENT_A, current_a, many=True)
        await self._controls.set(self._base + RELEASE, int(self._allowed), many=True)
        self._given_a = current_a if self._allowed else None

    async def _gives(self, current_a: int) -> bool:
        both, with_state = Span(3, self._base + RELEASE, 2), Span(3, self._base + STATE, 3)
        _, answer = await self._controls.read_either(both, with_state)
        return answer.registers[-2:] == (1, current_a)


class EvCc:
    """Implements hw.evse.guarded.Controller."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._allowed = False
        self._given_a: int | None = None
        """What was confirmed and is to be found again."""

    async def prepare(self) -> None:
        await self.allow(0)

    async def intact(self) -> bool:
        return self._allowed or not await self._released()

    async def status(self) -> EvseStatus:
        answer = await self._controls.read(EVCC_STATE)
        letter = _letter(answer.data[0])
        released = await self._released()
        return EvseStatus(
            at=answer.at,
            pilot=letter,
            contactor_closed=released and letter in {"C", "D"},
            limited=guarded.withheld(letter, allowed=self._allowed, gives=released),
            sure=answer.sure,
        )

    async def allow(self, current_a: int) -> None:
        self._allowed = current_a >= CURRENT_MIN_A
        if self._allowed and self._given_a == current_a and await self._gives(current_a):
            return
        self._given_a = None
        if self._allowed:
            await self._controls.set(EVCC_CURRENT_A, current_a)
        await self._controls.switch(_EVCC_RELEASED, on=self._allowed)
        self._given_a = current_a if self._allowed else None

    async def _gives(self, current_a: int) -> bool:
        """By either of what was set: a restart loses both."""
        asked, answer = await self._controls.read_either(_EVCC_RELEASED, Span(3, EVCC_CURRENT_A))
        return bool(answer.data[0] & 1) if asked is _EVCC_RELEASED else answer.registers == (current_a,)

    async def _released(self) -> bool:
        return bool((await self._controls.read(_EVCC_RELEASED)).data[0] & 1)


def _letter(byte: int) -> Pilot:
    letter = chr(byte)
    if letter not in _PILOTS:
        raise EvseNotSafe(f"the controller reports vehicle state 0x{byte:02X}, which it does not have")
    return cast("Pilot", letter)
