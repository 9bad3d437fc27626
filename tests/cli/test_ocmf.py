"""`chargetill ocmf verify`: one line per record, exit 0 only when all are valid.

The records in tests/data/ocmf were signed by our virtual meters with keys of their own.
"""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from edge.__main__ import main

DATA = Path(__file__).parents[1] / "data" / "ocmf"
KEYS = {"em580": "em580.key.der", "wm3m4": "wm3m4.key.txt", "secp192k1": "secp192k1.key.txt"}
KEY = ec.derive_private_key(7, ec.SECP256R1())
PUBLIC = (
    KEY.public_key()
    .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    .hex()
)


@pytest.fixture
def verify(capsys):
    def run(*args):
        code = 0
        try:
            main(["ocmf", "verify", *(str(a) for a in args)])
        except SystemExit as e:
            code = int(e.code or 0)
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    return run


@pytest.mark.parametrize("name", list(KEYS))
def test_a_raw_file_with_its_key(verify, name):
    code, lines, err = verify(DATA / f"{name}.ocmf", "--public-key", DATA / KEYS[name])
    assert (code, err) == (0, "")
    assert [line["record"] for line in lines] == ([1, 2] if name == "secp192k1" else [1])
    for line in lines:
        assert (line["status"], line["reason"], line["key_source"]) == ("valid", None, "given")


def test_a_line_says_what_was_signed(verify):
    path = DATA / "em580.ocmf"
    _, (line,), _ = verify(path, "--public-key", (DATA / "em580.key.der").read_bytes().hex())
    assert line == {
        "file": str(path),
        "record": 1,
        "status": "valid",
        "reason": None,
        "key_source": "given",
        "begin": "2026-03-01T12:00:00Z",
        "end": "2026-03-01T13:00:00Z",
        "energy_wh": 11110,
    }


@pytest.mark.parametrize("in_hex", [False, True])
def test_a_key_behind_the_signature_is_one_in_the_file(verify, tmp_path, in_hex):
    key = (DATA / "em580.key.der").read_bytes().hex()
    text = (DATA / "em580.ocmf").read_bytes().strip()
    for name, appended in (("own", key), ("other", PUBLIC), ("none", "4711")):
        record = text + b"|" + appended.encode()
        (tmp_path / name).write_bytes(record.hex().encode() + b"\n" if in_hex else record + b"\n")
    code, lines, _ = verify(*(tmp_path / name for name in ("own", "other", "none")))
    assert code == 1
    assert [line["status"] for line in lines] == ["valid", "invalid", "invalid"]
    assert {line["key_source"] for line in lines} == {"file"}
    code, (line,), _ = verify(tmp_path / "other", "--public-key", key)
    assert (code, line["status"], line["key_source"], line["energy_wh"]) == (0, "valid", "given", 11110)


def test_without_a_key_there_is_no_verdict(verify):
    code, (line,), _ = verify(DATA / "wm3m4.ocmf")
    assert code == 1
    assert (line["status"], line["key_source"], line["energy_wh"]) == ("no_key", None, 11110)
    assert line["reason"]


def test_begin_and_end_of_one_transaction_tell_its_energy(verify):
    code, (begin, end), _ = verify(DATA / "bsm.xml")
    assert code == 0
    assert [line["status"] for line in (begin, end)] == ["valid", "valid"]
    assert {line["key_source"] for line in (begin, end)} == {"file"}
    assert (begin["begin"], begin["end"], begin["energy_wh"]) == ("2026-03-01T12:00:00Z", None, None)
    assert (end["begin"], end["end"], end["energy_wh"]) == (None, "2026-03-01T13:00:00Z", 11110)


def test_a_given_key_overrides_the_files(verify):
    code, lines, _ = verify(DATA / "bsm.xml", "--public-key", (DATA / "wm3m4.key.txt").read_text())
    assert code == 0  # the virtual meters share a secret number, and here a curve
    assert {line["key_source"] for line in lines} == {"given"}
    code, lines, _ = verify(DATA / "bsm.xml", "--public-key", DATA / "em580.key.der")
    assert code == 1
    assert {line["status"] for line in lines} == {"invalid"}


OTHER_KEY = ec.derive_private_key(8, ec.SECP256R1())


def half(transaction, rv, number, serial="M1", key=KEY):
    """A genuine record with one reading."""
    reading = {"TM": f"2026-03-01T12:0{number}:00,000+0100 S", "TX": transaction, "RV": rv, "RI": "1-0:1.8.0"}
    payload = {"PG": f"T{number}", "MS": serial, "RD": [reading | {"RU": "Wh", "ST": "G"}]}
    return signed(json.dumps(payload).encode(), key)


