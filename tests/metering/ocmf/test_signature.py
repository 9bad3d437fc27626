"""A record is valid when its bytes were signed with the key, and under no other circumstances."""

import base64
import contextlib
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.metering.ocmf import keys
from edge.metering.ocmf.errors import RecordMalformed
from edge.metering.ocmf.record import parse
from edge.metering.ocmf.signature import Verdict, verify


def status(raw, key):
    try:
        return verify(parse(raw), key).status
    except RecordMalformed:
        return "malformed"


@pytest.mark.parametrize("hash_name", ["SHA256", "SHA384", "SHA512"])
def test_every_curve_and_hash_verifies_what_it_signed(any_signer, hash_name):
    record = parse(any_signer.record(hash_name=hash_name))
    assert verify(record, keys.from_bytes(any_signer.der)) == Verdict("valid")


def test_every_curve_refuses_another_key_and_another_payload(any_signer, make_signer):
    raw = any_signer.record()
    other = keys.from_bytes(make_signer(any_signer.curve, secret=815).der)
    assert status(raw, other) == "invalid"
    assert status(raw.replace(b"2965.1", b"2965.2"), keys.from_bytes(any_signer.der)) == "invalid"


@pytest.mark.parametrize("form", ["uncompressed", "bare", "compressed", "der"])
@pytest.mark.parametrize("spelling", ["hex", "HEX", "spaced", "base64", "0x"])
def test_every_way_to_write_a_key_is_read(any_signer, form, spelling):
    point = any_signer.point
    half = len(point) // 2
    data = {
        "uncompressed": point,
        "bare": point[1:],
        "compressed": bytes([2 + point[-1] % 2]) + point[1 : half + 1],
        "der": any_signer.der,
    }[form]
    text = {
        "hex": data.hex(),
        "HEX": data.hex().upper(),
        "spaced": data.hex(" ", 2),
        "base64": base64.b64encode(data).decode(),
        "0x": "0x" + data.hex(),
    }[spelling]
    assert status(any_signer.record(), keys.from_text(text)) == "valid"


@pytest.mark.parametrize("how", ["der", "pem", "hex text", "base64 lines", "raw point"])
def test_every_key_file_is_read(signer, how):
    data = {
        "der": signer.der,
        "pem": signer.pem,
        "hex text": signer.der.hex().encode() + b"\r\n",
        "base64 lines": base64.encodebytes(signer.der),
        "raw point": signer.point,
    }[how]
    assert status(signer.record(), keys.from_file(data)) == "valid"


def test_a_key_becomes_der_again(any_signer):
    key = keys.from_bytes(any_signer.der)
    assert keys.to_der(key) == any_signer.der


@pytest.mark.parametrize("pad", [0, 1, 3])
def test_a_signature_with_needless_zeros_is_read(any_signer, pad):
    raw = any_signer.record()
    signature = any_signer.der_signature(*any_signer.numbers(parse(raw).payload), pad)
    assert status(any_signer.record(SD=signature.hex()), keys.from_bytes(any_signer.der)) == "valid"


def test_integers_without_their_sign_byte_and_lengths_of_several_bytes_are_read(signer):
    r, s = signer.numbers(parse(signer.record()).payload)
    body = b"".join(b"\x02\x81\x20" + n.to_bytes(32, "big") for n in (r, s))
    assert (
        status(signer.record(SD=(b"\x30\x82\x00\x46" + body).hex()), keys.from_bytes(signer.der)) == "valid"
    )


def test_a_signature_as_two_numbers_side_by_side_is_read(any_signer):
    r, s = any_signer.numbers(parse(any_signer.record()).payload)
    size = any_signer.size
    data = r.to_bytes(size, "big") + s.to_bytes(size, "big")
    assert status(any_signer.record(SD=data.hex()), keys.from_bytes(any_signer.der)) == "valid"


def test_base64_and_white_space_in_the_signature(signer):
    plain = bytes.fromhex(json.loads(signer.record().rpartition(b"|")[2])["SD"])
    key = keys.from_bytes(signer.der)
    assert status(signer.record(SE="base64", SD=base64.b64encode(plain).decode()), key) == "valid"
    assert status(signer.record(SD=plain.hex(" ").upper()), key) == "valid"
    assert status(signer.record(SE="base64", SD=plain.hex()), key) == "invalid"


