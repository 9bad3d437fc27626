"""What the back office has acknowledged may go, and what is left is still a ledger that anyone can verify."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from msgspec.structs import replace

from edge.domain.ledger import facts
from edge.domain.ledger.anchor import encode, read_anchor, signed_anchor
from edge.store.aging import forget_documents
from edge.store.pruning import PruneRefused, Retention, cut, plan
from edge.store.reading import Reading
from edge.store.store import Owner


def later(till, days):
    till.charger.true_ns += days * 86_400 * 10**9


def test_nothing_goes_before_it_is_acknowledged_and_old_enough(till):
    one = till()
    for _ in range(3):
        one.sell()
    assert one.prune() == 0
    one.acknowledge(days_ago=0)
    assert one.prune() == 0
    later(one, 2)
    assert one.prune() > 0
    assert one.verified().problems == ()


def test_after_pruning_the_ledger_verifies_from_its_anchor_with_the_public_key_alone(till, check):
    one = till()
    for card in "ABABAB":
        one.sell(card)
    before = one.verified()
    one.acknowledge(days_ago=5)
    gone = one.prune()
    assert gone > before.entries / 2
    one.sell()
    public = one.store._key.public_hex
    report = one.verified(public_key=public)
    assert report.problems == ()
    assert report.verified_from > gone
    anchor, entries = one.export()
    assert anchor.anchor.entries == gone
    again = read_anchor(anchor.line)
    assert again == anchor
    assert check(again, entries, public_key=public).problems == ()
    assert check(again, entries, public_key="ab" * 32).problems
    assert check(None, entries).problems


@pytest.mark.parametrize("spoil", ["head", "kept", "series", "signature", "without"])
def test_an_anchor_that_somebody_changed_is_found(till, check, spoil):
    one = till()
    for _ in range(4):
        one.sell()
    one.acknowledge(days_ago=5)
    one.prune()
    anchor, entries = one.export()
    assert check(anchor, entries).problems == ()
    told = anchor.anchor
    match spoil:
        case "head":
            told = replace(told, head="0" * 64)
        case "kept":
            entries = entries[1:]
        case "series":
            told = replace(told, series={})
        case "signature":
            anchor = replace(anchor, signature="00" * 64)
        case "without":
            entries = entries[told.kept :]
    if told != anchor.anchor:
        anchor = signed_anchor(encode(told), key_id=anchor.key_id, signature=anchor.signature)
    assert check(anchor, entries).problems


def test_an_open_session_keeps_everything_from_its_tap_on(till):
    one = till()
    one.sell()
    one.charger.tap("C")
    one.charger.deliver()
    one.charger.plug()
    one.charger.deliver()
    opened = one.store.head.seq
    for _ in range(20):
        one.charger.wait(900)
    one.acknowledge(days_ago=5)
    one.prune()
    (running,) = one.verified().open_holds
    assert one.verified().problems == ()
    with Reading(one.file) as db:
        kept = [e.seq for e in db.entries()]
    assert set(range(opened, one.store.head.seq + 1)) <= set(kept)
    one.charger.pilot_to("A")
    one.charger.deliver()
    one.charger.deliver()
    one.charger.wait(600)
    one.acknowledge(days_ago=4)
    assert one.prune() > 0
    assert one.verified().problems == ()
    assert running not in one.verified().open_holds


def test_a_cut_through_a_finished_session_keeps_its_entries_byte_for_byte(till, check):
    one = till()
    one.sell()
    one.sell(seconds=20_000)  # many checkpoints of its own, and one of the ledger amid them
    one.commit(lambda tx: tx.sign(one.now()))
    one.charger.tap("B")
    one.charger.deliver()
    one.charger.plug()
    one.charger.deliver()
    one.commit(lambda tx: tx.sign(one.now()))
    middle = one.store.head.seq
    one.charger.wait(400)
    one.charger.pilot_to("A")
    one.charger.deliver()
    one.charger.deliver()
    one.charger.wait(600)
    one.acknowledge(middle, days_ago=5)
    assert one.prune() > 0
    anchor, entries = one.export()
    assert anchor.anchor.upto == middle
    assert len(anchor.anchor.open_holds) == 1
    assert any(e.type == facts.SessionOpened.TYPE and e.seq < middle for e in entries)
    report = check(anchor, entries)
    assert (report.problems, report.sessions, report.invoices) == ((), 1, 1)


def test_too_many_entries_go_sooner_but_never_unacknowledged(till):
    one = till()
    for _ in range(10):
        one.sell()
    assert one.prune(entries_max=50) == 0
    half = one.store.head.seq // 2
    one.acknowledge(half)
    one.prune(entries_max=50)
    assert one.export()[0].anchor.upto <= half
    one.acknowledge()
    one.prune(entries_max=50)
    assert one.rows() <= 50 + 30  # up to one session more: cuts lie at checkpoints
    assert one.verified().problems == ()


def test_the_file_stays_bounded_while_sessions_come_and_go(till):
    one = till()
    sizes = []
    for _ in range(12):
        for _ in range(5):
            one.sell()
        one.acknowledge()
        one.prune(entries_max=60)
        one.store.fold().result(60)
        sizes.append(one.file.stat().st_size)
    with Reading(one.file) as db:
        stats = db.stats()
    assert stats["entries"] < 120
    documents = sum(len(d) for d in (msgspec.json.encode(i) for i in one.charger.journal.invoices()))
    assert sizes[-1] - sizes[3] < 3 * documents + 65_536  # what grows are invoices, not the journal
    assert one.verified().problems == ()


def test_evidence_of_a_broken_chain_is_not_destroyed(till):
    one = till()
    for _ in range(3):
        one.sell()
    one.acknowledge(days_ago=5)
    one.commit(lambda tx: tx.connection.execute("UPDATE entry SET hash = ? WHERE seq = 6", ("0" * 64,)))
    with pytest.raises(PruneRefused, match="6"):
        plan(one.file, Retention(keep_days=1), one.now().utc)
    assert one.export()[0] is None


def test_a_back_office_that_was_restored_stops_the_pruning(till):
    """What it does not acknowledge any more stays, although it did so once."""
    one = till()
    for _ in range(6):
        one.sell()
    one.acknowledge(days_ago=5)

    def fall(tx):
        tx.connection.execute("UPDATE watermark SET upto = 3")

    found = plan(one.file, Retention(keep_days=1), one.now().utc)
    one.commit(fall)
    owner = Owner(site="s", device="d")
    assert one.commit(lambda tx: cut(tx, found, owner, one.now())) == 0
    assert one.prune() == 0


def test_the_next_session_takes_the_next_number_and_a_restart_goes_on(till):
    one = till()
    for _ in range(4):
        one.sell()
    one.acknowledge(days_ago=5)
    one.prune()
    one.restart()
    one.sell()
    assert one.charger.journal.invoices()[-1].sequence == 5
    assert one.verified().problems == ()


def test_kept_invoices_are_still_those_that_were_sealed(till):
    one = till()
    for _ in range(4):
        one.sell()
    one.acknowledge(days_ago=5)
    one.prune()
    one.commit(
        lambda tx: tx.connection.execute(
            "UPDATE invoice SET document = CAST(replace(CAST(document AS TEXT), 'Berlin', 'Bonn') AS BLOB) "
            "WHERE sequence = 2"
        )
    )
    assert any("not as they were sealed" in p for p in one.verified().problems)
    one.commit(lambda tx: tx.connection.execute("DELETE FROM invoice WHERE sequence = 2"))
    assert any("is not kept" in p for p in one.verified().problems)


def test_documents_whose_time_is_over_go_and_the_rest_verifies(till):
    one = till()
    for _ in range(4):
        one.sell()
    later(one, 40)
    for _ in range(3):
        one.sell()
    one.acknowledge(days_ago=5)
    one.prune()
    boundary = one.now().utc - timedelta(days=30)
    young = [i.sequence for i in one.charger.journal.invoices() if i.issued_at > boundary]
    while one.commit(lambda tx: forget_documents(tx, boundary, one.now())):
        pass
    with Reading(one.file) as db:
        assert [i.sequence for i in db.invoices()] == young
        assert young[0] == 5
        assert len(db.sessions()) <= 4
    assert one.verified().problems == ()
    one.sell()
    assert one.verified().problems == ()
    one.commit(lambda tx: tx.connection.execute("DELETE FROM invoice WHERE sequence = 5"))
    assert one.verified().problems
