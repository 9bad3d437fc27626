"""What answers on a line: units and baud rates by trying, and the profiles whose map gives plausible values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

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
from hw.meters import sunspec
from hw.meters.profile import Profile
from hw.meters.register import RegisterMeter

#: Nothing is billed from a scan, so its bus hurries: an absent unit costs one time-out and this silence.
_HASTY = Timing(quiet_s=0.05, ghost_rest_s=0.0, backoff_s=0.0, backoff_max_s=0.0)
_PROBE = Span(3, 0, 2)  # any device replies to this, be it with an exception
_VOLTAGE_MV = range(80_000, 300_001)
_ENERGY_WH = range(1, 10**10)
RATED_POWER_MAX_W = 1_000_000


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
    described = sunspec.Options(
        port=bus.options.port, unit=unit, rated_power_w=RATED_POWER_MAX_W, timeout_s=timeout_s
    )
    try:
        await sunspec.SunSpecMeter(described, bus).read()
    except HardwareError:
        scores: dict[str, int] = {}
    else:
        return ("sunspec",)
    for name in profiles.names():
        profile = profiles.load(name)
        meter = RegisterMeter(profile, bus, unit=unit, timeout_s=timeout_s, clock=clock)
        try:
            score = _score(profile, await meter.read())
            if score and profile.serial_number is not None and (await meter.identify()).serial:
                score += 1
        except HardwareError:
            continue
        if score:
            scores[name] = score
    return tuple(sorted(scores, key=lambda name: (-scores[name], name)))


def _score(profile: Profile, value: MeterValue) -> int:
    """How much speaks for this map: 0 when a value is impossible."""
    if value.energy_wh not in _ENERGY_WH:
        return 0
    score = 1
    if value.voltage_mv is not None:
        live = [mv for mv in value.voltage_mv if mv]
        if not live or any(mv not in _VOLTAGE_MV for mv in live):
            return 0
        score += 1 + len(live)
    elif profile.voltage is not None:
        return 0
    if value.power_w is not None:
        if abs(value.power_w) > 2 * profile.rated_power_w:
            return 0
        score += 1
    if value.current_ma is not None:
        highest_ma = 2000 * profile.rated_power_w // (230 * len(value.current_ma))
        if any(abs(ma) > highest_ma for ma in value.current_ma):
            return 0
        score += 1
    return score
