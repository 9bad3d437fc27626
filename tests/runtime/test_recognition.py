"""Whose card it is: over the real reader stack, with cards that prove themselves, copies and replays."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime

import pytest

from edge.domain.identity import sun_token, uid_token
from edge.domain.instant import Instant
from edge.emv.sun import SunKeys
from edge.errors import CardLost
from edge.ports import Tap
from edge.runtime.recognition import Recognition, TokenKey, Unrecognized
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store
from hw.readers import nfc
from hw.readers.stream import BOUNCE_S
from hw.virtual.cards import Phone, UidCard
from hw.virtual.clock import VirtualClock
from hw.virtual.nfc_udp import UdpField
from hw.virtual.ntag424 import Ntag424

KEY = b"k" * 32
UID = bytes.fromhex("04A1B2C3D4E5F6")
SUN = SunKeys(meta_read=b"m" * 16, file_read=b"f" * 16, system=b"demo")
OTHER = SunKeys(meta_read=b"m" * 16, file_read=b"x" * 16, system=b"demo")


@pytest.fixture
def store(tmp_path):
    now = Instant(utc=datetime.now(UTC), boot_id="b", monotonic_ns=0)
    key = load_or_make(tmp_path / "key")
    store = Store.open(tmp_path / "t.db", key=key, owner=Owner(site="s", device="d"), prefix="CT", now=now)
    yield store
    store.close()


def recognition(store, *, sun_keys=SUN):
    at = Instant(utc=datetime.now(UTC), boot_id="b", monotonic_ns=0)

    async def raise_counter(token, counter):
        return await store.tx(lambda tx: tx.raise_sun_counter(token, counter, at))

    return Recognition(TokenKey(key=KEY, key_id="k"), sun_keys=sun_keys, raise_counter=raise_counter)


def recognized(store, *cards, sun_keys=SUN):
    """What each card in turn is taken for, at a reader that nfcpy drives."""

    async def main():
        whose = recognition(store, sun_keys=sun_keys)
        async with await UdpField.start() as field:
            reader = nfc.create(nfc.Options(path=field.path, virtual=True), clock=VirtualClock(speed=1))
            found = asyncio.Queue()

            async def read():
                async for tap in reader.taps():
                    await found.put(await whose.recognize(tap))

            task = asyncio.create_task(read())
            tokens = []
            for card in cards:
                await field.present(card)
                async with asyncio.timeout(20):
                    tokens.append(await found.get())
                await field.remove()
                await asyncio.sleep(2 * BOUNCE_S)
            task.cancel()
            await reader.close()
            return tokens

    return asyncio.run(main())


def test_a_card_that_proves_itself_is_another_token_than_a_copy_of_its_uid(store):
    proven = Ntag424(UID, SUN, draw=random.Random(1))
    assert recognized(store, proven, UidCard(UID)) == [
        sun_token(UID, key=KEY, key_id="k"),
        uid_token(UID, key=KEY, key_id="k"),
    ]


def test_a_card_that_hides_its_uid_is_recognized_by_its_proof(store):
    hidden = Ntag424(UID, SUN, draw=random.Random(1), random_id=True)
    assert recognized(store, hidden) == [sun_token(UID, key=KEY, key_id="k")]


def test_the_same_card_is_recognized_again_and_its_old_address_never(store):
    card = Ntag424(UID, SUN, draw=random.Random(1))
    token = sun_token(UID, key=KEY, key_id="k")
    assert recognized(store, card, card) == [token, token]
    card.counter = 0  # somebody plays back an address that was shown before
    assert recognized(store, card) == [Unrecognized("card_unreadable")]


def test_a_card_of_other_keys_is_nobody_whatever_its_uid_says(store):
    forged = Ntag424(UID, OTHER, draw=random.Random(1))
    assert recognized(store, forged) == [Unrecognized("card_unreadable")]


def test_without_sun_keys_every_card_is_its_uid(store):
    card = Ntag424(UID, SUN, draw=random.Random(1))
    assert recognized(store, card, sun_keys=None) == [uid_token(UID, key=KEY, key_id="k")]


def test_a_phone_is_nobody(store):
    assert recognized(store, Phone(random.Random(1))) == [Unrecognized("card_unreadable")]


def test_a_card_that_leaves_too_early_is_asked_to_stay(store):
    class Leaves:
        async def apdu(self, _command):
            raise CardLost("gone")

    at = Instant(utc=datetime.now(UTC), boot_id="b", monotonic_ns=0)
    found = asyncio.run(recognition(store).recognize(Tap(at=at, uid=UID, card=Leaves())))
    assert found == Unrecognized("hold_longer")
