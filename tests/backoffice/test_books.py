"""Booking what arrives: once, in order, whatever the network did to it."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.backoffice.arrival import Message
from edge.backoffice.books import EARLY_MAX, QUARANTINE_MAX, Books
from edge.backoffice.stats import collect
from edge.backoffice.verify import verify
from edge.domain.ledger.envelope import GENESIS, digest
from edge.store.connection import StoreFull
from edge.sync.contract.messages import Ack, Position, State
from edge.sync.contract.topics import Peer

D1 = Peer("s1", "d1")
NOW = datetime(2026, 6, 1, 12, 0, 5, tzinfo=UTC)


def book(books: Books, *payloads: bytes, peer: Peer = D1) -> list[Ack]:
    return [ack for _, ack in books.book([Message(peer=peer, payload=p) for p in payloads], NOW)]


def test_entries_are_booked_byte_for_byte_and_the_head_is_acknowledged(books, journal, database) -> None:
    journal.fill(3)
    (ack,) = book(books, b"\n".join(journal.raws))
    assert ack == Ack(epoch="EPOCH1", upto=4, head=journal.head.hash)
    stored = [bytes(raw) for (raw,) in books.db.execute("SELECT raw FROM entry ORDER BY seq")]
    assert stored == journal.raws


def test_the_same_entries_again_are_acknowledged_again_and_change_nothing(books, journal, database) -> None:
    journal.pay("S1", "P1", 1234)
    first = book(books, *journal.raws)
    again = book(books, *journal.raws, *reversed(journal.raws))
    assert again == first
    assert collect(database).entries == 5
    assert books.db.execute("SELECT count(*) FROM payment").fetchone() == (1,)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_any_order_any_duplicates_any_batches_end_in_the_same_books(make_journal, seed) -> None:
    rng = random.Random(seed)
    journal = make_journal()
    for n in range(4):
        journal.pay(f"S{n}", f"P{n}", 100 + n)
    raws = [*journal.raws, *rng.choices(journal.raws, k=8)]
    rng.shuffle(raws)
    with tempfile.TemporaryDirectory() as folder:
        books = Books(Path(folder) / "b.db")
        last: dict[str, Ack] = {}
        while raws:
            count = rng.randint(1, 6)
            for ack in book(books, b"\n".join(raws[:count])):
                assert ack.upto >= last.get(ack.epoch, ack).upto, "an acknowledgement never falls"
                last[ack.epoch] = ack
            raws = raws[count:]
        assert last["EPOCH1"] == Ack(epoch="EPOCH1", upto=17, head=journal.head.hash)
        captured = books.db.execute("SELECT payment_ref, captured_minor FROM payment ORDER BY 1").fetchall()
        assert captured == [(f"P{n}", 100 + n) for n in range(4)]
        books.close()
        assert verify(Path(folder) / "b.db").problems == ()


def test_a_gap_holds_the_line_until_it_closes_and_is_asked_for(books, journal) -> None:
    journal.fill(9)
    (ack,) = book(books, *journal.raws[:3], *journal.raws[5:])
    assert (ack.upto, ack.need) == (3, None)
    ((peer, asked),) = books.gaps()
    assert (peer, asked.upto, asked.need.from_) == (D1, 3, 4)
    (ack,) = book(books, journal.raws[3], journal.raws[4])
    assert (ack.upto, ack.head) == (10, journal.head.hash)
    assert books.gaps() == []


def test_what_lies_far_ahead_is_left_to_come_again(books, journal) -> None:
    journal.fill(3)
    far = msgspec.json.decode(journal.raws[3])
    far["seq"] = str(EARLY_MAX + 100)
    book(books, journal.raws[0], msgspec.json.encode(far))
    assert books.db.execute("SELECT count(*) FROM entry").fetchone() == (1,)


@pytest.mark.parametrize(
    "poison",
    [
        {"type": "chargetill.payment.captured.v1", "data": {"nonsense": True}},
        {"time": "yesterday"},
        {"specversion": 1},
        {"data": 5},
        {"type": "chargetill.payment.captured.v1", "data": {"session_id": 1, "payment_ref": [], "amount_minor": "x"}},
        {"monotonicns": None},
        {"time": "0001-01-01T00:00:00+14:00"},
    ],
    ids=lambda p: next(iter(p)),
)  # fmt: skip
def test_an_entry_that_nobody_understands_does_not_block_the_line(books, journal, database, poison) -> None:
    event = {**msgspec.json.decode(journal.raws[0]), "seq": "2", "prevhash": journal.head.hash, **poison}
    raw = msgspec.json.encode(event)
    after = {**msgspec.json.decode(journal.raws[0]), "seq": "3", "prevhash": digest(raw)}
    after |= {"type": "x.new.v9", "data": {}}
    (ack,) = book(books, journal.raws[0], raw, msgspec.json.encode(after))
    assert (ack.upto, ack.quarantined) == (3, (2,))
    assert collect(database).quarantined == 1
    assert bytes(books.db.execute("SELECT raw FROM quarantine").fetchone()[0]) == raw


def test_a_kind_of_entry_that_only_newer_devices_know_is_booked(books, journal, database) -> None:
    event = {**msgspec.json.decode(journal.raws[0]), "seq": "2", "prevhash": journal.head.hash}
    event |= {"type": "chargetill.session.teleported.v1", "data": {"to": "the moon"}, "extra": 1}
    (ack,) = book(books, journal.raws[0], msgspec.json.encode(event))
    assert (ack.upto, ack.quarantined) == (2, ())
    assert verify(database).problems == ()


def test_bytes_that_say_nothing_of_their_place_are_kept_aside(books, journal, database) -> None:
    garbage = [b"\x00\xff\xfe", b"{", b"[]", b'{"seq": "1"}', b"[" * 5000, b'{"epoch":"\\ud800"}', b"null"]
    garbage.append(
        msgspec.json.encode({"epoch": "E", "seq": "1", "prevhash": GENESIS}).replace(b"E", b"\xff")
    )
    garbage.append(msgspec.json.encode({"epoch": "../x", "seq": "1", "prevhash": GENESIS}))
    garbage.append(msgspec.json.encode({"epoch": "E\n", "seq": "1", "prevhash": GENESIS}))
    garbage.append(msgspec.json.encode({"epoch": "E", "seq": "99999999999999999999", "prevhash": GENESIS}))
    assert book(books, *garbage) == []
    assert collect(database).quarantined == len(garbage)
    (ack,) = book(books, *journal.raws)
    assert ack.upto == 1


def test_a_device_cannot_fill_the_disk_with_garbage(books, database) -> None:
    book(books, b"x" * 1_000_000)
    assert books.db.execute("SELECT max(length(raw)) FROM quarantine").fetchone()[0] < 100_000
    for n in range(QUARANTINE_MAX // 500 + 2):
        book(books, b"\n".join(b"garbage %d %d" % (n, m) for m in range(500)))
    assert collect(database).quarantined == QUARANTINE_MAX


def test_another_entry_under_a_booked_number_is_refused_and_kept_as_evidence(
    books, journal, make_journal, database
) -> None:
    journal.fill(4)
    twin = make_journal()
    twin.pay("S1", "P1", 5)
    book(books, *journal.raws)
    (ack,) = book(books, *twin.raws)
    assert (ack.upto, ack.head) == (5, journal.head.hash)
    assert (ack.refused.seq, ack.refused.reason) == (5, "conflict")
    assert collect(database).quarantined == 4
    assert books.db.execute("SELECT count(*) FROM payment").fetchone() == (0,)


def test_an_entry_that_does_not_follow_stops_its_line_and_no_other(
    books, journal, make_journal, database
) -> None:
    journal.fill(2)
    other = make_journal(epoch="EPOCH2")
    other.fill(2)
    broken = msgspec.json.encode({**msgspec.json.decode(journal.raws[2]), "prevhash": "ab" * 32})
    acks = {a.epoch: a for a in book(books, journal.raws[0], journal.raws[1], broken, *other.raws)}
    assert acks["EPOCH1"].upto == 2
    assert acks["EPOCH1"].refused.reason == "chain"
    assert acks["EPOCH2"].upto == 3
    (ack,) = book(books, journal.raws[2])
    assert ack.upto == 3, "the true entry is still welcome"


def test_a_broken_entry_behind_a_gap_gives_way_to_the_true_one(books, journal) -> None:
    journal.fill(3)
    broken = msgspec.json.encode({**msgspec.json.decode(journal.raws[2]), "prevhash": "ab" * 32})
    book(books, journal.raws[0], broken, journal.raws[3])
    (ack,) = book(books, journal.raws[1])
    assert (ack.upto, ack.refused.reason) == (2, "chain")
    (ack,) = book(books, journal.raws[2])
    assert (ack.upto, ack.head) == (4, journal.head.hash)


def test_devices_with_the_same_epoch_name_do_not_meet(books, make_journal, database) -> None:
    one, two = make_journal(device="d1"), make_journal(device="d2")
    one.fill(3)
    book(books, *one.raws)
    (ack,) = book(books, *two.raws, peer=Peer("s1", "d2"))
    assert ack.upto == 1
    assert [d.entries for d in collect(database).devices] == [4, 1]


def test_a_reference_used_twice_is_booked_as_bytes_and_changes_no_table(books, journal, database) -> None:
    journal.pay("S1", "P1", 700)
    journal.pay("S2", "P1", 900)
    (ack,) = book(books, *journal.raws)
    assert ack.upto == 9
    assert ack.quarantined == (6,)
    problem = books.db.execute("SELECT problem FROM entry WHERE seq = 6").fetchone()[0]
    assert "contradicts the books" in problem


def test_the_answer_to_a_state_says_where_the_line_stands(books, journal) -> None:
    journal.fill(4)
    book(books, *journal.raws[:3])
    state = State(
        online=True,
        at=NOW,
        position=Position(epoch="EPOCH1", seq=5, head=journal.head.hash, acknowledged=0, waiting=5),
    )
    live = books.answer(D1, state, NOW, retained=False)
    assert (live.upto, live.head, live.need) == (3, journal.entries[2].hash, None)
    old = books.answer(D1, state, NOW, retained=True)
    assert old.need.from_ == 4, "what was sent before we listened is lost"
    unknown = books.answer(Peer("s9", "d9"), state, NOW, retained=False)
    assert (unknown.upto, unknown.head) == (0, GENESIS)


def test_the_last_will_keeps_the_last_known_health(books, database) -> None:
    position = Position(epoch="E", seq=0, head=GENESIS, acknowledged=0, waiting=0)
    books.answer(D1, State(online=True, at=NOW, position=position), NOW, retained=False)
    assert (
        books.answer(D1, State(online=False, at=NOW, reason="connection lost"), NOW, retained=False) is None
    )
    online, state = books.db.execute("SELECT online, state FROM device").fetchone()
    assert online == 0
    assert msgspec.json.decode(state)["position"]["epoch"] == "E"


def test_a_full_disk_books_nothing_and_says_what_to_do(books, journal, database) -> None:
    book(books, *journal.raws)
    (pages,) = books.db.execute("PRAGMA page_count").fetchone()
    books.db.execute(f"PRAGMA max_page_count = {pages}")
    journal.fill(2000)
    with pytest.raises(StoreFull) as failed:
        book(books, *journal.raws)
    assert failed.value.retryable
    books.db.execute("PRAGMA max_page_count = 1073741823")
    (ack,) = book(books, *journal.raws[:1000])
    (ack,) = book(books, *journal.raws[1000:])
    assert ack.upto == 2001


def test_two_receivers_share_one_database(database, journal) -> None:
    journal.fill(20)
    one, two = Books(database), Books(database)
    for n, raw in enumerate(journal.raws):
        (ack,) = book(one if n % 2 else two, raw)
        assert ack.upto == n + 1
    assert sqlite3.connect(database).execute("SELECT count(*) FROM entry").fetchone() == (21,)
    one.close()
    two.close()
