import pytest

from hw.virtual.outlet import Car, Outlet

HOUR_NS = 3600 * 10**9


class Time:
    ns = 0

    def __call__(self):
        return self.ns


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def outlet(time):
    outlet = Outlet(time)
    outlet.limit(160)
    return outlet


def test_nothing_flows_without_car_contactor_and_limit(time, outlet):
    outlet.switch(closed=True)
    time.ns += HOUR_NS
    outlet.plug(Car())
    time.ns += HOUR_NS
    assert outlet.energy_wh() == 0
    outlet.switch(closed=True)
    outlet.limit(50)
    time.ns += HOUR_NS
    assert outlet.energy_wh() == 0
    outlet.limit(60)
    time.ns += HOUR_NS
    assert outlet.energy_wh() == 3 * 6 * 230


def test_many_small_steps_give_exactly_what_one_large_step_gives(time, outlet):
    outlet.plug(Car())
    outlet.switch(closed=True)
    for _ in range(9999):
        time.ns += 360_000_007
        outlet.advance()
    assert outlet.energy_wns() == 9999 * 360_000_007 * 11_040


def test_a_full_car_stops_on_the_watt_hour_however_late_anyone_looks(time, outlet):
    outlet.plug(Car(wants_wh=5000))
    outlet.switch(closed=True)
    time.ns += 10 * HOUR_NS
    assert outlet.energy_wh() == 5000
    assert outlet.power_w() == 0
    assert not outlet.wants()


def test_a_limit_that_lapses_does_so_on_the_moment(time, outlet):
    outlet.plug(Car())
    outlet.switch(closed=True)
    outlet.limit(160, until_ns=HOUR_NS // 2, then_tenths_a=0)
    time.ns += 10 * HOUR_NS
    assert outlet.energy_wh() == 5520


def test_the_contactor_opens_with_the_plug(time, outlet):
    outlet.plug(Car())
    outlet.switch(closed=True)
    outlet.unplug()
    assert not outlet.closed
    outlet.plug(Car())
    assert outlet.power_w() == 0


def test_a_suspended_car_draws_nothing_and_goes_on_later(time, outlet):
    outlet.plug(Car(current_a=32, phases=1))
    outlet.limit(320)
    outlet.switch(closed=True)
    outlet.suspend(on=True)
    time.ns += HOUR_NS
    outlet.suspend(on=False)
    time.ns += HOUR_NS
    assert outlet.energy_wh() == 32 * 230
    assert outlet.current_ma() == (32_000, 0, 0)
