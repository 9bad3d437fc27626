"""What the watch over a meter makes of its first readings, and of those that a session begins and ends with."""

from __future__ import annotations

import asyncio

import pytest

from edge.domain.energy import MeterIdentity, MeterValue
from edge.domain.instant import Instant
from edge.domain.session import events as ev
from edge.domain.session.effects import ReadBegin, ReadEnd
from edge.domain.session.state import Measured
from edge.errors import HardwareError
from edge.metering.reading import Limits
from edge.runtime.metering import MeterWatch
from hw.virtual.loop import VirtualLoop

REGISTER_WH = 4_711_280


class LoopClock:
    def now(self):
        now_ns = int(asyncio.get_running_loop().time() * 1e9)
        return Instant(utc=None, boot_id="b", monotonic_ns=now_ns)

    def trusted(self):
        return True

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)


class Meter:
    """Shows `REGISTER_WH`, and what is wrong with its next readings, one after the other."""

    def __init__(self):
        self.limits = Limits(rated_power_w=22_000, rollover_wh=100_000_000)
        self.wrong_wh = []
        self.register_wh = REGISTER_WH
        self.serial = "1"
        self.silent = False

    async def read(self):
        await asyncio.sleep(0.05)
        if self.silent:
            raise HardwareError("no meter")
        wrong_wh = self.wrong_wh.pop(0) if self.wrong_wh else 0
        energy_wh = (self.register_wh + wrong_wh) % self.limits.rollover_wh
        return MeterValue(at=LoopClock().now(), energy_wh=energy_wh, power_w=0)

    async def identify(self):
        return MeterIdentity(model="M", serial=self.serial)

    async def close(self):
        pass


class Bench:
    def __init__(self, *, reached_wh=None):
        identity, now = MeterIdentity(model="M", serial="1"), LoopClock().now()
        waiting = reached_wh and Measured(
            identity=identity, begin_wh=0, last_wh=reached_wh, began=now, accrual=None
        )
        self.meter = Meter()
        self.events = []
        self.watch = MeterWatch(
            self.meter,
            signing=None,
            open_session=lambda: None,
            awaited=lambda: waiting,
            clock=LoopClock(),
            poll_s=1.0,
            post=self._post,
            name="E1",
        )

    async def _post(self, event):
        self.events.append(event)

    def values(self, kind):
        return [e.value.energy_wh for e in self.events if isinstance(e, kind) and e.value is not None]

    async def lives(self, seconds):
        await asyncio.sleep(seconds)


@pytest.fixture
def play():
    """`play(story)` runs the coroutine `story(bench)` beside a watch, in virtual time."""

    def run(story, **bench):
        async def go():
            made = Bench(**bench)
            watching = asyncio.ensure_future(made.watch.run())
            try:
                await story(made)
            finally:
                watching.cancel()
            return made

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(go())

    return run


@pytest.mark.parametrize("wrong_wh", [-REGISTER_WH, -300, 300, 5_000])
@pytest.mark.parametrize("count", [1, 2])
def test_what_a_meter_shows_for_a_moment_after_a_start_is_none_of_its_readings(play, wrong_wh, count):
    async def story(bench):
        bench.meter.wrong_wh = [wrong_wh] * count
        await bench.lives(30)

    found = play(story)
    assert set(found.values(ev.MeterAccepted)) == {REGISTER_WH}
    assert not any(isinstance(e, ev.MeterHaltedNow) for e in found.events)


def test_a_meter_that_starts_itself_may_show_zeros_while_a_session_waits_for_it(play):
    async def story(bench):
        bench.meter.wrong_wh = [-REGISTER_WH] * 40
        await bench.lives(90)

    found = play(story, reached_wh=REGISTER_WH - 50)
    assert set(found.values(ev.MeterAccepted)) == {REGISTER_WH}


@pytest.mark.parametrize("wrong_wh", [-REGISTER_WH, -300, -15, 300, 5_000])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_session_begins_where_the_meter_stood_whatever_it_shows_for_a_moment(play, wrong_wh, count):
    async def story(bench):
        await bench.lives(10)
        bench.watch.want(ReadBegin(session_id="s", tariff_text=""))
        bench.meter.wrong_wh = [wrong_wh] * count
        await bench.lives(20)

    found = play(story)
    assert found.values(ev.BeginRead) == [REGISTER_WH]
    assert not any(isinstance(e, ev.MeterHaltedNow | ev.ReadFailed) for e in found.events)


def test_a_session_begins_at_once_at_a_meter_that_was_put_in_before_it(play):
    async def story(bench):
        await bench.lives(10)
        bench.meter.serial, bench.meter.register_wh = "2", 1_000
        bench.watch.want(ReadBegin(session_id="s", tariff_text=""))
        await bench.lives(2)

    found = play(story)
    assert found.values(ev.BeginRead) == [1_000]


@pytest.mark.parametrize("wrong_wh", [-REGISTER_WH, -300, 300, 5_000])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_session_ends_where_the_meter_stands_whatever_it_shows_for_a_moment(play, wrong_wh, count):
    async def story(bench):
        await bench.lives(10)
        bench.meter.register_wh += 2
        bench.watch.want(ReadEnd(session_id="s", tariff_text=""))
        bench.meter.wrong_wh = [wrong_wh] * count
        await bench.lives(20)

    found = play(story)
    assert found.values(ev.EndRead) == [REGISTER_WH + 2]


def identities(bench):
    return [e.identity.serial for e in bench.events if isinstance(e, ev.MeterIdentified)]


@pytest.mark.parametrize("reached_wh", [None, REGISTER_WH - 50])
def test_a_meter_that_starts_itself_and_does_not_know_its_name_yet_is_no_other_meter(play, reached_wh):
    async def story(bench):
        if reached_wh is None:
            await bench.lives(10)
            bench.meter.silent = True
            await bench.lives(5)
            bench.meter.silent = False
        bench.meter.serial = None
        await bench.lives(20)
        assert None not in identities(bench)
        bench.meter.serial = "1"
        await bench.lives(10)

    found = play(story, reached_wh=reached_wh)
    assert set(identities(found)) == {"1"}
    assert found.events[-1].value.energy_wh == REGISTER_WH


def test_a_meter_that_never_had_a_serial_number_is_read_all_the_same(play):
    async def story(bench):
        bench.meter.serial = None
        await bench.lives(20)

    found = play(story)
    assert identities(found) == [None]
    assert set(found.values(ev.MeterAccepted)) == {REGISTER_WH}
