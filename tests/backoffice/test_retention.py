"""What says who somebody was goes from the back office when its time is over, and that can be seen."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from edge.backoffice.books import Books
from edge.backoffice.orders import Orders, orders_key
from edge.backoffice.outgoing import Outgoing
from edge.backoffice.retention import Expired, Retention, Upkeep, certain, expire, noted
from edge.backoffice.schema import open_books
from edge.backoffice.stats import collect
from edge.domain.ledger.facts import DeviceDecommissioned
from edge.sync.contract.messages import Position, State, StateFields
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


def heard(books, at, *, told_upto=0, seq=0, trusted=True, device=D1):
    """The device says what it has, by its own clock; entries of it are booked up to `told_upto`."""
    path, db, _ = books
    health = StateFields(version="1", boot_id="b", clock_trusted=trusted)
    position = Position(epoch="E", seq=seq, head="0" * 64, acknowledged=0, waiting=seq)
    state = State(online=True, at=at, position=position, health=health)
    desk = Books(path)
    desk.answer(device, state, datetime.now(UTC), retained=False)
    desk.close()
    db.execute(
        "INSERT INTO line (device_id, epoch, upto, head, top) SELECT device_id, 'E', ?1, '', ?1 FROM device "
        "WHERE device = ?2 ON CONFLICT DO UPDATE SET upto = ?1",
        (told_upto, device.device),
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
    heard(books, later(30.5))
    assert expire(db, path, KEEP, later(8)).permissions == 1
    assert expire(db, path, KEEP, later(31)).permissions == 1
    assert db.execute("SELECT authorization_id FROM authorization").fetchall() == [("used",)]


def test_a_permission_waits_for_the_entries_of_a_till_that_was_away(books):
    path, db, _ = books
    permission(db, "P", at=datetime.now(UTC))
    assert expire(db, path, KEEP, later(90)).permissions == 0, "nobody knows what the till did with it"
    heard(books, later(29))
    assert expire(db, path, KEEP, later(90)).permissions == 0, "heard before its time was over"
    heard(books, later(91), seq=7, told_upto=6)
    assert expire(db, path, KEEP, later(91)).permissions == 0, (
        "it is back, and its last entry has not come yet"
    )
    heard(books, later(91), seq=7, told_upto=7, trusted=False)
    assert expire(db, path, KEEP, later(91)).permissions == 0, "it does not know the time"
    heard(books, later(91), seq=7, told_upto=7)
    assert expire(db, path, KEEP, later(91)).permissions == 1
    permission(db, "never", at=datetime.now(UTC) - timedelta(days=400))
    assert expire(db, path, KEEP, later(0)).permissions == 1, "for ever is too long"


def test_a_permission_does_not_wait_for_a_device_that_said_its_last_word(books):
    path, db, _ = books
    permission(db, "P", at=datetime.now(UTC))
    heard(books, later(1), seq=7, told_upto=7)
    db.execute(
        "INSERT INTO entry (line_id, seq, type, hash, received_at, raw) SELECT line_id, 6, ?, '', '', x'' FROM line",
        (DeviceDecommissioned.TYPE,),
    )
    db.execute("UPDATE line SET top = 9")
    assert expire(db, path, KEEP, later(31)).permissions == 0, "something of it waits behind a gap"
    db.execute("UPDATE line SET top = upto")
    assert expire(db, path, KEEP, later(29)).permissions == 0
    assert expire(db, path, KEEP, later(31)).permissions == 1
    permission(db, "Q", at=datetime.now(UTC))
    db.execute(
        "INSERT INTO line (device_id, epoch, upto, head, top) SELECT device_id, 'F', 1, '', 1 FROM device"
    )
    assert expire(db, path, KEEP, later(31)).permissions == 0, "it is in use again"


def test_no_clock_is_believed_alone(books):
    path, db, _ = books
    now = datetime.now(UTC)

    def sure(shown):
        return certain(db, path, shown, waited=timedelta(0))

    assert sure(now) is None, "no device has told the time"
    heard(books, now - timedelta(hours=3))
    assert sure(now) == now
    far = now + timedelta(days=4_000)
    assert sure(far) == now + timedelta(hours=21), "our clock leapt by years"
    assert sure(now - timedelta(hours=1)) == now - timedelta(hours=1)
    db.execute(
        "INSERT INTO entry (line_id, seq, hash, received_at, raw) VALUES (1, 1, '', ?, x'')",
        (now.isoformat(),),
    )
    assert sure(now - timedelta(hours=1)) is None, "we have booked something later than that"
    heard(books, far, trusted=False)
    assert sure(far) is None
    heard(books, datetime.max.replace(tzinfo=UTC), device=Peer("s1", "d2"))
    assert sure(now) == now
    heard(books, datetime.max, device=Peer("s1", "d2"))
    assert sure(far) is None, "no time without a zone"


def test_where_every_till_is_gone_time_goes_on_as_long_as_somebody_counts_it(books):
    path, db, _ = books
    heard(books, datetime.now(UTC) - timedelta(days=200))
    upkeep = Upkeep(db, path, KEEP)
    upkeep.serve(0.0)
    upkeep.serve(61.0)
    first = datetime.fromisoformat(noted(db).looked_at)
    assert first < later(-198)
    for day in range(1, 4):
        upkeep.serve(61.0 + 86_400 * day)
    assert datetime.fromisoformat(noted(db).looked_at) - first == timedelta(days=3)
    again = Upkeep(db, path, KEEP)
    again.serve(0.0)
    again.serve(3_600.0)
    assert datetime.fromisoformat(noted(db).looked_at) - first == timedelta(days=3, hours=1), (
        "a restart adds nothing"
    )


def test_where_no_till_ever_knew_the_time_it_counts_from_what_was_booked_last(books):
    path, db, orders = books
    heard(books, datetime.now(UTC), trusted=False)
    booked = datetime.now(UTC) - timedelta(days=200)
    db.execute(
        "INSERT INTO entry (line_id, seq, hash, received_at, raw) VALUES (1, 1, '', ?, x'')",
        (booked.isoformat(),),
    )
    orders.command(D1, SendLogs(lines=1), good_for_s=60)
    ordered = (booked - timedelta(days=29)).isoformat()
    db.execute("UPDATE orders SET issued_at = ?1, expires_at = ?1", (ordered,))
    upkeep = Upkeep(db, path, KEEP)
    upkeep.serve(0.0)
    upkeep.serve(61.0)
    assert datetime.fromisoformat(noted(db).looked_at) == booked + timedelta(seconds=61)
    upkeep.serve(61.0 + 86_400 / 2)
    assert [kept for _, kept, _ in bodies(db)] == [True]
    for day in (1, 2):
        upkeep.serve(61.0 + 86_400 * day)
    assert datetime.fromisoformat(noted(db).looked_at) == booked + timedelta(days=2, seconds=61)
    assert [kept for _, kept, _ in bodies(db)] == [False]


def test_the_first_look_deletes_nothing_where_nobody_bears_the_clock_out(books):
    path, db, orders = books
    orders.command(D1, SendLogs(lines=1), good_for_s=60)
    db.execute("UPDATE orders SET issued_at = ?1, expires_at = ?1", (later(-100).isoformat(),))
    upkeep = Upkeep(db, path, KEEP)
    upkeep.serve(0.0)
    upkeep.serve(61.0)
    upkeep.serve(4_000.0)
    assert later(-1) < datetime.fromisoformat(noted(db).looked_at) <= later(0)
    assert [kept for _, kept, _ in bodies(db)] == [True]


def test_a_restart_loses_an_hour_at_most_of_the_time_that_was_counted(books):
    path, db, orders = books
    heard(books, datetime.now(UTC) - timedelta(days=200))
    upkeep = Upkeep(db, path, KEEP)
    upkeep.serve(0.0)
    upkeep.serve(61.0)
    first = datetime.fromisoformat(noted(db).looked_at)
    orders.command(D1, SendLogs(lines=1), good_for_s=60)
    db.execute("UPDATE orders SET issued_at = ?1, expires_at = ?1", (later(-400).isoformat(),))
    for hour in range(1, 24):
        upkeep.serve(61.0 + 3_600 * hour)
    again = Upkeep(db, path, KEEP)
    again.serve(0.0)
    assert datetime.fromisoformat(noted(db).looked_at) - first == timedelta(hours=23)
    assert [kept for _, kept, _ in bodies(db)] == [True], "it looks daily"
    again.serve(61.0)
    assert [kept for _, kept, _ in bodies(db)] == [False]


def test_a_clock_that_leapt_deletes_nothing(books):
    path, db, orders = books
    heard(books, datetime.now(UTC) - timedelta(days=200))
    orders.command(D1, SendLogs(lines=1), good_for_s=60)
    db.execute("UPDATE orders SET issued_at = ?1, expires_at = ?1", (later(-100).isoformat(),))
    upkeep = Upkeep(db, path, KEEP)
    upkeep.serve(0.0)
    upkeep.serve(61.0)
    assert [kept for _, kept, _ in bodies(db)] == [True]
    heard(books, datetime.now(UTC))
    upkeep.serve(90_000.0)
    assert [kept for _, kept, _ in bodies(db)] == [False]


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
    heard(books, datetime.now(UTC))
    upkeep.serve(662.0)
    first = collect(path).retention
    assert (first.personal_days, first.documents_days, first.expired) == (30, 365, Expired())
    orders.command(D1, Erase(token="ab" * 32))
    assert collect(path).erasures_waiting == 1
    upkeep.serve(4_200.0)
    assert noted(db).expired == first.expired
    upkeep.serve(87_100.0)
    assert noted(db).looked_at > first.looked_at


def test_a_disk_that_takes_nothing_is_tried_again(books, caplog):
    path, db, _ = books
    heard(books, datetime.now(UTC))
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
    heard(books, datetime.now(UTC))
    upkeep = Upkeep(db, path, KEEP)
    upkeep.serve(0.0)
    upkeep.serve(61.0)
    assert any("retention.not_kept" in r.getMessage() for r in caplog.records)
