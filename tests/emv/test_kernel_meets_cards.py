"""The kernel and the virtual bank cards, written apart from each other: both held to the books, and to the issuer."""

from __future__ import annotations

import json
from datetime import date

import msgspec
import pytest

from edge.emv import tlv
from edge.emv.kernel.entry import identify, pay
from edge.emv.kernel.outcome import (
    Approved,
    Declined,
    EndApplication,
    OnlineRequest,
    SeePhone,
    TryAnotherInterface,
)
from edge.emv.kernel.terminal import MASTERCARD, VISA, Terminal
from edge.emv.oda.keys import CaKeys, Revoked, load
from edge.emv.replay import judgement, transcript
from hw.virtual.acquirer_host import Asked
from hw.virtual.bank_cards.bank import KINDS, Bank
from hw.virtual.bank_cards.hostile import hostiles

TODAY = date(2026, 11, 22)


@pytest.fixture(scope="module")
def bank():
    """Cards are made once; a tap only moves their counters."""
    return Bank(today=lambda: TODAY)


@pytest.fixture(scope="module")
def keys(bank):
    for name in KINDS:
        bank.card(name)  # the list of revoked issuers is complete once all cards are there
    revoked = (Revoked(*each) for each in bank.authority.revoked)
    return CaKeys(load(json.dumps(bank.authority.capk()).encode()), revoked)


@pytest.fixture
def tapped(bank, keys, carry, terminal, purchase):
    def run(name, *, at=terminal, buying=purchase):
        card = bank.card(name)
        card.enter()
        return carry(pay(at, buying, keys.for_payment(lab=False)), card)

    return run


def asked_of(outcome) -> Asked:
    """What the acquirer's line makes of an outcome."""
    pan, expiry, _ = outcome.card.number.reveal()
    chip = tlv.parse(outcome.de55)
    return Asked(
        pan=pan,
        expiry=expiry,
        sequence_no=outcome.card.sequence,
        icc=outcome.de55,
        amount_minor=int(tlv.find(chip, "9F02").hex()),
        currency=tlv.find(chip, "5F2A").hex()[1:],
    )


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("visa", "00"),
        ("mastercard", "00"),
        ("visa phone", "00"),
        ("mastercard phone", "00"),
        ("co-badged", "00"),
        ("expired visa", "54"),
        ("expired mastercard", "54"),
        ("wrong cryptogram", "63"),
        ("wrong cryptogram, mastercard", "63"),
        ("no money", "51"),
        ("stolen", "62"),
        ("of no bank", "14"),
        ("offline visa", "00"),  # not asked to approve, it asks its issuer
        ("offline mastercard", "00"),
    ],
)
def test_the_issuer_understands_what_the_kernel_asks_it(bank, tapped, name, answer):
    outcome, _ = tapped(name)
    assert isinstance(outcome, OnlineRequest), outcome
    assert outcome.oda.result == "valid"
    assert bank.issuer.approve(asked_of(outcome)) == answer
    again, _ = tapped(name)
    assert bank.issuer.approve(asked_of(again)) == answer
    if answer != "14":
        assert bank.issuer.approve(asked_of(again)) == "63"  # the same cryptogram once more


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [
        ("locked phone", SeePhone, None),
        ("contact only", TryAnotherInterface, "not_accepted"),
        ("declined by itself", Declined, "declined"),
        ("declined by itself, mastercard", Declined, "declined"),
        ("expired certificate", Declined, "not_genuine"),
        ("revoked", Declined, "not_genuine"),
        ("revoked mastercard", Declined, "not_genuine"),
        ("forged visa", Declined, "not_genuine"),
        ("forged mastercard", Declined, "not_genuine"),
    ],
)
def test_who_gets_no_further(tapped, name, kind, why):
    outcome, _ = tapped(name)
    assert (type(outcome), getattr(outcome, "why", None)) == (kind, why), outcome


@pytest.mark.parametrize("scheme", ["visa", "mastercard"])
def test_above_the_limit_only_a_phone_verifies_its_owner(tapped, purchase, scheme):
    dear = msgspec.structs.replace(purchase, amount_minor=9_000)
    outcome, _ = tapped(scheme, buying=dear)
    assert (type(outcome), outcome.why) == (Declined, "verification")
    outcome, _ = tapped(f"{scheme} phone", buying=dear)
    assert outcome.verified == "device"


def test_offline_where_the_terminal_lets_it(tapped, terminal):
    floor = tuple(msgspec.structs.replace(each, floor_limit_minor=9_000) for each in (MASTERCARD, VISA))
    at = msgspec.structs.replace(terminal, online_only=False, applications=floor)
    assert isinstance(tapped("offline visa", at=at)[0], Approved)
    assert isinstance(tapped("offline mastercard", at=at)[0], Approved)


def test_card_and_phone_of_one_account_have_one_name(bank, carry, terminal, purchase, tapped):
    names = {}
    for name in ("visa", "visa phone", "mastercard", "mastercard phone"):
        card = bank.card(name)
        card.enter()
        found, exchanges = carry(identify(terminal, purchase), card)
        names[name] = found.token(bytes(32))
        assert not any(command[1] == 0xAE for command, _ in exchanges)
        assert names[name] == tapped(name)[0].card.token(bytes(32))
    assert names["visa"] == names["visa phone"]
    assert names["mastercard"] == names["mastercard phone"]
    assert names["visa"] != names["mastercard"]


@pytest.mark.parametrize("name", ["visa", "mastercard", "visa phone", "mastercard phone", "co-badged"])
def test_replay_says_of_the_conversation_what_the_kernel_said(tapped, keys, name):
    outcome, exchanges = tapped(name)
    text = "\n".join(json.dumps({"c": c.hex(), "r": r.hex()}) for c, r in exchanges)
    found = judgement.judge(transcript.read(text.encode()), keys, at=None, today=TODAY)
    assert (found.aid, found.kernel, found.pan) == (
        outcome.card.aid,
        outcome.card.kernel,
        outcome.card.number.truncated,
    )
    assert found.oda == outcome.oda
    assert found.cryptogram_type == "ARQC"


@pytest.mark.parametrize("name", ["forged visa", "forged mastercard", "revoked", "expired certificate"])
def test_replay_does_not_take_what_the_kernel_does_not(tapped, keys, name):
    _, exchanges = tapped(name)
    text = "\n".join(json.dumps({"c": c.hex(), "r": r.hex()}) for c, r in exchanges)
    found = judgement.judge(transcript.read(text.encode()), keys, at=None, today=TODAY)
    assert found.oda.result == "invalid"


@pytest.mark.parametrize("name", sorted(hostiles()))
def test_hostile_cards_end_the_tap(carry, keys, purchase, name):
    card = hostiles()[name]
    card.enter()
    outcome, exchanges = carry(pay(Terminal(country=276), purchase, keys), card)
    if isinstance(outcome, OnlineRequest):  # odd, and allowed: its issuer has the word
        assert outcome.oda.result == "not_performed"
    else:
        assert isinstance(outcome, EndApplication), outcome
    assert len(exchanges) <= 20
