"""`chargetill meter`: the models that are known, and reading one from the command line."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import click
import msgspec

from edge.cli.call import NO, Call, command, encode, table
from edge.domain.energy import MeterIdentity, MeterValue
from edge.domain.instant import Instant
from edge.errors import CallError, HardwareError, TillError
from edge.ports import Meter

if TYPE_CHECKING:
    from hw.bus.errors import BadReply
    from hw.bus.line import LineOptions

COUNT_MAX = 1_000_000
INTERVAL_MAX_S = 3600
UNIT_MAX = 247  # MODBUS over Serial Line V1.02, 2.2
UNITS = "1-33,42,126"  # what installers give, and what WM3M4, BSM-WS36A and PAC2200 come with
BAUDRATES = (9600, 19200, 38400, 115200)
PARITIES = ("N", "E")
SUNSPEC = "sunspec"  # a meter that describes itself needs no profile
#: what is read by a driver of its own -> its model and the source of its registers
_OF_DRIVERS = {
    SUNSPEC: ("any meter of the SunSpec models 201-204 and 211-214", "SunSpec Device Information Model"),
    "bsm": ("Bauer BSM-WS36A", "chargeIT mobility, BSM-WS36A model instances and registers"),
    "wm3m4": ("Iskra WM3M4 / WM3M4C", "Iskra, WM3M4 & WM3M4C user's manual"),
}
RATED_POWER_MAX_W = 1_000_000  # nothing is billed from here
SCAN_TIMEOUT_MAX_S = 60
IDENTITY_ATTEMPTS = 2  # a meter that does not tell costs two time-outs, not one per poll


class NothingFound(TillError):
    """A scan that found no unit: the answer is "no"."""

    code = "meter.nothing_found"
    hint = (
        "check A/B wires, termination and power; try more `--units`, `--baudrate` or `--parity`, "
        "and a longer `--timeout`"
    )
    exit_code = NO


class _WallClock:
    """The computer's own clocks: a command reads a meter outside of any session."""

    def now(self) -> Instant:
        return Instant(utc=datetime.now(UTC), boot_id="command", monotonic_ns=time.monotonic_ns())

    def trusted(self) -> bool:
        return True

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@click.group()
def meter() -> None:
    """The energy meters: which are known, what one says, what answers on a line."""


@meter.command("list")
@command
def list_models(call: Call) -> None:
    """The profiles, one per model."""
    from hw.meters import profile

    rows: list[dict[str, object]] = []
    for name in profile.names():
        found = profile.load(name)
        rows.append(
            {
                "profile": name,
                "model": found.model,
                "rated_power_w": found.rated_power_w,
                "serial_number": found.serial_number is not None,
                "source": found.source,
                "rating": found.rating,
            }
        )
    rows += [
        {
            "profile": name,
            "model": model,
            "rated_power_w": None,
            "serial_number": True,
            "source": source,
            "rating": None,
        }
        for name, (model, source) in _OF_DRIVERS.items()
    ]
    call.say(rows, table(rows, ("profile", "model", "rated_power_w", "serial_number", "source")))


@meter.command()
@click.option("--profile", required=True, help="a name from `meter list`")
@click.option("--port", required=True, help="/dev/.. or tcp://host:port")
@click.option("--unit", type=int, help="default: 1, or as the model comes")
@click.option("--baudrate", type=int, help="default: as the profile says")
@click.option(
    "--parity", type=click.Choice(["N", "E", "O"], case_sensitive=False), help="default: the profile's"
)
@click.option("--stopbits", type=click.IntRange(1, 2), default=1, show_default=True, help="of the line")
@click.option("--timeout", type=float, default=1.0, show_default=True, help="seconds for one reply")
@click.option("--count", type=click.IntRange(1, COUNT_MAX), default=1, show_default=True, help="polls")
@click.option(
    "--interval",
    type=click.FloatRange(0, INTERVAL_MAX_S),
    default=1.0,
    show_default=True,
    help="seconds between polls",
)
@command
def read(call: Call, /, **given: object) -> None:
    """Poll one meter: a line of JSON per poll, with what is unknown as null."""
    from hw import registry

    raw = {
        "port": given["port"],
        "unit": given["unit"],
        "baudrate": given["baudrate"],
        "parity": str(given["parity"]).upper() if given["parity"] else None,
        "stopbits": given["stopbits"],
        "timeout_s": given["timeout"],
    }
    raw = {name: value for name, value in raw.items() if value is not None}
    profile = str(given["profile"])
    driver = profile if profile in _OF_DRIVERS else "register"
    if driver == "register":
        raw["profile"] = profile
    elif driver == SUNSPEC:
        raw["rated_power_w"] = RATED_POWER_MAX_W
    try:
        options = msgspec.convert(raw, registry.options_type("meter", driver))
    except msgspec.ValidationError as e:
        raise _wrong(e, "read") from e
    count, interval_s = given["count"], given["interval"]
    assert isinstance(count, int)
    assert isinstance(interval_s, float)
    if math.isnan(interval_s):  # no bound of a range keeps it out
        raise CallError("an interval of nan s", hint=f"give 0 to {INTERVAL_MAX_S} seconds")
    try:
        failed = asyncio.run(_poll(call, driver, options, count, interval_s))
    except KeyboardInterrupt:
        raise click.Abort from None
    sys.exit(NO if failed else 0)


