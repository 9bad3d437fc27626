"""Lost connections leave nothing behind, however many: no descriptor, no thread."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from edge.sync.link import Identity, Link, LinkFailed
from hw.bus.bus import Bus, Timing
from hw.bus.frames import Span
from hw.bus.line import LineOptions
from hw.terminals.zvt.driver import Options, ZvtTerminal
from hw.virtual.modbus_server import Registers, RtuServer, TcpServer
from hw.virtual.terminal import VirtualTerminal

RECONNECTS = 1000
SLOW_RECONNECTS = 300  # each with a thread, or a dialog
INPUTS = Span(4, 0, 2, spare=4, step=2)


def left():
    """Descriptors and threads of this process; asyncio's own pool, for names of hosts, has a bound."""
    gc.collect()
    threads = [t for t in threading.enumerate() if not t.name.startswith("asyncio_")]
    return sum(1 for _ in Path("/proc/self/fd").iterdir()), len(threads)


def more(now, before):
    return any(n > b for n, b in zip(now, before, strict=True))


def settled(before):
    """What is left once threads that have nothing more to do have ended."""
    ends = time.monotonic() + 30
    while more(now := left(), before) and time.monotonic() < ends:
        time.sleep(0.01)
    return now


@pytest.mark.parametrize(("transport", "times"), [(RtuServer, SLOW_RECONNECTS), (TcpServer, RECONNECTS)])
def test_a_bus(transport, times):
    async def play():
        server = transport({1: Registers(inputs=dict.fromkeys(range(8), 7))})
        await server.start()
        timing = Timing(quiet_s=0, ghost_rest_s=0, reconnect_s=0)
        bus = Bus(LineOptions(port=server.address, baudrate=115200), now=lambda: None, timing=timing)
        await bus.read(1, INPUTS)
        await bus.close()
        await asyncio.to_thread(gc.collect)  # whose thread stays
        before = left()
        for _ in range(times):
            assert (await bus.read(1, INPUTS)).registers == (7, 7)
            await bus.close()
        await asyncio.sleep(0)
        after = await asyncio.to_thread(settled, before)
        await server.stop()
        return before, after

    before, after = asyncio.run(play())
    assert not more(after, before)


def test_a_payment_terminal():
    async def play():
        terminal = await VirtualTerminal.start()
        driver = ZvtTerminal(Options(port=terminal.address), password=bytes(3))
        await driver.status()
        await driver.close()
        before = left()
        for _ in range(SLOW_RECONNECTS):
            assert (await driver.status()).ready
            await driver.close()
        after = await asyncio.to_thread(settled, before)
        await terminal.stop()
        return before, after

    before, after = asyncio.run(play())
    assert not more(after, before)


def test_a_broker_that_hangs_up():
    with socket.create_server(("127.0.0.1", 0)) as broker:
        broker.settimeout(10)
        link_to = f"mqtt://127.0.0.1:{broker.getsockname()[1]}"
        before = left()
        for _ in range(RECONNECTS):
            link = Link(link_to, Identity(client_id="c", keepalive_s=10), protocol="5")
            with suppress(LinkFailed):
                link.open()
                broker.accept()[0].close()
                link.service(readable=True, writable=False)
            link.close()
            del link
        assert not more(left(), before)
