"""Other people's tills at the terminal made of software: their bytes, in their order, over TCP and serial blocks."""

from __future__ import annotations

import asyncio
import os

import pytest

from hw.terminals.zvt.message import parse
from hw.terminals.zvt.packet import Packet, RawFraming, SerialFraming, block, decode, encode
from hw.virtual.terminal import VirtualTerminal
from hw.virtual.terminal_script import bank_card, phone_wallet

YES = Packet(0x8000)

#: (registration, reservation of 25.00, what ends it; `{no}` is the receipt number), what is captured then
CLIENTS = [
    pytest.param(
        "060006 123456 BA 0978",
        "06220A 04000000002500 490978",
        "06240D 87{no} 04000000001234 490978",
        1234,
        id="password, config, currency",
    ),
    pytest.param(
        "060004 123456 BE",
        "062207 04000000002500",
        "06230A 87{no} 04000000001266",
        1234,
        id="no currency at all",
    ),
    pytest.param(
        "06000E 123456 8E 0978 06 06 26040A0206D3",
        "06220C 04000000002500 490978 1940",
        "062508 1940 490978 87{no}",
        0,
        id="text blocks, released whole",
    ),
    pytest.param(
        "06000A 000000 AE 0978 0300 0600",
        "06220E 04000000002500 490978 1940 0600",
        "062303 87{no}",
        None,
        id="empty containers; a release without an amount is refused",
    ),
    pytest.param(
        "060019 000000 08 490978 0300 060E 260C 040F04FF060F061E06D106D3",
        "06220A 04000000002500 490978",
        "062410 000000 04000000002500 490978 87{no}",
        2500,
        id="currency as a BMP, a password before everything",
    ),
    pytest.param(
        "060063 000000 FE 0978 0300 0659 10021602 120140 1A021000 2628 0A02040F 0A02060F 0A02061E 0A0204FF 0A0206D8"
        "0A0206DB 0A0206D9 0A0206DA 0A0206DD 0A0206D3 27031401FF 2810 15024445 1502454E 15024652 15024954 4002C000"
        "1F0402F100 1F050100",
        "06220E 04000000002500 490978 010A 0600",
        "06240F 87{no} 04000000000100 490978 0600",
        100,
        id="everything that can be said",
    ),
    pytest.param(
        "060006 000000 00 0978",
        "06220C 04000000002500 490978 1940",
        "06230F 87{no} 04000000000001 490978 1940",
        2499,
        id="nothing printed, no status",
    ),
]


def packet(text: str) -> bytes:
    """Its length is checked, so that a slip of the pen is no test of anything."""
    data = bytes.fromhex(text)
    return encode(decode(data))


class Line:
    """Somebody else's till over TCP: takes what comes, answers everything."""

    def __init__(self, framing) -> None:
        self._framing = framing
        self._packets = []

    async def _more(self) -> bytes:
        raise NotImplementedError

    async def _send(self, data: bytes) -> None:
        raise NotImplementedError

    async def _next(self) -> Packet:
        while not self._packets:
            data = await asyncio.wait_for(self._more(), 20)
            assert data, "the terminal has hung up"
            self._packets += [p for p in self._framing.feed(data) if isinstance(p, Packet)]
        return self._packets.pop(0)

    async def say(self, data: bytes) -> list[Packet]:
        await self._send(data)
        heard = [await self._next()]
        while heard[0].command == 0x8000 and heard[-1].command not in (0x060F, 0x061E):
            heard.append(await self._next())
            await self._send(encode(YES))
        return heard


class Tcp(Line):
    def __init__(self) -> None:
        super().__init__(RawFraming())

    async def open(self, address: str) -> None:
        port = int(address.rpartition(":")[2])
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)

    async def _more(self) -> bytes:
        return await self._reader.read(4096)

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)

    def close(self) -> None:
        self._writer.close()


class Serial(Line):
    def __init__(self) -> None:
        super().__init__(SerialFraming())

    async def open(self, address: str) -> None:
        self._fd = os.open(address, os.O_RDWR | os.O_NOCTTY)

    async def _more(self) -> bytes:
        return await asyncio.to_thread(os.read, self._fd, 4096)

    async def _send(self, data: bytes) -> None:
        os.write(self._fd, block(data))

    async def _next(self) -> Packet:
        found = await super()._next()
        os.write(self._fd, b"\x06")
        return found

    def close(self) -> None:
        os.close(self._fd)


def play(till: Line, scenario, **options):
    async def run():
        start = VirtualTerminal.start_serial if isinstance(till, Serial) else VirtualTerminal.start
        async with await start(**options) as terminal:
            terminal.always = bank_card()
            await till.open(terminal.address)
            try:
                return await asyncio.wait_for(scenario(terminal), 60)
            finally:
                till.close()

    return asyncio.run(run())


