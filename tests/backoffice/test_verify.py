"""Whoever holds the books can prove them, and any change to them shows."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import pytest

from edge.backoffice.arrival import Message
from edge.backoffice.verify import verify
from edge.sync.contract.topics import Peer

NOW = datetime(2026, 6, 1, 12, 0, 5, tzinfo=UTC)


@pytest.fixture
def booked(books, journal, database):
    journal.pay("S1", "P1", 100)
    journal.sign()
    journal.fill(3)
    journal.sign()
    payload = b"\n".join(journal.raws)
    books.book([Message(peer=Peer("s1", "d1"), payload=payload)], NOW)
    return database


def test_sound_books_have_no_problems(booked) -> None:
    found = verify(booked)
    assert (found.problems, found.entries, found.checkpoints) == ((), 10, 2)


@pytest.mark.parametrize(
    ("tampering", "says"),
    [
        (
            "UPDATE entry SET raw = cast(replace(raw, '100', '900') AS BLOB) WHERE seq = 5",
            "does not match its hash",
        ),
        ("UPDATE entry SET raw = cast(raw || ' ' AS BLOB) WHERE seq = 9", "does not match its hash"),
        ("DELETE FROM entry WHERE seq = 4", "entries 4 to 4 are missing"),
        ("DELETE FROM entry WHERE seq >= 9", "entries 9 to 10 are missing"),
        ("UPDATE line SET head = 'ab'", "ends with another hash"),
        ("UPDATE device SET device = 'd2'", "it is the ledger of s1/d1"),
    ],
)
def test_every_change_shows(booked, tampering, says) -> None:
    with sqlite3.connect(booked) as db:
        db.execute(tampering)
    assert any(says in problem for problem in verify(booked).problems)


def test_a_checkpoint_that_somebody_else_signed_shows(
    books, journal, make_journal, database, tmp_path
) -> None:
    from edge.store.keys import load_or_make

    journal.key = load_or_make(tmp_path / "other.key")
    journal.sign()
    books.book([Message(peer=Peer("s1", "d1"), payload=b"\n".join(journal.raws))], NOW)
    (problem,) = verify(database).problems
    assert "signature of checkpoint 2 is not the device's" in problem


def test_a_ledger_that_is_opened_again_keeps_its_key(books, journal, database, tmp_path) -> None:
    """Who may publish as the device and lacks its ledger key cannot bring a key of his own."""
    from edge.domain.ledger.facts import LedgerOpened
    from edge.store.keys import load_or_make

    journal.sign()
    forger = load_or_make(tmp_path / "other.key")
    journal.add(
        LedgerOpened(
            site="s1", device="d1", reason="provisioned", key_id=forger.key_id, public_key=forger.public_hex
        )
    )
    owner, journal.key = journal.key, forger
    journal.sign()
    ((_, ack),) = books.book([Message(peer=Peer("s1", "d1"), payload=b"\n".join(journal.raws))], NOW)
    assert (ack.upto, ack.quarantined) == (4, (3,))
    for _ in range(2):
        found = verify(database).problems
        assert any("entry 3 opens it again" in problem for problem in found)
        assert any("signature of checkpoint 4 is not the device's" in problem for problem in found)
        assert any("quarantined EPOCH1-3: opens a ledger that is open" in problem for problem in found)
        assert books.db.execute("SELECT public_key FROM line").fetchall() == [(owner.public_hex,)]
        assert books.rebuild(NOW).problems == 1


def test_quarantined_entries_are_problems(booked, books) -> None:
    books.book([Message(peer=Peer("s1", "d1"), payload=b"garbage")], NOW)
    (problem,) = verify(booked).problems
    assert "quarantined ?-?" in problem
