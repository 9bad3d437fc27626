"""The terminal made of software, seen by a till that is not ours: bytes on a socket."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from hw.terminals.zvt.message import parse
from hw.terminals.zvt.packet import Packet, RawFraming, encode
from hw.terminals.zvt.values import bmp
from hw.virtual.terminal import VirtualTerminal
from hw.virtual.terminal_script import bank_card, member_card

YES = Packet(0x8000)
REGISTER = Packet(0x0600, bytes.fromhex("123456DE0978"))
RESERVE = Packet(0x0622, bmp(0x04, 2500) + bmp(0x49, 978) + bmp(0x19, 0x40))
STILL_OPEN = Packet(0x0623, bmp(0x87, 0xFFFF))


class Till:
    """Somebody else's till: answers everything, understands nothing."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self):
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._framing = RawFraming()
        self._packets = []
        return self

    async def __aexit__(self, *_) -> None:
        self._writer.close()

    async def _next(self) -> Packet:
        while not self._packets:
            data = await asyncio.wait_for(self._reader.read(4096), 20)
            assert data, "the terminal has hung up"
            self._packets += self._framing.feed(data)
        return self._packets.pop(0)

    async def command(self, packet: Packet) -> list[Packet]:
        """All that the terminal says to a command, its first answer included."""
        self._writer.write(encode(packet))
        heard = [await self._next()]
        while heard[0].command == 0x8000 and heard[-1].command not in (0x060F, 0x061E):
            heard.append(await self._next())
            self._writer.write(encode(YES))
        return heard


def commands(packets: list[Packet]) -> list[int]:
    return [p.command for p in packets]


def play(scenario, **options):
    async def run():
        async with await VirtualTerminal.start(**options) as terminal:
            terminal.always = bank_card()
            port = int(terminal.address.rpartition(":")[2])
            return await asyncio.wait_for(scenario(terminal, port), 60)

    return asyncio.run(run())


def test_it_registers_reserves_and_tells_what_it_holds():
    async def scenario(terminal, port):
        async with Till(port) as till:
            assert commands(await till.command(REGISTER)) == [0x8000, 0x060F]
            heard = await till.command(RESERVE)
            assert commands(heard)[-1] == 0x060F
            status = next(parse(p) for p in heard if p.command == 0x040F)
            assert (status.fields["result_code"], status.fields["amount_minor"]) == (0, 2500)
            (end,) = [parse(p) for p in await till.command(STILL_OPEN) if p.command == 0x061E]
            assert end.fields == {"error_code": 0xB8, "receipt_no": status.fields["receipt_no"]}

    play(scenario)


def test_a_registration_outlives_its_connection():
    async def scenario(terminal, port):
        async with Till(port) as till:
            await till.command(REGISTER)
        async with Till(port) as till:
            assert commands(await till.command(RESERVE))[-1] == 0x060F

    play(scenario)


def test_without_registration_no_money_moves():
    async def scenario(terminal, port):
        async with Till(port) as till:
            heard = await till.command(RESERVE)
            assert heard[-1] == Packet(0x061E, b"\x6b")
        return terminal.books.entries

    assert play(scenario) == []


@pytest.mark.parametrize(("permits", "printed"), [(b"", 0x06D1), (bytes.fromhex("26040A0206D3"), 0x06D3)])
def test_receipts_come_as_the_registration_permits(permits, printed):
    async def scenario(terminal, port):
        async with Till(port) as till:
            container = bmp(0x06, permits) if permits else b""
            await till.command(Packet(0x0600, REGISTER.data + container))
            return commands(await till.command(RESERVE))

    heard = play(scenario)
    assert printed in heard
    assert ({0x06D1, 0x06D3} - {printed}).isdisjoint(heard)


def test_a_till_that_wants_no_status_and_no_receipts_gets_none():
    async def scenario(terminal, port):
        async with Till(port) as till:
            await till.command(Packet(0x0600, bytes.fromhex("123456000978")))
            return commands(await till.command(RESERVE))

    assert play(scenario) == [0x8000, 0x040F, 0x060F]


def test_a_membership_card_cannot_pay():
    async def scenario(terminal, port):
        terminal.always = member_card()
        async with Till(port) as till:
            await till.command(REGISTER)
            return (await till.command(RESERVE))[-1]

    assert play(scenario) == Packet(0x061E, b"\x7a")


@pytest.mark.parametrize("packet", [Packet(0x0699), Packet(0x0622, b"\x04\x00"), Packet(0x06C6)])
def test_what_it_does_not_know_it_refuses(packet):
    async def scenario(terminal, port):
        async with Till(port) as till:
            await till.command(REGISTER)
            return await till.command(packet)

    (answer,) = play(scenario)
    assert answer.command >> 8 == 0x84


def test_end_of_day_releases_what_is_open_as_some_terminals_do():
    async def scenario(terminal, port):
        async with Till(port) as till:
            await till.command(REGISTER)
            await till.command(RESERVE)
            await till.command(Packet(0x0650, bytes.fromhex("123456")))
        return [e.what for e in terminal.books.entries]

    assert play(scenario) == ["reserve", "reverse", "end_of_day"]


def test_end_of_day_tells_the_turnover_of_each_kind_of_card():
    async def scenario(terminal, port):
        async with Till(port) as till:
            await till.command(REGISTER)
            terminal.present(bank_card())
            await till.command(RESERVE)
            await till.command(Packet(0x0624, bmp(0x87, 1) + bmp(0x04, 700)))
            days = [await till.command(Packet(0x0650, bytes.fromhex("123456"))) for _ in range(2)]
        return [parse(next(p for p in day if p.command == 0x040F)).fields["totals"] for day in days]

    first, second = play(scenario)
    assert (first["mastercard_count"], first["mastercard_minor"]) == (1, 700)
    assert (first["visa_count"], first["others_minor"]) == (0, 0)
    assert second["mastercard_count"] == 0


def test_it_runs_by_hand():
    process = subprocess.Popen(
        [sys.executable, "-m", "hw.virtual.terminal", "--port", "0"],
        stdout=subprocess.PIPE,
        env=os.environ,
        text=True,
    )
    try:
        address = process.stdout.readline().strip()

        async def scenario():
            async with Till(int(address.rpartition(":")[2])) as till:
                await till.command(REGISTER)
                return commands(await till.command(RESERVE))

        assert address.startswith("tcp://127.0.0.1:")
        assert asyncio.run(asyncio.wait_for(scenario(), 30))[-1] == 0x060F
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        process.stdout.close()