@pytest.mark.parametrize("make", [Tcp, Serial])
@pytest.mark.parametrize(("register", "reserve", "end", "captured_minor"), CLIENTS)
def test_they_register_reserve_and_settle(make, register, reserve, end, captured_minor):
    till = make()

    async def scenario(terminal):
        registered = await till.say(packet(register))
        assert [p.command for p in registered] == [0x8000, 0x060F]
        assert parse(registered[-1]).fields["terminal_id"] == terminal.terminal_id
        held = await till.say(packet(reserve))
        assert held[-1].command == 0x060F
        (status,) = (parse(p).fields for p in held if p.command == 0x040F)
        assert (status["result_code"], status["amount_minor"], status["currency"]) == (0, 2500, 978)
        number = status["receipt_no"]
        settled = await till.say(packet(end.replace("{no}", f"{number:04d}")))
        hold = terminal.books.holds[number]
        if captured_minor is None:
            assert settled[-1].command == 0x061E
            return hold.state
        assert settled[-1].command == 0x060F
        return hold.state, hold.captured_minor

    got = play(till, scenario)
    if captured_minor is None:
        assert got == "held"
    else:
        assert got == (("captured", captured_minor) if captured_minor else ("reversed", None))


def test_a_till_asks_what_is_open_and_how_the_terminal_is():
    till = Tcp()

    async def scenario(_terminal):
        await till.say(packet("060006 123456 BA 0978"))
        for _ in range(2):
            await till.say(packet("06220A 04000000002500 490978"))
        (_, open_) = await till.say(packet("062303 87FFFF"))
        state = await till.say(packet("050103 123456"))
        return parse(open_).fields, parse(state[-1]).fields["status_code"]

    fields, status = play(till, scenario)
    assert (fields["error_code"], fields["receipt_no"], fields["open_receipts"]) == (0xB8, 1, [1, 2])
    assert status == 0


def test_a_till_that_pays_outright_and_takes_it_back():
    till = Tcp()

    async def scenario(terminal):
        await till.say(packet("060006 123456 BA 0978"))
        paid = await till.say(packet("06010A 04000000011000 490978"))
        assert paid[-1].command == 0x060F
        again = await till.say(packet("062003 123456"))
        assert any(p.command == 0x040F for p in again)
        day = await till.say(packet("065003 123456"))
        assert day[-1].command == 0x060F
        return terminal.books.captured_minor

    assert play(till, scenario) == 11000


def test_a_till_reads_a_phone_whose_uid_is_another_one_each_time():
    till = Tcp()
    uids = []

    async def scenario(terminal):
        await till.say(packet("060006 123456 BA 0978"))
        for _ in range(2):
            terminal.always = phone_wallet()
            await till._send(packet("06C007 01 06 04 1F1501D0"))
            heard = [await till._next(), await till._next()]
            while heard[-1].command != 0x040F:
                await till._send(encode(YES))
                heard.append(await till._next())
            await till._send(encode(YES))
            uids.append(next(o.value for o in parse(heard[-1]).tlv if o.tag == "4C"))

    play(till, scenario)
    assert uids[0] != uids[1]
    assert all(len(uid) == 10 and uid[6] == 0x08 for uid in uids)


def test_a_till_for_cvends_configures_clears_reads_reserves_and_settles():
    """The order in which an open driver for these terminals works, from its start to the end of a day."""
    till = Tcp()

    async def scenario(terminal):
        await till.say(packet("060006 123456 DE 0978"))
        (_, about) = await till.say(packet("0FA102 0001"))
        assert parse(about).fields["terminal_id"] == terminal.terminal_id
        await till.say(packet("061B08 123456 29 52524711"))
        assert terminal.terminal_id == 52524711
        assert (await till.say(packet("067006 0604 1F3D0103")))[-1].command == 0x060F
        assert (await till.say(packet("069303 123456")))[-1].command == 0x060F
        (_, none) = await till.say(packet("062303 87FFFF"))
        assert none.data == bytes.fromhex("B887FFFF")
        assert (await till.say(packet("065003 123456")))[-1].command == 0x060F
        await till._send(packet("06C00F 0F 1910 FC02 0608 1F1501D01F600107"))
        heard = [await till._next()]
        while heard[-1].command != 0x040F:
            heard.append(await till._next())
            await till._send(encode(YES))
        assert any(o.tag == "60" for o in parse(heard[-1]).tlv)
        reference = "06 10 E9 0E 1F6202 4143 1F6306 333834484832"
        held = await till.say(packet(f"06221E 04000000002500 490978 1940 {reference}"))
        number = next(parse(p).fields["receipt_no"] for p in held if p.command == 0x040F)
        settled = await till.say(packet(f"062321 87{number:04d} 1940 490978 04000000001295 {reference}"))
        (status,) = (parse(p).fields for p in settled if p.command == 0x040F)
        assert (status["amount_minor"], status["receipt_no"]) == (1205, number + 1)
        await till.say(packet("065003 123456"))
        return terminal.books.captured_minor, terminal.books.open

    assert play(till, scenario) == (1205, ())
