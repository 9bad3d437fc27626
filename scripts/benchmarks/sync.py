#!/usr/bin/env python3
"""How fast the journal drains, next to bare paho with the same payloads in the same run.

    .venv/bin/python scripts/benchmarks/sync.py --json --entries 50000

bare          paho, QoS 1, one entry per message, a window of its own, one thread: to PUBACK
to_puback     the uplink, one entry per message, a PUBACK taken for an acknowledgement: journal to PUBACK
to_ack        the uplink as it is, against the reference receiver: journal to commit and acknowledgement
backlog       the whole daemon while it drains a journal of a million entries: its memory at its highest
"""

from __future__ import annotations

import argparse
import select
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store
from edge.sync.contract.messages import StateFields
from edge.sync.contract.topics import peer
from edge.sync.link import Connected, Identity, Link
from edge.sync.options import UplinkOptions
from edge.sync.uplink import Uplink
from edge.sync.uplink.outbox import Outbox
from edge.sync.uplink.sender import Sender
from edge.sync.uplink.watermark import Watermark
from hw.virtual.broker import EmbeddedBroker, Mosquitto

#: Messages under way in the runs of one entry per message; both sides have the same.
_WINDOW = 1000
#: The design's: of bare paho's rate to PUBACK and to acknowledgement, and CPU per event in a backlog.
GOAL_PUBACK = 0.8
GOAL_ACK = 0.65
GOAL_CPU_US = 8.0

#: The daemon's memory with a backlog, in MB.
GOAL_RSS_MB = 48

#: The daemon is watched for so long; the backlog lasts longer.
_WATCH_S = 20.0

_ROWS_PER_COMMIT = 1000
_TOPIC = "till/v1/s1/d1/tx"


def now() -> Instant:
    return Instant(utc=datetime.now(UTC), boot_id="bench", monotonic_ns=time.monotonic_ns())


