"""What the sender believes of what is said about its journal: real journal, no broker, time as the test says."""

from __future__ import annotations

import sqlite3

import pytest

from edge.domain.ledger.envelope import GENESIS
from edge.sync.contract.messages import Ack, Need, Refusal
from edge.sync.options import UplinkOptions
from edge.sync.uplink.outbox import Outbox
from edge.sync.uplink.queue import queue_status
from edge.sync.uplink.sender import DOUBT_S, Sender
from edge.sync.uplink.watermark import Watermark

from .conftest import PATIENCE_S, now

OTHER = "f" * 64


@pytest.fixture
def world(till):
    """A journal of 21 entries, and whoever sends it."""
    till.write(20)
    outbox = Outbox(till.database)
    watermark = Watermark(till.store, now, 0.05)
    told = []
    sender = Sender(outbox, watermark, UplinkOptions(brokers=("b:1",)), "till/v1/s1/d1/tx", told.append)
    yield till, outbox, sender, told
    watermark.write(0.0, whatever=True)
    outbox.close()


class Wire:
    """What the sender needs of a connection; nothing that is sent ever arrives."""

    in_flight = 0

    def __init__(self):
        self.sent = []

    def publish(self, topic, payload):
        self.sent.append((topic, payload))


def ack(outbox, epoch, upto, head=None, **more):
    return Ack(epoch=epoch, upto=upto, head=head or outbox.hash_of(epoch, upto) or OTHER, **more)


def test_the_same_word_twice_an_old_one_and_a_strange_one_change_nothing(world):
    till, outbox, sender, told = world
    epoch = till.store.head.epoch
    (line,) = sender.lines
    line.sent = 21
    for upto in (5, 5, 15, 15):
        sender.heard(ack(outbox, epoch, upto), 0.0)
    sender.heard(ack(outbox, "STRANGER", 900), 0.0)
    assert sender.heard(ack(outbox, epoch, 5), 0.0), "an old word is doubted, and a new one asked for"
    sender.heard(ack(outbox, epoch, 15), 0.1)
    sender.tick(0.1 + DOUBT_S)  # before the resend timer, which is jittered around 2 s
    assert (line.acked, line.sent, line.halted, told) == (15, 21, False, [])


def test_a_lower_word_that_nobody_contradicts_is_a_restored_back_office(world):
    till, outbox, sender, told = world
    epoch = till.store.head.epoch
    (line,) = sender.lines
    line.sent = 21
    sender.heard(ack(outbox, epoch, 21), 0.0)
    sender.tick(0.1)
    for upto, expected in ((7, 7), (0, 0)):
        sender.heard(ack(outbox, epoch, upto), 1.0)
        sender.tick(1.0 + DOUBT_S)
        assert (line.acked, line.sent, line.unsent) == (expected, expected, 21 - expected)
    assert told == []


@pytest.mark.parametrize(
    ("upto", "head", "reason"), [(22, OTHER, "ahead"), (21, OTHER, "diverged"), (0, OTHER, "diverged")]
)
def test_a_contradiction_is_told_once_and_stops_the_line(world, upto, head, reason):
    till, outbox, sender, told = world
    epoch = till.store.head.epoch
    (line,) = sender.lines
    line.sent = 21
    for _ in range(3):
        sender.heard(ack(outbox, epoch, upto, head), 0.0)
    assert [(found.reason, found.held, found.acknowledged) for found in told] == [(reason, 21, upto)]
    assert line.unsent == 0
    assert not sender.awaits_answer
    assert (line.acked, outbox.hash_of(epoch, 0)) == (0, GENESIS)


def test_what_is_refused_is_shown_over_restarts_until_it_is_booked(world):
    till, outbox, sender, _ = world
    epoch = till.store.head.epoch
    sender.lines[0].sent = 21

    def shown():
        sender._watermark.write(0.0, whatever=True)
        till.store.close()
        till.open()
        status = queue_status(till.database, brokers=None, now=now().utc)
        newest = status.newest_refused
        return status.refused, newest and (newest.epoch, newest.seq, newest.reason)

    for seq, reason in ((6, "chain"), (8, "conflict"), (8, "conflict")):
        sender.heard(ack(outbox, epoch, 5, refused=Refusal(seq=seq, reason=reason)), 0.0)
    assert shown() == (2, (epoch, 8, "conflict"))
    sender._watermark._store = till.store
    sender.heard(ack(outbox, epoch, 7), 0.0)
    assert shown() == (1, (epoch, 8, "conflict"))
    sender._watermark._store = till.store
    sender.heard(ack(outbox, epoch, 8), 0.0)
    assert shown() == (0, None)
    sender._watermark._store = till.store


def test_what_is_said_of_an_epoch_that_was_pruned_whole_changes_nothing(world):
    till, outbox, sender, told = world
    old = till.store.head.epoch
    head = till.store.head.hash

    def settle(tx):
        tx.set_watermark(old, 21, head, now())

    till.store.submit(settle).result(PATIENCE_S)
    till.new_epoch()
    with sqlite3.connect(till.database) as db:
        db.execute("DELETE FROM entry WHERE epoch = ?", (old,))
    fresh = Sender(outbox, sender._watermark, UplinkOptions(brokers=("b:1",)), "t", told.append)
    assert fresh.waiting == 1
    for upto in (30, 21, 22):
        fresh.heard(ack(outbox, old, upto, OTHER), 0.0)
    assert fresh.waiting == 1
    assert [line.unsent for line in fresh.lines] == [0, 1]
    assert told == []


def test_a_gap_is_sent_again_as_often_as_once_a_second(world):
    till, outbox, sender, _ = world
    epoch = till.store.head.epoch
    (line,) = sender.lines
    line.sent = 21
    asked = ack(outbox, epoch, 5, need=Need(from_=9))
    sender.heard(asked, 0.0)
    assert line.sent == 8
    line.sent = 21
    sender.heard(asked, 0.5)
    assert line.sent == 21
    sender.heard(asked, 1.5)
    assert line.sent == 8
    sender.heard(ack(outbox, epoch, 5, need=Need(from_=1)), 3.0)
    assert line.sent == 5, "what is acknowledged is not sent again"


def test_what_is_still_on_its_way_to_the_broker_is_not_sent_again(world):
    _, _, sender, _ = world
    (line,) = sender.lines
    link = Wire()
    sender.pump(link, 0.0)
    assert (line.sent, len(link.sent)) == (21, 1)
    for now_s in range(1, 60):
        sender.tick(float(now_s), in_transit=True)
        sender.pump(link, float(now_s))
    assert len(link.sent) == 1, "a slow line is not made slower"
    sender.tick(60.0)
    assert line.sent == 21, "the period begins when the broker has taken everything"
    sender.tick(62.5)
    sender.pump(link, 62.5)
    assert len(link.sent) == 2


def test_steady_traffic_does_not_put_off_for_ever_what_nobody_acknowledged(world):
    _, _, sender, _ = world
    link = Wire()
    sender.pump(link, 0.0)
    for now_s in range(1, 8):  # something is always on its way when one looks the second time
        sender.tick(float(now_s))
        sender.tick(now_s + 0.5, in_transit=True)
        sender.pump(link, now_s + 0.5)
    assert len(link.sent) > 1
