"""The serial transport's own acknowledgements, and what ends a connection."""

from __future__ import annotations

import asyncio
import os
import tty
from contextlib import asynccontextmanager

import pytest

from hw.bus.line import LineOptions
from hw.terminals.zvt.errors import TerminalUnreachable
from hw.terminals.zvt.link import WAITING_MAX, Link, LinkLost
from hw.terminals.zvt.packet import ACK, NAK, Packet, block, encode

ASK = Packet(0x0501)
YES = Packet(0x8000)
BLOCK = block(encode(ASK))


class OtherEnd:
    """The terminal's end of a serial line, byte by byte in the test's hands."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.port = os.ttyname(self.slave)

    async def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += await asyncio.to_thread(os.read, self.master, size - len(data))
        return data

    def write(self, data: bytes) -> None:
        os.write(self.master, data)


@asynccontextmanager
async def serial(block_s: float = 20.0):
    end = OtherEnd()
    link = await Link.open(LineOptions(port=end.port, baudrate=115200), block_s=block_s)
    try:
        yield link, end
    finally:
        link.close()
        os.close(end.master)
        os.close(end.slave)


def test_a_block_is_repeated_when_the_terminal_asks_for_it():
    async def run():
        async with serial() as (link, end):
            sending = asyncio.ensure_future(link.send(ASK))
            assert await end.read(len(BLOCK)) == BLOCK
            end.write(bytes((NAK,)))
            assert await end.read(len(BLOCK)) == BLOCK
            end.write(bytes((ACK,)))
            await sending
            assert link.alive

    asyncio.run(run())


def test_a_line_that_never_carries_a_block_is_lost_with_nothing_sent():
    async def run():
        async with serial() as (link, end):
            sending = asyncio.ensure_future(link.send(ASK))
            for _ in range(3):
                await end.read(len(BLOCK))
                end.write(bytes((NAK,)))
            with pytest.raises(LinkLost) as lost:
                await sending
            assert not lost.value.sent
            assert not link.alive

    asyncio.run(run())


def test_silence_repeats_nothing_and_leaves_open_whether_it_arrived():
    async def run():
        async with serial(block_s=0.2) as (link, end):
            with pytest.raises(LinkLost) as lost:
                await link.send(ASK)
            assert lost.value.sent
            assert await end.read(len(BLOCK)) == BLOCK
            os.set_blocking(end.master, False)
            with pytest.raises(BlockingIOError):
                os.read(end.master, 1)

    asyncio.run(run())


def test_a_good_block_is_acknowledged_and_a_torn_one_asked_for_again():
    async def run():
        async with serial() as (link, end):
            wire = bytearray(block(encode(YES)))
            wire[-1] ^= 1
            end.write(bytes(wire))
            assert await end.read(1) == bytes((NAK,))
            end.write(block(encode(YES)))
            assert await end.read(1) == bytes((ACK,))
            assert await link.receive(timeout_s=20) == YES

    asyncio.run(run())


def test_a_terminal_that_floods_is_cut_off():
    async def run():
        async def flood(_reader, writer):
            writer.write(encode(YES) * (WAITING_MAX + 1))
            await writer.drain()

        server = await asyncio.start_server(flood, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        link = await Link.open(LineOptions(port=f"tcp://127.0.0.1:{port}"))
        for _ in range(WAITING_MAX):
            await link.receive(timeout_s=20)
        with pytest.raises(LinkLost):
            await link.receive(timeout_s=20)
        with pytest.raises(LinkLost) as again:
            await link.send(ASK)
        assert not again.value.sent
        server.close()

    asyncio.run(run())


def test_nobody_there_is_unreachable():
    async def run():
        with pytest.raises(TerminalUnreachable):
            await Link.open(LineOptions(port="/dev/does-not-exist"))

    asyncio.run(run())
