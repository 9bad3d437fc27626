"""Heidelberg Energy Control (and Amperfied): a wallbox that takes its current over Modbus RTU.

Register table of the vendor, "ModBus-Register-Tabelle" (functions 3, 4 and 6): input 5 state, 14 power,
17 energy since installation; holding 257 watchdog in ms, 258 standby, 259 lock, 261 current in
0.1 A, 262 failsafe current in 0.1 A. When no request comes for as long as the watchdog says, the wallbox falls
back to the failsafe current. Set to 0, that is the lease: kind `device`.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.domain.instant import Instant
from edge.ports import Clock, EvseStatus, Lease, Pilot
from hw.bus.budget import Load, read_characters, write_characters
from hw.bus.bus import Bus
from hw.bus.frames import Span
from hw.bus.line import Baudrate, LineOptions, Parity, Port
from hw.bus.pool import BusPool
from hw.evse.controls import Controls
from hw.evse.errors import EvseNotSafe

STATES = Span(4, 5, 10, spare=4)  # 5-14: state, currents, temperature, voltages, lock, power
STATE = Span(4, 5)  # all that a firmware has to have
ENERGY = Span(4, 17, 2)
WATCHDOG_MS, STANDBY, LOCK, CURRENT_DA, FAILSAFE_DA = 257, 258, 259, 261, 262
_BEHIND = {WATCHDOG_MS: 2, STANDBY: 1, LOCK: 0, CURRENT_DA: 1, FAILSAFE_DA: 0}  # registers that follow
STANDBY_OFF, UNLOCKED = 4, 1
GAP_MS = 20
CURRENT_MIN_A, CURRENT_MAX_A = 6, 16  # IEC 61851-1 lower limit; the wallbox is an 11 kW one

#: Register 5: odd numbers are "allowed", even ones "not allowed"; 8 is derating, 9-11 faults.
_PILOT: dict[int, Pilot] = {2: "A", 3: "A", 4: "B", 5: "B", 6: "C", 7: "C", 8: "C", 9: "E", 10: "F", 11: "F"}
_CLOSED = {7, 8}
_LIMITED = {4, 8}  # a vehicle waits because it is not allowed to charge; derating
_WITHHELD = {6}  # so it does where it is permitted to
_CURRENTS_DA, _POWER_VA = slice(1, 4), 14 - STATES.address
FLOW_VA, FLOW_DA = 300, 20  # below what a car draws at the least (6 A), above what the wallbox needs itself
RAMP_S = 10  # a car that is told to stop draws on for some seconds
#: As of a meter (edge/domain/session/flow.py): no flow of a moment, and no wrong reading.
SHOWN_S, SHOWN_READINGS = 10, 5


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`driver = "heidelberg"`. The vendor's line is 19200 Bd 8E1."""

    port: Port
    unit: Annotated[int, Meta(ge=1, le=247)] = 1
    baudrate: Baudrate = 19200
    parity: Parity = "E"
    stopbits: Literal[1, 2] = 1
    lease_s: Annotated[float, Meta(ge=1, le=60)] = 10.0
    timeout_s: Annotated[float, Meta(gt=0, le=10)] = 1.0
    gap_ms: Annotated[int, Meta(ge=0, le=1000)] | None = None


def line_options(options: Options) -> LineOptions:
    """The line that these options name."""
    return LineOptions(
        port=options.port, baudrate=options.baudrate, parity=options.parity, stopbits=options.stopbits
    )


def gap_s(options: Options) -> float:
    """The gap between frames: as given, else 20 ms on a serial line."""
    default_gap_ms = 0 if line_options(options).is_tcp else GAP_MS
    return (default_gap_ms if options.gap_ms is None else options.gap_ms) / 1000


def load(options: Options) -> Load:
    """What one look and one renewed permission cost the line."""
    return Load(
        name=f"Heidelberg unit {options.unit}",
        line=line_options(options),
        exchanges=(read_characters(STATES.count + STATES.spare), write_characters(), read_characters(2)),
        gap_s=gap_s(options),
        timeout_s=options.timeout_s,
    )


def create(options: Options, *, clock: Clock, buses: BusPool) -> Heidelberg:
    """The wallbox on its line; opens nothing yet. Raises LineConflict."""
    return Heidelberg(buses.bus(line_options(options), gap_s=gap_s(options)), options, clock=clock)


