"""Card data waits for its one request, shows itself to nobody, and goes."""

from __future__ import annotations

import copy
import gc
import json
import pickle

import msgspec
import pytest

from edge.domain.payment import Authorized
from edge.emv.kernel.outcome import CardNumber
from edge.payments.acquirer.card_data import OFFER_MAX_S, OFFERS_MAX, CardData, Offers

from .conftest import PAN, World, card, run


class Watch:
    s = 0.0

    def __call__(self):
        return self.s


def test_it_is_taken_once_under_either_name():
    offers = Offers(Watch())
    offers.offer("r", one := card())
    offers.offer("token", card())
    assert offers.take("r", "token") is one
    assert offers.take("r", "token") is None
    assert len(offers) == 0


def test_it_does_not_wait_for_long_nor_in_numbers():
    watch = Watch()
    offers = Offers(watch)
    offers.offer("old", card())
    watch.s = OFFER_MAX_S + 1
    assert offers.take("old") is None
    for n in range(OFFERS_MAX + 3):
        offers.offer(f"r{n}", card())
    assert len(offers) == OFFERS_MAX
    assert offers.take("r0") is None
    assert offers.take(f"r{OFFERS_MAX + 2}") is not None
    offers.withdraw("r5")
    assert offers.take("r5") is None


def test_nothing_writes_it_down():
    one = card()
    for shown in (repr(one), str(one), f"{one!r:>5}"):
        assert PAN not in shown
        assert "2912" not in shown
    for write in (pickle.dumps, json.dumps, msgspec.json.encode, copy.deepcopy):
        with pytest.raises(TypeError):
            write(one)


@pytest.mark.parametrize(
    ("pan", "track_2", "icc"),
    [("12", None, b"x"), ("4" * 20, None, b"x"), ("476173900101x119", None, b"x"), (PAN, PAN + "D" + "1" * 30, b"x"),
     (PAN, None, bytes(256)), (PAN, None, b"")],
)  # fmt: skip
def test_what_no_message_takes_is_refused_before_it_waits(pan, track_2, icc):
    with pytest.raises(ValueError):
        CardData(number=CardNumber(pan, expiry="2912", track_2=track_2), icc=icc)


def test_after_the_answer_nothing_in_the_till_knows_the_number():
    world = World()
    world.line.sent = Forgetful()
    known = CardNumber(PAN, expiry="2912", track_2=None)
    world.journal.begin("r", 5000)
    world.pay.offer("r", CardData(number=known, icc=b"\x9a\x01\x00"))
    del known
    assert len(numbers()) == 1
    assert run(world.preauthorize(with_card=False)) == Authorized(ref="r", hold_minor=5000)
    assert numbers() == []


def numbers():
    """Every card number that anything in this process still holds."""
    gc.collect()
    return [o for o in gc.get_objects() if isinstance(o, CardNumber) and o.reveal()[0] == PAN]


class Forgetful(list):
    """What was sent, without what the card said."""

    def append(self, sent):
        super().append((sent[0], {}))
