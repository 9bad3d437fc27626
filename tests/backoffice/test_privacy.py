"""A member who leaves is forgotten: in the lists, in the orders, in the file, and beside the invoices."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest

from edge.backoffice.orders import Orders
from edge.backoffice.privacy import ErasureUnclear, erase
from edge.store.keys import load_or_make
from edge.sync.contract.orders import ListedMember

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


@pytest.mark.parametrize("wanted", [{}, {"token": CARD, "account": "A-1"}, {"token": CARD, "buyers": True}])
def test_an_erasure_names_one_thing(office, wanted):
    with pytest.raises(ErasureUnclear):
        erase(*office, **wanted)
