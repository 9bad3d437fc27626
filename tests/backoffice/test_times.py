"""Times that a device learned later stand beside those that its wall clock showed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from edge.backoffice.arrival import Message
from edge.backoffice.export import export
from edge.backoffice.verify import verify
from edge.domain.instant import Instant
from edge.domain.ledger.envelope import Head, wrap
from edge.domain.ledger.facts import BootBounded, ClockTrusted, DeviceStopped, LedgerOpened
from edge.sync.contract.topics import Peer

TRUE = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
WRONG = datetime(1970, 1, 1, 1, tzinfo=UTC)


def test_what_a_device_found_out_later_is_in_the_view_and_survives_a_rebuild(books, database, key):
    opened = LedgerOpened(
        site="s1", device="d1", reason="provisioned", key_id=key.key_id, public_key=key.public_hex
    )
    entries, head = [], Head(epoch="EPOCH1")
    for boot, at_s, utc, fact in (
        ("lost", 10, WRONG, opened),
        ("found", 30, WRONG, DeviceStopped(reason="x")),
        (
            "found",
            90,
            TRUE,
            ClockTrusted(source="ntp", boot_id="found", zero_at=TRUE - timedelta(seconds=90)),
        ),
        (
            "found",
            90,
            TRUE,
            BootBounded(boot_id="lost", not_before=None, not_after=TRUE - timedelta(seconds=70)),
        ),
        ("later", 5, WRONG, DeviceStopped(reason="x")),
    ):
        at = Instant(utc=utc, boot_id=boot, monotonic_ns=at_s * 1_000_000_000)
        entries.append(wrap(fact, head=head, at=at, source="/till/s1/d1", key_id=key.key_id))
        head = Head(epoch=head.epoch, seq=entries[-1].seq, hash=entries[-1].hash)
    raws = [e.raw for e in entries]
    books.book([Message(peer=Peer("s1", "d1"), payload=b"\n".join(raws))], TRUE)

    def times():
        rows = [json.loads(line) for line in export(database, "entry_times", "ndjson")]
        return [(r["seq"], r["derived_time"], r["not_before"], r["not_after"]) for r in rows]

    def told(seconds):
        return f"{TRUE + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.000+00:00"

    expected = [
        (1, None, None, told(-60)),
        (2, told(-60), told(-60), told(-60)),
        *((n, told(0), told(0), told(0)) for n in (3, 4)),
        (5, None, None, None),
    ]
    assert times() == expected
    books.rebuild(TRUE)
    assert times() == expected
    assert verify(database).problems == ()
