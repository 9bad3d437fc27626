import pytest
from msgspec.structs import replace

from hw import registry
from hw.bus.budget import budgets
from hw.evse import heidelberg, phoenix, simple_evse
from hw.meters import register


def meters(count, port="/dev/meter0", **more):
    return [
        register.load(register.Options(profile="eastron_sdm630", port=port, unit=n, **more))
        for n in range(1, 1 + count)
    ]


def test_a_read_of_80_registers_at_9600_baud_takes_about_a_fifth_of_a_second():
    (budget,) = budgets(meters(1, gap_ms=0))
    assert budget.round_s == pytest.approx(0.2, abs=0.05)
    assert budget.problems == ()


def test_a_line_with_more_than_it_can_poll_in_a_second_is_told():
    (budget,) = budgets(meters(4))
    assert budget.devices == 4
    assert "takes 1." in budget.problems[0]
    assert "baud" in budget.problems[0]
    assert budgets(meters(4, baudrate=115200, gap_ms=10))[0].problems == ()


def test_a_dead_unit_may_not_let_its_neighbours_go_stale():
    (budget,) = budgets(meters(2, timeout_s=10.0))
    assert any("dead unit" in problem for problem in budget.problems)


def test_a_line_that_is_asked_less_often_carries_more():
    slow = [replace(load, poll_s=5.0) for load in meters(8)]
    assert budgets(slow)[0].problems == ()
    assert "is due every 1 s" in budgets(meters(8))[0].problems[0]
    assert "is due every 5 s" in budgets([replace(load, poll_s=5.0) for load in meters(32)])[0].problems[0]


@pytest.mark.parametrize(("count", "old_s"), [(2, 2.5), (4, 2.8)])
def test_how_old_what_a_unit_says_may_get_is_its_own_limit(count, old_s):
    """A poll or a round, whichever is longer, a time-out of 1 s and 0.5 s of silence after it."""

    def problems(stale_s):
        loads = [replace(load, stale_s=stale_s) for load in meters(count)]
        return [p for p in budgets(loads)[0].problems if "dead unit" in p]

    assert problems(old_s + 0.1) == []
    assert f"gets {old_s:.1f} s old, and {old_s - 0.1:.1f} s open the contactor" in problems(old_s - 0.1)[0]


def test_a_meter_alone_on_its_line_waits_for_nobody():
    assert budgets([replace(load, stale_s=2.0) for load in meters(1)])[0].problems == ()


def test_each_line_has_its_own_budget_and_tcp_costs_nothing():
    first, second = budgets([*meters(3), *meters(3, port="tcp://10.0.0.1:502")])
    assert first.port == "/dev/meter0"
    assert second.round_s == 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("heidelberg", heidelberg.Options(port="/dev/evse0")),
        ("simple_evse", simple_evse.Options(port="/dev/evse0")),
        ("phoenix", phoenix.Options(port="/dev/evse0", model="ev_cc")),
    ],
)
def test_every_driver_on_a_line_says_what_it_costs(name, options):
    load = registry.line_load("evse", name, options)
    (budget,) = budgets([load])
    assert 0 < budget.round_s < 1


def test_a_contactor_is_on_no_line():
    from hw.evse.gpio_contactor import Options

    assert registry.line_load("evse", "gpio_contactor", Options(relay="gpio:17", vehicle="gpio:27")) is None
