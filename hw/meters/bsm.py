"""Bauer BSM-WS36A: SunSpec readings, and signed snapshots at begin and end, each an OCMF record of its own.

Source: chargeIT mobility, BSM-WS36A model instances and registers (SunSpec models 203, 64900, 64901, 64903), with
its notes on snapshots and time. Protocol addresses; function 3 reads, function 16 writes.
"""

from __future__ import annotations

import math
from datetime import timedelta
from fractions import Fraction
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.domain.energy import MeterIdentity, MeterValue
from edge.domain.instant import Instant
from edge.metering.ocmf.record import Record, SignedRecord
from edge.metering.reading import Limits
from edge.metering.signing import Held, Idle, Ready, Running, SignedSession, marked_text
from edge.ports import Clock
from hw.bus.budget import Load
from hw.bus.bus import Answer
from hw.bus.line import Baudrate, Parity
from hw.bus.pool import BusPool
from hw.meters import signed, values
from hw.meters.errors import MeterInvalid
from hw.meters.register import billable
from hw.meters.signed import Line, Registers, SigningFailed

MODEL = "Bauer BSM-WS36A"
RATED_POWER_W = 55_200  # 3 x 230 V x 80 A
SERIAL, SERIAL_REGISTERS = 40052, 16
LIVE, LIVE_REGISTERS, SPARE = 40092, 53, 8
EPOCH = 40260
META, META_REGISTERS = 40279, 70
KEY_BYTES, KEY, KEY_BYTES_MAX = 40450, 40451, 96
OCMF_REGISTERS = 496
VALID, INVALID, UPDATING = range(3)
_STATUS = {3: "failed", 4: "not enabled", 5: "wrong contactor feedback"}
_TIME_DRIFT_MAX = timedelta(
    seconds=60
)  # each setting of the time wears the meter's memory: only when it is off
_META_BYTES_MAX = 2 * META_REGISTERS - 1


class Snapshot(msgspec.Struct, frozen=True):
    """Where a snapshot is asked for (`St` of model 64901) and its record (`St` and text of model 64903)."""

    status: int
    ocmf_status: int

    @property
    def ocmf(self) -> int:
        return self.ocmf_status + 1


START, END = Snapshot(41286, 43294), Snapshot(41540, 43794)
TURN_ON, TURN_OFF = Snapshot(40778, 42294), Snapshot(41032, 42794)