def signed(payload, key=KEY):
    signature = key.sign(payload, ec.ECDSA(hashes.SHA256()))
    return b"OCMF|" + payload + b'|{"SD":"' + signature.hex().encode() + b'"}'


FORMS = {
    "DER": (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
    "compressed": (serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint),
}


def in_hex(key, form):
    return key.public_key().public_bytes(*FORMS[form]).hex()


def receipt(path, *records, transaction_id=7, keys=()):
    values = (
        f'<value transactionId="{transaction_id}"><signedData>{r.decode()}</signedData>'
        f"{f'<publicKey>{keys[place]}</publicKey>' if keys else ''}</value>"
        for place, r in enumerate(records)
    )
    path.write_text("<values>" + "".join(values) + "</values>")
    return path


@pytest.mark.parametrize(
    ("begin", "end", "says"),
    [
        (half("B", 1000, 1), half("E", 2500, 2, serial="M2"), "different meters"),
        (half("B", 1000, 1), half("E", 900, 2), "goes back"),
    ],
)
def test_genuine_records_of_two_charges_are_no_receipt(verify, tmp_path, begin, end, says):
    path = receipt(tmp_path / "forged.xml", begin, end)
    code, lines, _ = verify(path, "--public-key", PUBLIC)
    assert code == 1
    assert [(line["status"], line["energy_wh"]) for line in lines] == [("invalid", None)] * 2
    assert all(says in line["reason"] for line in lines)


def test_the_seconds_beside_the_energy_do_not_spoil_a_receipt(verify, tmp_path):
    ended = json.loads(half("E", "    2500", 2).split(b"|")[1])
    ended["RD"].append({"TX": "E", "RV": "      60", "RI": "01-00:00.08.06.FF", "RU": "sec", "ST": "G"})
    path = receipt(tmp_path / "timed.xml", half("B", "    1000", 1), signed(json.dumps(ended).encode()))
    code, (begin, end), _ = verify(path, "--public-key", PUBLIC)
    assert (code, begin["status"], end["status"], end["energy_wh"]) == (0, "valid", "valid", 1500)


def test_a_gap_between_begin_and_end_is_an_alarm(verify, tmp_path):
    path = receipt(tmp_path / "gap.xml", half("B", 1000, 1), half("E", 2500, 5))
    code, (begin, end), _ = verify(path, "--public-key", PUBLIC)
    assert (code, begin["reason"], end["energy_wh"]) == (0, None, 1500)
    assert end["reason"] == "pagination goes from 1 to 5"


def test_what_stands_between_begin_and_end_is_no_gap_but_part_of_the_charge(verify, tmp_path):
    path = receipt(tmp_path / "middle.xml", half("B", 1000, 1), half("T", 1200, 2), half("E", 2500, 3))
    code, lines, _ = verify(path, "--public-key", PUBLIC)
    assert (code, [line["energy_wh"] for line in lines]) == (0, [None, None, 1500])
    assert {line["reason"] for line in lines} == {None}
    foreign = half("T", 1200, 2, serial="M2")
    path = receipt(tmp_path / "foreign.xml", half("B", 1000, 1), foreign, half("E", 2500, 3))
    code, lines, _ = verify(path, "--public-key", PUBLIC)
    assert (code, {line["status"] for line in lines}) == (1, {"invalid"})


@pytest.mark.parametrize(("other", "status"), [(KEY, "valid"), (OTHER_KEY, "invalid")])
def test_begin_and_end_are_of_one_key_however_it_is_written(verify, tmp_path, other, status):
    shown = (in_hex(KEY, "DER"), in_hex(other, "compressed"))
    path = receipt(tmp_path / "k.xml", half("B", 1000, 1), half("E", 2500, 2, key=other), keys=shown)
    code, lines, _ = verify(path)
    assert (code, {line["status"] for line in lines}) == (int(other is OTHER_KEY), {status})
    assert lines[1]["energy_wh"] == (1500 if other is KEY else None)


def test_halves_of_several_charges_under_one_number_are_judged_alone(verify, tmp_path):
    halves = (half("B", 1000, 1), half("E", 2500, 2), half("B", 3000, 3), half("E", 3500, 4))
    code, lines, _ = verify(receipt(tmp_path / "many.xml", *halves), "--public-key", PUBLIC)
    assert (code, {line["energy_wh"] for line in lines}) == (0, {None})


@pytest.mark.parametrize("name", list(KEYS))
def test_a_changed_or_torn_record_is_invalid_and_says_nothing(verify, tmp_path, name):
    raw = (DATA / f"{name}.ocmf").read_bytes().splitlines()[0]
    key = DATA / KEYS[name]
    forged = tmp_path / "forged.ocmf"
    for changed in (raw.replace(b'"kWh"', b'"MWh"', 1), raw[:-40], raw[: len(raw) // 2], raw[:-1]):
        forged.write_bytes(changed)
        code, (line,), _ = verify(forged, "--public-key", key)
        assert code == 1
        assert (line["status"], line["begin"], line["end"], line["energy_wh"]) == (
            "invalid",
            None,
            None,
            None,
        )
        assert line["reason"]


def test_one_invalid_record_among_valid_ones_is_a_no(verify, tmp_path):
    one, two = (DATA / "secp192k1.ocmf").read_bytes().splitlines()
    path = tmp_path / "two.ocmf"
    path.write_bytes(one + b"\n" + two.replace(b"2965.1", b"2965.2") + b"\n")
    code, lines, _ = verify(path, "--public-key", DATA / "secp192k1.key.txt")
    assert code == 1
    assert [line["status"] for line in lines] == ["valid", "invalid"]


def test_files_that_cannot_be_read_have_an_error_in_their_line(verify, tmp_path):
    empty, garbage, bomb = tmp_path / "empty", tmp_path / "garbage", tmp_path / "bomb.xml"
    empty.write_bytes(b"")
    garbage.write_bytes(bytes(range(256)))
    bomb.write_text(
        '<!DOCTYPE v [<!ENTITY a "x">]><values><value><signedData>&a;</signedData></value></values>'
    )
    code, lines, err = verify(
        empty, DATA / "nowhere.ocmf", garbage, bomb, tmp_path, DATA / "bsm.xml", "x" * 5000
    )
    assert (code, err) == (1, "")
    assert [line["error"]["code"] if "error" in line else line["status"] for line in lines] == [
        "ocmf.unreadable",
        "file.unreadable",
        "ocmf.unreadable",
        "ocmf.unreadable",
        "file.unreadable",
        "valid",
        "valid",
        "file.unreadable",
    ]


def test_values_of_an_xml_file_that_are_not_ours_to_judge(verify, tmp_path):
    path = tmp_path / "mixed.xml"
    path.write_text(
        '<values><value><signedData format="ALFEN">AP;0</signedData></value>'
        '<value><signedData format="OCMF" encoding="hex">zz</signedData></value>'
        "<value><signedData>OCMF|{}</signedData><publicKey>nonsense!</publicKey></value></values>"
    )
    code, lines, _ = verify(path)
    assert code == 1
    assert [line["status"] for line in lines] == ["unsupported", "invalid", "invalid"]
    assert [line["key_source"] for line in lines] == [None, None, "file"]
    assert all(line["reason"] for line in lines)


def test_rsa_is_unsupported_whatever_it_signed(verify, tmp_path):
    public = rsa.generate_private_key(65537, 2048).public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    path = tmp_path / "rsa.xml"
    path.write_text(
        '<values><value><encodedData format="OCMF" encoding="hex">3082034F060A</encodedData>'
        f'<publicKey encoding="hex">{der.hex()}</publicKey></value></values>'
    )
    code, (line,), _ = verify(path)
    assert (code, line["status"], line["key_source"]) == (1, "unsupported", "file")
    code, (line,), _ = verify(DATA / "em580.ocmf", "--public-key", der.hex())
    assert (code, line["status"]) == (1, "unsupported")


def test_a_valid_record_that_the_meter_objects_to_says_so(verify, tmp_path):
    payload = (
        b'{"PG":"T1","RD":[{"TM":"2026-03-01T12:00:00,000+0100 S","TX":"B","RV":1,"RI":"1-0:1.8.0","RU":"Wh",'
        b'"EF":"E","ST":"E"},{"TX":"E","RV":5}]}'
    )
    path = tmp_path / "faulty.ocmf"
    path.write_bytes(signed(payload))
    code, (line,), _ = verify(path, "--public-key", PUBLIC)
    assert (code, line["status"], line["energy_wh"]) == (0, "valid", None)
    assert "status was E" in line["reason"]


@pytest.mark.parametrize("key", ["", "zz", "00", "04" * 10, "-----BEGIN CERTIFICATE-----"])
def test_a_key_that_is_none_is_a_wrong_call(verify, key):
    code, lines, err = verify("--json", DATA / "em580.ocmf", "--public-key", key)
    assert (code, lines) == (2, [])
    assert json.loads(err)["error"]["code"] == "ocmf.key_unreadable"


def test_no_file_is_a_wrong_call(verify):
    code, lines, err = verify()
    assert (code, lines) == (2, [])
    assert "call.usage" in err
