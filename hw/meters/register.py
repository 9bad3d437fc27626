"""The generic register meter: any model that a profile describes, over Modbus RTU or TCP."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.domain.energy import MeterIdentity, MeterValue
from edge.domain.instant import Instant
from edge.metering.reading import Limits
from edge.ports import Clock
from hw.bus.budget import Load, read_characters
from hw.bus.bus import Answer, Bus
from hw.bus.errors import BackingOff, BusError, LineDown, NoAnswer, Refused
from hw.bus.frames import Span
from hw.bus.line import Baudrate, LineOptions, Parity, Port
from hw.bus.pool import BusPool
from hw.meters import profile as profiles
from hw.meters import values
from hw.meters.errors import (
    MeterError,
    MeterGarbled,
    MeterInvalid,
    MeterRefused,
    MeterSilent,
    MeterUnreachable,
)
from hw.meters.profile import FUNCTIONS, Block, Field, IdentityField, Profile


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`driver = "register"`. Line settings that are left out are those of the profile."""

    profile: str
    port: Port
    unit: Annotated[int, Meta(ge=1, le=247)] = 1
    baudrate: Baudrate | None = None
    parity: Parity | None = None
    stopbits: Literal[1, 2] = 1
    timeout_s: Annotated[float, Meta(gt=0, le=10)] = 1.0
    gap_ms: Annotated[int, Meta(ge=0, le=1000)] | None = None


def line_options(options: Options) -> LineOptions:
    """The line that these options name. Raises CallError for an unknown profile."""
    profile = profiles.load(options.profile)
    return LineOptions(
        port=options.port,
        baudrate=options.baudrate or profile.baudrate,
        parity=options.parity or profile.parity,
        stopbits=options.stopbits,
    )


def gap_s(options: Options) -> float:
    """The gap between frames: as given, else the model's own on a serial line."""
    if options.gap_ms is not None:
        return options.gap_ms / 1000
    return 0.0 if line_options(options).is_tcp else profiles.load(options.profile).gap_ms / 1000


def load(options: Options) -> Load:
    """What one poll costs the line. Raises CallError for an unknown profile."""
    profile = profiles.load(options.profile)
    return Load(
        name=f"{profile.model} unit {options.unit}",
        line=line_options(options),
        exchanges=tuple(read_characters(block.count + block.spare) for block in profile.blocks),
        gap_s=gap_s(options),
        timeout_s=options.timeout_s,
    )


def create(options: Options, *, clock: Clock, buses: BusPool) -> RegisterMeter:
    """The meter on its line; opens nothing yet. Raises CallError: unknown profile, conflicting line."""
    bus = buses.bus(line_options(options), gap_s=gap_s(options))
    profile = profiles.load(options.profile)
    return RegisterMeter(profile, bus, unit=options.unit, timeout_s=options.timeout_s, clock=clock)


class _Shape(Enum):
    """How a block is read, from the safest on."""

    SPARE = 0
    EXACT = 1
    FIELDS = 2


_NO_SUCH_REGISTERS = {2, 3}  # Modbus exceptions: illegal data address, illegal data value


class RegisterMeter:
    """Implements edge.ports.Meter. `limits` bounds what the validated reading believes."""

    def __init__(
        self, profile: Profile, bus: Bus[Instant], *, unit: int, timeout_s: float, clock: Clock
    ) -> None:
        self.profile = profile
        self.limits = Limits(rated_power_w=profile.rated_power_w, rollover_wh=profile.rollover_wh)
        self._bus, self._unit, self._timeout_s, self._clock = bus, unit, timeout_s, clock
        self._shapes: dict[Block, _Shape] = {}
        energy = profile.block_of(profile.energy_import)
        self._energy_first = sorted(profile.blocks, key=lambda block: block != energy)

    async def read(self) -> MeterValue:
        """One fresh reading, stamped at the arrival of the block that holds the energy. Raises MeterError."""
        data: dict[Block, bytes] = {}
        answers: list[Answer[Instant]] = []
        for block in self._energy_first:
            answers.append(await self._block(block))
            data[block] = answers[-1].data
        energy = answers[0]
        flow_sure = all(answer.sure for answer in answers)
        value = decode(self.profile, data, energy.at)
        return msgspec.structs.replace(value, sure=energy.sure, flow_sure=flow_sure)

    async def _block(self, block: Block) -> Answer[Instant]:
        """One block: with spare registers, else exactly, else field by field, as this meter's firmware allows."""
        while True:
            shape = self._shapes.get(block, _Shape.SPARE if block.spare else _Shape.EXACT)
            try:
                match shape:
                    case _Shape.SPARE:
                        return await self._read(block.span)
                    case _Shape.EXACT:
                        return await self._read(msgspec.structs.replace(block.span, spare=0))
                    case _Shape.FIELDS:
                        return await self._fields(block)
            except MeterRefused as e:
                cause = e.__cause__
                known = isinstance(cause, Refused) and cause.exception in _NO_SUCH_REGISTERS
                if shape is _Shape.FIELDS or not known:
                    self._shapes.pop(
                        block, None
                    )  # it refuses all, as while it starts: that says nothing of the shape
                    raise
                self._shapes[block] = _Shape(shape.value + 1)

    async def _fields(self, block: Block) -> Answer[Instant]:
        """The registers of the block's fields; those between them stay 0, and are none of ours."""
        data = bytearray(2 * block.count)
        at: Instant | None = None
        sure = True
        for field in self.profile.fields():
            if self.profile.block_of(field) != block:
                continue
            span = Span(FUNCTIONS[block.function], field.address, field.last - field.address + 1)
            answer = await self._read(span)
            start = 2 * (field.address - block.address)
            data[start : start + len(answer.data)] = answer.data
            at = at or answer.at
            sure = sure and answer.sure
        assert at is not None
        return Answer(bytes(data), at, sure)

    async def identify(self) -> MeterIdentity:
        """Who answers. What the meter refuses to tell stays None. Raises MeterError when it is silent.

        From then on blocks are read in the safest way again: what was refused once may not be for ever.
        """
        self._shapes.clear()
        return MeterIdentity(
            model=self.profile.model,
            serial=await self._identity(self.profile.serial_number),
            firmware=await self._identity(self.profile.firmware),
        )

    async def close(self) -> None:
        """Nothing to do: the line belongs to the pool."""

    async def _identity(self, field: IdentityField | None) -> str | None:
        if field is None:
            return None
        try:
            answer = await self._read(field.span)
        except MeterRefused:
            return None
        if field.type == "ascii":
            return values.text(answer.data)
        found = values.number(answer.data, field.type, field.order)
        return None if found is None else str(found.value)

    async def _read(self, span: Span) -> Answer[Instant]:
        try:
            return await self._bus.read(self._unit, span, timeout_s=self._timeout_s)
        except BusError as e:
            raise translate(e) from e


