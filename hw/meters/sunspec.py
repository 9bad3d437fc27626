"""Meters that describe themselves: SunSpec models 201-204 (scaled integers) and 211-214 (floats), found by walking.

SunSpec Device Information Model: the marker `SunS` at holding register 40000, 0 or 50000, then a chain of models,
each an id, a length and its data, ended by id 0xFFFF. Model 1 names the device. Offsets below are those of the
model's data. An accumulator of 0 means "not accumulated", which at the very start of a meter's life it may be.
"""

from __future__ import annotations

import math
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
from hw.bus.errors import BusError, Refused
from hw.bus.frames import Span
from hw.bus.line import Baudrate, LineOptions, Parity, Port
from hw.bus.pool import BusPool
from hw.meters import values
from hw.meters.errors import MeterError, MeterInvalid
from hw.meters.register import billable, known, translate

BASES = (40000, 0, 50000)
MARKER = b"SunS"
COMMON, LAST = 1, 0xFFFF
INTEGER_MODELS, FLOAT_MODELS = range(201, 205), range(211, 215)
MODELS_MAX = 64  # no meter that was seen has more than a dozen
GAP_MS = 100
_PHASES = {201: 1, 202: 2, 203: 3, 204: 3, 211: 1, 212: 2, 213: 3, 214: 3}
_INTEGER_REGISTERS, _FLOAT_REGISTERS = 53, 68  # up to the scale of the energy, up to the energy
_SPARE = 8
_SCALE_MAX = 10  # SunSpec: scale factors lie within -10..10


