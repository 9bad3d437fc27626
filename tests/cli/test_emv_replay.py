"""`chargetill emv replay`: one line of JSON for a transcript, and an exit code that says whether the card is genuine."""

from __future__ import annotations

import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from edge.__main__ import main
from edge.emv import tlv

PAN = "5413330089020044"


@pytest.fixture(scope="module")
def issuer():
    """A certification authority and an issuer under it that signs static data."""
    ca, issuer = (rsa.generate_private_key(public_exponent=3, key_size=bits) for bits in (1184, 1024))

    def seal(key, body, vouched=b""):
        numbers, size = key.private_numbers(), key.key_size // 8
        digest = hashlib.sha1(body + vouched).digest()
        number = int.from_bytes(b"\x6a" + body + digest + b"\xbc", "big")
        return pow(number, numbers.d, numbers.public_numbers.n).to_bytes(size, "big")

    def modulus(key):
        return key.public_key().public_numbers().n.to_bytes(key.key_size // 8, "big")

    own = modulus(issuer)
    head = b"\x02" + bytes.fromhex("541333FF" + "1230" + "000001" + "0101" + "8001")
    certificate = seal(ca, head + own[:112], own[112:] + b"\x03")
    return (
        modulus(ca),
        certificate,
        own[112:],
        lambda static: seal(issuer, b"\x03\x01\xda\xc0" + b"\xbb" * 102, static),
    )


@pytest.fixture
def files(tmp_path, issuer):
    """A transcript of SDA, and its keys."""
    ca, certificate, remainder, sign = issuer
    aid = bytes.fromhex("A0000000041010")
    signed = tlv.encode("5A", bytes.fromhex(PAN)) + tlv.encode("5F24", bytes.fromhex("301231"))
    held = {"8F": b"\xf1", "90": certificate, "9F32": b"\x03", "92": remainder}
    options = tlv.encode(
        "77", tlv.encode("82", b"\x40\x00") + tlv.encode("94", bytes.fromhex("0801010110010200"))
    )
    exchanges = [
        ("00A4040007A000000004101000", tlv.encode("6F", tlv.encode("84", aid))),
        ("80A80000 02 8300 00", options),
        ("00B2010C00", tlv.encode("70", signed)),
        ("00B2011400", tlv.encode("70", b"".join(tlv.encode(t, v) for t, v in held.items()))),
        ("00b2021400", tlv.encode("70", tlv.encode("93", sign(signed)))),
        ("80AE8000", bytes.fromhex("800B8000010102030405060708")),
    ]
    lines = [json.dumps({"c": c, "r": r.hex() + "9000"}) for c, r in exchanges]
    transcript, keys = tmp_path / "card.ndjson", tmp_path / "capk.json"
    transcript.write_text("\n".join(lines) + "\n")
    keys.write_text(json.dumps([{"rid": "A000000004", "index": "F1", "modulus": ca.hex(), "exponent": "03"}]))
    return transcript, keys


@pytest.fixture
def replay(capfd, files):
    def run(*more: str, transcript=None, capk=None):
        code = 0
        try:
            main(["emv", "replay", str(transcript or files[0]), "--capk", str(capk or files[1]), *more])
        except SystemExit as e:
            code = int(e.code or 0)
        return code, *capfd.readouterr()

    return run


def test_a_genuine_card(replay):
    code, out, err = replay("--at", "2026-11-22")
    assert (code, err) == (0, "")
    assert out == (
        '{"aid":"A0000000041010","kernel":2,"oda":{"method":"SDA","result":"valid","reason":null},'
        '"cryptogram_type":"ARQC","pan":"541333******0044"}\n'
    )


def test_an_expired_certificate_is_no(replay):
    code, out, _ = replay("--at", "2031-01-01", "--json")
    assert code == 1
    assert json.loads(out)["oda"] == {
        "method": "SDA", "result": "invalid", "reason": "the issuer certificate expired in 2030-12",
    }  # fmt: skip


def test_a_torn_transcript_is_no(replay, files):
    whole = files[0].read_bytes()
    for cut in (0, 1, 40, len(whole) // 2, len(whole) - 3):
        files[0].write_bytes(whole[:cut])
        code, out, err = replay("--at", "2026-11-22")
        assert (code, err) == (1, "")
        assert json.loads(out)["oda"]["result"] == "not_performed"


def test_no_card_number_anywhere(replay, files):
    text = files[0].read_text()
    for changed in (text, text.replace("9f46", "9f47"), text.replace("301231", "301232")):
        files[0].write_text(changed)
        assert PAN not in "".join(map(str, replay()))


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (lambda t, k: t.write_text("x\n" + t.read_text()), 2, "input.invalid"),
        (lambda t, k: t.write_text(t.read_text().replace("9000", "900")), 2, "input.invalid"),
        (lambda t, k: k.write_text("[{}]"), 2, "emv.ca_keys"),
        (lambda t, k: k.write_text(""), 2, "emv.ca_keys"),
        (lambda t, k: t.unlink(), 2, "file.unreadable"),
        (lambda t, k: k.unlink(), 2, "file.unreadable"),
    ],
)
def test_what_cannot_be_used_is_an_error(replay, files, change, status, code):
    change(*files)
    got, out, err = replay("--json")
    assert (got, out) == (status, "")
    assert json.loads(err)["error"]["code"] == code
    assert PAN not in err


@pytest.mark.parametrize("day", ["1.1.2026", "2026-13-01", "", "today"])
def test_a_day_that_is_none_is_a_wrong_call(replay, day):
    code, _, err = replay("--at", day)
    assert code == 2
    assert err.startswith("input.invalid: --at")


def test_the_keys_have_to_be_named(capfd, files):
    with pytest.raises(SystemExit) as ended:
        main(["emv", "replay", str(files[0])])
    assert ended.value.code == 2
    assert "--capk" in capfd.readouterr().err