def make_journal(folder: Path, entries: int) -> Store:
    """Entries of about 600 bytes, as a session's checkpoints have."""
    store = Store.open(
        folder / "till.db",
        key=load_or_make(folder / "ledger.key"),
        owner=Owner(site="s1", device="d1"),
        prefix="CT",
        now=now(),
    )
    fact = facts.PaymentDeclined(
        session_id="01JD0000000000000000000000", payment_ref="x" * 36, reason="y" * 120
    )

    def append(tx: Any) -> None:
        for _ in range(_ROWS_PER_COMMIT):
            tx.append(fact, now())

    for _ in range(entries // _ROWS_PER_COMMIT):
        store.submit(append).result()
    return store


def bare(database: Path, port: int) -> dict[str, float]:
    """The payloads from memory, nothing but paho."""
    with sqlite3.connect(database) as db:
        payloads = [raw for (raw,) in db.execute("SELECT raw FROM entry ORDER BY epoch, seq")]
    client = Client(CallbackAPIVersion.VERSION2, client_id="bare", protocol=MQTTProtocolVersion.MQTTv311)
    client.max_inflight_messages_set(0)
    acked = 0

    def on_publish(*_: object) -> None:
        nonlocal acked
        acked += 1

    client.on_publish = on_publish
    connected = False

    def on_connect(*_: object) -> None:
        nonlocal connected
        connected = True

    client.on_connect = on_connect
    client.on_socket_register_write = lambda *_: None
    client.connect("127.0.0.1", port)
    while not connected:
        client.loop(0.05)
    began, cpu, sent = time.monotonic(), time.process_time(), 0
    while acked < len(payloads):
        while sent < len(payloads) and sent - acked < _WINDOW:
            client.publish(_TOPIC, payloads[sent], qos=1)
            sent += 1
        sock = client.socket()
        assert sock is not None
        readable, writable, _ = select.select([sock], [sock] if client.want_write() else [], [], 1)
        if readable:
            client.loop_read()
        if writable:
            client.loop_write()
    return _figures(len(payloads), began, cpu)


def to_puback(store: Store, port: int) -> dict[str, float]:
    """The uplink's parts, with the broker's word for the back office's."""
    options = UplinkOptions(
        brokers=(f"127.0.0.1:{port}",), batch=1, window=_WINDOW, messages_max=_WINDOW, protocol="3.1.1"
    )
    outbox, watermark = Outbox(store.path), Watermark(store, now, options.watermark_s)
    sender = Sender(outbox, watermark, options, _TOPIC, lambda _: None)
    link = Link(options.brokers[0], Identity(client_id="puback", keepalive_s=30), protocol="3.1.1")
    link.open()
    (line,) = sender.lines
    total, noted, ready = line.last, 0, False
    began, cpu = time.monotonic(), time.process_time()
    while line.acked < total:
        select.select([link.fileno()], [link.fileno()] if link.want_write() else [], [], 1)
        link.service(readable=True, writable=True)
        if not ready and any(isinstance(event, Connected) for event in link.events()):
            ready, began, cpu = True, time.monotonic(), time.process_time()
        line.acked = link.taken
        if ready:
            watermark.rise(line.epoch, line.acked, "", rows=line.acked - noted, at=time.monotonic())
            noted = line.acked
            watermark.write(time.monotonic())
            sender.pump(link, time.monotonic())
    figures = _figures(total, began, cpu)
    watermark.write(time.monotonic(), whatever=True)
    link.close()
    outbox.close()
    return figures


def _receiver(folder: Path, broker: Mosquitto | EmbeddedBroker) -> subprocess.Popen[bytes]:
    receiver = subprocess.Popen(
        [sys.executable, "-m", "edge", "backoffice", "run", "--db", folder / "books.db", "--broker", broker.address],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert receiver.stdout is not None
    receiver.stdout.readline()
    return receiver


def to_ack(store: Store, broker: Mosquitto | EmbeddedBroker, folder: Path) -> dict[str, float]:
    """Everything real: uplink, broker, receiver in a process of its own."""
    receiver = _receiver(folder, broker)
    uplink = Uplink(
        UplinkOptions(brokers=(broker.address,)),
        database=store.path,
        store=store,
        peer=peer("s1", "d1"),
        now=now,
        state=lambda: StateFields(version="bench", boot_id="bench", clock_trusted=True),
        on_rolled_back=lambda _: None,
    )
    began, cpu, total = time.monotonic(), time.process_time(), store.head.seq
    uplink.start()
    while uplink.status().acknowledged < total:
        time.sleep(0.02)
    figures = _figures(total, began, cpu)
    uplink.stop(5)
    receiver.terminate()
    receiver.wait()
    return figures


_CONFIG = """
[device]
site = "s1"
name = "d1"
database = "till.db"
key = "ledger.key"
[clock]
trust = "always"
[seller]
name = "S"
address = "A"
country = "DE"
tax_id = "T"
[site]
address = "A"
time_zone = "Europe/Berlin"
[tariff]
file = "tariff.json"
hold_minor = 6000
[membership]
list = "members.toml"
key = "operator.key"
key_id = "k1"
[mqtt]
brokers = ["{broker}"]
[[evse]]
id = "DE*T*1"
label = "1"
meter = {{ driver = "register", profile = "eastron_sdm630", port = "tcp://127.0.0.1:9" }}
charge_point = {{ driver = "heidelberg", port = "tcp://127.0.0.2:9" }}
[[evse]]
id = "DE*T*2"
label = "2"
meter = {{ driver = "register", profile = "eastron_sdm630", port = "tcp://127.0.0.3:9" }}
charge_point = {{ driver = "heidelberg", port = "tcp://127.0.0.4:9" }}
"""

_TARIFF = {
    "country_code": "DE",
    "party_id": "CHT",
    "id": "T1",
    "currency": "EUR",
    "elements": [{"price_components": [{"type": "ENERGY", "price": 0.49, "vat": 19, "step_size": 1}]}],
    "last_updated": "2026-01-01T00:00:00Z",
}


def backlog(entries: int, kind: type[Mosquitto | EmbeddedBroker]) -> dict[str, float]:
    """The daemon's highest memory while it sends, and how much it sent meanwhile."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_journal(folder, entries).close()
        broker = kind.start()
        (folder / "config.toml").write_text(_CONFIG.format(broker=broker.address))
        (folder / "tariff.json").write_bytes(msgspec.json.encode(_TARIFF))
        (folder / "members.toml").touch()
        (folder / "operator.key").touch(mode=0o600)
        (folder / "operator.key").write_text("0f" * 32)
        receiver = _receiver(folder, broker)
        daemon = subprocess.Popen(
            [sys.executable, "-m", "edge", "--config", folder / "config.toml", "run"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(_WATCH_S)
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        highest_kb = int(status.split("VmHWM:")[1].split()[0])
        for process in (daemon, receiver):
            process.terminate()
            process.wait()
        broker.stop()
        with sqlite3.connect(folder / "till.db") as db:
            (sent,) = db.execute("SELECT COALESCE(SUM(upto), 0) FROM watermark").fetchone()
    return {"entries": entries, "acknowledged": sent, "rss_mb": round(highest_kb / 1024, 1)}


def _figures(events: int, began: float, cpu: float) -> dict[str, float]:
    elapsed_s, cpu_s = time.monotonic() - began, time.process_time() - cpu
    return {"events_per_s": round(events / elapsed_s), "cpu_us_per_event": round(cpu_s / events * 1e6, 2)}


def measure(
    entries: int, kind: type[Mosquitto | EmbeddedBroker], rounds: int, waiting: int
) -> dict[str, Any]:
    """All three in turn, `rounds` times, each on a journal and a broker of its own; the best of each counts."""
    figures: dict[str, Any] = {"entries": entries, "broker": kind.__name__, "rounds": rounds}
    for name in ("bare", "to_puback", "to_ack") * rounds:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            store, broker = make_journal(folder, entries), kind.start()
            match name:
                case "bare":
                    found = bare(store.path, broker.port)
                case "to_puback":
                    found = to_puback(store, broker.port)
                case _:
                    found = to_ack(store, broker, folder)
            broker.stop()
            store.close()
        if found["events_per_s"] > figures.get(name, found | {"events_per_s": 0})["events_per_s"]:
            figures[name] = found
    base = figures["bare"]["events_per_s"]
    figures["to_puback_ratio"] = round(figures["to_puback"]["events_per_s"] / base, 2)
    figures["to_ack_ratio"] = round(figures["to_ack"]["events_per_s"] / base, 2)
    figures["backlog"] = backlog(waiting, kind)
    figures["goals"] = {name: goal for name, (_, goal) in _missed(figures, everything=True).items()}
    return figures


def _missed(figures: dict[str, Any], *, everything: bool = False) -> dict[str, tuple[float, float]]:
    """The figures that miss the design's goals (or all that have one), each with its goal."""
    ratios = {"to_puback_ratio": GOAL_PUBACK, "to_ack_ratio": GOAL_ACK}
    found = {
        name: (figures[name], goal) for name, goal in ratios.items() if everything or figures[name] < goal
    }
    cpu = figures["to_ack"]["cpu_us_per_event"]
    if everything or cpu > GOAL_CPU_US:
        found["cpu_us_per_event"] = (cpu, GOAL_CPU_US)
    if everything or figures["backlog"]["rss_mb"] > GOAL_RSS_MB:
        found["backlog_rss_mb"] = (figures["backlog"]["rss_mb"], GOAL_RSS_MB)
    return found


def main() -> None:
    """Print the figures; exit 1 if a goal was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backlog", type=int, default=1_000_000, help="entries that the daemon drains")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    kind: type[Mosquitto | EmbeddedBroker] = Mosquitto if Mosquitto.installed() else EmbeddedBroker
    figures = measure(arguments.entries, kind, arguments.rounds, arguments.backlog)
    if arguments.json:
        print(msgspec.json.encode(figures).decode())
        sys.exit(1 if _missed(figures) else 0)
    for name in ("bare", "to_puback", "to_ack"):
        print(
            f"{name:10} {figures[name]['events_per_s']:>8} /s {figures[name]['cpu_us_per_event']:>8} us/event"
        )
    print(f"ratios     {figures['to_puback_ratio']} to PUBACK, {figures['to_ack_ratio']} to acknowledgement")
    held = figures["backlog"]
    print(
        f"backlog    {held['rss_mb']} MB with {held['entries']} entries, {held['acknowledged']} acknowledged meanwhile"
    )
    for name, (value, goal) in _missed(figures).items():
        print(f"missed     {name}: {value}, the goal is {goal}")
    sys.exit(1 if _missed(figures) else 0)


if __name__ == "__main__":
    main()
