"""I7 on a line without numbers: whatever comes late, doubled or never, a sure answer is the reply to its own request.

In virtual time: a gateway that keeps each reply for as long as it likes, up to just under what the bus reckons with,
and hands them out in any order, to a till that stands still at times and finds them waiting.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hw.bus import bus as bus_module
from hw.bus.bus import Bus, Timing
from hw.bus.errors import BusError
from hw.bus.frames import Span
from hw.bus.line import LineOptions
from hw.virtual.fault_line import registers
from hw.virtual.loop import VirtualLoop
from hw.virtual.modbus_server import rtu

GHOST_S = Timing().ghost_s
KEPT_MAX_S = GHOST_S - 2.0  # an answer is asked for within a second or two of the request's own end
COPY_MAX_S = 0.6  # a reply that comes twice does so at once: nobody hands it out again seconds later
SPANS = {
    "spare": Span(4, 0, 24, spare=6, step=2),
    "one spare": Span(4, 0, 24, spare=1, step=1),
    "exact": Span(4, 0, 24),
}
OTHER = Span(4, 100, 40, spare=6, step=2)


def _key(words):
    """What tells a reply of the fault line from all others, in whatever count it was asked."""
    return tuple(words[:24])


class Gateway:
    """Implements hw.bus.line.Line. `fates` says when each reply comes; empty: never. What has come waits in the kernel
    until somebody looks, which the event loop does at once when it runs.
    """

    def __init__(self, fates):
        self.fates = iter(fates)
        self.number = 0
        self.asked_at = 0.0
        self.served = {}
        self.received = None
        self.coming = []
        self.came_at = 0.0
        self.loop = asyncio.get_running_loop()

    def write(self, data):
        self.number += 1
        self.asked_at = self.loop.time()
        address, count = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:6], "big")
        words = registers(self.number, address, count)
        self.served[_key(words)] = self.number, self.asked_at
        body = b"".join(word.to_bytes(2, "big") for word in words)
        frame = rtu(data[0], bytes([data[1], len(body)]) + body)
        for delay_s in next(self.fates, (0.02,)):
            self.coming.append((self.asked_at + delay_s, frame))
            self.loop.call_later(delay_s, self.loop.call_soon, self.look)

    def look(self):
        now = self.loop.time()
        come = sorted((at, frame) for at, frame in self.coming if at <= now)
        self.coming = [(at, frame) for at, frame in self.coming if at > now]
        if come:
            self.came_at = come[0][0]
            self.received(b"".join(frame for _, frame in come))

    def close(self):
        pass


class StallingLoop(VirtualLoop):
    """A till's process that is stopped at times, while the world goes on."""

    def stall(self, seconds):
        self._skip(seconds)


FATE = st.one_of(
    st.just((0.02,)),
    st.just(()),
    st.floats(1.1, KEPT_MAX_S).map(lambda late_s: (late_s,)),
    st.floats(0.03, COPY_MAX_S).map(lambda late_s: (0.02, late_s)),
)
COPIED = st.floats(0.03, Timing().quiet_s - 0.05).map(lambda late_s: (0.02, late_s))
STALL = st.tuples(st.floats(0.5, 90.0), st.floats(0.1, 5.0))


def polled(fates, *spans, polls, pause_s=1.0, stalls=()):
    """Each answer as (how many requests it is behind, how old it is in seconds, sure). `stalls` are (when, how long) the
    till stands still, in seconds.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        return _polled(fates, spans, monkeypatch, polls, pause_s, stalls)


def _polled(fates, spans, monkeypatch, polls, pause_s, stalls):

    async def play():
        gateway = Gateway(fates)
        loop = asyncio.get_running_loop()

        async def opened(_options, *, received, lost):
            gateway.received = received
            return gateway

        monkeypatch.setattr(bus_module, "monotonic", loop.time)
        monkeypatch.setattr(bus_module, "open_line", opened)
        bus = Bus(LineOptions(port="/dev/gateway", baudrate=115200), now=loop.time, gap_s=0.02)
        for at_s, still_s in stalls:
            loop.call_later(at_s, loop.stall, still_s)
        answers = []
        for _ in range(polls):
            for span in spans:
                with suppress(BusError):
                    answer = await bus.read(1, span, attempts=1)
                    assert gateway.came_at >= gateway.asked_at
                    number, at = gateway.served[_key(answer.registers)]
                    answers.append((gateway.number - number, loop.time() - at, answer.sure))
            await asyncio.sleep(pause_s)
        await bus.close()
        return answers

    with asyncio.Runner(loop_factory=StallingLoop) as runner:
        return runner.run(play())


@pytest.mark.parametrize("shape", SPANS)
@settings(max_examples=20, deadline=None)
@given(fates=st.lists(FATE, max_size=50), stalls=st.lists(STALL, max_size=20))
@example(fates=[(0.02,), (0.02,), (), (), (3.0,)], stalls=[(1.0, 5.0), (1.0, 5.0), (22.0, 3.0)])
def test_a_sure_answer_is_the_reply_to_its_own_request(shape, fates, stalls):
    """And no answer came before its request went out."""
    for behind, age_s, sure in polled(fates, SPANS[shape], polls=60, stalls=stalls):
        assert not sure or behind == 0
        assert age_s <= GHOST_S


@settings(max_examples=20, deadline=None)
@given(fates=st.lists(st.one_of(FATE, COPIED), max_size=80))
@example(fates=[(0.02,), *[(), (0.02,)] * 3, (0.02, 0.45), (0.02,), (0.3,)])
def test_a_reply_that_comes_twice_is_no_sure_answer_while_the_other_counts_are_in_doubt(fates):
    """Two blocks of one unit in turn, faster than a copy comes."""
    for behind, _, sure in polled(fates, SPANS["spare"], OTHER, polls=60, pause_s=0.3):
        assert not sure or behind == 0


def test_a_dead_unit_that_is_back_gives_something_at_once_and_something_sure_within_half_a_minute():
    fates = [()] * 60
    answers = polled(fates, SPANS["spare"], polls=200)
    first_sure = next(i for i, (_, _, sure) in enumerate(answers) if sure)
    assert 0 < first_sure <= GHOST_S + 5
    assert not any(behind for behind, _, _ in answers)
    assert all(sure for _, _, sure in answers[first_sure + 40 :])


def test_a_line_that_loses_every_fourth_reply_stays_sure_nearly_all_the_time():
    fates = [() if i % 4 == 0 else (0.02,) for i in range(400)]
    answers = polled(fates, SPANS["spare"], polls=400)
    assert sum(sure for _, _, sure in answers) > 60


@pytest.mark.parametrize("shape", ["spare", "one spare"])
def test_once_the_line_is_good_again_every_answer_is_sure_in_the_end(shape):
    fates = [() if i in {5, 6, 7, 20} else (0.02,) for i in range(100)]
    answers = polled(fates, SPANS[shape], polls=110)
    assert all(sure for _, _, sure in answers[-25:])


@pytest.mark.parametrize(("first_s", "between"), [(4.2, 26), (4.8, 25)])
def test_what_answers_in_doubt_may_leave_its_own_reply_under_way(first_s, between):
    """An exact read is answered by the reply to the one before; its own comes 28 s later, when another one is lost."""
    fates = [(first_s,), (27.9,), *[(0.02,)] * between, ()]
    for behind, _, sure in polled(fates, SPANS["exact"], polls=45):
        assert not sure or behind == 0
