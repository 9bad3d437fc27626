"""The drivers of controllers without a watchdog, each against a virtual one with its registers, one contract."""

import asyncio
import time
from datetime import UTC, datetime

import msgspec
import pytest

from edge.domain.instant import Instant
from hw.bus.pool import BusPool
from hw.evse import phoenix, simple_evse
from hw.evse.contactor import GuardOptions
from hw.evse.errors import EvseError, EvseNotSafe
from hw.evse.guarded import NoWatchdog
from hw.virtual.controllers import VirtualCharx, VirtualEvCc, VirtualSimpleEvse
from hw.virtual.modbus_server import RtuServer, TcpServer
from hw.virtual.outlet import Car, Outlet

DRIVERS = [
    pytest.param(simple_evse, {}, VirtualSimpleEvse, RtuServer, id="simple_evse"),
    pytest.param(phoenix, {"model": "ev_cc"}, VirtualEvCc, RtuServer, id="phoenix ev_cc"),
    pytest.param(phoenix, {"model": "charx"}, VirtualCharx, TcpServer, id="phoenix charx"),
]


class Time:
    def __init__(self):
        self.ns = 0

    def __call__(self):
        return self.ns

    def now(self):
        return Instant(utc=datetime.fromtimestamp(self.ns / 1e9, UTC), boot_id="test", monotonic_ns=self.ns)


def run(scenario, driver, more, controller, transport, tmp_path, lease_s=30):
    """Play `scenario(evse, box, clock)`."""
    relay = tmp_path / "relay"

    async def play():
        clock = Time()
        box = controller(Outlet(clock), lambda: relay.exists() and relay.read_text() == "1")
        server = transport({1: box})
        await server.start()
        buses = BusPool(clock)
        options = driver.Options(
            port=server.address,
            gap_ms=0,
            timeout_s=1,
            guard=GuardOptions(relay=f"file:{relay}", lease_s=lease_s),
            **more,
        )
        evse = driver.create(options, clock=clock, buses=buses)
        try:
            return await scenario(evse, box, clock)
        finally:
            await evse.close()
            await buses.close()
            await server.stop()

    return asyncio.run(play())


@pytest.mark.parametrize(("driver", "more", "controller", "transport"), DRIVERS)
def test_a_session_from_plug_to_unplug(driver, more, controller, transport, tmp_path):
    async def scenario(evse, box, clock):
        seen = []

        async def look():
            status = await evse.status()
            seen.append((status.pilot, status.contactor_closed))

        assert evse.lease == "guard"
        await evse.prepare()
        await look()
        box.outlet.plug(Car())
        await look()
        await evse.permit(current_a=16)
        await look()
        clock.ns += 3600 * 10**9
        box.outlet.suspend(on=True)
        await look()
        box.outlet.suspend(on=False)
        await evse.revoke()
        await look()
        box.outlet.unplug()
        await look()
        return seen, box.outlet.energy_wh()

    seen, energy_wh = run(scenario, driver, more, controller, transport, tmp_path)
    assert seen == [("A", False), ("C", False), ("C", True), ("B", False), ("C", False), ("A", False)]
    assert energy_wh == 11_040


@pytest.mark.parametrize(("driver", "more", "controller", "transport"), DRIVERS)
def test_when_the_line_is_lost_the_guard_stops_the_current(driver, more, controller, transport, tmp_path):
    async def scenario(evse, box, clock):
        await evse.prepare()
        box.outlet.plug(Car())
        await evse.permit(current_a=16)
        assert box.outlet.power_w() == 11_040
        box.silent = True
        with pytest.raises(EvseError):
            await evse.revoke()
        box.tick()
        return box.outlet.power_w()

    assert run(scenario, driver, more, controller, transport, tmp_path) == 0


@pytest.mark.parametrize(("driver", "more", "controller", "transport"), DRIVERS)
def test_an_open_contactor_closes_before_anything_may_flow(driver, more, controller, transport, tmp_path):
    async def scenario(evse, box, clock):
        await evse.prepare()
        box.outlet.plug(Car())
        await evse.permit(current_a=16)
        await evse._contactor.open()
        limits = []
        close = evse._contactor.keep

        async def keep():
            limits.append(box.limit_a())
            return await close()

        evse._contactor.keep = keep
        await evse.permit(current_a=16)
        await evse.permit(current_a=16)
        return limits, box.outlet.power_w()

    limits, power_w = run(scenario, driver, more, controller, transport, tmp_path)
    assert (limits, power_w) == ([0, 16], 11_040)


@pytest.mark.parametrize(("driver", "more", "controller", "transport"), DRIVERS)
def test_permission_lapses_although_the_controller_goes_on(driver, more, controller, transport, tmp_path):
    async def scenario(evse, box, clock):
        await evse.prepare()
        box.outlet.plug(Car())
        await evse.permit(current_a=16)
        until = time.monotonic() + 20
        while box.outlet.power_w() and time.monotonic() < until:
            await asyncio.sleep(0.05)
            box.tick()
        return box.outlet.power_w()

    assert run(scenario, driver, more, controller, transport, tmp_path, lease_s=0.5) == 0


@pytest.mark.parametrize(("driver", "more", "controller", "transport"), DRIVERS)
def test_without_a_guard_they_are_refused(driver, more, controller, transport, tmp_path):
    options = driver.Options(port="/dev/evse0", **more)
    with pytest.raises(NoWatchdog) as refused:
        driver.create(options, clock=Time(), buses=BusPool(Time()))
    assert "guard" in refused.value.hint


