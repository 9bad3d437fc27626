"""The computer's clock, before a kernel that says what the test wants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.domain.ledger.boots import Boots, Run
from edge.runtime import clock as clocks
from edge.runtime.clock import KernelTime, SystemClock
from edge.timekeeping import Timekeeper

BOOT = datetime(2026, 11, 1, tzinfo=UTC)


class Kernel:
    """Two clocks and the kernel's word for one of them; `wall_s` is what the wall clock is ahead by."""

    def __init__(self, patch, *, wall_s=-200 * 86_400.0):
        self.passed_s, self.wall_s, self.kept = 20.0, wall_s, False
        patch.setattr(clocks, "_monotonic_ns", lambda: int(self.passed_s * 1e9))
        patch.setattr(clocks, "_utc", lambda: self.true + timedelta(seconds=self.wall_s))
        patch.setattr(clocks, "kernel_time", lambda: KernelTime(synchronized=self.kept, error_us=20_400))

    @property
    def true(self):
        return BOOT + timedelta(seconds=self.passed_s)

    def synchronize(self):
        self.wall_s, self.kept = 0.0, True


@pytest.fixture
def kernel(monkeypatch):
    return Kernel(monkeypatch)


def test_the_kernel_is_asked_and_says_what_it_knows():
    said = clocks.kernel_time()
    assert said.error_us >= 0
    assert SystemClock(trust="ntp").trusted() == said.synchronized


def test_the_time_is_trusted_from_the_first_moment_on_at_which_somebody_keeps_it(kernel):
    clock = SystemClock(trust="ntp")
    assert not clock.trusted()
    assert clock.now().utc == kernel.true + timedelta(seconds=kernel.wall_s), "what the wall clock shows"
    kernel.synchronize()
    assert clock.trusted()
    assert (clock.now().utc, clock.error_ms) == (kernel.true, 21)


def test_weeks_without_a_network_do_not_take_the_time_away(kernel):
    clock = SystemClock(trust="ntp")
    kernel.synchronize()
    assert clock.trusted()
    kernel.kept, kernel.passed_s = False, 30 * 86_400.0
    assert clock.trusted()
    assert clock.now().utc == kernel.true


STEPS = st.lists(
    st.tuples(st.sampled_from((1.0, -1.0, 3_600.0, -3_600.0, 9e8, -9e8, 0.0)), st.booleans()), max_size=8
)


@given(steps=STEPS)
@settings(max_examples=60, deadline=None)
def test_a_step_counts_only_where_somebody_keeps_the_clock(steps):
    with pytest.MonkeyPatch.context() as patch:
        kernel = Kernel(patch)
        clock = SystemClock(trust="ntp")
        kernel.synchronize()
        assert clock.trusted()
        kept_s, before = 0.0, clock.now()
        for step_s, kept in steps:
            kernel.passed_s += 60
            kernel.wall_s += step_s
            kernel.kept = kept
            if kept:
                kept_s = kernel.wall_s
            now = clock.now()
            assert abs(now.utc - kernel.true - timedelta(seconds=kept_s)) <= timedelta(milliseconds=500)
            assert now.seconds_since(before) == 60
            before = now


def test_a_clock_with_its_own_care_is_believed_as_it_is(kernel):
    clock = SystemClock(trust="always")
    kernel.wall_s = 7.0
    assert clock.trusted()
    assert clock.now().utc == kernel.true + timedelta(seconds=7)


def journal(boot_id, *, zero_at, last_s):
    return Boots([Run(boot_id=boot_id, first_ns=0, last_ns=int(last_s * 1e9))], {boot_id: zero_at})


def test_a_restart_in_the_same_boot_knows_what_the_process_before_it_knew(kernel):
    clock = SystemClock(trust="ntp")
    keeper = Timekeeper(clock, source="ntp")
    keeper.recall(journal(clock.now().boot_id, zero_at=BOOT, last_s=15), clock.now())
    assert clock.trusted()
    assert clock.now().utc == keeper.known() == kernel.true


def test_in_another_boot_only_the_latest_time_that_has_come_is_known(kernel):
    clock = SystemClock(trust="ntp")
    keeper = Timekeeper(clock, source="ntp")
    assert keeper.known() is None
    keeper.recall(journal("before", zero_at=BOOT - timedelta(days=9), last_s=86_400), clock.now())
    kernel.passed_s += 60
    assert not clock.trusted()
    assert keeper.known() == BOOT - timedelta(days=8) + timedelta(seconds=60)
    kernel.synchronize()
    assert keeper.known() == kernel.true
