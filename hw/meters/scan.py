"""What answers on a line: units and baud rates by trying, and the profiles whose map gives plausible values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import msgspec

from edge.domain.energy import MeterValue
from edge.domain.instant import Instant
from edge.errors import HardwareError
from edge.ports import Clock
from hw.bus.bus import Bus, Timing
from hw.bus.errors import BadReply, LineUnsettled, NoAnswer, Refused
from hw.bus.frames import Span
from hw.bus.line import LineOptions, Parity
from hw.meters import profile as profiles
from hw.meters import sunspec, wm3m4
from hw.meters.register import RegisterMeter
from hw.meters.signed import Registers

#: Nothing is billed from a scan, so its bus hurries: an absent unit costs one time-out and this silence.
_HASTY = Timing(quiet_s=0.05, ghost_rest_s=0.0, backoff_s=0.0, backoff_max_s=0.0)
_PROBE = Span(3, 0, 2)  # any device replies to this, be it with an exception
_VOLTAGE_MV = range(80_000, 300_001)
_ENERGY_MAX_WH = 10**10  # what a meter shows that is not a century old
RATED_POWER_MAX_W = 1_000_000
_BSM = "BSM-WS36A"  # its model in the common model of SunSpec


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A unit that answers, and the profiles that fit it, likeliest first."""

    port: str
    unit: int
    baudrate: int | None
    parity: Parity | None
    profiles: tuple[str, ...]


async def scan(
    lines: Sequence[LineOptions],
    units: Sequence[int],
    *,
    timeout_s: float,
    clock: Clock,
    on_garbled: Callable[[BadReply], None] | None = None,
) -> AsyncIterator[Found]:
    """Try every unit under every setting of the line. Raises LineDown when the line is not there.

    `on_garbled` is told of each unit for which bytes came that are no reply; at a wrong baud rate that is usual.
    """
    for options in lines:
        bus = Bus(options, now=clock.now, timing=_HASTY, gap_s=0.0 if options.is_tcp else 0.02)
        try:
            for unit in units:
                if await _answers(bus, unit, timeout_s, on_garbled):
                    yield Found(
                        port=options.port,
                        unit=unit,
                        baudrate=None if options.is_tcp else options.baudrate,
                        parity=None if options.is_tcp else options.parity,
                        profiles=await _likely(bus, unit, timeout_s, clock),
                    )
        finally:
            await bus.close()


async def _answers(
    bus: Bus[Instant], unit: int, timeout_s: float, on_garbled: Callable[[BadReply], None] | None
) -> bool:
    try:
        await bus.read(unit, _PROBE, timeout_s=timeout_s, attempts=1)
    except Refused:
        return True
    except BadReply as e:
        if on_garbled is not None:
            on_garbled(e)
        return False
    except (NoAnswer, LineUnsettled):
        return False
    return True


async def _likely(bus: Bus[Instant], unit: int, timeout_s: float, clock: Clock) -> tuple[str, ...]:
    timeout_s = max(timeout_s, 0.5)
    described = await _described(bus, unit, timeout_s)
    if described:
        return described
    scores: dict[str, int] = {}
    for name, meter, has_voltage in _meters(bus, unit, timeout_s, clock):
        try:
            score = _score(await meter.read(), meter.limits.rated_power_w, has_voltage=has_voltage)
            if score and (await meter.identify()).serial:
                score += 1
        except HardwareError:
            continue
        if score:
            scores[name] = score
    return tuple(sorted(scores, key=lambda name: (-scores[name], name)))


async def _described(bus: Bus[Instant], unit: int, timeout_s: float) -> tuple[str, ...]:
    """What a unit is by its own description: nothing where it has none."""
    options = sunspec.Options(
        port=bus.options.port, unit=unit, rated_power_w=RATED_POWER_MAX_W, timeout_s=timeout_s
    )
    meter = sunspec.SunSpecMeter(options, bus)
    try:
        await meter.read()
        model = (await meter.identify()).model
    except HardwareError:
        return ()
    return ("bsm", "sunspec") if _BSM in model else ("sunspec",)


def _meters(
    bus: Bus[Instant], unit: int, timeout_s: float, clock: Clock
) -> Iterator[tuple[str, RegisterMeter | wm3m4.Wm3m4, bool]]:
    """Each meter that it may be, by the name that `meter read` knows, and whether it tells the voltage."""
    for name in profiles.names():
        profile = profiles.load(name)
        meter = RegisterMeter(profile, bus, unit=unit, timeout_s=timeout_s, clock=clock)
        yield name, meter, profile.voltage is not None
    options = wm3m4.Options(port=bus.options.port, unit=unit, timeout_s=timeout_s)
    yield "wm3m4", wm3m4.Wm3m4(Registers(bus, options, clock), options, clock), True


def _score(value: MeterValue, rated_power_w: int, *, has_voltage: bool) -> int:
    """How much speaks for this map: 0 when a value is impossible."""
    if value.energy_wh > _ENERGY_MAX_WH or not (value.energy_wh or has_voltage):
        return 0  # a new meter shows no energy, and so does a register that is none: only a live line tells
    score = 1 if value.energy_wh else 0
    if value.voltage_mv is not None:
        live = [mv for mv in value.voltage_mv if mv]
        if not live or any(mv not in _VOLTAGE_MV for mv in live):
            return 0
        score += 1 + len(live)
    elif has_voltage:
        return 0
    if value.power_w is not None:
        if abs(value.power_w) > 2 * rated_power_w:
            return 0
        score += 1
    if value.current_ma is not None:
        highest_ma = 2000 * rated_power_w // (230 * len(value.current_ma))
        if any(abs(ma) > highest_ma for ma in value.current_ma):
            return 0
        score += 1
    return score