class Options(Line, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`driver = "bsm"`. With `turn_on_off` the meter itself switches the contactor at begin and end."""

    unit: Annotated[int, Meta(ge=1, le=247)] = 42
    baudrate: Baudrate = 19_200
    parity: Parity = "E"
    snapshots: Literal["start_end", "turn_on_off"] = "start_end"


def load(options: Options) -> Load:
    """What one poll costs the line."""
    return options.load(MODEL, LIVE_REGISTERS + SPARE)


def create(options: Options, *, clock: Clock, buses: BusPool) -> Bsm:
    """The meter on its line; opens nothing yet. Raises CallError."""
    return Bsm(signed.registers(options, clock=clock, buses=buses), options, clock)


class Bsm:
    """Implements edge.ports.SignedMeter. Snapshots do not survive a power cut of the meter."""

    def __init__(self, registers: Registers, options: Options, clock: Clock) -> None:
        self.limits = Limits(rated_power_w=RATED_POWER_W)
        self._registers, self._clock = registers, clock
        self._zone = options.zone()
        self._begin, self._end = (START, END) if options.snapshots == "start_end" else (TURN_ON, TURN_OFF)

    async def read(self) -> MeterValue:
        """One fresh reading. Raises MeterError."""
        answer = await self._registers.read(3, LIVE, LIVE_REGISTERS, SPARE)
        return decode(answer)

    async def identify(self) -> MeterIdentity:
        """Who answers. Raises MeterError."""
        data = (await self._registers.read(3, SERIAL, SERIAL_REGISTERS)).data
        return MeterIdentity(model=MODEL, serial=values.text(data))

    async def close(self) -> None:
        """Nothing to do: the line belongs to the pool."""

    async def held(self) -> Held:
        """What the snapshots tell. Raises MeterError."""
        begin, end = await self._record(self._begin), await self._record(self._end)
        if begin is None:  # a power cut; an end that is there was taken since then
            ended = None if end is None else signed.session_of(end)
            return Idle(can_end=True) if ended is None else Ready(ended, blocking=False)
        session_id = signed.session_of(begin)
        if end is not None and signed.session_of(end) == session_id and _number(end) > _number(begin):
            return Ready(session_id, blocking=False)
        return Running(session_id, has_begin=True)

    async def begin_signed(self, session: SignedSession) -> SignedRecord:
        """The begin's record; the same one again while its snapshot is there. Raises MeterError."""
        begin = await self._record(self._begin)
        if begin is None or signed.session_of(begin) != session.session_id:
            await self._set_time()
            await self._describe(session)
            await self._create(self._begin)
        return signed.of_session(await self._fetch(self._begin), session.session_id)

    async def end_signed(self, session: SignedSession | None) -> None:
        """Take the end's snapshot, unless there is one for this begin. Raises MeterError."""
        match await self.held():
            case Ready():
                return
            case Idle():  # a power cut: the meter forgot time and texts
                await self._set_time()
                if session is not None:
                    await self._describe(session)
            case _:
                pass
        await self._create(self._end)

    async def fetch_signed(self) -> SignedRecord:
        """The end's record. Raises MeterError."""
        return signed.of_session(await self._fetch(self._end))

    async def acknowledge_signed(self) -> None:
        """Nothing to do: a snapshot stays until the next one."""

    async def _create(self, snapshot: Snapshot) -> None:
        """Write UPDATING and wait until it is something else; that must be VALID."""
        await signed.confirmed(self._registers.command(snapshot.status, UPDATING))

        async def ask() -> int:
            return await self._registers.number(3, snapshot.status, spare=1)

        status = await signed.wait_for(
            ask, lambda found: found != UPDATING, clock=self._clock, what="no snapshot"
        )
        if status != VALID:
            raise SigningFailed(f"{MODEL}: no snapshot: {_STATUS.get(status, str(status))}")

    async def _record(self, snapshot: Snapshot) -> Record | None:
        """The record of a snapshot; None when there is none. Raises MeterGarbled."""
        if await self._registers.number(3, snapshot.status, spare=1) != VALID:
            return None
        return await signed.readable(lambda: self._text(snapshot))

    async def _text(self, snapshot: Snapshot) -> bytes:
        return await self._registers.text(3, snapshot.ocmf, OCMF_REGISTERS)

    async def _fetch(self, snapshot: Snapshot) -> SignedRecord:
        async def get() -> tuple[bytes, bytes]:
            return await self._text(snapshot), await self._key()

        return await signed.fetched(get)

    async def _key(self) -> bytes:
        size = await self._registers.number(3, KEY_BYTES, spare=1)
        if not 0 < size <= KEY_BYTES_MAX:
            raise SigningFailed(f"{MODEL}: a public key of {size} bytes")
        return (await self._registers.block(3, KEY, (size + 1) // 2))[:size]

    async def _describe(self, session: SignedSession) -> None:
        text = f"{session.evse_id} {session.tariff_text}".strip()
        await self._registers.write(
            META, signed.chars(marked_text(session, text, max_bytes=_META_BYTES_MAX), META_REGISTERS)
        )

    async def _set_time(self) -> None:
        """Both the time and its zone, as the first setting after a power cut must be."""
        if not self._clock.trusted():
            return
        now = self._clock.now()
        shown = await self._registers.read(3, EPOCH, 3)
        seconds = int.from_bytes(shown.data[:4], "big")
        offset = signed.offset_min(now, self._zone).to_bytes(2, "big", signed=True)
        drift_s = abs(seconds - now.utc.timestamp())
        if drift_s > _TIME_DRIFT_MAX.total_seconds() or shown.data[4:6] != offset:
            await self._registers.write(EPOCH, int(now.utc.timestamp()).to_bytes(4, "big") + offset)


def decode(answer: Answer[Instant]) -> MeterValue:
    """The reading in model 203. Raises MeterInvalid when the energy is not one."""

    def number(address: int, kind: values.NumberType, scale_at: int) -> Fraction | None:
        start = 2 * (address - LIVE)
        found = values.number(answer.data[start : start + 2 * values.REGISTERS[kind]], kind, "big")
        scale = values.number(answer.data[2 * (scale_at - LIVE) :][:2], "s16", "big")
        if found is None or scale is None or abs(scale.value) > 10:  # SunSpec: -10 to 10
            return None
        return found.value * Fraction(10) ** int(scale.value)

    energy_wh = number(40136, "u32", 40144)
    if energy_wh is None:
        raise MeterInvalid(f"{MODEL}: the energy register holds no number")
    power_w = number(40108, "s16", 40112)
    step_wh = Fraction(10) ** int.from_bytes(answer.data[2 * (40144 - LIVE) :][:2], "big", signed=True)
    return MeterValue(
        at=answer.at,
        energy_wh=billable(energy_wh, MODEL),
        resolution_wh=max(1, math.ceil(step_wh)),
        power_w=None if power_w is None else round(power_w),
        current_ma=_thousandths([number(a, "s16", 40096) for a in (40093, 40094, 40095)]),
        voltage_mv=_thousandths([number(a, "s16", 40105) for a in (40098, 40099, 40100)]),
        sure=answer.sure,
    )


def _thousandths(phases: list[Fraction | None]) -> tuple[int, ...] | None:
    """All phases, or None when one of them is unknown: unknown is never 0."""
    known = [round(1000 * phase) for phase in phases if phase is not None]
    return tuple(known) if len(known) == len(phases) else None


def _number(record: Record) -> int:
    return -1 if record.pagination is None else record.pagination.number
