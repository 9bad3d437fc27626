"""What is the pcsc driver's own: several readers, and a pcscd that comes and goes."""

from __future__ import annotations

import asyncio
import socket

import pytest

from edge.errors import HardwareError
from hw.readers import pcsc
from hw.virtual.cards import OK, IsoCard, Scripted, UidCard
from hw.virtual.pcscd import Pcscd
from hw.virtual.vpcd import VpcdField

CARD_A = bytes.fromhex("04A1B2C3D4E5F6")
CARD_B = bytes.fromhex("D0C1B2A3")


def reader(clock, name: str = "00 00"):
    return pcsc.create(pcsc.Options(reader=name, virtual=True), clock=clock)


def slot(pcscd: Pcscd, number: int = 0) -> VpcdField:
    return VpcdField(lambda: pcscd.connect(number))


async def test_two_readers_are_told_apart_by_their_names(clock, pcscd):
    left, right = reader(clock, "00 00"), reader(clock, "00 01")
    async with slot(pcscd, 0) as field_left, slot(pcscd, 1) as field_right:
        await field_left.present(UidCard(CARD_A))
        await field_right.present(UidCard(CARD_B))
        taps = await asyncio.gather(anext(left.taps()), anext(right.taps()))
        assert [tap.uid for tap in taps] == [CARD_A, CARD_B]
    await left.close()
    await right.close()


@pytest.mark.parametrize(("name", "says"), [("", "none is named"), ("Omnikey", "no PC/SC reader `Omnikey`")])
async def test_a_reader_that_is_not_there_or_not_named_is_refused_with_the_choice(clock, pcscd, name, says):
    with pytest.raises(HardwareError, match=says) as e:
        await anext(reader(clock, name).taps())
    assert "Virtual PCD 00 01" in e.value.hint


async def test_a_production_configuration_does_not_see_the_virtual_readers(clock, pcscd):
    with pytest.raises(HardwareError, match="knows no reader"):
        await anext(pcsc.create(pcsc.Options(reader="00 00"), clock=clock).taps())


async def test_a_pcscd_that_ends_takes_its_readers_along_and_brings_them_back(clock, pcscd):
    ours = reader(clock)
    async with slot(pcscd) as field:
        taps = ours.taps()
        await field.present(UidCard(CARD_A))
        assert (await anext(taps)).uid == CARD_A
        try:
            pcscd.stop()
            with pytest.raises(HardwareError, match=r"reader\.gone"):
                await anext(taps)
            with pytest.raises(HardwareError, match="pcscd does not answer"):
                await anext(ours.taps())
        finally:
            pcscd.start()
        await field.present(UidCard(CARD_B))
        assert (await anext(ours.taps())).uid == CARD_B
    await ours.close()


async def test_a_pcscd_that_ends_under_a_command_is_an_error_of_the_reader(clock, pcscd):
    ours = reader(clock)
    async with slot(pcscd) as field:
        await field.present(Scripted(IsoCard(CARD_A), lambda _n, _c, _i: OK))
        taps = ours.taps()
        tap = await anext(taps)
        try:
            pcscd.stop()
            with pytest.raises(HardwareError):
                await tap.card.apdu(bytes(4))
        finally:
            pcscd.start()
    await ours.close()


async def test_a_card_without_a_uid_is_no_tap(clock, pcscd):
    ours = reader(clock)
    async with slot(pcscd) as field:
        await field.present(NoUid())
        taps = asyncio.create_task(anext(ours.taps()))
        done, _ = await asyncio.wait([taps], timeout=1.5)
        assert not done
        await field.present(UidCard(CARD_A))
        assert (await asyncio.wait_for(taps, 20)).uid == CARD_A
    await ours.close()


def test_nobody_else_on_this_computer_reaches_the_virtual_reader(pcscd):
    with socket.socket() as s, pytest.raises(OSError):
        s.connect(("127.0.0.1", 0x8C7B))


class NoUid(UidCard):
    """A contact card: its reader knows no UID."""

    def __init__(self) -> None:
        super().__init__(b"")
