"""The nfc driver over its udp field: the real nfcpy, a card made of software."""

from __future__ import annotations

import asyncio
import time

import pytest

from edge.errors import HardwareError
from edge.ports import Tap
from hw.readers import nfc
from hw.readers.stream import TapStream
from hw.virtual.cards import UidCard
from hw.virtual.nfc_udp import UdpField

CARD_A = bytes.fromhex("04A1B2C3D4E5F6")


async def test_a_reader_that_nobody_runs_is_gone_and_can_be_opened_again(clock):
    field = await UdpField.start()
    reader = nfc.create(nfc.Options(path=field.path), clock=clock)
    await field.close()
    with pytest.raises(HardwareError, match=r"reader\.gone"):
        await anext(reader.taps())
    async with await UdpField.start(field.port) as again:
        taps = reader.taps()
        tap, _ = await asyncio.gather(anext(taps), again.present(UidCard(CARD_A)))
        assert tap.uid == CARD_A
        await reader.close()


async def test_the_end_waits_for_no_driver(clock):
    async with await UdpField.start() as field:
        reader = nfc.create(nfc.Options(path=field.path), clock=clock)
        taps = asyncio.create_task(collect(reader))
        await asyncio.sleep(0.2)
        began_at = time.monotonic()
        await reader.close()
        assert await taps == []
        assert time.monotonic() - began_at < 0.5


async def test_a_path_without_a_reader_says_so(clock):
    reader = nfc.create(nfc.Options(path="tty:USB77:pn532"), clock=clock)
    with pytest.raises(HardwareError, match="tty:USB77:pn532"):
        await anext(reader.taps())


async def collect(reader: TapStream) -> list[Tap]:
    return [tap async for tap in reader.taps()]
