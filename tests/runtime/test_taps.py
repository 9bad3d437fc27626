"""One reader for several EVSEs: whose tap it is, and what the screen asks."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from edge.domain.identity import uid_token
from edge.ports import Tap
from edge.runtime.arrivals import Arrivals, ScreenActions
from edge.runtime.recognition import Recognition, TokenKey
from edge.runtime.taps import Taps
from hw.virtual.clock import VirtualClock

KEY = b"k" * 32
CARD = bytes.fromhex("04A1B2C3D4E5F6")


def plain():
    return Recognition(TokenKey(key=KEY, key_id="k"), sun_keys=None, raise_counter=None)


class Controller:
    """What Taps needs of a controller."""

    def __init__(self, evse_id, *, pilot="A", token=None):
        self.evse_id = evse_id
        session = SimpleNamespace(token=token, stop_code="4711") if token else None
        self.state = SimpleNamespace(session=session, pilot=pilot)
        self.events, self.told, self.choosing, self.stops = [], [], False, []

    async def post(self, event):
        self.events.append(event)

    async def request_stop(self, reason):
        self.stops.append(reason)

    def tell(self, code):
        self.told.append(code)

    def offer_choice(self, *, on):
        self.choosing = on


class Reader:
    def __init__(self, *uids):
        self.uids = uids

    async def taps(self):
        for uid in self.uids:
            yield Tap(at=None, uid=uid)
        await asyncio.sleep(3600)

    async def close(self):
        pass


def tapped(controllers, *uids, then=None, speed=1, asks_upstream=False):
    """Run the taps; `then(arrivals)` is what the driver does on the screen."""

    async def main():
        clock = VirtualClock(speed=speed)
        members = SimpleNamespace(find=lambda _token: None)
        arrivals = Arrivals(controllers, members=members, clock=clock, asks_upstream=lambda: asks_upstream)
        taps = Taps(Reader(*uids), arrivals, recognition=plain(), clock=clock)
        task = asyncio.create_task(taps.run())
        await asyncio.sleep(0.05)
        result = await then(arrivals) if then else None
        task.cancel()
        return result

    return asyncio.run(main())


def test_the_card_that_charges_here_is_meant_for_its_own_session():
    own = Controller("1", pilot="C", token=uid_token(CARD, key=KEY, key_id="k"))
    other = Controller("2", pilot="B")
    tapped([other, own], CARD)
    assert [len(c.events) for c in (own, other)] == [1, 0]


def test_the_only_one_plugged_in_comes_before_a_question():
    plugged, empty = Controller("1", pilot="B"), Controller("2")
    tapped([empty, plugged], CARD)
    assert len(plugged.events) == 1
    assert not empty.choosing


def test_two_that_are_free_are_a_question_on_the_screen_and_the_answer_starts_one():
    first, second = Controller("1"), Controller("2")

    async def choose(arrivals):
        assert first.choosing
        assert second.choosing
        return await ScreenActions([first, second], [arrivals]).choose("2")

    assert tapped([first, second], CARD, then=choose) == "done"
    assert [len(c.events) for c in (first, second)] == [0, 1]
    assert not first.choosing
    assert len(second.events[0].stop_code) == 4


def test_a_question_that_nobody_answers_goes_away():
    first, second = Controller("1"), Controller("2")

    async def wait(arrivals):
        await asyncio.sleep(0.3)
        return await arrivals.choose("1")

    assert tapped([first, second], CARD, then=wait, speed=600) is False
    assert not first.choosing
    assert first.events == []


def test_where_all_are_taken_a_second_driver_is_told():
    token = uid_token(b"other!!", key=KEY, key_id="k")
    taken = [Controller("1", pilot="C", token=token), Controller("2", pilot="C", token=token)]
    tapped(taken, CARD)
    assert [c.told for c in taken] == [["busy"], ["busy"]]


def test_a_card_that_the_list_does_not_know_is_asked_for_upstream_where_somebody_answers():
    for asks, method in ((False, "account"), (True, "upstream")):
        controller = Controller("1", pilot="B")
        tapped([controller], CARD, asks_upstream=asks)
        assert controller.events[0].method == method
        assert controller.events[0].member is None


def test_a_stack_of_strangers_cards_does_not_wear_out_the_disk():
    controller = Controller("1", pilot="B")
    tapped([controller], *(bytes([4, n]) + bytes(5) for n in range(40)), asks_upstream=True)
    methods = [event.method for event in controller.events]
    assert methods == ["upstream"] * 30 + ["account"] * 10


def test_a_phone_s_random_number_is_nobody():
    controllers = [Controller("1"), Controller("2")]
    tapped(controllers, bytes.fromhex("08A1B2C3"))
    assert [c.told for c in controllers] == [["card_unreadable"], ["card_unreadable"]]
    assert all(c.events == [] for c in controllers)


@pytest.mark.parametrize(
    ("code", "answer", "stops"), [("4711", "done", ["screen"]), ("4712", "wrong_code", [])]
)
def test_only_the_driver_s_code_stops_on_the_screen(code, answer, stops):
    controller = Controller("1", pilot="C", token=uid_token(CARD, key=KEY, key_id="k"))
    found = asyncio.run(ScreenActions([controller], []).stop("1", code))
    assert (found, controller.stops) == (answer, stops)


def test_nothing_runs_nothing_stops():
    assert asyncio.run(ScreenActions([Controller("1")], []).stop("1", "4711")) == "refused"
    assert asyncio.run(ScreenActions([Controller("1")], []).stop("9", "4711")) == "refused"
