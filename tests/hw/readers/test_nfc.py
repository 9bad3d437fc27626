"""What is the nfc driver's own: its paths, its udp field, its serial line."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from edge.errors import CardUnreadable, HardwareError
from hw.readers import nfc
from hw.virtual.cards import OK, IsoCard, Scripted, UidCard
from hw.virtual.nfc_udp import UdpField
from hw.virtual.pn532 import Pn532Field

CARD_A = bytes.fromhex("04A1B2C3D4E5F6")


def udp(field: UdpField, clock):
    return nfc.create(nfc.Options(path=field.path, virtual=True), clock=clock)


async def test_a_udp_field_that_nobody_runs_is_gone_and_can_be_opened_again(clock):
    field = await UdpField.start()
    reader = udp(field, clock)
    await field.close()
    with pytest.raises(HardwareError, match=r"reader\.gone"):
        await anext(reader.taps())
    async with await UdpField.start(field.port) as again:
        await again.present(UidCard(CARD_A))
        assert (await anext(reader.taps())).uid == CARD_A
        await reader.close()


async def test_a_board_that_is_unplugged_is_gone_and_its_successor_is_read(clock):
    board = await Pn532Field.start()
    reader = nfc.create(nfc.Options(path=board.path, virtual=True), clock=clock)
    await board.present(UidCard(CARD_A))
    taps = reader.taps()
    assert (await anext(taps)).uid == CARD_A
    await board.close()
    with pytest.raises(HardwareError, match=r"reader\.gone"):
        await anext(taps)
    async with await Pn532Field.start() as again:
        await again.present(UidCard(CARD_A))
        other = nfc.create(nfc.Options(path=again.path, virtual=True), clock=clock)
        assert (await anext(other.taps())).uid == CARD_A
        await other.close()


async def test_the_end_waits_for_no_driver(clock):
    async with await UdpField.start() as field:
        reader = udp(field, clock)

        async def collect():
            return [tap async for tap in reader.taps()]

        taps = asyncio.create_task(collect())
        await asyncio.sleep(0.2)
        began_at = time.monotonic()
        await reader.close()
        assert await taps == []
        assert time.monotonic() - began_at < 0.5


async def test_a_cancelled_listener_frees_the_reader_for_the_next(clock):
    async with await UdpField.start() as field:
        reader = udp(field, clock)
        listening = asyncio.create_task(anext(reader.taps()))
        await asyncio.sleep(0.2)
        listening.cancel()
        await asyncio.wait([listening])
        await field.present(UidCard(CARD_A))
        assert (await anext(reader.taps())).uid == CARD_A
        await reader.close()


@pytest.mark.parametrize("path", ["tty:USB77:pn532", "tty:/dev/not-there:pn532"])
async def test_a_path_without_a_reader_says_so(clock, path):
    reader = nfc.create(nfc.Options(path=path), clock=clock)
    with pytest.raises(HardwareError, match=path):
        await anext(reader.taps())


@pytest.mark.parametrize("ats", [b"\x01", b"\x02\x00", b"\x05"], ids=["TL only", "no TA TB TC", "cut off"])
async def test_a_card_with_a_short_ats_has_a_uid_and_is_unreadable_beyond(clock, ats):
    async with await UdpField.start() as field:
        reader = udp(field, clock)
        await field.present(Scripted(IsoCard(CARD_A), lambda _n, _c, _i: OK, ats=ats))
        taps = reader.taps()
        tap = await anext(taps)
        assert tap.uid == CARD_A
        with pytest.raises(CardUnreadable, match="not as ISO/IEC 14443-4"):
            await tap.card.apdu(b"\x00\xa4\x04\x00")
        await reader.close()


@pytest.mark.parametrize(
    ("path", "virtual"),
    [
        ("udp:127.0.0.1:5000", False),
        ("tty:/dev/pts/3:pn532", False),
        ("udp:192.168.0.7:5000", True),
        ("udp:0.0.0.0:5000", True),
        ("com:1:pn532", False),
        ("tty:../../etc/passwd:pn532", False),
        ("tty:AMA0:os", False),
        ("", False),
    ],
)
def test_a_configuration_cannot_name_another_kind_of_path(path, virtual):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"path": path, "virtual": virtual}, nfc.Options)


@pytest.mark.parametrize(
    "path",
    ["usb", "usb:054c:06c3", "usb:001:023", "tty:AMA0:pn532", "tty:/dev/serial/by-id/usb-x.1_y-if00:pn532"],
)
def test_a_configuration_names_a_reader(path):
    assert msgspec.convert({"path": path}, nfc.Options).path == path
