"""One device cannot keep the others waiting, or fill the disk."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edge.backoffice import books as limits
from edge.backoffice.arrival import Message
from edge.backoffice.options import BackofficeOptions
from edge.backoffice.quota import Quota
from edge.backoffice.receiver import Receiver
from edge.backoffice.stats import collect
from edge.sync.contract.topics import Peer
from hw.virtual.broker import Mosquitto

NOW = datetime(2026, 6, 1, tzinfo=UTC)
D1, D2 = Peer("s1", "d1"), Peer("s1", "d2")


def test_what_is_above_the_rate_is_dropped_and_the_others_are_not_touched() -> None:
    quota = Quota(messages_per_s=10, bytes_per_s=1_000_000)
    taken = sum(quota.admits(D1, "tx", 100, 0.0) for _ in range(500))
    assert taken == 100, "ten seconds' worth at once"
    assert quota.admits(D2, "tx", 100, 0.0)
    assert sum(quota.admits(D1, "tx", 100, 1.0) for _ in range(500)) == 10
    assert quota.admits(D1, "state", 100, 1.0), "what is small has a quota of its own"
    assert sum(quota.admits(D1, "authorize", 100, 1.0) for _ in range(1000)) < 400


def test_large_messages_count_by_their_bytes() -> None:
    quota = Quota(messages_per_s=1000, bytes_per_s=100_000)
    assert sum(quota.admits(D1, "tx", 500_000, 0.0) for _ in range(10)) == 2


def test_a_quarantine_holds_so_many_bytes_and_no_more(books, monkeypatch) -> None:
    monkeypatch.setattr(limits, "QUARANTINE_BYTES_MAX", 10_000)
    junk = [Message(peer=D1, payload=b"x" * 4000 + str(n).encode()) for n in range(20)]
    books.book(junk, NOW)
    (size,) = books.db.execute("SELECT sum(length(raw)) FROM quarantine").fetchone()
    assert 4000 < size <= 10_000


def test_a_device_opens_so_many_epochs_and_no_more(books, make_journal, monkeypatch) -> None:
    monkeypatch.setattr(limits, "EPOCHS_MAX", 5)
    for n in range(8):
        journal = make_journal(epoch=f"EPOCH{n}")
        journal.fill(1)
        books.book([Message(peer=D1, payload=b"\n".join(journal.raws))], NOW)
    (lines,) = books.db.execute("SELECT count(*) FROM line").fetchone()
    assert lines == 5
    (kept,) = books.db.execute("SELECT count(*) FROM quarantine WHERE reason = 'epochs'").fetchone()
    assert kept == 6


def test_a_flood_does_not_keep_another_device_from_being_booked(database, journal) -> None:
    broker = Mosquitto.start()
    ready = threading.Event()
    options = BackofficeOptions(
        db=str(database), brokers=(broker.address,), device_messages_s=10, retry_s=0.1, retry_max_s=0.5
    )
    receiver = Receiver(options, on_ready=ready.set)
    thread = threading.Thread(target=receiver.run, daemon=True)
    thread.start()
    assert ready.wait(60)
    flood = Client(CallbackAPIVersion.VERSION2, client_id="flood")
    flood.connect("127.0.0.1", broker.port)
    flood.loop_start()
    for n in range(1000):
        flood.publish("till/v1/s1/d2/tx", json.dumps({"no": "entry", "n": n}), qos=1)
    journal.fill(3)
    flood.publish("till/v1/s1/d1/tx", b"\n".join(journal.raws), qos=1).wait_for_publish(60)
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        found = {d.device: (d.entries, d.quarantined) for d in collect(database).devices}
        if found.get("d1") == (4, 0):
            break
        time.sleep(0.02)
    else:
        pytest.fail(str(found))
    assert found["d2"][1] < 300
    flood.disconnect()
    flood.loop_stop()
    receiver.stop()
    thread.join(60)
    broker.stop()
