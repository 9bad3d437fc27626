"""The receiver towards brokers: many devices at once, and never more than a broker takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edge.backoffice.options import BackofficeOptions
from edge.backoffice.receiver import Receiver
from edge.backoffice.stats import collect
from edge.sync.contract.messages import read_ack
from hw.virtual.broker import Mosquitto


@pytest.fixture
def narrow() -> Iterator[Mosquitto]:
    """A broker that takes two messages at once (Receive Maximum 2) and hands out two."""
    broker = Mosquitto.start()
    broker.stop()
    broker.lines = (*broker.lines, "max_inflight_messages 2")
    broker.restart()
    yield broker
    broker.stop()


def test_a_hundred_devices_at_a_broker_that_takes_two_messages_at_once(
    database, make_journal: Callable, narrow
) -> None:
    ready = threading.Event()
    options = BackofficeOptions(db=str(database), brokers=(narrow.address,))
    receiver = Receiver(options, on_ready=ready.set)
    thread = threading.Thread(target=receiver.run, daemon=True)
    thread.start()
    assert ready.wait(60)
    acked: dict[str, int] = {}
    all_there = threading.Event()

    def heard(_client, _data, message) -> None:
        acked[message.topic] = read_ack(message.payload).upto
        if len(acked) == 100 and set(acked.values()) == {4}:
            all_there.set()

    devices = Client(CallbackAPIVersion.VERSION2, client_id="devices")
    subscribed = threading.Event()
    devices.on_connect = lambda client, *_: client.subscribe("till/v1/+/+/ack", qos=1)
    devices.on_subscribe = lambda *_: subscribed.set()
    devices.on_message = heard
    devices.connect("127.0.0.1", narrow.port)
    devices.loop_start()
    assert subscribed.wait(60)
    for number in range(100):
        journal = make_journal(device=f"d{number}")
        journal.fill(3)
        for raw in journal.raws:
            devices.publish(f"till/v1/s1/d{number}/tx", raw, qos=1)
    assert all_there.wait(60), f"{len(acked)} devices were acknowledged"
    assert collect(database).entries == 400
    devices.disconnect()
    devices.loop_stop()
    receiver.stop()
    thread.join(60)