async def _poll(call: Call, driver: str, options: msgspec.Struct, count: int, interval_s: float) -> int:
    """Read so many times, while somebody reads it; returns how many polls failed."""
    from hw import registry
    from hw.bus.pool import BusPool

    clock = _WallClock()
    buses = BusPool(clock)
    device = registry.create_meter(driver, options, clock=clock, buses=buses)
    identity: MeterIdentity | None = None
    asked = failed = 0
    due = time.monotonic()
    try:
        for poll in range(count):
            if poll:
                due = max(due + interval_s, time.monotonic())
                await asyncio.sleep(due - time.monotonic())
            try:
                value = await _reading(device)
                if identity is None and asked < IDENTITY_ATTEMPTS:
                    asked += 1
                    identity = await _identify(device)
                line = encode(_line(value, identity))
            except CallError:
                raise
            except TillError as e:
                failed += 1
                line = encode({"error": e.as_json()})
            if not call.line(line):
                break
    finally:
        await buses.close()
    return failed


async def _reading(device: Meter) -> MeterValue:
    """What the meter says now. A reading that may be a late reply to an earlier poll counts only where the next one
    goes on from it: on a line that loses replies nobody is shown old energy under a new time. Raises MeterUnsure.
    """
    value = await device.read()
    if value.sure:
        return value
    later = await device.read()
    if later.sure or later.energy_wh >= value.energy_wh:
        return later
    from edge.runtime.metering import MeterUnsure

    shown = f"{value.energy_wh} Wh, then {later.energy_wh} Wh"
    raise MeterUnsure(f"{shown}: one of both is a late reply to an earlier request")


async def _identify(device: Meter) -> MeterIdentity | None:
    """The identity, or None when the meter gives a reading but not its serial number."""
    try:
        return await device.identify()
    except HardwareError:
        return None


def _line(value: MeterValue, identity: MeterIdentity | None) -> dict[str, object]:
    return {
        "at": value.at.utc.isoformat(timespec="milliseconds"),
        "energy_wh": value.energy_wh,
        "power_w": value.power_w,
        "current_a": _decimals(value.current_ma),
        "voltage_v": _decimals(value.voltage_mv),
        "serial": None if identity is None else identity.serial,
    }


def _decimals(thousandths: tuple[int, ...] | None) -> list[msgspec.Raw] | None:
    """Exact thousandths as JSON numbers: 16000 is 16, 16250 is 16.25."""
    if thousandths is None:
        return None
    return [msgspec.Raw(f"{Decimal(t).scaleb(-3).normalize():f}".encode()) for t in thousandths]


@meter.command()
@click.option("--port", required=True, help="/dev/.. or tcp://host:port")
@click.option("--units", default=UNITS, show_default=True, help="unit ids: 1-247, or 1,5,17")
@click.option("--baudrate", type=int, multiple=True, help="may be repeated; default: the customary ones")
@click.option(
    "--parity",
    type=click.Choice(["N", "E", "O"], case_sensitive=False),
    multiple=True,
    help="may be repeated; default: N and E",
)
@click.option("--timeout", type=float, default=0.2, show_default=True, help="seconds to wait for each unit")
@command
def scan(call: Call, /, **given: object) -> None:
    """Find what answers on a line, and name the profiles that fit: a line per unit."""
    from hw.bus.line import LineOptions

    rates, parities, timeout_s = given["baudrate"] or BAUDRATES, given["parity"] or PARITIES, given["timeout"]
    assert isinstance(rates, tuple)
    assert isinstance(parities, tuple)
    assert isinstance(timeout_s, float)
    if not 0 < timeout_s <= SCAN_TIMEOUT_MAX_S:  # nor is it NaN
        raise CallError(
            f"a time-out of {timeout_s} s", hint=f"give more than 0 and at most {SCAN_TIMEOUT_MAX_S} seconds"
        )
    raw = [
        {"port": given["port"], "baudrate": rate, "parity": parity.upper()}
        for rate in rates
        for parity in parities
    ]
    try:
        lines = msgspec.convert(raw, list[LineOptions])
    except msgspec.ValidationError as e:
        raise _wrong(e, "scan") from e
    if lines[0].is_tcp:
        del lines[1:]
    asyncio.run(_scan(call, lines, _units(str(given["units"])), timeout_s))


async def _scan(call: Call, lines: list[LineOptions], units: list[int], timeout_s: float) -> None:
    """Raises NothingFound, LineDown."""
    from hw.meters.scan import scan as search

    found = 0
    garbled: list[BadReply] = []
    async for unit in search(
        lines, units, timeout_s=timeout_s, clock=_WallClock(), on_garbled=garbled.append
    ):
        found += 1
        line = "" if unit.baudrate is None else f", {unit.baudrate} Bd 8{unit.parity}1"
        likely = ", ".join(unit.profiles) or "no profile fits"
        call.say(unit, f"unit {unit.unit}{line}: {likely}")
    if not found and garbled:
        raise NothingFound(
            f"something answers, but not as a meter: {garbled[0].message}",
            hint=f"{garbled[0].hint}; a unit that answers late needs a longer `--timeout`",
        )
    if not found:
        raise NothingFound(f"{lines[0].port}: no unit answers")


def _units(text: str) -> list[int]:
    """Unit ids of `1-32` or `1,5,17`. Raises CallError."""
    units: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.strip().isdigit() or not (last or first).strip().isdigit():
            raise CallError(f"`{text}` are no unit ids", hint="give 1-247, or 1,5,17")
        units += range(int(first), int(last or first) + 1)
        if not units or min(units) < 1 or max(units) > UNIT_MAX:
            raise CallError(f"`{part}` lies outside of 1-{UNIT_MAX}", hint="give 1-247, or 1,5,17")
    return units


def _wrong(error: msgspec.ValidationError, name: str) -> CallError:
    """What the options' type refused, in the words of the command line."""
    text = str(error)
    if "matching regex" in text:
        text = "the port is neither a serial device such as /dev/meter0 nor tcp://host:port"
    text = text.replace("`$.", "`--").replace("--timeout_s`", "--timeout`")
    return CallError(text, hint=f"`chargetill meter {name} --help` shows the options")