def translate(error: BusError) -> MeterError:
    """A bus error as the meter's own."""
    match error:
        case NoAnswer() | BackingOff():
            return MeterSilent(error.message, hint=error.hint)
        case LineDown():
            return MeterUnreachable(error.message, hint=error.hint)
        case Refused():
            return MeterRefused(error.message, hint=error.hint)
        case _:
            return MeterGarbled(error.message, hint=error.hint)


def billable(energy_wh: Fraction, model: str, *, most_wh: int | None = None) -> int:
    """A register's whole Wh. Raises MeterInvalid for what no meter can have counted."""
    most_wh = values.ENERGY_MAX_WH if most_wh is None else most_wh
    if not 0 <= energy_wh <= most_wh:
        shown = f"{Decimal(energy_wh.numerator) / energy_wh.denominator:.6g} Wh"
        raise MeterInvalid(f"{model}: {shown} is outside of the register's range")
    return math.floor(energy_wh)


def decode(profile: Profile, data: dict[Block, bytes], at: Instant) -> MeterValue:
    """The reading in the registers of all blocks. Raises MeterInvalid when the energy is not one."""
    fields = (profile.energy_import, *profile.energy_more)
    energies = [n for n in (_numbers(profile, field, data)[0] for field in fields) if n is not None]
    if len(energies) < len(fields):
        raise MeterInvalid(f"{profile.model}: the energy register holds no number")
    energy = values.Number(sum((n.value for n in energies), Fraction()), max(n.step for n in energies))
    energy_wh = billable(energy.value, profile.model, most_wh=profile.rollover_wh)
    power = _numbers(profile, profile.power, data)[0] if profile.power else None
    return MeterValue(
        at=at,
        energy_wh=energy_wh,
        resolution_wh=max(1, math.ceil(energy.step)),
        power_w=_within(power, values.POWER_MAX_W),
        current_ma=_phases(profile, profile.current, data, values.CURRENT_MAX_MA),
        voltage_mv=_phases(profile, profile.voltage, data, values.VOLTAGE_MAX_MV),
    )


_UNITS: dict[str, Fraction] = {**profiles.WH, **profiles.W, **profiles.A, **profiles.V}


def _numbers(profile: Profile, field: Field, data: dict[Block, bytes]) -> list[values.Number | None]:
    """The field of each phase in Wh, W, mA or mV."""
    block = profile.block_of(field)
    factor = Fraction(field.scale) * _UNITS[field.unit]
    found = []
    for phase in range(field.phases):
        start = 2 * (field.address + phase * field.step - block.address)
        raw = data[block][start : start + 2 * values.REGISTERS[field.type]]
        value = values.number(raw, field.type, field.order, sentinels=profile.sentinels)
        found.append(value and values.Number(value.value * factor, value.step * factor))
    return found


def _phases(
    profile: Profile, field: Field | None, data: dict[Block, bytes], most: int
) -> tuple[int, ...] | None:
    """All phases, or None when one of them is unknown: unknown is never 0."""
    if field is None:
        return None
    return known([_within(n, most) for n in _numbers(profile, field, data)])


def _within(number: values.Number | None, most: int) -> int | None:
    return None if number is None else values.within(number.value, most)


def known(found: Sequence[int | None]) -> tuple[int, ...] | None:
    """All phases, or None when one of them is unknown."""
    told = tuple(n for n in found if n is not None)
    return told if len(told) == len(found) else None
