"""A payment terminal as an entrance: who pays, who is a member, who is told what."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from edge.domain.identity import bank_token, uid_token
from edge.domain.payment import Payment
from edge.domain.terminal import BankCard, MemberCard, NoCard
from edge.domain.view import PriceLine, View
from edge.runtime.arrivals import Arrivals
from edge.runtime.counter import Counter
from edge.runtime.recognition import TokenKey
from hw.virtual.clock import VirtualClock

KEY = b"k" * 32


class Controller:
    """Opens a session for whatever payment arrives, as the real one does where it sells."""

    def __init__(self, evse_id="1", *, sells=True, token=None):
        self.evse_id, self.sells, self.events, self.told = evse_id, sells, [], []
        paying = Payment(ref="r0", method="terminal", currency="EUR", requested_minor=1, status="authorized")
        session = SimpleNamespace(token=token, payment=paying) if token else None
        self.state = SimpleNamespace(session=session, pilot="B")
        self.shown = View(
            evse_id=evse_id,
            label="1",
            kind="idle",
            price={"en": (PriceLine(label="Energy", amount="0.49 EUR/kWh"),)},
            offered_hold_minor=5_000,
        )

    async def post(self, event):
        self.events.append(event)
        if self.sells and self.state.session is None:
            payment = Payment(
                ref=event.payment_ref, method=event.method, currency="EUR", requested_minor=5_000
            )
            self.state.session = SimpleNamespace(token=event.token, payment=payment)

    def tell(self, code):
        self.told.append(code)

    def offer_choice(self, *, on):
        pass


class Desk:
    def __init__(self, *cards):
        self.cards, self.reason, self.orphans = cards, None, ()
        self.gone_on, self.lines = 0, ()

    async def presented(self):
        for card in self.cards:
            yield card
        await asyncio.sleep(3600)

    def go_on(self):
        self.gone_on += 1

    def display(self, *lines):
        self.lines = lines


def stand_before(controller, *cards, seconds=0.3):
    desk = Desk(*cards)

    async def main():
        clock = VirtualClock(speed=20)
        members = SimpleNamespace(find=lambda _token: None)
        arrivals = Arrivals([controller], members=members, clock=clock)
        counter = Counter(desk, arrivals, token_key=TokenKey(key=KEY, key_id="k"), clock=clock)
        task = asyncio.create_task(counter.run())
        await asyncio.sleep(seconds)
        task.cancel()
        return counter

    return asyncio.run(main()), desk


def test_a_bank_card_pays_at_the_terminal_and_keeps_it():
    controller = Controller()
    _, desk = stand_before(controller, BankCard(token="T-1"))
    (event,) = controller.events
    assert (event.method, event.member) == ("terminal", None)
    assert event.token == bank_token("terminal", "T-1", key=KEY, key_id="k")
    assert desk.gone_on == 0


def test_a_bank_card_that_stops_its_session_lets_the_terminal_read_on():
    token = bank_token("par", "V0010013", key=KEY, key_id="k")
    controller = Controller(token=token)
    _, desk = stand_before(controller, BankCard(par="V0010013"))
    assert controller.events[0].token == token
    assert desk.gone_on == 1


def test_a_bank_card_where_nothing_is_sold_lets_the_terminal_read_on():
    _, desk = stand_before(Controller(sells=False), BankCard(token="T-1"), seconds=2.6)
    assert desk.gone_on == 1


def test_a_phone_without_a_name_is_another_one_each_time():
    controller = Controller(sells=False)
    stand_before(controller, BankCard(), BankCard(), seconds=5)
    first, second = (event.token for event in controller.events)
    assert (first.kind, second.kind) == ("anonymous", "anonymous")
    assert first != second


def test_a_member_s_card_at_the_terminal_is_the_one_that_the_reader_knows():
    uid = bytes.fromhex("04A1B2C3D4E5F6")
    controller = Controller()
    stand_before(controller, MemberCard(uid=uid))
    (event,) = controller.events
    assert (event.method, event.token) == ("account", uid_token(uid, key=KEY, key_id="k"))


def test_no_card_is_told_in_words_unless_nobody_came():
    controller = Controller()
    stand_before(controller, NoCard(reason="cancelled", code=0x6C), NoCard(reason="card_unreadable", code=1))
    assert controller.told == ["card_unreadable"]
    assert controller.events == []


def test_the_terminal_shows_the_price_and_what_is_held():
    _, desk = stand_before(Controller())
    assert desk.lines == ("Energy 0.49 EUR/kWh", "max. 50.00 EUR")


@pytest.mark.parametrize(
    ("reason", "failing"), [(None, None), ("terminal_busy", None), ("no_connection", "no_connection")]
)
def test_a_busy_terminal_is_not_a_broken_one(reason, failing):
    counter, desk = stand_before(Controller(), seconds=0.05)
    desk.reason = reason
    assert counter.failing == failing
