"""The Heidelberg driver against a virtual wallbox with its registers, watchdog and failsafe current."""

import asyncio
from datetime import UTC, datetime

import pytest

from edge.domain.instant import Instant
from hw.bus.bus import Answer
from hw.bus.pool import BusPool
from hw.evse import heidelberg
from hw.evse.errors import EvseNotSafe, EvseSilent
from hw.virtual.charge_point import VirtualWallbox
from hw.virtual.modbus_server import RtuServer, TcpServer
from hw.virtual.outlet import Car, Outlet

LEASE_S = 10
PATIENCE_S = 10  # a busy machine stands still for moments
SHORT_S = 0.2  # for what will never answer


class VirtualTime:
    """Clock of the driver and of the wallbox: moves only when told."""

    def __init__(self):
        self.ns = 0

    def __call__(self):
        return self.ns

    def now(self):
        return Instant(utc=datetime.fromtimestamp(self.ns / 1e9, UTC), boot_id="test", monotonic_ns=self.ns)

    def trusted(self):
        return True

    async def sleep(self, seconds):
        self.ns += round(seconds * 1e9)


def run(scenario, transport=TcpServer, **more):
    """Play `scenario(driver, wallbox, clock)`."""

    async def play():
        clock = VirtualTime()
        box = VirtualWallbox(Outlet(clock), clock)
        server = transport({1: box})
        await server.start()
        buses = BusPool(clock)
        patience = {"timeout_s": PATIENCE_S} | more
        options = heidelberg.Options(port=server.address, lease_s=LEASE_S, gap_ms=0, **patience)
        driver = heidelberg.create(options, clock=clock, buses=buses)
        try:
            return await scenario(driver, box, clock)
        finally:
            await buses.close()
            await server.stop()

    return asyncio.run(play())


@pytest.mark.parametrize("transport", [RtuServer, TcpServer])
def test_a_session_from_plug_to_unplug(transport):
    async def scenario(driver, box, clock):
        seen = []

        async def look():
            status = await driver.status()
            seen.append((status.pilot, status.contactor_closed))

        await driver.prepare()
        await look()
        box.outlet.plug(Car(wants_wh=11_040))
        await look()
        for _ in range(12):
            await driver.permit(current_a=16)
            clock.ns += 5 * 10**9
        await look()
        box.outlet.suspend(on=True)
        await look()
        box.outlet.suspend(on=False)
        await driver.revoke()
        await look()
        box.outlet.unplug()
        await look()
        return seen, box.outlet.energy_wh(), await driver.energy_wh()

    seen, energy_wh, told_wh = run(scenario, transport)
    assert seen == [("A", False), ("C", False), ("C", True), ("B", False), ("C", False), ("A", False)]
    assert energy_wh == told_wh == 11_040 * 60 // 3600


def test_a_firmware_with_no_more_than_the_registers_it_has_to_have(monkeypatch):
    whole = VirtualWallbox._inputs
    monkeypatch.setattr(
        VirtualWallbox, "_inputs", lambda box: {a: v for a, v in whole(box).items() if a in {5, 17, 18}}
    )

    async def scenario(driver, box, _clock):
        del box._holdings[258], box._holdings[260]
        await driver.prepare()
        box.outlet.plug(Car())
        await driver.permit(current_a=16)
        first, second = await driver.status(), await driver.status()
        await driver.revoke()
        return first.contactor_closed, second.contactor_closed, (await driver.status()).contactor_closed

    assert run(scenario) == (True, True, False)


def test_when_the_till_falls_silent_the_current_stops_within_the_lease():
    async def scenario(driver, box, clock):
        await driver.prepare()
        box.outlet.plug(Car())
        await driver.permit(current_a=16)
        clock.ns += 3600 * 10**9
        return box.outlet.energy_wns(), box.outlet.power_w()

    energy_wns, power_w = run(scenario)
    assert power_w == 0
    assert energy_wns == 11_040 * LEASE_S * 10**9


