"""Commands as they go out and as they are read back; what a card's lists are filled with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.emv import apdu, dol
from edge.emv.apdu import Command
from edge.emv.errors import CardDataInvalid
from edge.emv.kernel.terminal import bcd

BYTE = st.integers(0, 255)


@given(BYTE, BYTE, BYTE, BYTE, st.binary(max_size=255))
def test_a_command_is_read_back_with_and_without_an_expected_length(cla, ins, p1, p2, data):
    command = Command(cla=cla, ins=ins, p1=p1, p2=p2, data=data)
    raw = apdu.encode(command)
    assert apdu.parse_command(raw) == command
    if data:
        assert apdu.parse_command(raw[:-1]) == command
    long = raw[:4] + b"\0" + len(data).to_bytes(2, "big") + data
    assert apdu.parse_command(long + b"\0\0" if data else raw[:4] + b"\0\0\0") == command


@given(st.binary(max_size=300))
def test_any_bytes_are_a_command_or_none(raw):
    command = apdu.parse_command(raw)
    assert (command is None) == (len(raw) < 4)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (apdu.select(b"2PAY.SYS.DDF01"), "00A404000E325041592E5359532E444446303100"),
        (apdu.get_processing_options(b""), "80A8000002830000"),
        (apdu.read_record(2, 3), "00B2031400"),
        (apdu.generate_ac(0x90, b"\x01\x02"), "80AE900002010200"),
    ],
)
def test_commands_of_the_books(command, expected):
    assert command.hex().upper() == expected


def test_options_longer_than_a_short_length_are_coded_in_two_bytes():
    assert apdu.get_processing_options(bytes(130))[4:8].hex() == "85838182"


@pytest.mark.parametrize(
    ("wanted", "values", "filled"),
    [
        ("9F0206", {"9F02": "000000001234"}, "000000001234"),
        ("9F0204", {"9F02": "000000001234"}, "00001234"),  # numeric: the end counts
        ("9F1A03", {"9F1A": "0276"}, "000276"),
        ("9F3702", {"9F37": "0A1B2C3D"}, "0A1B"),  # binary: the beginning counts
        ("9F3706", {"9F37": "0A1B2C3D"}, "0A1B2C3D0000"),
        ("DF0103", {}, "000000"),
        ("9F3700", {"9F37": "0A1B2C3D"}, ""),
        ("9A039C01", {"9A": "261122", "9C": "00"}, "26112200"),
    ],
)
def test_lists_are_filled_as_each_format_is_cut_and_padded(wanted, values, filled):
    entries = dol.parse(bytes.fromhex(wanted))
    data = dol.fill(entries, {tag: bytes.fromhex(value) for tag, value in values.items()})
    assert data.hex().upper() == filled


@given(st.binary(max_size=600), st.dictionaries(st.sampled_from(["9F02", "9A", "57"]), st.binary(max_size=9)))
def test_any_list_is_filled_to_its_length_or_refused(raw, values):
    try:
        entries = dol.parse(raw)
        data = dol.fill(entries, values)
    except (dol.TlvError, CardDataInvalid):
        return
    assert len(data) == sum(entry.length for entry in entries) <= dol.DATA_MAX
    assert set(dol.split(entries, data)) == {entry.tag for entry in entries}


def test_numbers_in_bcd():
    assert bcd(1234, 6).hex() == "000000001234"
    assert bcd(12_345_678, 2).hex() == "5678"
