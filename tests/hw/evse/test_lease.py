"""Permission to charge is a lease: whatever becomes of the till that renews it, the current stops (I1, I8).

One contract for every driver and model: a till in a process of its own permits, over a real line and in real
time, and goes on permitting whatever the driver says. A driver that is added later is one line in DRIVERS.
"""

import asyncio
import json
import signal
import sys
import time
from typing import get_args, get_type_hints

import pytest

from hw import registry
from hw.virtual.charge_point import VirtualWallbox
from hw.virtual.controllers import VirtualCharx, VirtualEvCc, VirtualSimpleEvse
from hw.virtual.modbus_server import RtuServer, TcpServer
from hw.virtual.outlet import Car, Outlet

LEASE_S = 1.0
HELD_S = 1.5 * LEASE_S
PATIENCE_S = 60  # for a slow machine; all that is waited for happens within two leases on a fast one
LOOK_S = 0.05
POWER_W = 11_040

TILL = """
import asyncio, json, signal, sys, time
from datetime import UTC, datetime
import msgspec
from edge.domain.instant import Instant
from edge.errors import HardwareError
from hw import registry
from hw.bus.pool import BusPool

class Clock:
    def now(self):
        return Instant(utc=datetime.now(UTC), boot_id="test", monotonic_ns=time.monotonic_ns())

async def main(driver, given):
    clock = Clock()
    options = msgspec.convert(json.loads(given), registry.options_type("evse", driver))
    evse = registry.create_evse(driver, options, clock=clock, buses=BusPool(clock))
    await evse.prepare()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, time.sleep, 3600)
    while True:
        try:
            await evse.permit(current_a=16)
            await evse.status()
        except HardwareError:
            pass
        await asyncio.sleep(0.2)

asyncio.run(main(*sys.argv[1:]))
"""


class Place:
    """What a driver is given: its options, and the outlet that it controls. `cut` takes its line away."""

    def __init__(self, folder):
        self.relay = folder / "relay"
        self.outlet = Outlet(time.monotonic_ns)
        self.outlet.plug(Car())
        self.guard = {"relay": f"file:{self.relay}", "lease_s": LEASE_S}

    def contactor(self):
        return self.relay.exists() and self.relay.read_text() == "1"

    async def start(self):
        return {}

    async def stop(self):
        pass


class OnLine(Place):
    """A controller on a Modbus line."""

    def __init__(self, folder, unit, transport):
        super().__init__(folder)
        self.unit = unit(self)
        self.server = transport({1: self.unit})

    async def start(self):
        await self.server.start()
        return {"port": self.server.address, "gap_ms": 0, "timeout_s": 0.5}

    async def cut(self):
        await self.server.stop()

    async def hush(self):
        """The adapter is there, and behind it nobody answers."""
        self.unit.silent = True

    async def answer(self):
        self.unit.silent = False

    async def stop(self):
        await self.server.stop()

    def tick(self):
        self.unit.tick()


class WatchesItself(OnLine):
    async def start(self):
        return await super().start() | {"lease_s": LEASE_S}


class BehindAGuard(OnLine):
    async def start(self):
        return await super().start() | {"guard": self.guard}


class OnPins(Place):
    """A contactor alone: the car may draw as soon as it is closed. Its line is the vehicle's contact."""

    async def start(self):
        self.vehicle = self.relay.with_name("vehicle")
        self.vehicle.write_text("1")
        return self.guard | {"vehicle": f"file:{self.vehicle}"}

    async def cut(self):
        self.vehicle.unlink()

    async def hush(self):
        self.vehicle.write_text("")

    async def answer(self):
        self.vehicle.write_text("1")

    def tick(self):
        self.outlet.limit(160)
        self.outlet.switch(closed=self.contactor())


def wallbox(place):
    return VirtualWallbox(place.outlet, time.monotonic_ns)


def controller(kind):
    return lambda place: kind(place.outlet, place.contactor)


