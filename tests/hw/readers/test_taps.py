"""What every reader does with every card, over every transport."""

from __future__ import annotations

import asyncio
import random

import pytest

from edge.domain.identity import is_random_uid
from edge.emv import ndef, sun
from edge.emv.sun import Sun, SunKeys, SunMessage
from edge.errors import CardLost, CardUnreadable, HardwareError
from edge.ports import Card
from hw.readers import stream
from hw.virtual.cards import OK, IsoCard, Phone, Scripted, UidCard, mute, torn
from hw.virtual.ntag424 import Ntag424

CARD_A = bytes.fromhex("04A1B2C3D4E5F6")
CARD_B = bytes.fromhex("D0C1B2A3")
CARD_TEN = bytes.fromhex("04112233445566778899")
APPLICATION = bytes.fromhex("D2760000850101")
FILE = bytes(range(200)) * 2
SELECT = bytes.fromhex("00A4040007D276000085010100")
READ = bytes.fromhex("00B0000000")


@pytest.mark.parametrize("uid", [CARD_B, CARD_A, CARD_TEN], ids=["4 bytes", "7 bytes", "10 bytes"])
async def test_a_membership_card_is_its_uid(bench, uid):
    async with bench() as b:
        tap, _ = await b.tap(UidCard(uid))
        assert (tap.uid, tap.card) == (uid, None)


async def test_a_phone_shows_a_random_uid_that_is_no_identity(bench):
    async with bench() as b:
        tap, _ = await b.tap(Phone(random.Random(7)))
        assert is_random_uid(tap.uid)


async def test_a_card_taps_once_and_again_only_after_it_was_away(bench):
    async with bench() as b:
        await b.tap(UidCard(CARD_A))
        assert await b.nothing_from(UidCard(CARD_A))  # back at once: it trembled
        b.clock.advance(stream.BOUNCE_S + 0.1)
        assert (await b.tap(UidCard(CARD_A)))[0].uid == CARD_A


async def test_another_card_right_after_the_first_is_another_tap(bench):
    async with bench() as b:
        assert (await b.tap(UidCard(CARD_A)))[0].uid == CARD_A
        assert (await b.tap(UidCard(CARD_B)))[0].uid == CARD_B


async def test_a_phone_that_trembles_taps_once(bench):
    async with bench() as b:
        await b.tap(Phone(random.Random(7)))
        assert await b.nothing_from(Phone(random.Random(8)))


async def test_a_card_answers_commands_also_in_chained_blocks(bench):
    async with bench(SELECT, bytes.fromhex("00A4000C02E104"), READ) as b:
        _, answer = await b.tap(IsoCard(CARD_A, {APPLICATION: {0xE104: FILE}}))
        assert answer == FILE[:256] + OK


async def test_pieces_of_an_answer_are_fetched_and_joined(bench):
    script = [b"ab\x61\x02", b"cd\x61\x01", b"e" + OK]
    async with bench(SELECT) as b:
        _, answer = await b.tap(Scripted(IsoCard(CARD_A), lambda n, _c, _i: script[n]))
        assert answer == b"abcde" + OK


async def test_a_wrong_le_is_asked_again_with_the_right_one(bench):
    async with bench(READ) as b:
        card = Scripted(IsoCard(CARD_A), lambda _n, c, _i: bytes(5) + OK if c[-1] == 5 else b"\x6c\x05")
        assert (await b.tap(card))[1] == bytes(5) + OK


@pytest.mark.parametrize("at_apdu", [0, 1])
async def test_a_card_torn_away_is_lost_and_the_next_one_is_read(bench, at_apdu):
    async with bench(SELECT, SELECT) as b:
        card = IsoCard(CARD_A, {APPLICATION: {}})
        _, answer = await b.tap(torn(card, at_apdu=at_apdu))
        assert isinstance(answer, CardLost)
        assert "longer" in answer.hint
        assert isinstance((await b.tap(IsoCard(CARD_B, {APPLICATION: {}})))[1], bytes)


async def test_a_card_that_falls_silent_ends_in_an_error_and_the_next_one_is_read(bench, monkeypatch):
    monkeypatch.setattr(stream, "APDU_MAX_S", 1.0)
    async with bench(SELECT) as b:
        assert isinstance((await b.tap(mute(IsoCard(CARD_A), at_apdu=0)))[1], HardwareError)
        assert (await b.tap(UidCard(CARD_B)))[0].uid == CARD_B


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", HardwareError),
        (b"\x90", CardUnreadable),
        (b"\x61\x00", CardUnreadable),
        (b"\x00" * 255 + b"\x61\xff", CardUnreadable),
        (b"\x6c\x00", bytes),
    ],
    ids=["nothing", "half a status word", "endless 61xx", "endless long 61xx", "endless 6Cxx"],
)
async def test_a_hostile_answer_ends_in_a_bounded_outcome(bench, answer, error):
    async with bench(READ) as b:
        assert isinstance((await b.tap(Scripted(IsoCard(CARD_A), lambda _n, _c, _i: answer)))[1], error)
        await asyncio.sleep(2)  # pcscd, which resets such a card, sees that it is gone
        assert (await b.tap(UidCard(CARD_B)))[0].uid == CARD_B


async def test_an_answer_of_64_kb_is_taken_whole_or_refused(bench):
    async with bench(READ) as b:
        _, answer = await b.tap(Scripted(IsoCard(CARD_A), lambda _n, _c, _i: bytes(65_533) + OK))
        assert isinstance(answer, HardwareError) or len(answer) == 65_535


async def test_a_card_with_sun_proves_itself(bench):
    keys = SunKeys(meta_read=bytes(16), file_read=bytes(range(16)), system=b"CT")
    async with bench() as b:
        await b.field.present(Ntag424(CARD_A, keys, draw=random.Random(3), random_id=True))
        tap = await b.next()
        message = sun.message_in(await address(tap.card) or "")
        assert is_random_uid(tap.uid)
        assert isinstance(message, SunMessage)
        assert sun.verify(message, keys) == Sun(uid=CARD_A, read_counter=1)


async def address(card: Card) -> str | None:
    talk = ndef.read_uri()
    command = next(talk)
    while True:
        try:
            command = talk.send(await card.apdu(command))
        except StopIteration as end:
            return end.value


async def test_a_card_of_an_earlier_tap_is_lost(bench):
    async with bench() as b:
        tap, _ = await b.tap(IsoCard(CARD_A))
        await b.tap(IsoCard(CARD_B))
        with pytest.raises(CardLost):
            await tap.card.apdu(SELECT)


async def test_a_reader_can_be_closed_while_a_card_lies_on_it(bench):
    async with bench() as b:
        await b.field.present(UidCard(CARD_A))
        await b.field.tap(UidCard(CARD_A))