class NotSunSpec(MeterError):
    code = "meter.not_sunspec"
    hint = (
        "check the unit id; a meter that does not describe itself needs a profile (`chargetill meter list`)"
    )
    retryable = False


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`driver = "sunspec"`. `rated_power_w` bounds what is plausible: the meter does not tell."""

    port: Port
    rated_power_w: Annotated[int, Meta(ge=1, le=1_000_000)]
    unit: Annotated[int, Meta(ge=1, le=247)] = 1
    baudrate: Baudrate = 19200
    parity: Parity = "E"
    stopbits: Literal[1, 2] = 1
    timeout_s: Annotated[float, Meta(gt=0, le=10)] = 1.0
    gap_ms: Annotated[int, Meta(ge=0, le=1000)] | None = None


def line_options(options: Options) -> LineOptions:
    """The line that these options name."""
    return LineOptions(
        port=options.port, baudrate=options.baudrate, parity=options.parity, stopbits=options.stopbits
    )


def gap_s(options: Options) -> float:
    """The gap between frames."""
    default_gap_ms = 0 if line_options(options).is_tcp else GAP_MS
    return (default_gap_ms if options.gap_ms is None else options.gap_ms) / 1000


def load(options: Options) -> Load:
    """What one poll costs the line."""
    return Load(
        name=f"SunSpec unit {options.unit}",
        line=line_options(options),
        exchanges=(read_characters(_FLOAT_REGISTERS + _SPARE),),
        gap_s=gap_s(options),
        timeout_s=options.timeout_s,
    )


def create(options: Options, *, clock: Clock, buses: BusPool) -> SunSpecMeter:
    """The meter on its line; opens nothing yet. Raises LineConflict."""
    del clock
    return SunSpecMeter(options, buses.bus(line_options(options), gap_s=gap_s(options)))


class Layout(msgspec.Struct, frozen=True):
    """Where the common model and the meter model have their data."""

    common: int | None
    model: int
    start: int


class SunSpecMeter:
    """Implements edge.ports.Meter."""

    def __init__(self, options: Options, bus: Bus[Instant]) -> None:
        self.limits = Limits(rated_power_w=options.rated_power_w)
        self._options, self._bus = options, bus
        self._layout: Layout | None = None

    async def read(self) -> MeterValue:
        """One fresh reading. Raises MeterError."""
        layout = await self._found()
        integer = layout.model in INTEGER_MODELS
        count = _INTEGER_REGISTERS if integer else _FLOAT_REGISTERS
        answer = await self._read(Span(3, layout.start, count, spare=_SPARE, step=1 if integer else 2))
        decode = _integers if integer else _floats
        value = decode(answer.data, answer.at, _PHASES[layout.model])
        return msgspec.structs.replace(value, sure=answer.sure)

    async def identify(self) -> MeterIdentity:
        """Manufacturer and model, serial number and version of the common model. Raises MeterError."""
        layout = await self._found()
        if layout.common is None:
            return MeterIdentity(model=f"SunSpec model {layout.model}")
        common = (await self._read(Span(3, layout.common, 64))).data
        maker, model = values.text(common[:32]), values.text(common[32:64])
        return MeterIdentity(
            model=" ".join(part for part in (maker, model) if part) or f"SunSpec model {layout.model}",
            serial=values.text(common[96:128]),
            firmware=values.text(common[80:96]),
        )

    async def close(self) -> None:
        """Nothing to do: the line belongs to the pool."""

    async def _found(self) -> Layout:
        if self._layout is None:
            self._layout = await self._walk()
        return self._layout

    async def _walk(self) -> Layout:
        for base in BASES:
            try:
                marker = (await self._raw(Span(3, base, 2))).data
            except Refused:
                continue
            if marker == MARKER:
                return await self._chain(base + 2)
        raise NotSunSpec(f"{self._options.port} unit {self._options.unit}: no SunSpec marker")

    async def _chain(self, address: int) -> Layout:
        common: int | None = None
        meter: tuple[int, int] | None = None
        for _ in range(MODELS_MAX):
            try:
                model, length = (await self._raw(Span(3, address, 2))).registers
            except Refused:
                break  # the chain goes on where there are no registers: some leave out its end
            start = address + 2
            if meter is None and _is_meter(model, length):
                meter = model, start
            if common is None and model == COMMON:
                common = start
            if (meter and common) or model == LAST or start + length > LAST:
                break
            address = start + length
        if meter is None:
            where = f"{self._options.port} unit {self._options.unit}"
            raise NotSunSpec(f"{where}: no meter among its SunSpec models")
        return Layout(common, *meter)

    async def _read(self, span: Span) -> Answer[Instant]:
        try:
            return await self._raw(span)
        except Refused as e:
            self._layout = None  # another device, or firmware with another chain: walk again
            raise translate(e) from e

    async def _raw(self, span: Span) -> Answer[Instant]:
        try:
            return await self._bus.read(self._options.unit, span, timeout_s=self._options.timeout_s)
        except Refused:
            raise
        except BusError as e:
            raise translate(e) from e


def _is_meter(model: int, length: int) -> bool:
    if model in INTEGER_MODELS:
        return length >= _INTEGER_REGISTERS + _SPARE
    return model in FLOAT_MODELS and length >= _FLOAT_REGISTERS + _SPARE


def _integers(data: bytes, at: Instant, phases: int) -> MeterValue:
    """Models 201-204: A 0-3 with scale 4, V 6-8 with 13, W 16 with 20, imported Wh 44 with 52."""
    scale = _scale(data, 52)
    raw = values.number(data[88:92], "u32", "big")
    if raw is None or scale is None or raw.value == 0:
        raise MeterInvalid("the SunSpec meter does not accumulate imported energy")
    watts = _scaled(data, 16, 20)
    return MeterValue(
        at=at,
        energy_wh=billable(raw.value * scale, "the SunSpec meter"),
        resolution_wh=max(1, math.ceil(scale)),
        power_w=None if watts is None else values.within(watts, values.POWER_MAX_W),
        current_ma=_thousandths([_scaled(data, 1 + n, 4) for n in range(phases)], values.CURRENT_MAX_MA),
        voltage_mv=_thousandths([_scaled(data, 6 + n, 13) for n in range(phases)], values.VOLTAGE_MAX_MV),
    )


def _floats(data: bytes, at: Instant, phases: int) -> MeterValue:
    """Models 211-214: A 2-6, V 10-14, W 26, imported Wh 66, each a float32."""
    energy = values.number(data[132:136], "f32", "big")
    if energy is None:
        raise MeterInvalid("the SunSpec meter does not accumulate imported energy")
    watts = _float(data, 26)
    amperes = [_float(data, 2 + 2 * n) for n in range(phases)]
    volts = [_float(data, 10 + 2 * n) for n in range(phases)]
    return MeterValue(
        at=at,
        energy_wh=billable(energy.value, "the SunSpec meter"),
        resolution_wh=max(1, math.ceil(energy.step)),
        power_w=None if watts is None else values.within(watts, values.POWER_MAX_W),
        current_ma=_thousandths(amperes, values.CURRENT_MAX_MA),
        voltage_mv=_thousandths(volts, values.VOLTAGE_MAX_MV),
    )


def _float(data: bytes, offset: int) -> Fraction | None:
    found = values.number(data[2 * offset : 2 * offset + 4], "f32", "big")
    return None if found is None else found.value


def _scaled(data: bytes, offset: int, scale_offset: int) -> Fraction | None:
    found, scale = values.number(data[2 * offset : 2 * offset + 2], "s16", "big"), _scale(data, scale_offset)
    return None if found is None or scale is None else found.value * scale


def _scale(data: bytes, offset: int) -> Fraction | None:
    found = values.number(data[2 * offset : 2 * offset + 2], "s16", "big")
    if found is None or abs(found.value) > _SCALE_MAX:
        return None
    return Fraction(10) ** int(found.value)


def _thousandths(found: list[Fraction | None], most: int) -> tuple[int, ...] | None:
    """All phases in mA or mV; None when one of them is unknown."""
    return known([None if n is None else values.within(1000 * n, most) for n in found])
