"""The brokers for demos and tests keep their port, lose their memory, and never outlive who started them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from hw.virtual.broker import BrokerFailed, EmbeddedBroker, Mosquitto

KINDS = pytest.mark.parametrize("kind", [Mosquitto, EmbeddedBroker])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@KINDS
def test_a_broker_listens_until_it_is_stopped_and_again_on_the_same_port(kind) -> None:
    broker = kind.start()
    assert listens(broker.port)
    broker.kill()
    assert not listens(broker.port)
    broker.restart()
    assert listens(broker.port)
    broker.stop()
    broker.stop()
    assert not listens(broker.port)


@KINDS
def test_a_broker_ends_with_the_process_that_started_it(kind) -> None:
    program = (
        f"from hw.virtual.broker import {kind.__name__} as Kind\n"
        "broker = Kind.start(); print(broker.port, broker.pid, flush=True); input()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    port, pid = map(int, parent.stdout.readline().split())
    assert listens(port)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 30
    while listens(port):
        assert time.monotonic() < deadline, f"the broker {pid} is an orphan"
        time.sleep(0.05)


def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(BrokerFailed):
            Mosquitto.start(taken.getsockname()[1])


def test_the_system_service_is_not_needed() -> None:
    assert Mosquitto.installed() is not None
    broker = Mosquitto.start()
    assert os.path.realpath(f"/proc/{broker.pid}/exe").endswith("mosquitto")
    broker.stop()