def test_the_default_algorithm_is_that_of_the_specification(signer, make_signer):
    assert status(signer.record(SA=None), keys.from_bytes(signer.der)) == "valid"
    other = make_signer("secp256k1")
    assert status(other.record(SA=None), keys.from_bytes(other.der)) == "invalid"


@pytest.mark.parametrize("name", ["ECDSA-brainpoolP384r1-SHA256", "ecdsa-BRAINPOOL384R1-sha256"])
def test_the_makers_spellings_of_an_algorithm(make_signer, name):
    signer = make_signer("brainpool384r1")
    assert status(signer.record(SA=name), keys.from_bytes(signer.der)) == "valid"


def test_a_key_on_another_curve_is_invalid_never_valid(any_signer, make_signer):
    for curve in ("secp256r1", "secp256k1", "brainpool256r1", "secp384r1"):
        if curve == any_signer.curve:
            continue
        other = make_signer(curve)
        for key in (keys.from_bytes(other.der), keys.from_bytes(other.point)):
            assert status(any_signer.record(), key) == "invalid"
        # the record claims the key's curve: the signature is then none of that curve
        claimed = any_signer.record(SA=f"ECDSA-{curve}-SHA256")
        assert status(claimed, keys.from_bytes(other.der)) == "invalid"
        assert status(claimed, keys.from_bytes(any_signer.der)) == "invalid"


def test_a_point_that_is_on_no_curve_is_invalid(signer):
    off = signer.point[:-1] + bytes([signer.point[-1] ^ 1])
    assert verify(parse(signer.record()), keys.from_bytes(off)).status == "invalid"


@pytest.mark.parametrize("r_s", [(0, 0), (0, 1), (1, 0), (2**256, 1), (1, 2**256 - 1)])
def test_numbers_that_no_signature_has_are_invalid(any_signer, r_s):
    assert (
        status(any_signer.record(SD=any_signer.der_signature(*r_s).hex()), keys.from_bytes(any_signer.der))
        == "invalid"
    )


@pytest.mark.parametrize("data", ["", "00", "30", "3000", "30060201010201", "zz", "3006020101020101ff"])
def test_what_is_no_signature_is_invalid(signer, data):
    assert status(signer.record(SD=data), keys.from_bytes(signer.der)) == "invalid"


def test_rsa_and_unknown_algorithms_are_unsupported(signer):
    rsa_key = rsa.generate_private_key(65537, 2048).public_key()
    der = rsa_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert status(signer.record(), keys.from_bytes(der)) == "unsupported"
    key = keys.from_bytes(signer.der)
    for name in ("RSA-2048-SHA256", "ECDSA-secp256r1-MD5", "ECDSA-secp112r1-SHA256", "", "ECDSA-secp256r1"):
        assert status(signer.record(SA=name), key) == "unsupported"
    assert status(signer.record(SM="application/pkcs7"), key) == "unsupported"
    assert status(signer.record(SE="base32"), key) == "unsupported"


def test_a_curve_given_by_its_numbers_is_unsupported():
    algorithm = "3011" + "06072a8648ce3d0201" + "3006" + "020101" + "020101"
    spki = bytes.fromhex("301a" + algorithm + "0305" + "0004010203")
    assert isinstance(keys.from_bytes(spki), keys.ForeignKey)


def test_no_key_is_no_verdict(signer):
    assert verify(parse(signer.record()), None).status == "no_key"


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_change_of_a_signed_byte_goes_unseen(signer, signed, data):
    raw = bytearray(signed)
    end = raw.rindex(b"|{")
    at = data.draw(st.integers(len("OCMF|"), end - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    assert status(bytes(raw), keys.from_bytes(signer.der)) in {"invalid", "malformed"}


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_truncated_record_is_valid(signer, signed, data):
    start = data.draw(st.integers(0, len(signed) - 1))
    end = data.draw(st.integers(start, len(signed) - (0 if start else 1)))
    assert status(signed[start:end], keys.from_bytes(signer.der)) in {"invalid", "malformed"}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_key_or_an_error_of_ours(data):
    for read in (keys.from_file, keys.from_bytes):
        with contextlib.suppress(keys.KeyUnreadable):
            read(data)
