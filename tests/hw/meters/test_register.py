"""The register meter against a virtual one that serves the same map, over a real line."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from edge.domain.instant import Instant
from edge.errors import CallError
from hw.bus.bus import Answer
from hw.bus.pool import BusPool
from hw.meters import profile, register
from hw.meters.errors import MeterError, MeterInvalid, MeterRefused, MeterSilent, MeterUnreachable
from hw.virtual.meter import Fault, VirtualMeter
from hw.virtual.modbus_server import ILLEGAL_ADDRESS, Refusal, Registers, RtuServer, TcpServer
from hw.virtual.outlet import Car, Outlet


class RealClock:
    def now(self):
        return Instant(utc=datetime.now(UTC), boot_id="test", monotonic_ns=time.monotonic_ns())

    def trusted(self):
        return True

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)


class Hours:
    """Virtual time that only moves when told."""

    ns = 0

    def __call__(self):
        return self.ns


def run(scenario, *, units, transport=TcpServer, name="eastron_sdm630", **more):
    async def play():
        server = transport(units)
        await server.start()
        clock = RealClock()
        buses = BusPool(clock)
        options = register.Options(profile=name, port=server.address, gap_ms=0, **more)
        device = register.create(options, clock=clock, buses=buses)
        try:
            return await scenario(device, server)
        finally:
            await buses.close()
            await server.stop()

    return asyncio.run(play())


def charging(name="eastron_sdm630", hours=1, offset_wh=12_345_678):
    time_ns = Hours()
    outlet = Outlet(time_ns)
    outlet.plug(Car(current_a=16, phases=3))
    outlet.limit(160)
    outlet.switch(closed=True)
    time_ns.ns += hours * 3600 * 10**9
    return VirtualMeter(profile.load(name), outlet, offset_wh=offset_wh)


@pytest.mark.parametrize("transport", [RtuServer, TcpServer])
def test_a_reading_is_what_flowed_stamped_at_its_arrival(transport):
    async def scenario(device, server):
        before = time.monotonic_ns()
        value = await device.read()
        return before, value, await device.identify()

    before, value, identity = run(scenario, units={1: charging()}, transport=transport)
    assert value.energy_wh == 12_345_678 + 11_040
    assert value.resolution_wh == 1
    assert value.power_w == 11_040
    assert value.current_ma == (16_000,) * 3
    assert value.voltage_mv == (230_000,) * 3
    assert before <= value.at.monotonic_ns <= time.monotonic_ns()
    assert identity.serial == "20240001"
    assert identity.model == "Eastron SDM630"


@pytest.mark.parametrize(
    ("doubtful", "sure", "flow_sure"), [("energy", False, False), ("the rest", True, False)]
)
def test_a_late_reply_makes_only_that_doubtful_which_it_tells(doubtful, sure, flow_sure):
    name = "schneider_iem3155"
    energy = profile.load(name).energy_import.address

    async def scenario(device, server):
        read = device._bus.read

        async def late(unit, span, **more):
            answer = await read(unit, span, **more)
            tells_energy = span.address <= energy < span.address + span.count
            return Answer(answer.data, answer.at, sure=tells_energy != (doubtful == "energy"))

        device._bus.read = late
        return await device.read()

    value = run(scenario, units={1: charging(name)}, name=name)
    assert (value.sure, value.flow_sure) == (sure, flow_sure)


def test_not_a_number_is_an_error_and_never_zero():
    meter = charging()
    meter.fail(Fault.NAN)

    async def scenario(device, server):
        with pytest.raises(MeterInvalid):
            await device.read()

    run(scenario, units={1: meter})


def test_an_unknown_phase_leaves_all_phases_unknown_but_not_the_energy():
    words = dict.fromkeys(range(80), 0)
    words[0x08], words[0x48], words[0x49] = 0x7FC0, 0x4120, 0
    words[0x34] = 0x7F80

    async def scenario(device, server):
        return await device.read()

    value = run(scenario, units={1: Registers(inputs=words)})
    assert value.energy_wh == 10_000
    assert value.current_ma is None
    assert value.power_w is None
    assert value.voltage_mv == (0, 0, 0)


def test_a_negative_energy_is_refused():
    words = dict.fromkeys(range(80), 0)
    words[0x48] = 0xC120

    async def scenario(device, server):
        with pytest.raises(MeterInvalid):
            await device.read()

    run(scenario, units={1: Registers(inputs=words)})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("abb_b23", (0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF)),  # not available, in the words of the maker
        ("eastron_sdm630", (0x7F7F, 0xFFFF)),
        ("siemens_pac2200", (0x7FEF, 0xFFFF, 0xFFFF, 0xFFFF) * 2),  # the sum of both is no float any more
        ("siemens_pac2200", (0xFFEF, 0xFFFF, 0xFFFF, 0xFFFF) * 2),
    ],
)
def test_energy_that_no_meter_can_have_counted_is_refused(name, words):
    model = profile.load(name)
    table = dict.fromkeys(range(0xFFFF), 0)
    table |= {model.energy_import.address + i: word for i, word in enumerate(words)}

    async def scenario(device, server):
        with pytest.raises(MeterInvalid, match="outside of the register's range"):
            await device.read()

    run(scenario, units={1: Registers(inputs=table, holdings=table)}, name=name)


def test_power_current_and_voltage_that_nothing_has_are_unknown():
    words = dict.fromkeys(range(80), 0) | {0x48: 0x4120}
    absurd = {0x34: 0x7F7F, 0x08: 0x7F7F, 0x02: 0x7F7F}

    async def scenario(device, server):
        return await device.read()

    value = run(scenario, units={1: Registers(inputs=words | absurd)})
    assert (value.energy_wh, value.power_w, value.current_ma, value.voltage_mv) == (10_000, None, None, None)
    words[0x34], words[0x35] = (
        0x4CA4,
        0xCB80,
    )  # 86.4 MW is a wrong unit: it has to be seen, or nothing halts for it
    assert run(scenario, units={1: Registers(inputs=words)}).power_w == 86_400_000


class Starting(Registers):
    """A meter that refuses the first requests, and all registers, as some do while they start."""

    def __init__(self, refusals):
        super().__init__(inputs=dict.fromkeys(range(80), 0) | {0x48: 0x4120})
        self.refusals, self.counts = refusals, []

    def read(self, function, address, count):
        if self.refusals:
            self.refusals -= 1
            raise Refusal(ILLEGAL_ADDRESS)
        self.counts.append(count)
        return super().read(function, address, count)


@pytest.mark.parametrize("refusals", [1, 2, 3])
def test_a_refusal_of_the_past_does_not_make_requests_alike_for_ever(refusals):
    meter = Starting(refusals)

    async def scenario(device, server):
        with suppress(MeterRefused):
            await device.read()
        await device.identify()
        meter.counts.clear()
        for _ in range(4):
            await device.read()

    run(scenario, units={1: meter})
    assert min(meter.counts) >= 74
    assert all(a != b for a, b in pairwise(meter.counts))


def test_a_meter_that_refused_all_is_read_in_whole_blocks_once_it_answers():
    meter = Starting(3)

    async def scenario(device, server):
        with pytest.raises(MeterRefused):
            await device.read()
        await device.read()

    run(scenario, units={1: meter})
    assert min(meter.counts) >= 74


def test_a_meter_without_that_serial_register_has_none():
    async def scenario(device, server):
        return await device.identify()

    assert run(scenario, units={1: Registers(inputs=dict.fromkeys(range(80), 0))}).serial is None


@pytest.mark.parametrize(
    ("units", "error"),
    [({}, MeterSilent), ({1: Registers(inputs={0: 0})}, MeterRefused)],
)
def test_each_failure_has_its_own_error_with_a_hint(units, error):
    async def scenario(device, server):
        with pytest.raises(error) as raised:
            await device.read()
        assert raised.value.hint

    run(scenario, units=units, timeout_s=0.1)


def test_a_server_that_is_gone_is_unreachable():
    async def scenario(device, server):
        await server.stop()
        with pytest.raises(MeterUnreachable):
            await device.read()

    run(scenario, units={})


def test_silence_and_its_end():
    meter = charging()

    async def scenario(device, server):
        meter.fail(Fault.SILENT)
        with pytest.raises(MeterError):
            await device.read()
        meter.fail(None)
        return await device.read()

    assert run(scenario, units={1: meter}, timeout_s=0.1).energy_wh == 12_345_678 + 11_040


def test_an_unknown_profile_is_a_wrong_call():
    with pytest.raises(CallError, match="no meter profile"):
        register.line_options(register.Options(profile="nothing", port="/dev/meter0"))


def test_the_line_is_the_profiles_unless_the_options_say_otherwise():
    given = register.Options(profile="eastron_sdm630", port="/dev/meter0", baudrate=19200, parity="E")
    assert register.line_options(given).baudrate == 19200
    assert (
        register.line_options(register.Options(profile="eastron_sdm630", port="/dev/meter0")).baudrate == 9600
    )