def test_a_till_that_still_asks_but_no_longer_permits_loses_the_permission_too():
    async def scenario(driver, box, clock):
        await driver.prepare()
        box.outlet.plug(Car())
        await driver.permit(current_a=16)
        for _ in range(5):
            clock.ns += 4 * 10**9
            status = await driver.status()
        return status

    assert run(scenario).contactor_closed is False


def test_while_an_end_is_not_confirmed_nothing_feeds_the_watchdog():
    async def scenario(driver, box, clock):
        await driver.prepare()
        box.outlet.plug(Car())
        await driver.permit(current_a=16)
        taken, box.write = box.write, lambda function, address, values: False
        for _ in range(3):
            with pytest.raises(EvseSilent):
                await driver.revoke() if box.outlet.power_w() else await driver.status()
            clock.ns += 6 * 10**9
        lapsed = box.outlet.power_w()
        box.write = taken
        return lapsed, await driver.status(), box.read(3, 261, 1)

    lapsed, status, current = run(scenario, timeout_s=SHORT_S)
    assert (lapsed, status.contactor_closed, current) == (0, False, [0])


def test_a_permission_that_the_wallbox_never_confirms_lapses_too():
    async def scenario(driver, box, clock):
        await driver.prepare()
        box.outlet.plug(Car())
        await driver.permit(current_a=16)
        taken, box.write = box.write, lambda function, address, values: False
        for _ in range(3):
            clock.ns += 4 * 10**9
            with pytest.raises(EvseSilent):
                await driver.permit(current_a=16)
        box.write = taken
        return await driver.status()

    assert run(scenario, timeout_s=SHORT_S).contactor_closed is False


def test_preparing_takes_back_what_a_former_life_permitted():
    async def scenario(driver, box, clock):
        box.outlet.plug(Car())
        await driver.permit(current_a=16)
        await driver.prepare()
        return box.read(3, 257, 6), box.outlet.power_w()

    (watchdog_ms, standby, lock, _, current, failsafe), power_w = run(scenario)
    assert (watchdog_ms, standby, lock, current, failsafe, power_w) == (LEASE_S * 1000, 4, 1, 0, 0, 0)


def test_a_wallbox_that_does_not_keep_its_failsafe_is_refused():
    async def scenario(driver, box, clock):
        kept = box.write

        def forgetful(function, address, values):
            return kept(function, address, [60] if address == 262 else values)

        box.write = forgetful
        with pytest.raises(EvseNotSafe, match="262"):
            await driver.prepare()

    run(scenario)


def test_less_than_six_amperes_is_nothing_and_more_than_it_can_is_what_it_can():
    async def scenario(driver, box, clock):
        await driver.permit(current_a=5)
        low = box.read(3, 261, 1)
        await driver.permit(current_a=32)
        return low, box.read(3, 261, 1)

    assert run(scenario) == ([0], [160])


def test_load_management_of_the_wallbox_is_told_apart_from_the_car():
    async def scenario(driver, box, clock):
        await driver.prepare()
        box.outlet.plug(Car())
        await driver.permit(current_a=16)
        box.derating = True
        return await driver.status()

    assert run(scenario).limited


def test_a_grid_operator_who_locks_the_wallbox_withholds_power_and_the_car_does_not():
    async def scenario(driver, box, clock):
        await driver.prepare()
        box.outlet.plug(Car())
        box.locked = True
        before = await driver.status()
        await driver.permit(current_a=16)
        locked = await driver.status()
        box.locked = False
        return before.limited, locked.limited, locked.contactor_closed, await driver.status()

    before, limited, closed, after = run(scenario)
    assert (before, limited, closed) == (False, True, False)
    assert (after.limited, after.contactor_closed) == (False, True)


def test_a_car_that_waits_because_another_master_took_its_current_does_not_park():
    async def scenario(driver, box, clock):
        await driver.prepare()
        box.outlet.plug(Car())
        await driver.permit(current_a=16)
        box.outlet.suspend(on=True)
        parks = await driver.status()
        box._holdings[261] = 0
        waits = await driver.status()
        await driver.revoke()
        ends = await driver.status()
        return [(status.pilot, status.limited) for status in (parks, waits, ends)]

    assert run(scenario) == [("B", False), ("B", True), ("B", True)]


