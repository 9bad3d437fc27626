"""Every profile against a virtual meter that serves its map, and the rules that a profile file obeys."""

import asyncio
import re
import time

import pytest
from msgspec import ValidationError

from edge.domain.instant import Instant
from hw.bus.frames import READ_REGISTERS_MAX
from hw.bus.pool import BusPool
from hw.meters import profile, register
from hw.virtual.meter import Fault, VirtualMeter
from hw.virtual.modbus_server import ILLEGAL_ADDRESS, Refusal, Registers, TcpServer
from hw.virtual.outlet import Car, Outlet

GOOD = """
model = "M"
source = "S"
rating = "1 A, 1000 V: S"
rated_power_w = 1000
blocks = [{ function = "input", address = 0, count = 2 }]
energy_import = { address = 0, type = "f32", unit = "kWh" }
"""


class Now:
    def now(self):
        return Instant(utc=None, boot_id="test", monotonic_ns=time.monotonic_ns())


def read(unit, name, count=1):
    async def play():
        server = TcpServer({1: unit})
        await server.start()
        buses = BusPool(Now())
        options = register.Options(profile=name, port=server.address, timeout_s=0.5)
        meter = register.create(options, clock=Now(), buses=buses)
        try:
            found = [await meter.read() for _ in range(count)]
            return found[-1], await meter.identify()
        finally:
            await buses.close()
            await server.stop()

    return asyncio.run(play())


def delivered(name, wh, kind=VirtualMeter):
    """A meter of that model behind an outlet that charges at 16 A."""
    hours = [0]
    outlet = Outlet(lambda: hours[0])
    outlet.plug(Car(wants_wh=None))
    outlet.limit(160)
    outlet.switch(closed=True)
    return kind(profile.load(name), outlet, offset_wh=wh)


@pytest.mark.parametrize("name", profile.names())
def test_each_model_reads_what_its_map_says(name):
    model = profile.load(name)
    value, identity = read(delivered(name, 1_234_500), name, count=6)
    assert value.energy_wh == 1_234_500
    assert value.power_w == (None if model.power is None else 11_040)
    assert value.current_ma == (None if model.current is None else (16_000,) * model.current.phases)
    assert value.voltage_mv == (None if model.voltage is None else (230_000,) * model.voltage.phases)
    assert identity.serial == (None if model.serial_number is None else "20240001")
    assert identity.model == model.model


@pytest.mark.parametrize("name", profile.names())
def test_the_rated_power_is_that_of_the_current_whose_source_is_named(name):
    model = profile.load(name)
    rated = re.match(r"(?:[\d.]+\()?(\d+)\)? A(?: a phase, (3) x 230/400 V|, 230 V): \S+ \S+", model.rating)
    assert rated, model.rating
    assert model.rated_power_w == 230 * int(rated[1]) * int(rated[2] or 1)
    assert (model.voltage is None) or model.voltage.phases == int(rated[2] or 1)


#: profile -> why its energy is asked for in a length that something else has, too
SHARES_A_LENGTH = {
    "eastron_sdm72_v1": "no register beside the power has a name, and ten is the most; the 4 is the energy's alone",
}


def lengths(span):
    return {(span.function, count) for count in range(span.count, span.count + span.spare + 1, span.step)}


@pytest.mark.parametrize("name", profile.names())
def test_a_late_reply_to_something_else_never_fits_a_request_for_the_energy_or_the_identity(name):
    model = profile.load(name)
    of_energy = model.block_of(model.energy_import)
    energy = lengths(of_energy.span)
    others = [block.span for block in model.blocks if block != of_energy]
    identity = [field.span for field in (model.serial_number, model.firmware) if field is not None]
    shared = energy & set().union(*map(lengths, others + identity))
    assert bool(shared) == (name in SHARES_A_LENGTH)
    assert not set().union(*map(lengths, identity)) & set().union(*map(lengths, others))
    assert len(energy) >= 2
    assert energy - shared


class Limited(VirtualMeter):
    """A meter that gives only so many registers at once, and otherwise is silent."""

    def read(self, function, address, count):
        if count > self.registers_max:
            return None
        return super().read(function, address, count)


@pytest.mark.parametrize(
    "name", [name for name in profile.names() if profile.load(name).max_registers < READ_REGISTERS_MAX]
)
def test_no_more_registers_are_asked_for_than_the_model_gives_at_once(name):
    model = profile.load(name)
    meter = delivered(name, 1_234_500, kind=Limited)
    meter.registers_max = model.max_registers
    value, _ = read(meter, name, count=4)
    assert value.energy_wh == 1_234_500


@pytest.mark.parametrize("name", profile.names())
def test_each_model_says_unknown_rather_than_a_wrong_number(name):
    meter = delivered(name, 1_234_500)
    meter.fail(Fault.NAN)
    from hw.meters.errors import MeterInvalid

    with pytest.raises(MeterInvalid):
        read(meter, name)


@pytest.mark.parametrize("name", profile.names())
def test_a_register_step_is_never_coarser_than_a_bill_can_bear(name):
    value, _ = read(delivered(name, 9_000_000), name)
    assert value.resolution_wh <= 100


def test_firmware_without_the_spare_registers_is_read_all_the_same():
    words = dict.fromkeys(range(74), 0)
    words[0x48] = 0x4120
    value, _ = read(Registers(inputs=words), "eastron_sdm630", count=3)
    assert value.energy_wh == 10_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('unit = "kWh"', 'unit = "A"'), "cannot be in A"),
        (("address = 0, type", "address = 1, type"), "no block"),
        (('unit = "kWh"', 'unit = "kWh", scale = 0'), "no scale"),
        (("count = 2", "count = 2, spare = 124"), "longer than"),
        (("rated_power_w = 1000", "rated_power_w = 0"), "rated_power_w"),
        (('model = "M"', 'model = "M"\nmodle = "M"'), "modle"),
        (('type = "f32"', 'type = "f16"'), "f16"),
    ],
)
def test_a_profile_that_cannot_be_right_is_refused(change, message):
    assert profile.parse(GOOD).model == "M"
    with pytest.raises((ValidationError, ValueError), match=message):
        profile.parse(GOOD.replace(*change))


class Sparse(Registers):
    """Firmware that refuses every register that its map does not name."""

    def read(self, function, address, count):
        if not all(a in self.tables[function] for a in range(address, address + count)):
            raise Refusal(ILLEGAL_ADDRESS)
        return super().read(function, address, count)


def test_firmware_that_refuses_the_gaps_of_its_map_is_read_field_by_field():
    words = dict.fromkeys((*range(6), *range(6, 12), 52, 53), 17254)
    words |= {0x48: 0x4120, 0x49: 0}
    value, _ = read(Sparse(inputs=words), "eastron_sdm630", count=3)
    assert value.energy_wh == 10_000
    assert len(value.voltage_mv) == len(value.current_ma) == 3
