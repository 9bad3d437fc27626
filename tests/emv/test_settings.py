"""What bank cards are at a charger, as configured: without a laboratory never a way to pay."""

from __future__ import annotations

import json

import msgspec
import pytest

from edge.emv.errors import CaKeysInvalid, LiveKeysRefused
from edge.emv.kernel.settings import PaymentNeedsLab, Settings


@pytest.fixture
def document(scheme):
    def make(index: str) -> bytes:
        key = {"rid": "A000000003", "index": index, "modulus": scheme.ca.modulus.hex(), "exponent": "03"}
        return json.dumps([key]).encode()

    return make


def section(**keys) -> Settings:
    return msgspec.convert(keys, Settings)


def test_by_default_bank_cards_are_nothing_here(document):
    assert section().use == "off"
    assert section().payment_keys(None, lab=False).find(bytes.fromhex("A000000003"), 0x94) == ()


@pytest.mark.parametrize("use", ["off", "identity", "payment"])
def test_keys_of_real_cards_are_refused_without_a_lab(document, use):
    with pytest.raises((LiveKeysRefused, PaymentNeedsLab)):
        section(use=use).payment_keys(document("09"), lab=False)
    assert section(use=use).payment_keys(document("09"), lab=True).find(bytes.fromhex("A000000003"), 9)


def test_payment_needs_a_lab_and_keys(document):
    with pytest.raises(PaymentNeedsLab):
        section(use="payment").payment_keys(document("94"), lab=False)
    with pytest.raises(CaKeysInvalid):
        section(use="payment").payment_keys(None, lab=True)
    revoked = section(use="payment", revoked=["A000000003 94 000001"])
    keys = revoked.payment_keys(document("94"), lab=True)
    (key,) = keys.find(bytes.fromhex("A000000003"), 0x94)
    assert keys.is_revoked(key, b"\0\0\1")
    assert not keys.is_revoked(key, b"\0\0\2")


@pytest.mark.parametrize(
    "keys",
    [
        {"use": "yes"},
        {"country": 0},
        {"revoked": ["A000000003 94"]},
        {"cvm_limit": 5},
        {"cvm_limit_minor": -1},
    ],
)
def test_what_the_section_does_not_know_is_refused(keys):
    with pytest.raises(msgspec.ValidationError):
        section(**keys)


def test_the_terminal_is_the_charger(document):
    terminal = section(country=40, cvm_limit_minor=2_500, other_interface=True).terminal(
        serial="CP-Zürich-000123"
    )
    assert (terminal.country, terminal.serial, terminal.other_interface) == (40, "h-000123", True)
    assert {each.cvm_limit_minor for each in terminal.applications} == {2_500}
    assert section().terminal(serial="7").serial == "00000007"