def test_a_fault_and_an_unknown_state():
    async def scenario(driver, box, clock):
        box.fault = True
        fault = await driver.status()
        box.state = lambda: 99
        with pytest.raises(EvseNotSafe, match="99"):
            await driver.status()
        return fault

    assert run(scenario).pilot == "E"


def test_silence_is_an_error_with_a_hint():
    async def scenario(driver, box, clock):
        box.silent = True
        with pytest.raises(EvseSilent) as raised:
            await driver.status()
        assert "baud" in raised.value.hint

    run(scenario, timeout_s=SHORT_S)


def test_a_wallbox_that_measures_a_flow_it_does_not_give_is_welded():
    async def scenario(driver, box, clock):
        await driver.prepare()
        box.outlet.plug(Car())
        await driver.permit(current_a=16)
        assert not (await driver.status()).welded
        await driver.revoke()
        box.outlet.weld(on=True)
        clock.ns += 5 * 10**9
        assert not (await driver.status()).welded
        shown = []
        for _ in range(6):
            clock.ns += 5 * 10**9
            shown.append((await driver.status()).welded)
        box.outlet.weld(on=False)
        assert not (await driver.status()).welded
        return shown

    assert run(scenario) == [False, False, False, False, True, True]


def test_one_wrong_reading_of_a_flow_is_no_welded_contactor():
    async def scenario(driver, box, clock):
        await driver.prepare()
        box.outlet.plug(Car())
        shown = []
        for second in range(60):
            clock.ns += 1 * 10**9
            box.outlet.weld(on=second % 5 == 4)
            shown.append((await driver.status()).welded)
        return shown

    assert not any(run(scenario))


def test_a_lost_reply_interrupts_nothing_and_a_restart_is_found():
    async def scenario(driver, box, clock):
        await driver.prepare()
        box.outlet.plug(Car())
        await driver.permit(current_a=16)
        box.silent = True
        with pytest.raises(EvseSilent):
            await driver.status()
        box.silent = False
        seen = [await driver.intact(), box.outlet.power_w()]
        box._holdings |= {257: 15_000, 261: 0, 262: 60}
        return [*seen, await driver.intact()]

    assert run(scenario, timeout_s=SHORT_S) == [True, 11_040, False]


@pytest.mark.parametrize("sure", [True, False])
def test_a_late_reply_is_no_restart(sure):
    async def scenario(driver, box, clock):
        await driver.prepare()
        await driver.permit(current_a=16)
        bus = driver._controls._bus

        async def late(*_args, **_more):
            return Answer(b"\x00\xa0", clock.now(), sure=sure)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bus, "read", late)
            return await driver.intact()

    assert run(scenario) is not sure


def test_a_current_that_nobody_permitted_is_taken_back():
    async def scenario(driver, box, clock):
        await driver.prepare()
        box.outlet.plug(Car())
        box._holdings[261] = 160
        assert (await driver.status()).contactor_closed
        return (await driver.status()).contactor_closed

    assert run(scenario) is False


@pytest.mark.parametrize("sure", [True, False])
def test_a_status_says_whether_it_may_be_an_old_one(sure):
    async def scenario(driver, box, clock):
        bus = driver._controls._bus
        await driver.prepare()
        fresh = await bus.read(1, heidelberg.STATES)

        async def answered(*_args, **_more):
            return Answer(fresh.data, clock.now(), sure=sure)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bus, "read", answered)
            return (await driver.status()).sure

    assert run(scenario) is sure


def test_an_answer_that_may_be_an_old_one_says_nothing_of_welded_contacts():
    async def scenario(driver, box, clock):
        bus = driver._controls._bus
        await driver.prepare()
        box.outlet.plug(Car())
        await driver.permit(current_a=16)
        flowing = await bus.read(1, heidelberg.STATES)
        await driver.revoke()
        clock.ns += 11 * 10**9

        async def late(*_args, **_more):
            return Answer(flowing.data, clock.now(), sure=False)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bus, "read", late)
            assert not (await driver.status()).welded

    run(scenario)
