"""A record is kept byte for byte; what it says is read strictly, and nothing it says can hurt the reader."""

import contextlib
import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.metering.ocmf import keys
from edge.metering.ocmf.errors import RecordMalformed
from edge.metering.ocmf.reading import delivery
from edge.metering.ocmf.record import Pagination, parse, sanitized, split
from edge.metering.ocmf.signature import verify

SIGNATURE = b'|{"SD":"00"}'


def with_readings(*readings):
    return parse(b"OCMF|" + json.dumps({"RD": list(readings)}).encode() + SIGNATURE)


def test_the_payload_is_the_bytes_as_they_came(signer):
    for payload in (b'{"PG": "T1" ,\n\t"MS":"\xc3\x9c"}', b' {"PG":"T1"} ', b'{"RV":1.50,"RD":[]}\n'):
        record = parse(signer.record(payload))
        assert record.payload == payload
        assert verify(record, keys.from_bytes(signer.der)).status == "valid"


def test_white_space_around_a_record_does_not_belong_to_it(signer):
    raw = signer.record()
    assert parse(b"\xef\xbb\xbf\r\n  " + raw + b"\n\n").raw == raw


def test_payload_and_signature_part_at_the_last_bar(signer):
    raw = signer.record({"TT": '0.49|{"EUR"}|kWh', "RD": []})
    record = parse(raw)
    assert record.tariff_text == '0.49|{"EUR"}|kWh'
    assert verify(record, keys.from_bytes(signer.der)).status == "valid"
    payload, _, section = raw.rpartition(b"|{")
    spaced = parse(payload + b"| \n{" + section)
    assert (spaced.payload, spaced.signature_data) == (record.payload, record.signature_data)


def test_who_measured_and_which_record_it_is():
    record = parse(b'OCMF|{"PG":"T0012","GS":"g","MS":"m","ID":"i","CI":"DE*1"}' + SIGNATURE)
    assert record.pagination == Pagination("T", 12)
    assert record.source == ("g", "m")
    assert (record.identification, record.evse_id, record.tariff_text) == ("i", "DE*1", None)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not an OCMF record"),
        (b"ocmf|{}|{}", "not an OCMF record"),
        (b"OCMF|", "signature is missing"),
        (b'OCMF|{"RD":[]}', "signature is missing"),
        (b'OCMF|{"RD":[]}|', "signature is missing"),
        (b'OCMF|{"RD":[]|{"SD":"00"}', "payload is not JSON"),
        (b'OCMF|{"RD":[]}|{"SD":"00"', "signature is not JSON"),
        (b'OCMF|{"RD":[]}|{"SD":"00"} trailing', "signature is not JSON"),
        (b"OCMF|[]|{}", "not an object"),
        (b"OCMF|{}|{}", "no SD"),
        (b'OCMF|{}|{"SD":7}', "no SD"),
        (b'OCMF|{}|{"SD":"00","SA":null}', "no SA"),
        (b'OCMF|{"RD":{}}|{"SD":"00"}', "RD is not a list"),
        (b'OCMF|{"RD":[1]}|{"SD":"00"}', "reading 1"),
        (b'OCMF|{"RV":NaN}|{"SD":"00"}', "no number"),
        (b'OCMF|{"RV":1e999999999}|{"SD":"00"}', "no number"),
        (b'OCMF|{"RV":' + b"9" * 5000 + b'}|{"SD":"00"}', "no number"),
        (b'OCMF|{"PG":"T1","PG":"T2"}|{"SD":"00"}', "stands twice"),
        (b'OCMF|{"MS":"\xff"}|{"SD":"00"}', "not UTF-8"),
        (b'OCMF|{"X":' + b"[" * 30_000 + b'|{"SD":"00"}', "not JSON"),
        (b"OCMF|{" + b" " * 70_000 + b'}|{"SD":"00"}', "a record of"),
    ],
)
def test_what_is_no_record_says_why(raw, says):
    with pytest.raises(RecordMalformed, match=says):
        parse(raw)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=50))
def test_any_bytes_are_a_record_or_an_error_of_ours(payload, section):
    for raw in (payload, b"OCMF|" + payload, b"OCMF|{" + payload + b"}|{" + section + b"}"):
        with contextlib.suppress(RecordMalformed):
            parse(raw)


def test_a_file_of_several_records_is_taken_apart(signer):
    one, two = signer.record(), signer.record({"PG": "T13", "TT": "a\nOCMF is a format"})
    for between in (b"\n", b"\r\n\r\n", b"", b"  \n"):
        assert split(one + between + two + b"\n") == (one, two)
    assert split(b"\xef\xbb\xbf" + one) == (one,)
    assert split(json.dumps({"a": 1}).encode()) == ()
    assert split(b"") == ()


def test_a_text_that_looks_like_a_record_does_not_part_the_one_it_stands_in(signer):
    raw = signer.record({"TT": 'a}OCMF|{"b"}|{', "RD": []})
    assert split(raw + b"\n") == (raw,)


def test_a_pretty_printed_record_stays_one(signer):
    raw = signer.record(json.dumps({"PG": "T1", "RD": []}, indent=2).encode())
    assert split(raw + b"\n") == (raw,)


