#!/usr/bin/env python3
"""What a user would pick instead, in an outage: how many of the messages that were taken are lost.

    .venv/bin/python scripts/comparisons/peers.py --messages 20000 --json

The way to the back office is down; a publisher hands its messages over and is told that they are safe; then whoever
holds them is killed (SIGKILL) and started again, and the way opens. Lost is what never arrives.

bridge           a mosquitto bridge with its defaults, not killed
bridge_killed    the same, killed
bridge_autosave  the same with persistence written at every change, and no limit of its queue
paho             paho's own queue, QoS 1, the publisher killed
chargetill       the journal and the uplink, the till killed
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edge.backoffice.stats import collect
from edge.errors import StoreError
from edge.store.connection import open_reader
from hw.virtual.broker import Mosquitto

_TOPIC = "bench/tx"
_HERE = Path(__file__).parent

#: Nothing new arrived for so long (a bridge may rest for many seconds): what is still missing is lost.
_QUIET_S = 20.0
_PATIENCE_S = 300.0

_PAHO = """
import sys, time
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
client = Client(CallbackAPIVersion.VERSION2, client_id="charger", clean_session=False)
client.connect_async("127.0.0.1", int(sys.argv[1]))
client.loop_start()
first, count = int(sys.argv[2]), int(sys.argv[3])
for number in range(first, first + count):
    client.publish("bench/tx", str(number).encode(), qos=1)
print("taken", flush=True)
time.sleep(3600)
"""


class _Listener:
    """Who counts at the far end: a session that the broker keeps for it."""

    def __init__(self, broker: Mosquitto) -> None:
        self.numbers: set[int] = set()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="far-end", clean_session=False)
        self._client.on_connect = lambda client, *_: client.subscribe(_TOPIC, qos=1)
        self._client.on_message = self._heard
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()

    def _heard(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.numbers.add(int(message.payload))

    def settle(self, want: int) -> int:
        """How many arrived, once nothing new comes."""
        count, since = -1, time.monotonic()
        while time.monotonic() - since < _QUIET_S and len(self.numbers) < want:
            if len(self.numbers) != count:
                count, since = len(self.numbers), time.monotonic()
            time.sleep(0.05)
        self._client.disconnect()
        self._client.loop_stop()
        return len(self.numbers)


def _far_end(folder: Path) -> Mosquitto:
    """The broker at the back office, which keeps its sessions: nothing may be lost on its account."""
    far = Mosquitto.start()
    far.stop()
    home = folder / "far"
    home.mkdir()
    far.lines = (*far.lines, "persistence true", f"persistence_location {home}/", "max_queued_messages 0")
    far.restart()
    return far


def _bridge(folder: Path, far: Mosquitto, extra: tuple[str, ...]) -> Mosquitto:
    near = Mosquitto.start()
    near.stop()
    near.lines = (
        *near.lines,
        "persistence true",
        f"persistence_location {folder}/",
        *extra,
        "connection up",
        f"address {far.address}",
        f"topic {_TOPIC} out 1",
        "restart_timeout 1",
        "remote_clientid near",
    )
    near.restart()
    return near


def bridge(messages: int, *, kill: bool, extra: tuple[str, ...] = ()) -> int:
    """Lost of `messages` that a mosquitto with a bridge has acknowledged."""
    with tempfile.TemporaryDirectory() as folder:
        far = _far_end(Path(folder))
        listener = _Listener(far)
        near = _bridge(Path(folder), far, extra)
        time.sleep(2)  # the bridge has connected once, as in life
        far.stop()
        publisher = Client(CallbackAPIVersion.VERSION2, client_id="charger", clean_session=False)
        publisher.connect("127.0.0.1", near.port)
        publisher.loop_start()
        for number in range(messages):
            publisher.publish(_TOPIC, str(number).encode(), qos=1).wait_for_publish(60)
        publisher.disconnect()
        publisher.loop_stop()
        if kill:
            near.kill()
            near.restart()
        far.restart()
        arrived = listener.settle(messages)
        near.stop()
        far.stop()
    return messages - arrived


def paho(messages: int) -> int:
    """Lost of what paho's publish() has taken."""
    with tempfile.TemporaryDirectory() as folder:
        far = _far_end(Path(folder))
        listener = _Listener(far)
        far.stop()
        with _publisher(far, messages):
            pass
        far.restart()
        with _publisher(far, 0):
            arrived = listener.settle(messages)
        far.stop()
    return messages - arrived


@contextlib.contextmanager
def _publisher(far: Mosquitto, messages: int) -> Iterator[None]:
    """A process that has handed its messages to paho; killed at the end."""
    command = [sys.executable, "-c", _PAHO, str(far.port), "0", str(messages)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _till(folder: Path, port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    till = _HERE.parent / "campaigns" / "parts" / "sync_till.py"
    command = [sys.executable, str(till), str(folder), *options]
    process = subprocess.Popen([*command, f"127.0.0.1:{port}"], stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def chargetill(messages: int) -> int:
    """Lost of what a till has committed: what its process said before it was killed."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, books = Path(temporary), Path(temporary) / "books.db"
        far = Mosquitto.start()
        far.kill()
        committed = 0
        with _till(folder, far.port) as till:
            assert till.stdout is not None
            while committed < messages:
                committed = int(till.stdout.readline())
        far.restart()
        receiver = subprocess.Popen(
            [sys.executable, "-m", "edge", "backoffice", "run", "--db", str(books), "--broker", far.address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        arrived, deadline = 0, time.monotonic() + _PATIENCE_S
        with _till(folder, far.port, "--quiet"):
            while arrived < _last(folder) and time.monotonic() < deadline:
                with contextlib.suppress(StoreError):
                    arrived = sum(e.upto for d in collect(books).devices for e in d.epochs)
                time.sleep(0.05)
        receiver.kill()
        receiver.wait()
        far.stop()
    return max(0, committed - arrived)


def _last(folder: Path) -> int:
    db = open_reader(folder / "till.db")
    try:
        return int(db.execute("SELECT max(seq) FROM entry").fetchone()[0])
    finally:
        db.close()


def measure(messages: int) -> dict[str, Any]:
    """The table: lost of `messages`, by what held them."""
    autosave = ("autosave_on_changes true", "autosave_interval 1", "max_queued_messages 0")
    runs: dict[str, Callable[[], int]] = {
        "bridge": lambda: bridge(messages, kill=False),
        "bridge_killed": lambda: bridge(messages, kill=True),
        "bridge_autosave": lambda: bridge(min(messages, 1000), kill=True, extra=autosave),
        "paho": lambda: paho(messages),
        "chargetill": lambda: chargetill(messages),
    }
    return {"messages": messages, "lost": {name: run() for name, run in runs.items()}}


def main() -> None:
    """Print the table; exit 1 if the till lost anything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if Mosquitto.installed() is None:
        sys.exit("mosquitto is not installed: apt-get install mosquitto")
    found = measure(arguments.messages)
    if arguments.json:
        print(msgspec.json.encode(found).decode())
    else:
        for name, lost in found["lost"].items():
            print(f"{name:16} {lost:>7} lost")
    if found["lost"]["chargetill"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
