"""From the tap to the issuer's word: a card of the drawer, the kernel, the link, the acquirer, and pyemv at the end."""

from __future__ import annotations

import asyncio
import functools
from datetime import date

import pytest

from edge.domain.payment import Authorized, Captured, Declined
from edge.emv.kernel import outcome
from edge.emv.kernel.entry import pay
from edge.emv.kernel.terminal import Purchase, Terminal
from edge.emv.oda.keys import CaKey, CaKeys, PublicKey, Revoked
from edge.payments.acquirer.card_data import CardData
from edge.payments.acquirer.link import AcquirerLink
from edge.payments.acquirer.payment import AcquirerPayment
from edge.runtime.bank_cards import carry
from edge.runtime.clock import SystemClock
from hw.readers import nfc
from hw.virtual.acquirer import VirtualAcquirer
from hw.virtual.acquirer_host import Host
from hw.virtual.bank_cards.bank import Bank
from hw.virtual.nfc_udp import UdpField

from .conftest import TOKEN, Journal, World, options, run

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")

TODAY = date(2026, 11, 22)
CLOCK = SystemClock(trust="always")


@functools.cache
def the_bank():
    return Bank(today=lambda: TODAY)


def keys(bank):
    return CaKeys(
        (
            CaKey(
                rid=bytes.fromhex(each["rid"]),
                index=int(each["index"], 16),
                key=PublicKey(modulus=bytes.fromhex(each["modulus"]), exponent=int(each["exponent"], 16)),
                expires=date.fromisoformat(each["expires"]),
            )
            for each in bank.authority.capk()
        ),
        [Revoked(*each) for each in bank.authority.revoked],
    )


def tap(name, amount_minor):
    """What the kernel makes of a card."""
    bank = the_bank()
    card = bank.card(name)
    card.enter()
    purchase = Purchase(
        amount_minor=amount_minor, currency=978, unpredictable_number=b"\x01\x02\x03\x04", day=TODAY
    )
    talk = pay(Terminal(country=276), purchase, keys(bank))
    command = next(talk)
    while True:
        try:
            command = talk.send(card.apdu(command))
        except StopIteration as end:
            return end.value


def authorize(name, amount_minor):
    """What the acquirer says of a card that the kernel takes online, and what it has on its books."""
    asked = tap(name, amount_minor)
    assert isinstance(asked, outcome.OnlineRequest), asked
    assert asked.oda.result == "valid"
    world = World(host=Host(issuer=the_bank().issuer.approve))

    async def scenario():
        world.journal.begin("r", amount_minor)
        world.pay.offer("r", CardData.of(asked))
        return await world.pay.preauthorize("r", amount_minor=amount_minor, currency="EUR", token=TOKEN)

    return run(scenario()), world


@pytest.mark.parametrize(
    ("name", "amount_minor", "verified"),
    [
        ("visa", 4000, "none"),
        ("mastercard", 4000, "none"),
        ("co-badged", 4000, "none"),
        ("visa phone", 6000, "device"),
        ("mastercard phone", 6000, "device"),
    ],
)
def test_a_card_or_a_phone_pays(name, amount_minor, verified):
    assert tap(name, amount_minor).verified == verified
    answer, world = authorize(name, amount_minor)
    assert answer == Authorized(ref="r", hold_minor=amount_minor)
    assert run(world.capture(123)) == Captured(ref="r", amount_minor=123)
    assert world.books.open == ()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("wrong cryptogram", "card_declined"),
        ("wrong cryptogram, mastercard", "card_declined"),
        ("no money", "insufficient_funds"),
        ("stolen", "card_blocked"),
        ("of no bank", "card_not_accepted"),
    ],
)
def test_the_issuer_declines_what_the_kernel_cannot_know(name, reason):
    answer, world = authorize(name, 4000)
    assert answer == Declined(ref="r", reason=reason)
    assert world.books.holds() == ()


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [
        ("expired certificate", outcome.Declined, "not_genuine"),
        ("revoked", outcome.Declined, "not_genuine"),
        ("revoked mastercard", outcome.Declined, "not_genuine"),
        ("forged visa", outcome.Declined, "not_genuine"),
        ("forged mastercard", outcome.Declined, "not_genuine"),
        ("declined by itself", outcome.Declined, "declined"),
        ("declined by itself, mastercard", outcome.Declined, "declined"),
        ("contact only", outcome.TryAnotherInterface, "not_accepted"),
    ],
)
def test_the_kernel_takes_no_other_card_for_genuine(name, kind, why):
    found = tap(name, 4000)
    assert isinstance(found, kind), found
    assert found.why == why


def test_a_locked_phone_pays_at_the_second_tap():
    assert tap("locked phone", 4000) == outcome.SeePhone()
    the_bank().card("locked phone").applications[0].unlock()
    answer, _ = authorize("locked phone", 4000)
    assert answer == Authorized(ref="r", hold_minor=4000)


@pytest.mark.parametrize("name", ["visa", "mastercard"])
def test_plastic_pays_with_no_more_than_a_tap_only_below_the_limit(name):
    assert not isinstance(tap(name, 6000), outcome.OnlineRequest)


def test_an_expired_card_is_declined_by_whoever_sees_it_first():
    for name in ("expired visa", "expired mastercard"):
        found = tap(name, 4000)
        if isinstance(found, outcome.OnlineRequest):
            assert authorize(name, 4000)[0] == Declined(ref="r", reason="card_expired")
        else:
            assert found.why == "expired"


@pytest.mark.parametrize("name", ["mastercard", "visa phone"])
def test_the_whole_way_with_the_real_driver_and_the_real_line(name):
    """nfcpy reads the card over its udp driver; the link talks to the acquirer over TCP."""
    bank = the_bank()

    async def scenario():
        conf = {"ready_s": 30, "answer_s": 30}
        host = Host(issuer=bank.issuer.approve)
        async with await UdpField.start() as field, await VirtualAcquirer.start(host) as acquirer:
            reader = nfc.create(nfc.Options(path=field.path, virtual=True), clock=CLOCK)
            link = AcquirerLink(options(port=acquirer.port, **conf), clock=CLOCK)
            serving = asyncio.create_task(link.serve())
            method = AcquirerPayment(
                link, Journal(), options=options(port=acquirer.port, **conf), clock=CLOCK
            )
            await field.present(bank.card(name))
            taps = reader.taps()
            tap = await anext(taps)
            purchase = Purchase(amount_minor=4000, currency=978, unpredictable_number=b"abcd", day=TODAY)
            asked = await carry(tap.card, pay(Terminal(country=276), purchase, keys(bank)))
            method.offer("r", CardData.of(asked))
            method._journal.begin("r", 4000)
            answer = await method.preauthorize("r", amount_minor=4000, currency="EUR", token=TOKEN)
            assert answer == Authorized(ref="r", hold_minor=4000)
            assert await method.capture("r", amount_minor=1, currency="EUR") == Captured(
                ref="r", amount_minor=1
            )
            await reader.close()
            serving.cancel()
        assert host.books.open == ()

    asyncio.run(asyncio.wait_for(scenario(), 120))