#: Driver, what tells its models apart, and the place that it controls.
DRIVERS = [
    ("heidelberg", {}, lambda folder: WatchesItself(folder, wallbox, RtuServer)),
    ("heidelberg", {}, lambda folder: WatchesItself(folder, wallbox, TcpServer)),
    ("simple_evse", {}, lambda folder: BehindAGuard(folder, controller(VirtualSimpleEvse), RtuServer)),
    ("simple_evse", {}, lambda folder: BehindAGuard(folder, controller(VirtualSimpleEvse), TcpServer)),
    ("phoenix", {"model": "ev_cc"}, lambda folder: BehindAGuard(folder, controller(VirtualEvCc), RtuServer)),
    ("phoenix", {"model": "charx"}, lambda folder: BehindAGuard(folder, controller(VirtualCharx), TcpServer)),
    ("gpio_contactor", {}, OnPins),
]


async def killed(till, place):
    till.send_signal(signal.SIGKILL)


async def stopped(till, place):
    till.send_signal(signal.SIGSTOP)


async def goes_on(till, place):
    till.send_signal(signal.SIGCONT)


async def blocked(till, place):
    till.send_signal(signal.SIGUSR1)


async def cut(till, place):
    await place.cut()


async def hushed(till, place):
    await place.hush()


async def answered(till, place):
    await place.answer()


#: How a till ends, one after the other in one life, with what mends it where that can be: then it charges again.
LIVES = (
    (("kill -9", killed, None),),
    (("line cut", cut, None),),
    (("line silent", hushed, answered), ("SIGSTOP", stopped, goes_on), ("loop blocked", blocked, None)),
)


async def lasts(place, power_w, for_s):
    """Wait until the outlet has given `power_w` for so long without a pause; False when it never does."""
    until = time.monotonic() + PATIENCE_S
    since = None
    while time.monotonic() < until:
        place.tick()
        if place.outlet.power_w() != power_w:
            since = None
        elif since is None:
            since = time.monotonic()
        elif time.monotonic() >= since + for_s:
            return True
        await asyncio.sleep(LOOK_S)
    return False


async def play(driver, model, place, life):
    """What became of the current: whether it flowed while the till lived, ended when it did not, and how late."""
    options = await place.start() | model
    till = await asyncio.create_subprocess_exec(sys.executable, "-c", TILL, driver, json.dumps(options))
    seen = {}
    try:
        for name, end, mend in life:
            flowed = await lasts(place, POWER_W, HELD_S)
            began_wns = place.outlet.energy_wns()
            await end(till, place)
            ended = await lasts(place, 0, HELD_S)
            seen[name] = (flowed, ended, (place.outlet.energy_wns() - began_wns) / POWER_W / 1e9)
            if mend is not None:
                await mend(till, place)
        return seen
    finally:
        if till.returncode is None:
            till.kill()
        await till.wait()
        await place.stop()


@pytest.mark.parametrize("transport", ["serial", "other"])
def test_the_current_flows_while_the_till_lives_and_stops_within_the_lease(transport, tmp_path):
    async def all_lives():
        plays = {}
        for number, (driver, model, make) in enumerate(DRIVERS):
            for life in LIVES:
                folder = tmp_path / f"{number} {life[0][0]}"
                folder.mkdir()
                place = make(folder)
                if (transport == "serial") == isinstance(getattr(place, "server", None), RtuServer):
                    plays[f"{driver} {model} {life[0][0]}"] = play(driver, model, place, life)
        return dict(zip(plays, await asyncio.gather(*plays.values()), strict=True))

    seen = asyncio.run(all_lives())
    for life, ends in seen.items():
        for name, (flowed, ended, flowed_s) in ends.items():
            assert (flowed, ended) == (True, True), (life, name)
            assert flowed_s <= LEASE_S + 5, (life, name)


def test_no_driver_and_no_model_is_left_out():
    expected = set()
    for driver in registry.drivers("evse"):
        models = get_args(get_type_hints(registry.options_type("evse", driver)).get("model"))
        expected |= {(driver, model) for model in models or (None,)}
    assert {(driver, model.get("model")) for driver, model, _ in DRIVERS} == expected
