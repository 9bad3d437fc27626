"""Many meters and wallboxes on mixed lines: each gets its turn, and a sick one costs only its own line."""

import asyncio
import time

from edge.domain.instant import Instant
from hw.bus.pool import BusPool
from hw.evse import heidelberg
from hw.meters import profile, register
from hw.virtual.charge_point import VirtualWallbox
from hw.virtual.meter import Fault, VirtualMeter
from hw.virtual.modbus_server import RtuServer, TcpServer
from hw.virtual.outlet import Outlet

PATIENCE_S = 10  # a busy machine stands still for moments


class RealClock:
    def now(self):
        return Instant(utc=None, boot_id="test", monotonic_ns=time.monotonic_ns())


def charge_points(count):
    """Units of one line: meters from 1, wallboxes from 101."""
    units = {}
    for n in range(1, count + 1):
        outlet = Outlet(time.monotonic_ns)
        units[n] = VirtualMeter(profile.load("eastron_sdm630"), outlet, serial_number=n, offset_wh=1000 * n)
        units[100 + n] = VirtualWallbox(outlet, time.monotonic_ns)
    return units


def devices(address, count, clock, buses):
    """Drivers for them all."""
    for n in range(1, count + 1):
        meter = register.Options(
            profile="eastron_sdm630", port=address, unit=n, baudrate=115200, gap_ms=0, timeout_s=PATIENCE_S
        )
        box = heidelberg.Options(
            port=address, unit=100 + n, baudrate=115200, parity="N", gap_ms=0, timeout_s=PATIENCE_S
        )
        yield (
            n,
            register.create(meter, clock=clock, buses=buses),
            heidelberg.create(box, clock=clock, buses=buses),
        )


def test_64_charge_points_on_eight_lines_are_all_read_as_themselves():
    async def play():
        clock = RealClock()
        buses = BusPool(clock)
        servers = [transport(charge_points(8)) for transport in (RtuServer, TcpServer) * 4]
        for server in servers:
            await server.start()

        async def look(n, meter, box):
            for _ in range(3):
                value, status = await meter.read(), await box.status()
                assert (value.energy_wh, status.pilot) == (1000 * n, "A")
            return (await meter.identify()).serial == str(n)

        points = [point for s in servers for point in devices(s.address, 8, clock, buses)]
        right = await asyncio.gather(*(look(*point) for point in points))
        await buses.close()
        for server in servers:
            await server.stop()
        return right

    right = asyncio.run(play())
    assert len(right) == 64
    assert all(right)


def test_a_silent_unit_costs_other_lines_nothing():
    async def play():
        clock = RealClock()
        buses = BusPool(clock)
        sick, well = TcpServer(charge_points(1)), TcpServer(charge_points(1))
        sick._units[1].fail(Fault.SILENT)
        for server in (sick, well):
            await server.start()
        (_, silent, _), (_, meter, _) = (next(devices(s.address, 1, clock, buses)) for s in (sick, well))
        waiting = asyncio.create_task(silent.read())
        await asyncio.sleep(0)
        for _ in range(20):
            await meter.read()
        others_first = not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await buses.close()
        for server in (sick, well):
            await server.stop()
        return others_first

    assert asyncio.run(play())
