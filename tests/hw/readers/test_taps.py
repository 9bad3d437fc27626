"""What every reader does with every card, whatever lies between them."""

from __future__ import annotations

import asyncio
import random

import pytest

from edge.domain.identity import is_random_uid
from edge.errors import CardError, CardLost, CardUnreadable
from edge.ports import CardReader, Tap
from hw.readers import nfc
from hw.virtual.cards import OK, IsoCard, Phone, Scripted, UidCard, VirtualCard, mute, torn
from hw.virtual.nfc_udp import UdpField

CARD_A = bytes.fromhex("04A1B2C3D4E5F6")
CARD_B = bytes.fromhex("D0C1B2A3")
CARD_TEN = bytes.fromhex("04112233445566778899")
APPLICATION = bytes.fromhex("D2760000850101")
FILE = bytes(range(200)) * 2
SELECT = bytes.fromhex("00A4040007D276000085010100")


class Bench:
    """A reader with a field before it; what the reader says arrives in `taps`."""

    def __init__(self, reader: CardReader, field: UdpField) -> None:
        self.reader = reader
        self.field = field
        self._taps: asyncio.Queue[tuple[Tap, bytes | CardError | None]] = asyncio.Queue()

    async def listen(self, *commands: bytes) -> None:
        async for tap in self.reader.taps():
            answer: bytes | CardError | None = None
            try:
                for command in commands if tap.card else ():
                    answer = await tap.card.apdu(command)
            except CardError as e:
                answer = e
            self._taps.put_nowait((tap, answer))

    async def tap(self, card: VirtualCard) -> tuple[Tap, bytes | CardError | None]:
        await self.field.tap(card)
        return await asyncio.wait_for(self._taps.get(), 10)

    @property
    def quiet(self) -> bool:
        return self._taps.empty()


class _Running:
    def __init__(self, clock, *commands: bytes) -> None:
        self._clock = clock
        self._commands = commands

    async def __aenter__(self) -> Bench:
        self._field = await UdpField.start()
        reader = nfc.create(nfc.Options(path=self._field.path), clock=self._clock)
        self._bench = Bench(reader, self._field)
        self._task = asyncio.create_task(self._bench.listen(*self._commands))
        return self._bench

    async def __aexit__(self, *_: object) -> None:
        await self._bench.reader.close()
        await self._task
        await self._field.close()


@pytest.mark.parametrize("uid", [CARD_B, CARD_A, CARD_TEN], ids=["4 bytes", "7 bytes", "10 bytes"])
async def test_a_membership_card_is_its_uid(clock, uid):
    async with _Running(clock) as bench:
        tap, _ = await bench.tap(UidCard(uid))
        assert (tap.uid, tap.card) == (uid, None)


async def test_a_phone_shows_a_random_uid_that_is_no_identity(clock):
    async with _Running(clock) as bench:
        tap, _ = await bench.tap(Phone(random.Random(7)))
        assert is_random_uid(tap.uid)


async def test_a_card_that_stays_taps_once_and_again_only_after_it_was_away(clock):
    async with _Running(clock) as bench:
        await bench.tap(UidCard(CARD_A))
        await bench.field.tap(UidCard(CARD_A))  # back at once: it trembled
        assert bench.quiet
        await asyncio.sleep(1.2)
        assert (await bench.tap(UidCard(CARD_A)))[0].uid == CARD_A


async def test_another_card_right_after_the_first_is_another_tap(clock):
    async with _Running(clock) as bench:
        assert (await bench.tap(UidCard(CARD_A)))[0].uid == CARD_A
        assert (await bench.tap(UidCard(CARD_B)))[0].uid == CARD_B


async def test_a_phone_that_trembles_taps_once(clock):
    async with _Running(clock) as bench:
        await bench.tap(Phone(random.Random(7)))
        await bench.field.tap(Phone(random.Random(8)))
        assert bench.quiet


async def test_a_card_answers_commands_also_in_chained_blocks(clock):
    read_400 = bytes.fromhex("00B0000000")
    async with _Running(clock, SELECT, bytes.fromhex("00A4000C02E104"), read_400) as bench:
        _, answer = await bench.tap(IsoCard(CARD_A, {APPLICATION: {0xE104: FILE}}))
        assert answer == FILE[:256] + OK


async def test_pieces_of_an_answer_are_fetched_and_joined(clock):
    script = [b"ab\x61\x02", b"cd\x61\x01", b"e" + OK]
    async with _Running(clock, SELECT) as bench:
        _, answer = await bench.tap(Scripted(IsoCard(CARD_A), lambda n, _c, _i: script[n]))
        assert answer == b"abcde" + OK


async def test_a_wrong_le_is_asked_again_with_the_right_one(clock):
    async with _Running(clock, bytes.fromhex("00B0000000")) as bench:
        _, answer = await bench.tap(
            Scripted(IsoCard(CARD_A), lambda _n, c, _i: bytes(5) + OK if c[-1] == 5 else b"\x6c\x05")
        )
        assert answer == bytes(5) + OK


@pytest.mark.parametrize("at_apdu", [0, 1])
async def test_a_card_torn_away_is_lost_and_the_next_one_is_read(clock, at_apdu):
    async with _Running(clock, SELECT, SELECT) as bench:
        card = IsoCard(CARD_A, {APPLICATION: {}})
        _, answer = await bench.tap(torn(card, at_apdu=at_apdu))
        assert isinstance(answer, CardLost)
        assert "longer" in answer.hint
        assert isinstance((await bench.tap(IsoCard(CARD_B, {APPLICATION: {}})))[1], bytes)


async def test_a_card_that_falls_silent_is_lost(clock):
    async with _Running(clock, SELECT) as bench:
        assert isinstance((await bench.tap(mute(IsoCard(CARD_A), at_apdu=0)))[1], CardLost)


@pytest.mark.parametrize(
    "answer",
    [b"", b"\x90", b"\x61\x00", bytes(70_000) + OK],
    ids=["nothing", "half a status word", "endless 61xx", "70 KB"],
)
async def test_a_hostile_answer_ends_as_unreadable(clock, answer):
    async with _Running(clock, SELECT) as bench:
        assert isinstance(
            (await bench.tap(Scripted(IsoCard(CARD_A), lambda _n, _c, _i: answer)))[1], CardUnreadable
        )


async def test_a_card_with_a_short_ats_still_has_a_uid(clock):
    async with _Running(clock, SELECT) as bench:
        tap, answer = await bench.tap(Scripted(IsoCard(CARD_A), lambda _n, _c, _i: OK, ats=b"\x01"))
        assert tap.uid == CARD_A
        assert isinstance(answer, CardUnreadable)


async def test_a_card_of_an_earlier_tap_is_lost(clock):
    async with _Running(clock) as bench:
        tap, _ = await bench.tap(IsoCard(CARD_A))
        await bench.tap(IsoCard(CARD_B))
        with pytest.raises(CardLost):
            await tap.card.apdu(SELECT)
