"""What a receipt may say about a charge's signed records."""

import json

import msgspec
import pytest

from edge.metering.ocmf.proof import prove
from edge.metering.ocmf.record import SignedRecord


def half(signer, transaction, rv, number, **changed):
    reading = {"TM": f"2026-03-01T12:0{number}:00,000+0100 S", "TX": transaction, "RV": rv, "RI": "1-0:1.8.0"}
    payload = {"PG": f"T{number}", "GS": "G1", "RD": [reading | {"RU": "Wh", "ST": "G"}]} | changed
    return given(signer, signer.record(json.dumps(payload).encode()))


def given(signer, raw):
    return SignedRecord(ocmf=raw, public_key=signer.der, session_id="s1", verified=True)


def test_one_record_with_begin_and_end(signer):
    proof = prove([given(signer, signer.record())])
    assert (proof.sound, proof.energy_wh, proof.serial) == (True, 29_500, "M1")
    assert proof.begin.isoformat() == "2026-03-01T12:00:00+01:00"
    assert proof.end.isoformat() == "2026-03-01T13:00:00+01:00"


def test_a_begin_and_an_end(signer):
    proof = prove([half(signer, "B", 1000, 1), half(signer, "E", 2500, 2)])
    assert (proof.sound, proof.energy_wh, proof.serial) == (True, 1500, "G1")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda r: msgspec.structs.replace(r, ocmf=r.ocmf.replace(b"2500", b"3500")), "does not fit"),
        (lambda r: msgspec.structs.replace(r, ocmf=r.ocmf[:-9]), "not JSON"),
        (lambda r: msgspec.structs.replace(r, public_key=b"\x00"), "no public key"),
        (lambda r: msgspec.structs.replace(r, public_key=r.public_key[:-1]), "no public key"),
    ],
)
def test_what_is_spoiled_proves_nothing(signer, spoil, says):
    proof = prove([half(signer, "B", 1000, 1), spoil(half(signer, "E", 2500, 2))])
    assert (proof.sound, proof.energy_wh) == (False, None)
    assert any(says in objection for objection in proof.objections), proof.objections


def test_records_of_two_meters_prove_nothing(signer, make_signer):
    other = make_signer(secret=99)
    proof = prove([half(signer, "B", 1000, 1), half(other, "E", 2500, 2)])
    assert "records of different keys" in proof.objections
    assert proof.energy_wh is None


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_records_prove_nothing(signer, count):
    assert not prove([half(signer, "B", 1000, 1)][:count]).sound


def test_an_alarm_is_an_objection(signer):
    proof = prove([half(signer, "B", 1000, 1), half(signer, "E", 2500, 5)])
    assert proof.objections == ("pagination goes from 1 to 5",)
    assert proof.energy_wh is None
