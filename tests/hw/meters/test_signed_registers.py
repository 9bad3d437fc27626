"""Which registers the signing drivers read and write, in the makers' own numbers: the drivers' constants are not
used here, so that a wrong one shows."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from edge.domain.instant import Instant
from edge.errors import CallError
from edge.metering.signing import SignedSession
from edge.ports import SignedMeter
from hw import registry
from hw.bus.budget import budgets
from hw.bus.bus import Answer
from hw.bus.pool import BusPool
from hw.meters import bsm
from hw.meters.errors import MeterInvalid
from hw.virtual.modbus_server import RtuServer, TcpServer
from hw.virtual.signed_meters import VirtualBsm, VirtualEm580, VirtualWm3m4

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
SESSION = SignedSession(session_id="5e55", evse_id="DE*ABC*E1", tariff_text="0.49 EUR/kWh")
MADE = {"em580": VirtualEm580, "wm3m4": VirtualWm3m4, "bsm": VirtualBsm}


class StillClock:
    def now(self):
        ns = int(asyncio.get_running_loop().time() * 1e9)
        return Instant(utc=NOW, boot_id="test", monotonic_ns=ns)

    def trusted(self):
        return True

    async def sleep(self, seconds):
        await asyncio.sleep(seconds / 1000)


class Log:
    """A unit that notes every request."""

    def __init__(self, unit):
        self.unit, self.reads, self.writes = unit, [], []

    def read(self, function, address, count):
        self.reads.append((function, address, count))
        return self.unit.read(function, address, count)

    def write(self, function, address, values):
        self.writes.append((function, address, values))
        return self.unit.write(function, address, values)


async def session(kind, server, **options):
    await server.start()
    clock = StillClock()
    buses = BusPool(clock)
    given = msgspec.convert(
        {"port": server.address, "unit": 1} | options, registry.options_type("meter", kind)
    )
    meter = registry.create_meter(kind, given, clock=clock, buses=buses)
    assert isinstance(meter, SignedMeter)
    try:
        begin = await meter.begin_signed(SESSION)
        await meter.end_signed(SESSION)
        end = await meter.fetch_signed()
        await meter.acknowledge_signed()
        return begin, end
    finally:
        await buses.close()
        await server.stop()


def over_tcp(kind, **options):
    log = Log(MADE[kind](energy_wh=lambda: 5000, now=lambda: NOW))
    _, end = asyncio.run(session(kind, TcpServer({1: log}), **options))
    assert end.verified
    return log


def words(text, count):
    raw = text.encode().ljust(2 * count, b"\0")
    return [int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)]


def test_em580():
    log = over_tcp("em580", time_zone="Europe/Berlin")
    assert log.writes == [
        (16, 0x7031, [60, SECONDS & 0xFFFF, SECONDS >> 16, 0, 0]),  # offset; time, low word first
        (16, 0x7000, [1, 0, 0, 0, 0, 0, 70, *words("5e55", 20), 0]),
        (16, 0x701C, words("DE*ABC*E1", 20)),
        (16, 0x6900, words("0.49 EUR/kWh #5e55\0", 10)),
        (16, 0x7036, [0]),
        (16, 0x7040, [ord("B")]),
        (16, 0x7040, [ord("E")]),
        (16, 0x7100, [0]),
    ]
    assert {function for function, _, _ in log.reads} == {4}
    assert {address for _, address, _ in log.reads} >= {0x7100, 0x7101, 0x7110, 0x24FF, 0x2600}
    assert (4, 0x2600, 62) in log.reads
    assert max(count for _, _, count in log.reads) <= 123


def test_wm3m4():
    log = over_tcp("wm3m4")
    data = next(values for _, address, values in log.writes if address == 7100)
    size = next(values[0] for _, address, values in log.writes if address == 7056)
    assert [(address, values) for _, address, values in log.writes if address not in {7100, 7056}] == [
        (7059, [0]),
        (7053, [0, SECONDS >> 16, SECONDS & 0xFFFF]),
        (7071, [2]),
        (7051, [0x4200]),
        (7051, [0x7200]),
    ]
    template = b"".join(word.to_bytes(2, "big") for word in data)[:size]
    assert msgspec.json.decode(template)["ID"] == "0.49 EUR/kWh #5e55"
    assert [address for _, address, _ in log.writes].index(7056) < [a for _, a, _ in log.writes].index(7051)
    assert {address for _, address, _ in log.reads} >= {7000, 7052, 7057, 7612, 7058, 8188, 8124}
    assert max(len(values) for _, _, values in log.writes) <= 120


@pytest.mark.parametrize(
    ("snapshots", "begin", "end"), [("start_end", 41286, 41540), ("turn_on_off", 40778, 41032)]
)
def test_bsm(snapshots, begin, end):
    log = over_tcp("bsm", snapshots=snapshots)
    assert log.writes == [
        (16, 40260, [SECONDS >> 16, SECONDS & 0xFFFF, 0]),
        (16, 40279, words("DE*ABC*E1 0.49 EUR/kWh #5e55", 70)),
        (16, begin, [2]),
        (16, end, [2]),
    ]
    texts = {"start_end": (43295, 43795), "turn_on_off": (42295, 42795)}[snapshots]
    assert {address for _, address, _ in log.reads} >= {*texts, 40450, 40451}


def test_a_bsm_whose_clock_is_right_is_not_set_again():
    log = Log(VirtualBsm(energy_wh=lambda: 5000, now=lambda: NOW))

    async def twice():
        await session("bsm", TcpServer({1: log}))
        other = msgspec.structs.replace(SESSION, session_id="other")
        log.writes.clear()
        server = TcpServer({1: log})
        await server.start()
        clock = StillClock()
        buses = BusPool(clock)
        given = msgspec.convert({"port": server.address, "unit": 1}, registry.options_type("meter", "bsm"))
        await registry.create_meter("bsm", given, clock=clock, buses=buses).begin_signed(other)
        await buses.close()
        await server.stop()

    asyncio.run(twice())
    assert 40260 not in {address for _, address, _ in log.writes}


@pytest.mark.parametrize("kind", list(MADE))
def test_over_a_serial_line(kind):
    unit = MADE[kind](energy_wh=lambda: 5000, now=lambda: NOW)
    begin, end = asyncio.run(session(kind, RtuServer({1: unit}), baudrate=115_200, parity="N", gap_ms=1))
    assert end.verified
    assert begin is None or begin.verified


@pytest.mark.parametrize("kind", list(MADE))
def test_its_poll_fits_into_a_lines_second(kind):
    given = msgspec.convert({"port": "/dev/meter0"}, registry.options_type("meter", kind))
    (budget,) = budgets([registry.line_load("meter", kind, given)])
    assert budget.problems == ()
    assert 0.01 < budget.round_s < 0.5


@pytest.mark.parametrize("kind", list(MADE))
def test_a_time_zone_that_does_not_exist_is_refused(kind):
    given = msgspec.convert(
        {"port": "tcp://127.0.0.1:1", "time_zone": "Europe/Nowhere"}, registry.options_type("meter", kind)
    )
    with pytest.raises(CallError, match="Nowhere"):
        registry.create_meter(kind, given, clock=None, buses=BusPool(StillClock()))


def test_a_bsm_that_says_more_than_any_meter_can_have_counted_gives_no_reading():
    registers = dict.fromkeys(range(40092, 40145), 0) | {40136: 0x7FFF, 40137: 0xFFFF, 40144: 4}
    data = b"".join(registers[address].to_bytes(2, "big") for address in sorted(registers))
    at = Instant(utc=NOW, boot_id="test", monotonic_ns=0)
    with pytest.raises(MeterInvalid):
        bsm.decode(Answer(data, at))
