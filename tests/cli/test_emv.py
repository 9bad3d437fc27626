"""`chargetill emv decode`: a tree for people, the same tree in JSON for scripts, never a card number."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.__main__ import main
from edge.emv import tags, tlv

FCI = "6F1A840E325041592E5359532E4444463031A5088801025F2D02656E"
PAN = "5413330089020011"


def run(capsys, *args: str) -> tuple[int, str, str]:
    code = 0
    try:
        main(["emv", "decode", *args])
    except SystemExit as e:
        code = int(e.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_a_person_sees_a_tree(capsys):
    code, out, _ = run(capsys, FCI)
    assert code == 0
    assert out.splitlines() == [
        "6F  File Control Information (FCI) Template  [26]",
        "  84  Dedicated File (DF) Name  [14]  325041592E5359532E4444463031",
        "  A5  File Control Information (FCI) Proprietary Template  [8]",
        "    88  Short File Identifier (SFI)  [1]  02",
        '    5F2D  Language Preference  [2]  656E "en"',
    ]


def test_a_script_gets_the_same_tree(capsys):
    code, out, _ = run(capsys, "--json", FCI)
    assert code == 0
    (fci,) = json.loads(out)
    assert (fci["tag"], fci["length"], [c["tag"] for c in fci["children"]]) == ("6F", 26, ["84", "A5"])
    assert fci["children"][1]["children"][1] == {
        "tag": "5F2D", "name": "Language Preference", "length": 2, "value": "656E", "text": "en",
    }  # fmt: skip


def test_a_list_of_wanted_objects_is_spelled_out(capsys):
    _, out, _ = run(capsys, "--json", "9F38069F37049F0206")
    assert json.loads(out)[0]["objects"] == [
        {"tag": "9F37", "name": "Unpredictable Number", "length": 4},
        {"tag": "9F02", "name": "Amount, Authorised (Numeric)", "length": 6},
    ]


def test_an_unknown_tag_has_no_name(capsys):
    _, out, _ = run(capsys, "--json", "DF010155")
    assert json.loads(out) == [{"tag": "DF01", "name": None, "length": 1, "value": "55"}]


@pytest.mark.parametrize(
    "args", [[FCI[:20], FCI[20:]], [FCI.lower()], [" ".join(FCI[i : i + 2] for i in range(0, len(FCI), 2))]]
)
def test_spaces_and_case_do_not_matter(capsys, args):
    assert run(capsys, *args) == run(capsys, FCI)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (tlv.encode("5A", bytes.fromhex(PAN)), "541333******0011"),
        (tlv.encode("5A", bytes.fromhex("4111111111111112")), "411111******1112"),
        (tlv.encode("5A", bytes.fromhex("6725900812345678903F")), "672590*********8903"),
        (tlv.encode("57", bytes.fromhex(PAN + "D25122010000000000")), "541333******0011****"),
        (tlv.encode("9F6B", bytes.fromhex(PAN + "D25122010000000000")), "541333******0011****"),
        (tlv.encode("56", b"B" + PAN.encode() + b"^DOE/JOHN^2512"), "541333******0011****"),
        (tlv.encode("5F20", b"DOE/JOHN"), "****"),
        (tlv.encode("9F46", bytes(range(128))), "****"),
        (tlv.encode("9F5E", bytes.fromhex(PAN)), "****"),
        (tlv.encode("5A", bytes.fromhex("ABCD")), "****"),
        (tlv.encode("DF01", bytes.fromhex(PAN)), "541333******0011"),
    ],
)
def test_card_data_is_scrubbed(capsys, data, value):
    code, out, _ = run(capsys, "--json", tlv.encode("70", data).hex())
    assert code == 0
    (node,) = json.loads(out)[0]["children"]
    assert (node["value"], node["scrubbed"]) == (value, True)


@given(
    st.lists(st.tuples(st.sampled_from(sorted(tags.SECRET)), st.binary(min_size=7, max_size=60)), min_size=1)
)
def test_no_secret_object_shows_its_value(objects):
    from edge.emv.tree import describe, outline

    shown = outline(describe(b"".join(tlv.encode(tag, value) for tag, value in objects)))
    for _, value in objects:
        assert value.hex().upper() not in shown


@pytest.mark.parametrize(
    ("hex_digits", "code", "says"),
    [
        ("5A08541333", "tlv.invalid", "at byte 2"),
        ("5A01AA9F", "tlv.invalid", "at byte 3"),
        ("5A0", "input.invalid", "odd number"),
        ("5A01ZZ", "input.invalid", "digit 5"),
        ("", "input.invalid", "no data"),
    ],
)
def test_what_cannot_be_read_is_a_wrong_call_that_names_the_place(capsys, hex_digits, code, says):
    status, out, err = run(capsys, "--json", hex_digits)
    assert (status, out) == (2, "")
    error = json.loads(err)["error"]
    assert error["code"] == code
    assert says in error["message"]


def test_an_error_does_not_repeat_the_card_data(capsys):
    _, _, err = run(capsys, "5A0A" + PAN)
    assert PAN not in err
