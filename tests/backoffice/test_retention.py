"""What says who somebody was goes from the back office when its time is over, and that can be seen."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from edge.backoffice.orders import Orders, orders_key
from edge.backoffice.outgoing import Outgoing
from edge.backoffice.retention import Expired, Retention, Upkeep, expire, noted
from edge.backoffice.schema import open_books
from edge.backoffice.stats import collect
from edge.sync.contract.orders import Erase, ListedMember, RemoteStart, Reply, SendLogs
from edge.sync.contract.topics import Peer

D1 = Peer("s1", "d1")
KEEP = Retention(personal_days=30, documents_days=365)


@pytest.fixture
def books(tmp_path):
    path = tmp_path / "books.db"
    orders = Orders(path, orders_key(path))
    db = open_books(path)
    yield path, db, orders
    db.close()
    orders.close()


def later(days):
    return datetime.now(UTC) + timedelta(days=days)


def start():
    return RemoteStart(
        evse_id="E1", account="A-1", limit_minor=100, currency="EUR", authorization_id="A1b2c3"
    )


def bodies(db):
    rows = db.execute("SELECT body, payload, reply FROM orders WHERE stream = 'cmd' ORDER BY order_id")
    return [(json.loads(body), bool(payload), reply) for body, payload, reply in rows]


def test_what_commands_said_goes_and_that_they_were_given_stays(books):
    path, db, orders = books
    orders.command(D1, start())
    orders.command(D1, SendLogs(lines=1))
    orders.command(D1, start(), good_for_s=60)
    orders.command(D1, start())
    orders.command(D1, Erase(token="ab" * 32))
    view = Outgoing(db)
    for version in (1, 2):
        reply = Reply(stream="cmd", version=version, ok=True, result={"lines": ["who"]})
        view.answered(D1, reply, datetime.now(UTC))
    assert expire(db, path, KEEP, later(29)).commands == 0
    assert expire(db, path, KEEP, later(31)).commands == 3
    found = bodies(db)
    assert [body["do"] for body, _, _ in found] == [
        "remote_start",
        "send_logs",
        "remote_start",
        "remote_start",
        "erase",
    ]
    assert [kept for _, kept, _ in found] == [False, False, False, True, True], (
        "the last two are still to be obeyed"
    )
    assert not any("who" in (reply or "") for _, _, reply in found)
    assert orders.reply(D1, 2).ok
    assert [w.payload != b"" for w in view.waiting(later(31), limit=9)] == [True, True]


def permission(db, name, *, at, refused=None):
    db.execute(
        "INSERT INTO authorization (authorization_id, site, device, reference, evse_id, currency, refused, at) "
        "VALUES (?, 's1', 'd1', ?, 'E1', 'EUR', ?, ?)",
        (name, f"r-{name}", refused, at.isoformat()),
    )


def test_permissions_that_nobody_used_go_and_those_that_are_money_stay(books):
    path, db, _ = books
    db.execute("INSERT INTO device (device_id, site, device, first_seen_at) VALUES (1, 's1', 'd1', '')")
    now = datetime.now(UTC)
    for name in ("used", "unused"):
        permission(db, name, at=now)
    permission(db, "refused", at=now, refused="card_unknown")
    db.execute(
        "INSERT INTO payment (device_id, payment_ref, session_id, method, currency, status, requested_minor) "
        "VALUES (1, 'r-used', 's', 'upstream', 'EUR', 'captured', 1)"
    )
    assert expire(db, path, KEEP, later(8)).permissions == 1
    assert expire(db, path, KEEP, later(31)).permissions == 1
    assert db.execute("SELECT authorization_id FROM authorization").fetchall() == [("used",)]


def test_who_is_named_on_documents_goes_after_the_time_for_documents(books):
    path, db, _ = books
    now = datetime.now(UTC)
    db.execute("INSERT INTO device (device_id, site, device, first_seen_at) VALUES (1, 's1', 'd1', '')")
    db.execute("INSERT INTO buyer (commitment, record) VALUES ('old', '{}'), ('young', '{}')")
    for name, at in (("old", now), ("young", now + timedelta(days=200))):
        db.execute(
            "INSERT INTO invoice (device_id, number, series, sequence, session_id, issued_at, currency, payable_minor, "
            "document) VALUES (1, ?, ?, 1, 's', ?, 'EUR', 1, ?)",
            (name, name, at.isoformat(), json.dumps({"draft": {"buyer": name}})),
        )
    assert expire(db, path, KEEP, later(300)).buyers == 0
    assert expire(db, path, KEEP, later(366)).buyers == 1
    assert db.execute("SELECT commitment FROM buyer").fetchall() == [("young",)]


def test_a_list_that_still_names_who_has_left_is_made_anew(books):
    path, db, orders = books
    gone, stays = "ab" * 32, "cd" * 32
    orders.put_members("s1", [ListedMember(token=t, account="A-1") for t in (gone, stays)])
    orders.publish_members("s1")
    orders.remove_members("s1", [gone])
    orders.publish_members("s1")
    assert expire(db, path, KEEP, later(29)).lists == 0
    assert expire(db, path, KEEP, later(31)).lists == 1
    assert expire(db, path, KEEP, later(31)).lists == 0
    raw = b"".join(f.read_bytes() for f in path.parent.glob("books.db*"))
    assert gone.encode() not in raw
    assert stays.encode() in raw


def test_the_receiver_looks_daily_and_the_figures_say_so(books):
    path, db, orders = books
    assert collect(path).retention is None
    upkeep = Upkeep(db, path, KEEP)
    for now in (0.0, 59.0):
        upkeep.serve(now)
    assert noted(db) is None, "a start has other things to do"
    upkeep.serve(61.0)
    first = collect(path).retention
    assert (first.personal_days, first.documents_days, first.expired) == (30, 365, Expired())
    orders.command(D1, Erase(token="ab" * 32))
    assert collect(path).erasures_waiting == 1
    upkeep.serve(86_000.0)
    assert noted(db) == first
    upkeep.serve(86_500.0)
    assert noted(db).looked_at > first.looked_at


def test_a_disk_that_takes_nothing_is_tried_again(books, caplog):
    path, db, _ = books
    upkeep = Upkeep(db, path, KEEP)
    upkeep.serve(0.0)
    other = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA busy_timeout = 0")
    other.execute("BEGIN IMMEDIATE")
    upkeep.serve(61.0)
    assert any("retention.not_kept" in r.getMessage() for r in caplog.records)
    other.execute("ROLLBACK")
    other.close()
    upkeep.serve(62.0)
    assert noted(db) is None
    upkeep.serve(662.0)
    assert noted(db) is not None


def test_a_list_that_has_grown_too_long_stops_nobody(books, caplog, monkeypatch):
    path, db, orders = books
    orders.put_members("s1", [ListedMember(token=t * 32, account="A-1") for t in ("ab", "cd")])
    orders.publish_members("s1")
    orders.remove_members("s1", ["ab" * 32])
    db.execute("UPDATE orders SET issued_at = '2020-01-01T00:00:00+00:00'")
    monkeypatch.setattr("edge.backoffice.orders.PARTS_MAX", 0)
    upkeep = Upkeep(db, path, KEEP)
    upkeep.serve(0.0)
    upkeep.serve(61.0)
    assert any("retention.not_kept" in r.getMessage() for r in caplog.records)
