"""A kernel's conversation over a card that can leave, misbehave, or lose its reader."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime

import pytest

from edge.domain.instant import Instant
from edge.emv.kernel.entry import identify, pay
from edge.emv.kernel.outcome import CardRead, EndApplication, OnlineRequest, TryAgain
from edge.emv.kernel.terminal import Purchase, Terminal
from edge.emv.oda.keys import CaKeys, load
from edge.errors import CardLost, CardUnreadable, HardwareError
from edge.runtime.bank_cards import carry
from hw.readers import nfc
from hw.virtual.bank_cards.bank import Bank
from hw.virtual.nfc_udp import UdpField

TERMINAL = Terminal(country=276)
PURCHASE = Purchase(amount_minor=4_000, currency=978, unpredictable_number=bytes(4), day=date(2026, 11, 22))


class InField:
    """A card that raises at its nth command."""

    def __init__(self, card, *, at: int | None = None, error: Exception | None = None) -> None:
        self.card, self.at, self.error, self.asked = card, at, error, 0
        card.enter()

    async def apdu(self, command: bytes) -> bytes:
        self.asked += 1
        if self.asked - 1 == self.at:
            raise self.error
        return self.card.apdu(command)


@pytest.fixture(scope="module")
def card():
    return Bank().card("mastercard")


def test_a_conversation_ends_with_its_outcome(card):
    keys = CaKeys(())
    outcome = asyncio.run(carry(InField(card), pay(TERMINAL, PURCHASE, keys)))
    assert outcome.why == "not_genuine"  # there are no keys
    found = asyncio.run(carry(InField(card), identify(TERMINAL, PURCHASE)))
    assert isinstance(found, CardRead)


def test_a_card_that_leaves_at_any_command_may_come_again(card):
    last = InField(card)
    asyncio.run(carry(last, pay(TERMINAL, PURCHASE, CaKeys(()))))
    for at in range(last.asked):
        gone = InField(card, at=at, error=CardLost("gone"))
        talk = pay(TERMINAL, PURCHASE, CaKeys(()))
        assert isinstance(asyncio.run(carry(gone, talk)), TryAgain)
        assert talk.gi_frame is None
    assert not isinstance(asyncio.run(carry(InField(card), identify(TERMINAL, PURCHASE))), OnlineRequest)


def test_a_card_that_cannot_be_read_ends_and_a_lost_reader_is_an_error(card):
    broken = InField(card, at=1, error=CardUnreadable("no"))
    assert isinstance(asyncio.run(carry(broken, pay(TERMINAL, PURCHASE, CaKeys(())))), EndApplication)
    unplugged = InField(card, at=1, error=HardwareError("unplugged"))
    with pytest.raises(HardwareError):
        asyncio.run(carry(unplugged, pay(TERMINAL, PURCHASE, CaKeys(()))))


class Clock:
    def now(self) -> Instant:
        return Instant(utc=datetime.now(UTC), boot_id="test", monotonic_ns=0)

    def trusted(self) -> bool:
        return True

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@pytest.mark.parametrize("name", ["visa", "mastercard"])
def test_a_bank_card_pays_over_a_real_readers_driver(name):
    bank = Bank()
    keys = CaKeys(load(json.dumps(bank.authority.capk()).encode())).for_payment(lab=False)

    async def tap():
        async with await UdpField.start() as field:
            reader = nfc.create(nfc.Options(path=field.path, virtual=True), clock=Clock())
            await field.present(bank.card(name))
            taps = reader.taps()
            tapped = await anext(taps)
            outcome = await carry(tapped.card, pay(TERMINAL, PURCHASE, keys))
            await reader.close()
            return outcome

    outcome = asyncio.run(tap())
    assert isinstance(outcome, OnlineRequest), outcome
    assert outcome.oda.result == "valid"
