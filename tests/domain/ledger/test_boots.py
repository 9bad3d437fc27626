"""Times that the wall clock did not know when they were written: derived, bounded, or not known; never wrong."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.ledger.boots import Boots
from edge.domain.ledger.checks import Checker
from edge.domain.ledger.envelope import Head, open_envelope, read_fact, wrap
from edge.store.boots import note_trusted, recall
from tests.domain.conftest import Journal

ORIGIN = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)


class Box:
    """A computer without a battery clock, and the journal that it writes; `true` is what no one in it knows."""

    def __init__(self):
        self.true_s, self.boots = 0, 0
        self.boot(off_by_s=0)
        self.journal = Journal(self.now())
        self.true = [self.true_s]

    def boot(self, *, off_by_s):
        self.boots += 1
        self.booted_s, self.off_by_s = self.true_s, off_by_s

    def now(self):
        utc = ORIGIN + timedelta(seconds=self.true_s + self.off_by_s)
        return Instant(
            utc=utc, boot_id=f"b{self.boots}", monotonic_ns=(self.true_s - self.booted_s) * 1_000_000_000
        )

    def write(self):
        at = self.now()
        self.commit(lambda tx: tx.append(facts.DeviceStopped(reason="x"), at))

    def learn(self):
        self.off_by_s = 0
        at = self.now()
        self.commit(lambda tx: note_trusted(tx, source="ntp", error_ms=20, at=at))

    def commit(self, run):
        before = len(self.journal.entries())
        self.journal.commit(run)
        self.true += [self.true_s] * (len(self.journal.entries()) - before)

    def written(self):
        """Of each entry: when it was written in truth, and what the journal says of that."""
        boots = Boots()
        envelopes = [open_envelope(e.raw) for e in self.journal.entries()]
        for envelope in envelopes:
            boots.add(envelope, read_fact(envelope))
        truths = (ORIGIN + timedelta(seconds=s) for s in self.true)
        return [
            (envelope.bootid, true, boots.written(envelope))
            for envelope, true in zip(envelopes, truths, strict=True)
        ]

    def problems(self):
        checker = Checker(public_key=self.journal.key.public_hex)
        for entry in self.journal.entries():
            checker.add(entry)
        return checker.report().problems


HAPPENS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(0, 400_000)),
        st.tuples(st.just("write"), st.just(0)),
        st.tuples(st.just("learn"), st.just(0)),
        st.tuples(st.just("boot"), st.sampled_from((0, 1, -1, 3600, -3600, 10**9, -(10**9)))),
    ),
    max_size=30,
)


@given(happens=HAPPENS)
@settings(max_examples=80, deadline=None)
def test_what_is_derived_is_true_whatever_the_wall_clock_showed(happens):
    box = Box()
    for what, number in happens:
        match what:
            case "wait":
                box.true_s += number
            case "write":
                box.write()
            case "learn":
                box.learn()
            case "boot":
                box.boot(off_by_s=number)
    box.write()
    box.learn()
    knew = {open_envelope(e.raw).bootid for e in box.journal.entries() if e.type == facts.ClockTrusted.TYPE}
    for boot_id, true, bounds in box.written():
        assert bounds.not_after is not None, "the newest boot knows the time, and everything was before"
        assert bounds.not_after >= true
        assert bounds.not_before is None or bounds.not_before <= true
        assert (bounds.not_before == true == bounds.not_after) == (boot_id in knew) or boot_id not in knew
    assert recall(box.journal.db).known() == ORIGIN + timedelta(seconds=box.true_s)
    assert box.problems() == ()


def test_the_latest_time_that_is_known_counts_what_passed_in_boots_that_knew_none():
    box = Box()
    box.true_s = 50
    box.learn()
    assert recall(box.journal.db).exact("b1") == ORIGIN
    box.true_s = 100
    box.write()
    box.boot(off_by_s=10**9)
    for box.true_s in (200, 260):
        box.write()
    known = recall(box.journal.db)
    assert known.known() == ORIGIN + timedelta(seconds=100 + 60)
    assert known.exact("b2") is None


def between():
    """A boot that knew the time, one that never did, and one that does."""
    box = Box()
    box.learn()
    box.true_s = 100
    box.write()
    box.boot(off_by_s=-(10**9))
    for box.true_s in (200, 260):
        box.write()
    box.boot(off_by_s=10**9)
    box.true_s = 500
    box.write()
    box.true_s = 530
    box.learn()
    return box


def test_a_boot_that_never_knew_the_time_lies_between_those_that_did():
    box = between()
    (bounded,) = box.journal.facts(facts.BootBounded)
    assert (bounded.boot_id, bounded.not_before, bounded.not_after) == (
        "b2", ORIGIN, ORIGIN + timedelta(seconds=500 - 160),
    )  # fmt: skip
    of_b2 = [(b.not_before, b.not_after) for boot_id, _, b in box.written() if boot_id == "b2"]
    assert of_b2 == [
        (ORIGIN + timedelta(seconds=low), ORIGIN + timedelta(seconds=high))
        for low, high in ((100, 440), (160, 500))
    ]
    (newest,) = [t for t in box.journal.facts(facts.ClockTrusted) if t.boot_id == "b3"]
    assert (newest.zero_at, newest.error_ms) == (ORIGIN + timedelta(seconds=260), 20)


def test_each_such_boot_is_written_down_once():
    box = between()
    box.learn()
    box.boot(off_by_s=5)
    box.write()
    box.learn()
    assert len(box.journal.facts(facts.BootBounded)) == 1


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"not_before": "2030-01-01T00:00:00Z"}, "otherwise than the entries"),
        ({"not_before": None, "not_after": "2020-01-01T00:00:00Z"}, "otherwise than the entries"),
        ({"boot_id": "b1"}, "which knew the time"),
        ({"zero_at": "2026-10-24T23:00:00Z"}, "another time of its boot"),
        ({"not_before": "0001-01-01T00:00:00Z", "not_after": "9999-12-31T23:59:59Z"}, None),
    ],
)
def test_a_time_that_contradicts_the_journal_is_found(changed, says):
    box = between()
    kind = facts.ClockTrusted if "zero_at" in changed else facts.BootBounded
    head, checker = Head(epoch="EPOCH001"), Checker()
    for entry in box.journal.entries():
        envelope = open_envelope(entry.raw)
        fact = read_fact(envelope)
        if isinstance(fact, kind):
            fact = msgspec.convert({**json.loads(bytes(envelope.data)), **changed}, kind, strict=False)
        if isinstance(fact, facts.LedgerCheckpoint):
            continue
        at = Instant(utc=envelope.time, boot_id=envelope.bootid, monotonic_ns=int(envelope.monotonicns))
        made = wrap(fact, head=head, at=at, source=envelope.source, key_id=envelope.keyid)
        head = Head(epoch=made.epoch, seq=made.seq, hash=made.hash)
        checker.add(made)
    problems = checker.report().problems
    assert bool(problems) == (says is not None)
    assert all(says in p for p in problems)


def calls(run):
    """How many functions are called: work that no busy machine changes."""
    count = 0

    def called(_frame, event, _what):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    "boot_of", [lambda i: f"b{i}", lambda i: "AB"[i % 2]], ids=["ever new", "to and fro"]
)
def test_a_journal_of_boots_is_checked_in_time_that_grows_with_its_length_only(boot_of):
    """Each boot bounds the one before; forged ones go to and fro between two."""

    def check(count):
        head, checker = Head(epoch="EPOCH001"), Checker()
        for i in range(count):
            fact = facts.BootBounded(boot_id=boot_of(i - 1), not_before=None, not_after=ORIGIN)
            at = Instant(utc=ORIGIN, boot_id=boot_of(i), monotonic_ns=i)
            made = wrap(fact, head=head, at=at, source="/till/s1/d1", key_id="k")
            head = Head(epoch=made.epoch, seq=made.seq, hash=made.hash)
            checker.add(made)

    check(1)
    assert calls(lambda: check(800)) < 5 * calls(lambda: check(200))
