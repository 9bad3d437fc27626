"""SunSpec meters against a virtual device that serves the chain of models."""

import asyncio
import struct
import time

import pytest

from edge.domain.instant import Instant
from hw.bus.pool import BusPool
from hw.meters import sunspec
from hw.meters.errors import MeterInvalid
from hw.virtual.modbus_server import Registers, TcpServer


class Now:
    def now(self):
        return Instant(utc=None, boot_id="test", monotonic_ns=time.monotonic_ns())


def words(raw):
    return [int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)]


def common():
    text = [(b"Bauer", 32), (b"BSM-WS36A", 32), (b"", 16), (b"1.2", 16), (b"21070006", 32)]
    return [*words(b"".join(part.ljust(length, b"\x00") for part, length in text)), 1, 32768]


def integers(energy=1234, energy_scale=1, **changes):
    data = [0] * 105
    data[0:5] = [480, 160, 160, 160, 0xFFFF]
    data[5:14] = [2300, 2300, 2301, 2302, 0, 0, 0, 0, 0xFFFF]
    data[16], data[20] = 1104, 1
    data[44:46] = [energy >> 16, energy & 0xFFFF]
    data[52] = energy_scale & 0xFFFF
    for offset, value in changes.items():
        data[int(offset[1:])] = value
    return data


def floats(energy=1234567.0):
    values = [0.0] * 62
    values[1:4] = [16.0, 16.25, 0.0]
    values[5:8] = [230.0, 230.5, 231.0]
    values[13] = 7447.0
    values[33] = energy
    return words(struct.pack(">62f", *values))


def device(*models, base=40000):
    chain = words(b"SunS")
    for number, data in models:
        chain += [number, len(data), *data]
    chain += [0xFFFF, 0]
    return Registers(holdings={base + i: word for i, word in enumerate(chain)})


def read(unit):
    async def play():
        server = TcpServer({1: unit})
        await server.start()
        buses = BusPool(Now())
        options = sunspec.Options(port=server.address, rated_power_w=44_000, timeout_s=0.5)
        meter = sunspec.create(options, clock=Now(), buses=buses)
        try:
            return await meter.read(), await meter.identify()
        finally:
            await buses.close()
            await server.stop()

    return asyncio.run(play())


def test_the_model_that_names_the_meter_may_stand_behind_its_values():
    value, identity = read(device((64001, [1, 2]), (203, integers()), (65000, []), (1, common())))
    assert value.energy_wh == 12_340
    assert identity.serial == "21070006"


def test_a_chain_without_an_end_is_read_as_far_as_it_goes():
    unit = device((203, integers()))
    for address in sorted(unit.tables[3])[-2:]:
        del unit.tables[3][address]
    assert read(unit)[0].energy_wh == 12_340


@pytest.mark.parametrize(
    "model", [(213, floats(energy=3e38)), (213, floats(energy=-1.0)), (203, integers(4 * 10**9, 10))]
)
def test_energy_that_no_meter_can_have_counted_is_none(model):
    with pytest.raises(MeterInvalid):
        read(device((1, common()), model))


def test_integers_with_scale_factors():
    value, identity = read(device((1, common()), (203, integers())))
    assert value.energy_wh == 12_340
    assert value.resolution_wh == 10
    assert value.power_w == 11_040
    assert value.current_ma == (16_000,) * 3
    assert value.voltage_mv == (230_000, 230_100, 230_200)
    assert (identity.model, identity.serial, identity.firmware) == ("Bauer BSM-WS36A", "21070006", "1.2")


def test_floats():
    value, _ = read(device((1, common()), (213, floats())))
    assert value.energy_wh == 1_234_567
    assert value.power_w == 7447
    assert value.current_ma == (16_000, 16_250, 0)
    assert value.voltage_mv == (230_000, 230_500, 231_000)


@pytest.mark.parametrize("base", sunspec.BASES)
def test_the_marker_may_lie_in_any_of_its_places(base):
    value, _ = read(device((1, common()), (64, [0] * 10), (201, integers()), base=base))
    assert value.energy_wh == 12_340
    assert len(value.current_ma) == 1


def test_without_a_common_model_the_serial_is_unknown():
    _, identity = read(device((204, integers())))
    assert identity.serial is None
    assert identity.model == "SunSpec model 204"


@pytest.mark.parametrize(
    "unit",
    [device((1, common()), (103, [0] * 50)), device(), Registers(holdings={0: 0, 1: 0})],
)
def test_a_device_without_a_meter_model_is_told(unit):
    with pytest.raises(sunspec.NotSunSpec):
        read(unit)


@pytest.mark.parametrize(
    "data",
    [
        integers(energy=0),
        integers(energy=0xFFFFFFFF),
        integers(energy_scale=0x8000),
        integers(energy_scale=11),
    ],
)
def test_energy_that_is_not_accumulated_is_unknown_and_never_zero(data):
    with pytest.raises(MeterInvalid):
        read(device((203, data)))


def test_a_phase_that_is_not_implemented_leaves_the_others_unknown_too():
    value, _ = read(device((203, integers(o2=0x8000, o20=0x8000))))
    assert value.current_ma is None
    assert value.power_w is None
    assert value.energy_wh == 12_340


def test_a_float_that_is_not_a_number_is_unknown():
    with pytest.raises(MeterInvalid):
        read(device((211, floats(energy=float("nan")))))
