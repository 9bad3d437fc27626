"""What an acknowledgement means, and when something is sent again; without a network."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from edge.domain.ledger.envelope import GENESIS
from edge.sync.contract.messages import Ack
from edge.sync.retry import FullJitter, Resend
from edge.sync.uplink.lines import Line, Verdict, book, judge


def _hash(seq: int) -> str:
    return GENESIS if seq == 0 else f"{seq:064x}"


def _ack(upto: int, head: str | None = None) -> Ack:
    return Ack(epoch="E", upto=upto, head=head or _hash(upto))


def test_an_acknowledgement_is_progress_news_or_a_contradiction() -> None:
    line = Line(epoch="E", last=10, acked=4, sent=8)
    assert judge(line, _ack(6), _hash(6)) is Verdict.PROGRESS
    assert judge(line, _ack(4), _hash(4)) is Verdict.SAME
    assert judge(line, _ack(2), _hash(2)) is Verdict.BEHIND
    assert judge(line, _ack(11), None) is Verdict.AHEAD
    assert judge(line, _ack(6, "ab" * 32), _hash(6)) is Verdict.DIVERGED
    assert judge(line, _ack(0), GENESIS) is Verdict.BEHIND


def test_a_pruned_entry_cannot_contradict() -> None:
    line = Line(epoch="E", last=10, acked=4, sent=4)
    assert judge(line, _ack(3), None) is Verdict.BEHIND


@given(
    last=st.integers(0, 50),
    steps=st.lists(st.tuples(st.sampled_from(["send", "ack", "rewind", "need"]), st.integers(0, 60))),
)
def test_acknowledged_never_passes_sent_and_sent_never_passes_the_journal(last, steps) -> None:
    line = Line(epoch="E", last=last)
    for step, n in steps:
        match step:
            case "send":
                line.sent = min(line.last, line.sent + n)
            case "ack" if judge(line, _ack(n), _hash(n) if n <= last else None) is Verdict.PROGRESS:
                book(line, n)
            case "rewind":
                line.rewind()
            case "need":
                line.rewind(n)
            case _:
                pass
        assert 0 <= line.acked <= line.sent <= line.last
        assert line.under_way >= 0
        assert line.unsent >= 0


def test_waits_before_reconnecting_are_a_random_part_of_a_doubling_bound() -> None:
    waits = [FullJitter(1, 8, random.Random(seed)) for seed in range(200)]
    for bound in (1, 2, 4, 8, 8):
        drawn = [wait.next_s() for wait in waits]
        assert max(drawn) <= bound
        assert max(drawn) > bound * 0.9
        assert min(drawn) < bound * 0.1
    waits[0].reset()
    assert waits[0].next_s() <= 1


def test_what_nobody_acknowledges_is_sent_again_less_and_less_often() -> None:
    resend = Resend(2, 10, random.Random(1))
    at, periods = 0.0, []
    for _ in range(5):
        resend.start(at)
        assert not resend.expired(at)
        assert resend.due_at is not None
        periods.append(resend.due_at - at)
        at = resend.due_at
        assert resend.expired(at)
        assert not resend.expired(at), "once per period"
    for period, middle in zip(periods, (2, 4, 8, 10, 10), strict=True):
        assert middle * 0.75 <= period <= middle * 1.25
    resend.progress(at, waiting=True)
    assert resend.due_at is not None
    assert resend.due_at - at <= 2.5
    resend.progress(at, waiting=False)
    assert resend.due_at is None
