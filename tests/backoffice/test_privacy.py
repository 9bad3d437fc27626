"""A member who leaves is forgotten: in the lists, in the orders, in the file, and beside the invoices."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import msgspec
import pytest

from edge.backoffice.orders import Orders
from edge.backoffice.outgoing import Outgoing
from edge.backoffice.privacy import ErasureUnclear, answered, erase, order_again, waiting
from edge.backoffice.schema import open_books
from edge.domain.buyer import Buyer, BuyerRecord
from edge.domain.ledger.facts import DeviceDecommissioned
from edge.store.keys import load_or_make
from edge.sync.contract.orders import Erase, Fault, ListedMember, RemoteStart, Reply
from edge.sync.contract.topics import Peer

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CARD, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def office(tmp_path):
    path = tmp_path / "books.db"
    orders = Orders(path, load_or_make(tmp_path / "key"))
    members = [ListedMember(token=CARD, account="A-1"), ListedMember(token=OTHER, account="A-2")]
    orders.put_members("s1", members)
    orders.publish_members("s1")
    orders.put_members("s1", [ListedMember(token=CARD, account="A-1", blocked=True)])
    orders.publish_members("s1")
    yield path, orders
    orders.close()


def on_disk(path):
    return b"".join(f.read_bytes() for f in path.parent.glob("books.db*"))


@pytest.mark.parametrize("wanted", [{"token": CARD}, {"account": "A-1"}])
def test_a_member_is_forgotten_here_and_in_what_the_devices_are_told(office, wanted):
    path, orders = office
    assert CARD.encode() in on_disk(path)
    done = erase(path, orders, **wanted)
    assert (done.members, done.sites) == (1, ("s1",))
    assert [m.token for m in orders.members("s1")] == [OTHER]
    assert CARD.encode() not in on_disk(path)
    db = sqlite3.connect(path)
    kept = [bytes(p) for (p,) in db.execute("SELECT payload FROM orders") if p]
    db.close()
    assert kept, "a whole new list is sent"
    assert erase(path, orders, **wanted).members == 0


def test_buyers_go_only_when_they_are_asked_for(office):
    path, orders = office
    invoice = {"draft": {"buyer": "c0ffee", "account": "A-1"}}
    db = sqlite3.connect(path)
    db.execute("INSERT INTO device (device_id, site, device, first_seen_at) VALUES (1, 's1', 'd1', '')")
    db.execute("INSERT INTO buyer (commitment, record) VALUES ('c0ffee', '{}'), ('other', '{}')")
    db.execute(
        "INSERT INTO invoice (device_id, number, series, sequence, session_id, issued_at, currency, payable_minor, "
        "document) VALUES (1, 'n', 's', 1, 'x', '', 'EUR', 1, ?)",
        (msgspec.json.encode(invoice).decode(),),
    )
    db.commit()
    assert erase(path, orders, account="A-1").buyers == 0
    assert erase(path, orders, account="A-1", buyers=True).buyers == 1
    assert db.execute("SELECT commitment FROM buyer").fetchall() == [("other",)]
    db.close()


def test_buyers_of_collective_invoices_and_statements_go_with_them(office):
    path, orders = office
    db = sqlite3.connect(path)
    db.execute("INSERT INTO device (device_id, site, device, first_seen_at) VALUES (1, 's1', 'd1', '')")
    db.execute("INSERT INTO buyer (commitment, record) VALUES ('c1', '{}'), ('c2', '{}'), ('other', '{}')")
    db.execute(
        "INSERT INTO statement (device_id, session_id, account, ended_at, currency, payable_minor, document) "
        """VALUES (1, 's', 'A-1', '', 'EUR', 1, '{"draft":{"buyer":"c1"}}')"""
    )
    db.execute(
        "INSERT INTO account_invoice (number, series, sequence, account, month, currency, issued_at, payable_minor, "
        """document) VALUES ('n', 's', 1, 'A-1', '2026-11', 'EUR', '', 1, '{"content":{"buyer":"c2"}}')"""
    )
    db.commit()
    assert erase(path, orders, account="A-1", buyers=True).buyers == 2
    assert db.execute("SELECT commitment FROM buyer").fetchall() == [("other",)]
    db.close()


def test_nobody_stays_in_pages_that_a_large_list_has_left(office):
    path, orders = office
    named = BuyerRecord(buyer=Buyer(name="Erika Musterfrau", address="Weg 1", country="DE"), salt="ab" * 16)
    many = [ListedMember(token=f"{n:064x}", account="B", buyer=named) for n in range(300)]
    for _ in range(2):
        orders.put_members("s1", many)
        orders.publish_members("s1", whole=True)
    assert b"Musterfrau" in on_disk(path)
    assert erase(path, orders, account="B").members == 300
    assert b"Musterfrau" not in on_disk(path)


def devices(path, *names, last=()):
    db = open_books(path)
    for number, name in enumerate(names, start=1):
        db.execute(
            "INSERT INTO device (device_id, site, device, first_seen_at) VALUES (?, 's1', ?, '')",
            (number, name),
        )
        db.execute(
            "INSERT INTO line (line_id, device_id, epoch, upto, head, top) VALUES (?, ?, 'E', 3, '', 3)",
            (number, number),
        )
        kind = DeviceDecommissioned.TYPE if name in last else "chargetill.device.booted.v1"
        db.execute(
            "INSERT INTO entry (line_id, seq, type, hash, received_at, raw) VALUES (?, 2, ?, '', '', x'')",
            (number, kind),
        )
    db.close()


def say(path, name, version, **how):
    db = open_books(path)
    reply = Reply(stream="cmd", version=version, **how)
    Outgoing(db).answered(Peer("s1", name), reply, NOW)
    answered(db, Peer("s1", name), reply)
    db.close()


def test_each_device_that_still_sells_is_ordered_to_erase_and_forgotten_once_it_has(office):
    path, orders = office
    devices(path, "d1", "d2", "gone", last=("gone",))
    done = erase(path, orders, token=CARD)
    assert [(a.device, a.version) for a in done.devices] == [("d1", 1), ("d2", 1)]
    assert erase(path, orders, token=CARD).devices == done.devices, "what waits already is as good"
    (order, *_) = orders.status(Peer("s1", "d1"))
    assert msgspec.json.decode(order.order, type=Erase) == Erase(token=CARD)
    say(path, "d1", 1, ok=True, result={"sessions": 1})
    db = open_books(path)
    assert waiting(db) == 1
    say(path, "d2", 1, ok=True)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert waiting(db) == 0
    db.close()
    assert CARD.encode() not in on_disk(path)
    assert orders.reply(Peer("s1", "d1"), 1).result == {"sessions": 1}


def test_of_an_account_the_devices_are_told_its_cards_too(office):
    path, orders = office
    devices(path, "d1")
    first, second = erase(path, orders, account="A-1").devices
    assert erase(path, orders, account="A-1").devices == (second,), "no card is known any more"
    told = {o.version: msgspec.json.decode(o.order, type=Erase) for o in orders.status(Peer("s1", "d1"))}
    assert told == {first.version: Erase(token=CARD), second.version: Erase(account="A-1")}


def test_an_erasure_that_was_overtaken_is_ordered_again_and_one_that_was_refused_is_not(office):
    path, orders = office
    devices(path, "d1", "d2")
    erase(path, orders, token=CARD)
    say(path, "d1", 1, ok=False, error=Fault(code="order.old", message=""))
    say(path, "d2", 1, ok=False, error=Fault(code="order.not_possible", message=""))
    db = open_books(path)
    (again,) = order_again(db, orders)
    assert (again.device, again.version) == ("d1", 2)
    assert order_again(db, orders) == ()
    db.close()


def test_what_a_command_said_goes_also_when_nobody_answered_it_in_time(office):
    path, orders = office
    start = RemoteStart(evse_id="E1", account="A-9", limit_minor=1, currency="EUR", authorization_id="A1b2c3")
    orders.command(Peer("s1", "d1"), start, good_for_s=-1)
    orders.command(Peer("s1", "d1"), start, good_for_s=600)
    assert erase(path, orders, account="A-9").orders == 1
    still, over = orders.status(Peer("s1", "d1"))
    assert (b"A-9" in bytes(over.order), b"A-9" in bytes(still.order)) == (False, True), (
        "the last one is still to be obeyed"
    )


@pytest.mark.parametrize("wanted", [{}, {"token": CARD, "account": "A-1"}, {"token": CARD, "buyers": True}])
def test_an_erasure_names_one_thing(office, wanted):
    with pytest.raises(ErasureUnclear):
        erase(*office, **wanted)
