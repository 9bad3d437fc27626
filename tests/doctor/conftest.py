"""Meters and charge points on lines of their own, and a computer made of files."""

from __future__ import annotations

import asyncio
import os
import pty
import termios
import threading
import time
import tty

import pytest

from hw.meters import profile
from hw.virtual.charge_point import VirtualWallbox
from hw.virtual.meter import VirtualMeter
from hw.virtual.modbus_server import RtuServer, TcpServer
from hw.virtual.outlet import Outlet

SPEEDS = {termios.B9600: 9600, termios.B19200: 19200, termios.B38400: 38400}


class PacedRtuServer(RtuServer):
    """A serial line that hears only what is sent at its own baud rate, as real ones do."""

    def __init__(self, units, baudrate):
        super().__init__(units)
        self._baudrate = baudrate

    def serve(self, unit, pdu):
        if SPEEDS.get(termios.tcgetattr(self._slave)[4]) == self._baudrate:
            super().serve(unit, pdu)


class Lines:
    """Servers on a thread of their own."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers = []
        self._thread.start()

    def serve(self, server):
        asyncio.run_coroutine_threadsafe(server.start(), self._loop).result(30)
        self._servers.append(server)
        return server.address

    def close(self):
        for server in self._servers:
            asyncio.run_coroutine_threadsafe(server.stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


@pytest.fixture
def lines():
    served = Lines()
    yield served
    served.close()


@pytest.fixture
def paced():
    """`paced(units, baudrate)`: a server on a serial line that hears one baud rate only."""
    return PacedRtuServer


@pytest.fixture
def outlet():
    return Outlet(time.monotonic_ns)


@pytest.fixture
def meter(outlet):
    return VirtualMeter(profile.load("eastron_sdm630"), outlet, offset_wh=4_711_000)


@pytest.fixture
def wallbox(outlet):
    return VirtualWallbox(outlet, time.monotonic_ns)


@pytest.fixture
def charger(place, lines, meter, wallbox):
    """A configuration whose meter and wallbox answer, over Modbus TCP."""
    meter_at = lines.serve(TcpServer({1: meter}))
    wallbox_at = lines.serve(TcpServer({1: wallbox}))
    place.edit('port = "tcp://127.0.0.1:9"', f'port = "{meter_at}"')
    place.edit('port = "tcp://127.0.0.2:9"', f'port = "{wallbox_at}"')
    place.meter_at = meter_at
    return place


@pytest.fixture
def computer(tmp_path):
    """A root folder for edge.doctor.machine.Machine: nothing runs, nothing is plugged in."""
    root = tmp_path / "root"
    for folder in ("proc", "dev", "sys/class/rtc/rtc0", "etc", "run"):
        (root / folder).mkdir(parents=True)
    return root


@pytest.fixture
def silent_line():
    """A serial adapter with nothing on it."""
    master, slave = pty.openpty()
    tty.setraw(master)
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)
