"""Permission to charge is a lease: whatever becomes of the process that renews it, the current stops (I1, I8).

A till in a process of its own permits on a wallbox over a real line, in real time. (The contactor's guard is
tested the same way in test_guard.py.)
"""

import asyncio
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from hw.virtual.charge_point import VirtualWallbox
from hw.virtual.modbus_server import RtuServer, TcpServer
from hw.virtual.outlet import Car, Outlet

LEASE_S = 1.0
PATIENCE_S = 20  # for a slow machine; the lease itself is a second

TILL = """
import asyncio, sys, time
from datetime import UTC, datetime
from edge.domain.instant import Instant
from hw.bus.pool import BusPool
from hw.evse import heidelberg

class Clock:
    def now(self):
        return Instant(utc=datetime.now(UTC), boot_id="test", monotonic_ns=time.monotonic_ns())

async def main():
    clock = Clock()
    options = heidelberg.Options(port=sys.argv[1], lease_s=1.0, gap_ms=0)
    evse = heidelberg.create(options, clock=clock, buses=BusPool(clock))
    await evse.prepare()
    while True:
        await evse.permit(current_a=16)
        await evse.status()
        print("permitted", flush=True)
        await asyncio.sleep(0.1)

asyncio.run(main())
"""


def lost_line(till, server):
    del till
    return server.stop()


def killed(number):
    async def end(till, server):
        del server
        till.send_signal(number)

    return end


@pytest.mark.parametrize("transport", [RtuServer, TcpServer])
@pytest.mark.parametrize(
    "end",
    [
        pytest.param(killed(signal.SIGKILL), id="kill -9"),
        pytest.param(killed(signal.SIGSTOP), id="SIGSTOP"),
        pytest.param(lost_line, id="lost line"),
    ],
)
def test_the_current_stops(end, transport):
    async def play():
        outlet = Outlet(time.monotonic_ns)
        outlet.plug(Car())
        server = transport({1: VirtualWallbox(outlet, time.monotonic_ns)})
        await server.start()
        till = await asyncio.create_subprocess_exec(
            sys.executable, "-c", textwrap.dedent(TILL), server.address, stdout=subprocess.PIPE
        )
        try:
            for _ in range(3):
                await till.stdout.readline()
            assert outlet.power_w() == 11_040
            began = outlet.energy_wns()
            await end(till, server)
            until = time.monotonic() + PATIENCE_S
            while outlet.power_w() and time.monotonic() < until:  # noqa: ASYNC110  # no event to wait for
                await asyncio.sleep(0.02)
            return outlet.power_w(), outlet.energy_wns() - began
        finally:
            if till.returncode is None:
                till.kill()
            await till.wait()
            await server.stop()

    power_w, flowed_wns = asyncio.run(play())
    assert power_w == 0
    assert flowed_wns <= 11_040 * (LEASE_S + 5) * 1e9
