"""What the service does last: every contactor open, within seconds, whatever answers."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest

from hw.virtual.charge_point import VirtualWallbox
from hw.virtual.modbus_server import TcpServer
from hw.virtual.outlet import Car, Outlet


@pytest.fixture
def wallbox():
    """A wallbox that charges, and its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    outlet = Outlet(time.monotonic_ns)
    box = VirtualWallbox(outlet, time.monotonic_ns)
    server = TcpServer({1: box})
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
    outlet.plug(Car(current_a=16, phases=3, wants_wh=None))
    box.write(6, 257, [0])
    box.write(6, 261, [160])
    assert outlet.power_w() > 0
    yield box, server.address
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


def test_what_a_dead_till_left_closed_is_opened(place, wallbox, call):
    box, address = wallbox
    place.edit('port = "tcp://127.0.0.2:9"', f'port = "{address}"')
    done = call("--config", place.config, "open-contactors", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == [{"evse_id": "DE*T*1", "error": None}]
    assert box.outlet.power_w() == 0


def test_one_that_does_not_answer_holds_up_neither_the_others_nor_the_end(place, wallbox, call):
    box, address = wallbox
    text = place.config.read_text()
    evse = text[text.index("[[evse]]") :]
    second = (
        evse.replace("DE*T*1", "DE*T*2")
        .replace('label = "1"', 'label = "2"')
        .replace("tcp://127.0.0.1:9", "tcp://127.0.0.3:9")
        .replace("tcp://127.0.0.2:9", address)
    )
    place.add(second)
    began = time.monotonic()
    done = call("--config", place.config, "open-contactors", "--json")
    assert done.code == 1
    assert time.monotonic() - began < 60
    first, other = json.loads(done.out)
    assert first["error"]["code"] == "evse.silent"
    assert other["error"] is None
    assert box.outlet.power_w() == 0


def test_beside_a_till_that_runs_it_does_nothing(place, daemon, call):
    till = daemon(place.config)
    till.says("till.ready")
    done = call("--config", place.config, "open-contactors", "--json")
    assert done.code == 3
    assert done.error["code"] == "contactors.till_runs"