@pytest.mark.parametrize(("driver", "more", "controller", "transport"), DRIVERS)
def test_less_than_six_amperes_is_nothing(driver, more, controller, transport, tmp_path):
    async def scenario(evse, box, clock):
        await evse.prepare()
        box.outlet.plug(Car())
        await evse.permit(current_a=16)
        await evse.permit(current_a=5)
        return box.limit_a()

    assert run(scenario, driver, more, controller, transport, tmp_path) == 0


@pytest.mark.parametrize(("driver", "more", "controller", "transport"), DRIVERS)
def test_a_lost_reply_interrupts_nothing_and_a_restart_is_found(
    driver, more, controller, transport, tmp_path
):
    async def scenario(evse, box, clock):
        await evse.prepare()
        box.outlet.plug(Car())
        await evse.permit(current_a=16)
        box.silent = True
        with pytest.raises(EvseError):
            await evse.status()
        box.silent = False
        seen = [await evse.intact(), box.outlet.power_w()]
        await evse.revoke()
        seen.append(await evse.intact())
        fresh = controller(Outlet(clock), box.contactor)
        box.holdings, box.coils = fresh.holdings | {1300: 1} | {1000: 6}, fresh.coils | {20000: 1}
        return [*seen, await evse.intact()]

    assert run(scenario, driver, more, controller, transport, tmp_path) == [True, 11_040, True, False]


@pytest.mark.parametrize(("driver", "more", "controller", "transport"), DRIVERS)
@pytest.mark.parametrize("sure", [True, False])
def test_a_status_says_whether_it_may_be_an_old_one(driver, more, controller, transport, sure, tmp_path):
    async def scenario(evse, box, clock):
        await evse.prepare()
        bus = evse._controller._controls._bus
        read = bus.read

        async def answered(*given, **named):
            return msgspec.structs.replace(await read(*given, **named), sure=sure)

        bus.read = answered
        return (await evse.status()).sure

    assert run(scenario, driver, more, controller, transport, tmp_path) is sure


@pytest.mark.parametrize(("driver", "more", "controller", "transport"), DRIVERS)
def test_a_renewal_whose_reply_is_lost_asks_something_else_at_once(
    driver, more, controller, transport, tmp_path
):
    async def scenario(evse, box, clock):
        await evse.prepare()
        box.outlet.plug(Car())
        await evse.permit(current_a=16)
        asked, read, write = [], box.read, box.write

        def reads(function, address, count):
            asked.append((function, address, count))
            return None if len(asked) == 1 else read(function, address, count)

        def writes(function, address, values):
            asked.append((function, address, values))
            return write(function, address, values)

        box.read, box.write = reads, writes
        await evse.permit(current_a=16)
        return asked[:2]

    lost, next_one = run(scenario, driver, more, controller, transport, tmp_path)
    assert lost != next_one


WITHHELD = {
    "another master": lambda box: box.holdings.update({1000: 0}) or box.coils.update({20000: 0}),
    "load management": lambda box: box.holdings.update({1004: 1}) or setattr(box, "managed", True),
}


@pytest.mark.parametrize(
    ("driver", "more", "controller", "transport", "who"),
    [
        pytest.param(
            simple_evse, {}, VirtualSimpleEvse, TcpServer, "another master", id="simple_evse's current"
        ),
        pytest.param(
            simple_evse, {}, VirtualSimpleEvse, TcpServer, "load management", id="simple_evse's switch"
        ),
        pytest.param(phoenix, {"model": "ev_cc"}, VirtualEvCc, TcpServer, "another master", id="ev_cc"),
        pytest.param(phoenix, {"model": "charx"}, VirtualCharx, TcpServer, "load management", id="charx"),
    ],
)
def test_power_that_is_permitted_and_not_given_is_withheld_by_the_station(
    driver, more, controller, transport, who, tmp_path
):
    async def scenario(evse, box, clock):
        seen = []

        async def look():
            status = await evse.status()
            seen.append((status.pilot, status.limited))

        await evse.prepare()
        box.outlet.plug(Car())
        await look()
        await evse.permit(current_a=16)
        await look()
        box.outlet.suspend(on=True)
        await look()
        WITHHELD[who](box)
        if who == "load management":
            await evse.permit(current_a=16)
        await look()
        await evse.revoke()
        await look()
        box.outlet.suspend(on=False)
        await look()
        return seen

    seen = run(scenario, driver, more, controller, transport, tmp_path)
    assert seen == [
        ("C", False), ("C", False), ("B", False), ("B", True), ("B", True), ("C", False)
    ]  # fmt: skip


def test_an_ev_cc_that_has_no_more_than_its_state_is_read_alone(tmp_path, monkeypatch):
    whole = VirtualEvCc.inputs
    monkeypatch.setattr(VirtualEvCc, "inputs", lambda box: {24000: whole(box)[24000]})

    async def scenario(evse, box, clock):
        box.coils = {20000: 0}
        await evse.prepare()
        return [(await evse.status()).pilot for _ in range(3)]

    assert run(scenario, phoenix, {"model": "ev_cc"}, VirtualEvCc, RtuServer, tmp_path) == ["A"] * 3


def test_the_boot_current_of_an_evse_din_is_set_to_nothing(tmp_path):
    async def scenario(evse, box, clock):
        await evse.prepare()
        return box.holdings[2000]

    assert run(scenario, simple_evse, {}, VirtualSimpleEvse, RtuServer, tmp_path) == 0


def test_a_controller_that_does_not_keep_what_it_is_told_is_refused(tmp_path):
    async def scenario(evse, box, clock):
        kept = box.write
        box.write = lambda function, address, values: kept(
            function, address, [6] if address == 2000 else values
        )
        with pytest.raises(EvseNotSafe, match="2000"):
            await evse.prepare()

    run(scenario, simple_evse, {}, VirtualSimpleEvse, RtuServer, tmp_path)
