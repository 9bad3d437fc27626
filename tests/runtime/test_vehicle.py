"""A charge point that says nothing counts as broken; what may be a late reply is no news; a lost one ends nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.domain.instant import Instant
from edge.errors import ContactorWelded, HardwareError
from edge.ports import EvseStatus
from edge.runtime.calls import Calls
from edge.runtime.vehicle import VehicleWatch

STALE_S = 10
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.s = 0

    def now(self):
        return Instant(utc=BEGIN + timedelta(seconds=self.s), boot_id="b", monotonic_ns=self.s * 10**9)

    async def sleep(self, seconds):
        self.s += int(seconds)


@pytest.fixture
def pilots():
    """`pilots(seconds, ..)`: what is told of a charge point that never answers, looked at in those seconds."""

    def told(*seconds):
        clock, events = Clock(), []

        async def post(event):
            events.append((clock.s, event.pilot))

        async def play():
            watch = VehicleWatch(
                None, Calls("E"), evse_id="E", clock=clock, poll_s=1.0, stale_s=STALE_S, post=post
            )
            for clock.s in seconds:
                await watch.look()

        asyncio.run(play())
        return events

    return told


def test_one_that_stays_silent_is_broken_and_that_is_said_once(pilots):
    assert pilots(*range(30)) == [(11, "F")]


def test_what_passed_while_the_till_itself_stood_still_is_no_silence(pilots):
    assert pilots(1, 2, *range(200, 211)) == []
    assert pilots(1, 2, *range(200, 230)) == [(211, "F")]


# --- what may be a late reply, and what was lost

LATE_MAX_S = 30


class Over(Exception):
    """The play has ended."""


class Point:
    """Says in each second what `said` has for it: a pilot, `"A?"` for one that is not sure, or a failure."""

    def __init__(self, clock, said):
        self.clock, self.said = clock, said
        self.prepared = []
        self.whole = True

    async def prepare(self):
        self.prepared.append(self.clock.s)
        self.whole = True

    async def intact(self):
        return self.whole

    async def status(self):
        if self.clock.s >= len(self.said):
            raise Over
        said = self.said[self.clock.s]
        if isinstance(said, Exception):
            raise said
        return EvseStatus(
            at=self.clock.now(), pilot=said[0], contactor_closed=None, sure=not said.endswith("?")
        )


def watch(said, restarts=()):
    """What is told of such a charge point as `(second, pilot)`, and when it was prepared."""
    clock, told = Clock(), []
    point = Point(clock, said)

    async def post(event):
        told.append((clock.s, getattr(event, "pilot", "welded")))

    async def play():
        runs = VehicleWatch(
            point, Calls("E"), evse_id="E", clock=clock, poll_s=1.0, stale_s=STALE_S, post=post
        )
        status = point.status

        async def restarting():
            point.whole &= clock.s not in restarts
            return await status()

        point.status = restarting
        with pytest.raises(Over):
            await runs.run()

    asyncio.run(play())
    return told, point.prepared


def test_what_is_sure_is_told_at_once():
    told, _ = watch(["A"] * 3 + ["C"] * 3 + ["A"])
    assert told == [(0, "A"), (3, "C"), (6, "A")]


def test_a_late_reply_neither_ends_a_session_nor_begins_one():
    mixed = ["C", "A?", "A?", "C?"] * 20
    assert watch(["C"] * 5 + mixed)[0] == [(0, "C")]
    assert watch(["A"] * 5 + ["C?"] * LATE_MAX_S + ["A"])[0] == [(0, "A")]


def test_a_line_that_is_never_sure_again_is_believed_once_no_late_reply_explains_what_it_says():
    told, _ = watch(["C"] * 5 + ["A?"] * (LATE_MAX_S + 2))
    assert told == [(0, "C"), (5 + LATE_MAX_S + 1, "A")]


def test_a_fault_that_may_be_an_old_one_is_told_at_once():
    assert watch(["C", "C", "E?"])[0] == [(0, "C"), (2, "E")]


@settings(max_examples=60, deadline=None)
@given(
    truth=st.lists(st.tuples(st.sampled_from("ABC"), st.integers(1, 50)), min_size=1, max_size=6),
    late_s=st.lists(st.integers(0, LATE_MAX_S), min_size=1, max_size=40),
    lost_every=st.integers(2, 9),
    sure_every=st.integers(1, 200),
)
def test_what_is_told_was_true_since_what_was_told_before_and_the_last_of_it_is_told(
    truth, late_s, lost_every, sure_every
):
    was = [pilot for pilot, seconds in truth for _ in range(seconds)]
    was += [was[-1]] * (2 * LATE_MAX_S + 10)
    said = []
    for second in range(len(was)):
        late = min(second, late_s[second % len(late_s)])
        if second % lost_every == lost_every - 1:
            said.append(HardwareError("lost"))
        elif late == 0 and second % sure_every == 0:
            said.append(was[second])
        else:
            said.append(was[second - late] + "?")
    told, _ = watch(said)
    since = 0
    for second, pilot in told:
        assert pilot in was[since : second + 1]
        since = second
    assert told[-1][1] == was[-1]


def test_a_lost_reply_sets_nothing_anew_and_a_restart_does():
    lost = HardwareError("lost")
    calm = ["C"] * 5 + [lost, lost] + ["C"] * 5
    assert watch(calm)[1] == [0]
    assert watch(calm, restarts={5})[1] == [0, 6]


def test_a_restart_that_nobody_noticed_is_found_within_a_minute():
    _, prepared = watch(["A"] * 130, restarts={20})
    assert prepared == [0, 60]


def test_a_charge_point_that_could_not_be_prepared_is_prepared_until_it_is():
    clock = Clock()
    point = Point(clock, ["A"] * 6)

    async def fails():
        point.prepared.append(clock.s)
        if clock.s < 3:
            raise ContactorWelded("it stays closed")

    point.prepare = fails
    told = []

    async def play():
        async def post(event):
            told.append(type(event).__name__)

        with pytest.raises(Over):
            await VehicleWatch(
                point, Calls("E"), evse_id="E", clock=clock, poll_s=1.0, stale_s=STALE_S, post=post
            ).run()

    asyncio.run(play())
    assert point.prepared == [0, 1, 2, 3]
    assert told == ["ContactorSeen", "PilotChanged", "ContactorSeen"]