@pytest.mark.parametrize("filling", [b"\n", b" ", b"}", b"\n \t", b"} ", b"|", b"OCMF|\n", b"|\n"])
def test_a_long_file_of_nothing_is_read_once(filling):
    data = filling * (1_000_000 // len(filling))
    assert all(len(part) <= len(data) for part in split(data))


def test_a_torn_record_is_still_recognized_as_one(signer):
    raw = signer.record()
    assert split(raw[:40]) == (raw[:40],)
    assert split(b"OCMF|") == (b"OCMF|",)


@pytest.mark.parametrize(
    ("tm", "iso", "status"),
    [
        ("2018-07-24T13:22:04,000+0200 S", "2018-07-24T13:22:04+02:00", "S"),
        ("2018-07-24T13:22:04,867-0330 R", "2018-07-24T13:22:04.867000-03:30", "R"),
        ("2018-07-24T13:22:04+02:00 U", "2018-07-24T13:22:04+02:00", "U"),
        ("2018-07-24T13:22:04.5+0000", "2018-07-24T13:22:04.500000+00:00", None),
        ("2018-02-31T13:22:04,000+0200 S", None, "S"),
        ("yesterday", None, None),
        (17, None, None),
    ],
)
def test_the_time_of_a_reading(tm, iso, status):
    (reading,) = with_readings({"TM": tm}).readings
    assert (reading.time and reading.time.isoformat(), reading.time_status) == (iso, status)


def test_what_a_reading_leaves_out_is_that_of_the_one_before():
    first, second, third = with_readings(
        {"TM": "2026-01-01T00:00:00,000+0000 S", "TX": "B", "RV": 1, "RI": "1-0:1.8.0", "RU": "Wh", "ST": "G", "EF": ""},
        {"RV": 7, "RI": "1-0:2.8.0"},
        {"TX": "E", "ST": "T"},
    ).readings  # fmt: skip
    assert (second.time, second.transaction, second.unit, second.status) == (first.time, "B", "Wh", "G")
    assert (second.value, second.register) == (7, "1-0:2.8.0")
    assert (third.value, third.transaction, third.status) == (None, "E", "T")


@pytest.mark.parametrize(
    ("begin", "end", "unit", "energy_wh"),
    [
        (0.2596, 0.2597, "kWh", Decimal("0.1")),
        (2935.6, 2965.1, "kWh", 29500),
        (2850685, 2850951, "Wh", 266),
        ("00000001.000", "00000002.500", "kWh", 1500),
        (5, 5, "Wh", 0),
        (6, 5, "Wh", None),
        (1, 2, "mOhm", None),
        (None, 2, "Wh", None),
        (1, "", "Wh", None),
        (1, "NaN", "Wh", None),
    ],
)
def test_the_energy_is_exact_and_what_is_unknown_is_not_zero(begin, end, unit, energy_wh):
    found = delivery(
        with_readings(
            {"TX": "B", "RV": begin, "RI": "1-0:1.8.0", "RU": unit, "ST": "G"}, {"TX": "E", "RV": end}
        ).readings
    )
    assert found.energy_wh == energy_wh


@pytest.mark.parametrize("changed", [{"ST": "T"}, {"EF": "E"}, {"EF": "Et"}, {"ST": None}, {"RU": "kWh"}])
def test_energy_that_the_meter_does_not_vouch_for_is_unknown(changed):
    good = {"TX": "B", "RV": 1, "RI": "1-0:1.8.0", "RU": "Wh", "ST": "G", "EF": ""}
    for first, last in ((good | changed, good | {"TX": "E"}), (good, good | {"TX": "E"} | changed)):
        if first.get("ST") is None:
            first.pop("ST")
            last.pop("ST")
        if last.get("ST") is None:
            continue
        assert delivery(with_readings(first, last).readings).energy_wh is None


@pytest.mark.parametrize(
    ("registers", "chosen"),
    [
        (["1-0:1.8.0", "1-0:2.8.0"], "1-0:1.8.0"),
        (["1-0:2.8.0", "1-b:1.8.e"], "1-b:1.8.e"),
        (["1-0:1.8.0*198"], "1-0:1.8.0*198"),
        (["01-00:B2.08.00*FF", "01-00:B3.08.00*FF"], "01-00:B3.08.00*FF"),
        (["1-0:98.8.0.FF", "1-0:2.8.0.FF"], "1-0:98.8.0.FF"),
        (["1-0:1.8.1"], "1-0:1.8.1"),
        (["1-0:1.8.1", "1-0:1.8.2"], None),
        (["1-0:1.8.1", "1-0:1.8.2", "1-0:1.8.0"], "1-0:1.8.0"),
        (["1-0:2.8.0"], None),
        (["1-0:1.7.0"], None),
        (["energy"], None),
        ([None], None),
    ],
)
def test_the_register_of_imported_energy_is_chosen(registers, chosen):
    readings = [
        {"TX": tx, "RV": value, "RI": register, "RU": "Wh", "ST": "G"}
        for tx, value in (("B", 1), ("E", 3))
        for register in registers
    ]
    found = delivery(with_readings(*readings).readings)
    if registers == [None]:
        assert found.energy_wh == 2  # RI is optional
    else:
        assert (found and found.begin.register) == chosen


@settings(deadline=None)
@given(st.text(max_size=300), st.integers(0, 250))
def test_a_text_for_the_meter_fits_and_breaks_nothing(text, max_bytes):
    safe = sanitized(text, max_bytes=max_bytes)
    assert len(safe.encode("ascii")) <= max_bytes
    assert safe.isprintable() or not safe
    assert not set(safe) & set('|"\\')
    assert json.loads(f'"{safe}"') == safe


def test_a_price_stays_readable():
    assert sanitized("0,49 €/kWh | Größe", max_bytes=99) == "0,49 EUR/kWh / Grosse"