class Heidelberg:
    """Implements edge.ports.Evse."""

    lease: Lease = "device"

    def __init__(self, bus: Bus[Instant], options: Options, *, clock: Clock) -> None:
        self._controls = Controls(bus, options.unit, options.timeout_s)
        self._options, self._clock = options, clock
        self._turn = asyncio.Lock()
        """Of whoever says what may flow: what two say at the same time would be read back as the other's."""
        self._permitted: Instant | None = None
        """When permission was last renewed, and the wallbox confirmed it."""
        self._allowed = self._owed = False
        """`owed`: no current was asked for, and not yet confirmed."""
        self._stopped: Instant | None = None
        """Since when the wallbox has confirmed that it gives nothing."""
        self._flowing: Instant | None = None
        self._flowed = 0
        """Readings since `flowing` that show a flow all the same."""

    async def prepare(self) -> None:
        """No current now, none when requests stop coming; both read back. Raises EvseError."""
        async with self._turn:
            await self._stop()
            await self._set(FAILSAFE_DA, 0)
            await self._set(WATCHDOG_MS, self._watchdog_ms)
            await self._controls.set_where_there(STANDBY, STANDBY_OFF, spare=_BEHIND[STANDBY])
            await self._set(LOCK, UNLOCKED)

    async def intact(self) -> bool:
        """Watchdog and failsafe current are as they were set. Raises EvseError."""
        await self._lapse()
        for register, value in ((FAILSAFE_DA, 0), (WATCHDOG_MS, self._watchdog_ms)):
            if not await self._controls.holds(Span(3, register, spare=_BEHIND[register]), value):
                return False
        return True

    async def status(self) -> EvseStatus:
        """The state of register 5. A permission that nobody renewed is taken back here, and so is one that nobody gave
        (a restart, another master). Raises EvseError.

        Where it does not allow what is permitted, its lock contact, load management or another master withholds power.
        A firmware without the registers behind it says nothing of welded contacts; nor does an answer that may be from
        before the contacts were to open.
        """
        await self._lapse()
        answer = await self._controls.read_where_there(STATES)
        measured = answer is not None
        answer = answer or await self._controls.read(STATE)
        state = answer.registers[0]
        pilot = _PILOT.get(state)
        if pilot is None:
            raise EvseNotSafe(f"the wallbox reports state {state}, which it does not have")
        if state in _CLOSED and not self._allowed:
            self._owed = True
        return EvseStatus(
            at=answer.at,
            pilot=pilot,
            contactor_closed=state in _CLOSED,
            limited=state in _LIMITED or (self._allowed and state in _WITHHELD),
            welded=measured and self._flows_on(answer.registers, answer.at, sure=answer.sure),
            sure=answer.sure,
        )

    async def permit(self, *, current_a: int) -> None:
        """Allow up to `current_a`; below 6 A nothing may flow. Raises EvseError."""
        if current_a < CURRENT_MIN_A:
            await self.revoke()
            return
        async with self._turn:
            now = self._clock.now()
            self._permitted, self._allowed, self._owed = self._permitted or now, True, False
            self._stopped = None
            await self._set(CURRENT_DA, 10 * min(current_a, CURRENT_MAX_A))
            self._permitted = now

    async def revoke(self) -> None:
        """No current from now on, and read back. Raises EvseError."""
        async with self._turn:
            await self._stop()

    async def energy_wh(self) -> int:
        """The wallbox's own counter (input 17, u32, VAh in the vendor's words): a check, not for billing."""
        return int.from_bytes((await self._controls.read(ENERGY)).data, "big")

    async def close(self) -> None:
        """Nothing to do: the line belongs to the pool."""

    def _flows_on(self, registers: tuple[int, ...], at: Instant, *, sure: bool) -> bool:
        """The wallbox measures for itself: what flows though it gives nothing goes through contacts that are welded.
        What may be from before counts for nothing, and one reading is none.
        """
        settled = self._stopped is not None and at.seconds_since(self._stopped) >= RAMP_S
        flows = registers[_POWER_VA] >= FLOW_VA or sum(registers[_CURRENTS_DA]) >= FLOW_DA
        if sure or not settled:
            flowing = settled and flows
            self._flowing = (self._flowing or at) if flowing else None
            self._flowed = self._flowed + 1 if flowing else 0
        since = self._flowing
        return since is not None and self._flowed >= SHOWN_READINGS and at.seconds_since(since) >= SHOWN_S

    async def _lapse(self) -> None:
        """Every request feeds the wallbox's watchdog: none may go out while current flows unpermitted."""
        if self._lapsed():
            async with self._turn:
                if self._lapsed():
                    await self._stop()

    def _lapsed(self) -> bool:
        since = self._permitted
        late = since is not None and self._clock.now().seconds_since(since) > self._options.lease_s
        return late or self._owed

    async def _stop(self) -> None:
        self._permitted, self._allowed, self._owed = None, False, True
        await self._set(CURRENT_DA, 0)
        self._owed = False
        self._stopped = self._stopped or self._clock.now()

    @property
    def _watchdog_ms(self) -> int:
        return round(self._options.lease_s * 1000)

    async def _set(self, register: int, value: int) -> None:
        await self._controls.set(register, value, spare=_BEHIND[register])
