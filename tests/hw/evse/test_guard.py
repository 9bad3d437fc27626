"""The guard: a contactor on a lease. (What becomes of it with the till is in test_lease.py.)"""

import asyncio
import os
import signal
import time
from datetime import UTC, datetime

import pytest

from edge.domain.instant import Instant
from edge.errors import ContactorWelded
from hw.evse import gpio_contactor
from hw.evse.contactor import Contactor, GuardFailed, GuardOptions
from hw.evse.errors import EvseNotSafe, EvseSilent
from hw.evse.guard import ASK, KEEP, OPEN, FileLine, Guard, line
from hw.evse.guarded import Guarded, GuardedOptions


class RealClock:
    def now(self):
        return Instant(utc=datetime.now(UTC), boot_id="test", monotonic_ns=time.monotonic_ns())


def relay_of(path):
    return path.read_text() if path.exists() else None


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it did not happen")


def test_closed_only_within_the_lease(tmp_path):
    relay = FileLine(str(tmp_path / "relay"))
    guard = Guard(relay, None, lease_s=5)
    assert guard.command(ASK, 0) == "0 -"
    assert guard.command(KEEP, 0) == "1 -"
    assert guard.rest_s(2) == 3
    assert not guard.lapse(4.9)
    guard.command(KEEP, 4.9)
    assert not guard.lapse(9.8)
    assert guard.lapse(9.9)
    assert relay.get() == 0
    guard.command(KEEP, 20)
    assert guard.command(OPEN, 21) == "0 -"
    assert guard.rest_s(21) is None
    assert guard.command(b"x", 21) is None


def test_a_relay_on_a_pin_starts_open_and_is_opened_on_release():
    from gpiozero import Device
    from gpiozero.pins.mock import MockFactory

    Device.pin_factory = MockFactory()
    try:
        high, low = line("gpio:17", output=True), line("gpio-low:18", output=True)
        contact = line("gpio:27", output=False)
        pins = Device.pin_factory
        assert (pins.pin(17).state, pins.pin(18).state) == (0, 1)
        guard = Guard(high, contact, lease_s=5)
        guard.command(KEEP, 0)
        pins.pin(27).drive_high()
        assert guard.state() == "1 1"
        low.set(1)
        assert (pins.pin(17).state, pins.pin(18).state) == (1, 0)
        assert guard.lapse(5)
        assert pins.pin(17).state == 0
        guard.release()
        low.release()
        contact.release()
    finally:
        Device.pin_factory.reset()
        Device.pin_factory = None


def test_a_line_of_no_kind_is_refused():
    with pytest.raises(ValueError):
        line("pin:4", output=True)


def play(scenario, tmp_path, **more):
    async def run():
        contactor = Contactor(GuardOptions(relay=f"file:{tmp_path}/relay", **more))
        try:
            return await scenario(contactor)
        finally:
            await contactor.close()

    return asyncio.run(run())


def test_the_process_closes_opens_and_ends_open(tmp_path):
    async def scenario(contactor):
        await contactor.prepare()
        assert relay_of(tmp_path / "relay") == "0"
        await contactor.keep()
        assert relay_of(tmp_path / "relay") == "1"
        await contactor.open()
        assert relay_of(tmp_path / "relay") == "0"
        await contactor.keep()

    play(scenario, tmp_path)
    assert relay_of(tmp_path / "relay") == "0"


def test_permission_that_nobody_renews_lapses(tmp_path):
    async def scenario(contactor):
        await contactor.keep()
        await asyncio.to_thread(wait_for, lambda: relay_of(tmp_path / "relay") == "0")
        return await contactor.state()

    assert play(scenario, tmp_path, lease_s=0.5).relay is False


def test_a_welded_contactor_and_one_that_does_not_close_are_told(tmp_path):
    feedback = tmp_path / "feedback"

    async def welded(contactor):
        feedback.write_text("1")
        with pytest.raises(ContactorWelded, match="welded"):
            await contactor.prepare()
        assert (await contactor.state()).welded
        feedback.write_text("0")
        assert not (await contactor.state()).welded

    async def dead(contactor):
        feedback.write_text("0")
        await contactor.prepare()
        with pytest.raises(EvseNotSafe, match="does not close"):
            await contactor.keep()

    play(welded, tmp_path, feedback=f"file:{feedback}")
    play(dead, tmp_path, feedback=f"file:{feedback}")


def test_a_welded_contactor_is_told_also_where_its_controller_does_not_answer(tmp_path):
    feedback = tmp_path / "feedback"
    feedback.write_text("1")
    guard = GuardOptions(relay=f"file:{tmp_path / 'relay'}", feedback=f"file:{feedback}")

    class Silent:
        async def prepare(self):
            raise EvseSilent("no reply")

    async def prepared():
        device = Guarded(Silent(), GuardedOptions(port="/dev/null", guard=guard), name="EVSE-DIN")
        try:
            await device.prepare()
        finally:
            await device.close()

    with pytest.raises(ContactorWelded):
        asyncio.run(prepared())


def test_a_guard_that_died_is_started_again_open(tmp_path):
    async def scenario(contactor):
        await contactor.keep()
        os.kill(contactor._guard.pid, signal.SIGKILL)
        await contactor._guard.wait()
        state = await contactor.state()
        assert state.relay is False
        await contactor.keep()

    play(scenario, tmp_path)


def test_a_guard_that_hangs_is_ended_and_the_next_one_starts_open(tmp_path):
    async def scenario(contactor):
        await contactor.keep()
        os.kill(contactor._guard.pid, signal.SIGSTOP)
        with pytest.raises(GuardFailed, match="does not answer"):
            await contactor.keep()
        state = await contactor.state()
        assert state.relay is False
        assert relay_of(tmp_path / "relay") == "0"

    play(scenario, tmp_path)


def test_a_guard_that_cannot_start_is_an_error_with_a_hint(tmp_path):
    async def scenario():
        contactor = Contactor(GuardOptions(relay="file:/nowhere/at/all/relay"))
        with pytest.raises(GuardFailed) as raised:
            await contactor.keep()
        assert raised.value.hint
        await contactor.close()

    asyncio.run(scenario())


def test_the_gpio_driver_is_an_evse(tmp_path):
    vehicle = tmp_path / "vehicle"
    vehicle.write_text("0")

    async def run():
        options = gpio_contactor.Options(relay=f"file:{tmp_path}/relay", vehicle=f"file:{vehicle}")
        evse = gpio_contactor.create(options, clock=RealClock(), buses=None)
        assert evse.lease == "guard"
        seen = []

        async def look():
            status = await evse.status()
            seen.append((status.pilot, status.contactor_closed))

        await evse.prepare()
        await look()
        vehicle.write_text("1")
        await evse.permit(current_a=16)
        await look()
        await evse.permit(current_a=0)
        await look()
        await evse.permit(current_a=16)
        await evse.revoke()
        await look()
        vehicle.unlink()
        with pytest.raises(gpio_contactor.PinFailed):
            await evse.status()
        with pytest.raises(gpio_contactor.PinFailed):
            await evse.permit(current_a=16)
        assert relay_of(tmp_path / "relay") == "0"
        await evse.close()
        return seen

    assert asyncio.run(run()) == [("A", False), ("C", True), ("C", False), ("C", False)]
