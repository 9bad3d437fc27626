"""What a broker may say, and what it may not make us keep: a broker of a few bytes, on a real socket."""

from __future__ import annotations

import select
import socket
import threading
import time

import pytest

from edge.sync.link import PACKET_BYTES_MAX, Arrived, Connected, Identity, Link, Lost

from .conftest import PATIENCE_S

DISCONNECT = b"\xe0\x00"
CONNACK = {"3.1.1": b"\x20\x02\x00\x00", "5": b"\x20\x06\x00\x00\x03\x21\x00\x02"}  # 5: two messages at once


class Broker:
    """Takes one connection and says what the test says."""

    def __init__(self, protocol):
        self._listener = socket.create_server(("127.0.0.1", 0))
        host, port = self._listener.getsockname()
        self.link = Link(f"{host}:{port}", Identity(client_id="c", keepalive_s=30), protocol=protocol)
        self.link.open()
        self._peer, _ = self._listener.accept()
        self.says(CONNACK[protocol])
        assert isinstance(self.hears(), Connected)

    def says(self, data):
        self._peer.sendall(data)

    def hears(self):
        """The link's next event."""
        ends = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends:
            for event in self.link.events():
                return event
            readable, _, _ = select.select([self.link.fileno()], [], [], 0.1)
            self.link.service(readable=bool(readable), writable=False)
        raise AssertionError("nothing was heard")

    def hears_out(self):
        """Everything that comes until the other side has nothing more to say."""
        heard = b""
        while data := self._peer.recv(65_536):
            heard += data
        self._peer.close()
        return heard

    def close(self):
        self.link.abort()
        self._peer.close()
        self._listener.close()


@pytest.fixture(params=["3.1.1", "5"])
def broker(request):
    made = Broker(request.param)
    yield made
    made.close()


def publish(size):
    """The first bytes of a message without a PUBACK on the topic `t`, with so many bytes behind its head."""
    length, left = b"", size
    while left or not length:
        length += bytes([left % 128 | (128 if left > 127 else 0)])
        left //= 128
    return b"\x30" + length + b"\x00\x01t"


def test_a_message_larger_than_the_contract_ends_the_connection_before_it_is_kept(broker):
    broker.says(publish(200_000_000) + b"x" * 1000)
    lost = broker.hears()
    assert isinstance(lost, Lost)
    assert "200000000 bytes" in str(lost.error)


def test_the_largest_message_of_the_contract_is_taken(broker):
    head = b"" if broker.link.protocol == "3.1.1" else b"\x00"  # no properties
    payload = b"y" * 1_048_576
    broker.says(publish(3 + len(head) + len(payload)) + head + payload)
    arrived = broker.hears()
    assert isinstance(arrived, Arrived)
    assert len(arrived.payload) == len(payload) < PACKET_BYTES_MAX


def test_a_broker_that_takes_two_messages_at_once_is_full_with_two():
    broker = Broker("5")
    for _ in range(2):
        assert not broker.link.full
        broker.link.publish("t", b"x")
    assert broker.link.full
    broker.says(b"\x40\x02\x00\x02")
    for _ in range(100):
        if not broker.link.full:
            break
        select.select([broker.link.fileno()], [], [], 0.6)
        broker.link.service(readable=True, writable=True)
    assert not broker.link.full
    broker.close()


def test_a_goodbye_arrives_also_while_something_lies_unread(broker):
    broker.says(publish(10) + b"0123456789")
    closing = threading.Thread(target=broker.link.close)
    closing.start()
    assert broker.hears_out().endswith(DISCONNECT)
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
