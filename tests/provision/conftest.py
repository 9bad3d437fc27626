"""A meter and a wallbox to be found, and a file of answers about them."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from hw.meters import profile
from hw.virtual.charge_point import VirtualWallbox
from hw.virtual.meter import VirtualMeter
from hw.virtual.modbus_server import RtuServer, TcpServer
from hw.virtual.outlet import Outlet

ANSWERS = """
[device]
site = "north"
name = "till-17"

[seller]
name = "Stadtwerke Beispiel"
address = "Platz 1, 10115 Berlin"
country = "DE"
tax_id = "DE123456789"

[site]
address = "Parkplatz Nord"
time_zone = "Europe/Berlin"

[tariff]
price_per_kwh = 0.49
vat_percent = 19
hold_minor = 6000

[membership]
key_id = "op-1"

[clock]
trust = "always"

[mqtt]
brokers = ["127.0.0.1:8883"]

[[reader]]
driver = "nfc"
path = "tty:AMA0:pn532"

[[evse]]
id = "DE*CHT*E{name}*1"
label = "A"
meter = { port = "METER", gap_ms = 5 }
charge_point = { driver = "heidelberg", port = "WALLBOX" }

[[evse]]
id = "DE*CHT*E{name}*2"
label = "B"
meter = { port = "METER", gap_ms = 5 }
charge_point = { driver = "heidelberg", port = "WALLBOX", unit = 2 }
"""


@pytest.fixture(scope="module")
def hardware():
    """Two meters on one serial line, two wallboxes behind one gateway: their addresses."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    outlets = [Outlet(time.monotonic_ns) for _ in range(2)]
    known = profile.load("eastron_sdm630")
    meters = {
        n: VirtualMeter(known, o, offset_wh=1000 * n, serial_number=n) for n, o in enumerate(outlets, 1)
    }
    rtu = RtuServer(meters)
    tcp = TcpServer({n: VirtualWallbox(o, time.monotonic_ns) for n, o in enumerate(outlets, 1)})
    for server in (rtu, tcp):
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
    yield rtu.address, tcp.address
    for server in (rtu, tcp):
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


@pytest.fixture
def answers(tmp_path, hardware):
    meter, wallbox = hardware
    file = tmp_path / "answers.toml"
    file.write_text(ANSWERS.replace("METER", meter).replace("WALLBOX", wallbox))
    return file
