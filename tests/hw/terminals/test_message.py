"""What packets mean: BMPs, containers, the special forms, and nothing of a card."""

from __future__ import annotations

import json
import tracemalloc

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.emv.pan import luhn
from hw.terminals.zvt import tlv
from hw.terminals.zvt.errors import ZvtError
from hw.terminals.zvt.message import parse, show
from hw.terminals.zvt.packet import Packet, decode
from hw.terminals.zvt.tables import BMPS, COMMANDS
from hw.terminals.zvt.values import bmp

PAN = "5598845555548074"


def shown(data: str | bytes) -> dict:
    packet = decode(bytes.fromhex(data)) if isinstance(data, str) else decode(data)
    return json.loads(msgspec.json.encode(show(parse(packet))))


def fields(data: str | bytes) -> dict:
    return shown(data)["fields"]


def of(command: int, *parts: bytes) -> Packet:
    return Packet(command, b"".join(parts))


def test_a_payment_of_a_terminal_with_a_hidden_number():
    """A status information as a Hobex terminal sends it."""
    got = fields(
        "040F772700040000000020400B0004700C2239530D10060E25121700011970"
        "22F0F8EEEEEEEEEEEE477129280048692A3130303436313736332020202020203B3631313830340000"
        "3CF0F1F447454E2E4E522E3A363131383034490978870470880004708A2E"
        "8BF1F74465626974204D61737465726361726400"
    )  # fmt: skip
    assert got == {
        "result_code": 0, "amount_minor": 2040, "trace_no": 470, "time": 223953, "date": 1006, "expiry": "****",
        "card_sequence_no": 1, "payment_type": 0x70, "pan": "************4771", "terminal_id": 28004869,
        "vu_number": "100461763", "authorization": "611804", "additional_text": "GEN.NR.:611804",
        "currency": 978, "receipt_no": 470, "turnover_no": 470, "card_type": 46, "card_name": "Debit Mastercard",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "name", "want"),
    [
        ("800000", "Positive Acknowledgement", {}),
        ("840000", "Positive Acknowledgement", {}),
        ("848300", "Negative Acknowledgement", {"error_code": 0x83}),
        ("849C00", "Negative Acknowledgement", {"error_code": 0x9C}),
        ("8000021234", "Positive Acknowledgement", {"data": "****"}),
        ("04FF021700", "Intermediate Status Information", {"status_code": 0x17, "timeout_min": 0}),
        ("04FF010A", "Intermediate Status Information", {"status_code": 10}),
        ("04FF020415", "Intermediate Status Information", {"status_code": 4, "timeout_min": 15}),
        ("050100", "Status Enquiry", {}),
        ("050103123456", "Status Enquiry", {"password": "****"}),
        ("0501051234560302", "Status Enquiry", {"password": "****", "service_byte": 2}),
        ("060006123456DE0978", "Registration", {"password": "****", "config_byte": 0xDE, "currency": 978}),
        ("060004123456DE", "Registration", {"password": "****", "config_byte": 0xDE}),
        (
            "060008123456DE09780302",
            "Registration",
            {"password": "****", "config_byte": 0xDE, "currency": 978, "service_byte": 2},
        ),
        ("060F00", "Completion", {}),
        (
            "060F0A19102952523535490978",
            "Completion",
            {"status_byte": 0x10, "terminal_id": 52523535, "currency": 978},
        ),
        ("060F0227E0", "Completion", {"result_code": 0xE0}),
        ("061E016C", "Abort", {"error_code": 0x6C}),
        ("061E036F0756", "Abort", {"error_code": 0x6F, "currency": 756}),
        ("061E04B887FFFF", "Abort", {"error_code": 0xB8, "receipt_no": 0xFFFF}),
        ("061E04B8870231", "Abort", {"error_code": 0xB8, "receipt_no": 231}),
        ("06B000", "Abort", {}),
        ("065003123456", "End of Day", {"password": "****"}),
        ("062003123456", "Repeat Receipt", {"password": "****"}),
        ("062000", "Repeat Receipt", {}),
        ("06230387FFFF", "Partial Reversal", {"receipt_no": 0xFFFF}),
        ("0625081940490978870231", "Pre-Authorization Reversal",
         {"payment_type": 0x40, "currency": 978, "receipt_no": 231}),
        ("06310D12345604000000001295490978", "Refund",
         {"password": "****", "amount_minor": 1295, "currency": 978}),
        ("06D10181", "Print Line", {"attribute": 0x81, "lines": [""]}),
        ("06E009F005F1F0F24869F902", "Display Text", {"display_s": 5, "lines": ["Hi"], "beeps": 2}),
        ("0FA1020001", "cVEND Functions", {"function": 1}),
        ("061800", "Reset Terminal", {}),
        ("068503054869", "Display Text, old form", {"data": "****"}),
        ("061B081234562952523535", "Set/Reset Terminal ID", {"password": "****", "terminal_id": 52523535}),
        ("08300101", "Select Language", {"value": 1}),
        ("0401080C225655AA230405", "Set Date and Time in ECR", {"time": 225655, "date": 230405}),
    ],
)  # fmt: skip
def test_each_form_has_its_fields(data, name, want):
    got = shown(data)
    assert (got["name"], got["fields"]) == (name, want)


def test_read_card_has_a_timeout_a_card_type_and_a_container():
    got = fields("06C00F0F1910FC0206081F1501D01F600107")
    assert {k: got[k] for k in ("timeout_s", "card_type", "dialog_control")} == {
        "timeout_s": 15, "card_type": 16, "dialog_control": 2,
    }  # fmt: skip
    assert [(n["tag"], n["value"]) for n in got["tlv"]] == [("1F15", "D0"), ("1F60", "07")]


def test_a_card_that_was_read_is_a_tree_of_applications():
    data = bytes([
        4, 15, 100, 39, 0, 6, 96, 76, 10, 0, 0, 0, 0, 0, 0, 8, 255, 105, 20, 31, 69, 12, 12, 120, 128, 116, 3,
        128, 49, 192, 115, 214, 49, 192, 31, 76, 1, 1, 31, 77, 2, 254, 4, 31, 79, 2, 4, 0, 31, 80, 1, 32, 96,
        11, 67, 9, 160, 0, 0, 0, 89, 69, 67, 1, 0, 96, 12, 67, 10, 160, 0, 0, 3, 89, 16, 16, 2, 128, 1, 96, 11,
        67, 9, 210, 118, 0, 0, 37, 71, 65, 1, 0, 96, 9, 67, 7, 160, 0, 0, 0, 4, 16, 16,
    ])  # fmt: skip
    tree = fields(data)["tlv"]
    assert tree[0] == {"tag": "4C", "name": "UID", "length": 10, "value": "00000000000008FF6914"}
    applications = [node["children"][0]["value"] for node in tree if node["tag"] == "60"]
    assert applications == [
        "A00000005945430100",
        "A0000003591010028001",
        "D27600002547410100",
        "A0000000041010",
    ]


def test_a_status_enquiry_ends_with_version_state_and_device():
    version = b"GER-APP-v2.0.9;cS02.01.01-10.10-2-2;CC26"
    device = tlv.encode("1F40", b"cVEND plug") + tlv.encode("1F42", bytes.fromhex("18632442"))
    inner = tlv.encode("1F44", bytes.fromhex("52523535")) + tlv.encode("E4", device)
    data = b"\xf0\xf4\xf0" + version + b"\x00" + bmp(0x06, inner)
    got = show(parse(Packet(0x060F, data)))["fields"]
    assert got["software_version"] == version.decode()
    assert (got["status_code"], got["device_name"], got["terminal_id"]) == (0, "cVEND plug", 52523535)


@pytest.mark.parametrize(("text", "temperature"), [("24.4", "24.4"), ("8.0", "8.0"), ("ABCD8.0", "8.0")])
def test_a_cvend_tells_about_itself_in_plain_text(text, temperature):
    got = parse(Packet(0x060F, b"17FD1E3CGER-APP-v2.0.9   52523535" + text.encode())).fields
    assert (got["device_id"], got["software_version"]) == ("17FD1E3C", "GER-APP-v2.0.9")
    assert (got["terminal_id"], got["temperature"]) == (52523535, temperature)


@pytest.mark.parametrize(
    "line", ["Nr. 0200115413330089020011", "5413330089020011 4761739001010119", "5413 3300 8902 0011-0001"]
)
def test_a_card_number_among_other_digits_is_hidden_too(line):
    (shown,) = parse(of(0x06D1, b"\0" + line.encode())).fields["lines"]
    assert "890200" not in shown.replace(" ", "")


def test_a_receipt_is_its_lines():
    lines = [f"line {i}" for i in range(33)]
    block = b"".join(tlv.encode("07", line.encode()) for line in lines) + bytes.fromhex("0901FF")
    data = bmp(0x06, bytes.fromhex("1F070102") + tlv.encode("25", block))
    got = parse(Packet(0x06D3, data))
    assert got.fields["lines"] == lines


def test_a_printed_line_may_have_a_container_behind_it():
    got = fields("06D119402A2A2048C44E444C455242454C4547202A2A06041F070101")
    assert got["attribute"] == 0x40
    assert len(got["lines"]) == 1
    assert got["lines"][0].startswith("** H")
    assert got["tlv"][0]["tag"] == "1F07"


@pytest.mark.parametrize(
    ("charset", "data"), [(None, b"H\x84ndler"), (1, b"H\xe4ndler"), (0xFE, "Händler".encode())]
)
def test_texts_are_in_code_page_437_unless_the_container_says_otherwise(charset, data):
    inner = (b"" if charset is None else bytes((0x14, 1, charset))) + tlv.encode("25", tlv.encode("07", data))
    assert parse(of(0x06D3, bmp(0x06, inner))).fields["lines"] == ["Händler"]


def test_end_of_day_totals_are_counts_and_amounts():
    totals = bytes.fromhex("02330234" + "00000000000000" * 2 + "02000000000958" + "00000000000000" * 4)
    got = parse(of(0x040F, bmp(0x27, 0), bmp(0x04, 958), bmp(0x60, totals))).fields
    assert (got["totals"]["receipt_no_from"], got["totals"]["receipt_no_to"]) == (233, 234)
    assert (got["totals"]["mastercard_count"], got["totals"]["mastercard_minor"]) == (2, 958)
    assert got["totals"]["visa_count"] == 0


def test_several_open_holds_stand_in_a_list():
    inner = tlv.encode("23", b"".join(tlv.encode("08", bytes.fromhex(n)) for n in ("0123", "0456", "0789")))
    got = parse(of(0x061E, b"\xb8", bmp(0x87, 123), bmp(0x06, inner))).fields
    assert (got["receipt_no"], got["open_receipts"]) == (123, [123, 456, 789])


def test_a_vendors_configuration_keeps_its_password():
    inner = tlv.encode("E4", tlv.encode("FF40", b"\x12\x34\x56") + tlv.encode("FF41", bytes(7)))
    out = msgspec.json.encode(show(parse(of(0x0813, bmp(0x06, inner))))).decode()
    assert "123456" not in out
    assert '"tag":"FF40"' in out


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("AAAA00", "AA AA is no command at byte 0"),
        ("040F0127", "BMP 27 takes 1 bytes, 0 are left at byte 4"),
        ("040F050700000000", "07 is no BMP at byte 3"),
        ("040F04" + "2700" + "7700", "77 is no BMP at byte 5"),
        ("040F07" + "04" + "0000000000AF", "BMP 04 is not in BCD at byte 4"),
        ("040F05" + "8B" + "3131" + "4141", "the length of BMP 8B is not coded as F0 to F9 at byte 4"),
        ("040F04" + "8B" + "F0F9" + "41", "BMP 8B takes 9 bytes, 1 are left at byte 6"),
        ("040F04" + "2700" + "2700", "BMP 27 stands twice at byte 6"),
        ("040F04" + "06" + "05" + "1F01", "the container says 5 bytes, 2 are left at byte 4"),
        ("040F05" + "06" + "03" + "4C0500", "tag 4C says 5 bytes, 1 are left at byte 5"),
        ("040F03" + "06" + "01" + "1F", "a tag is cut off at byte 5"),
        ("040F05" + "06" + "83000000", "a length coded as 83 at byte 4"),
        ("060002" + "1234", "the password takes 3 bytes"),
        ("0600041A3456DE", "the password is not in BCD at byte 3"),
        ("06C000", "the timeout takes 1 bytes"),
        ("061E00", "the error code takes 1 bytes"),
        ("06DB0100", "data where none belongs"),
    ],
)
def test_what_cannot_be_read_names_the_place(data, says):
    with pytest.raises(ZvtError) as e:
        fields(data)
    assert says in e.value.message


def test_in_a_long_packet_places_count_from_its_start():
    filler = bmp(0x3C, b"x" * 300)
    with pytest.raises(ZvtError) as e:
        parse(Packet(0x040F, filler + b"\x77"))
    assert e.value.offset == 5 + len(filler)


@pytest.mark.parametrize(
    "part",
    [
        bmp(0x22, bytes.fromhex(PAN)),
        bmp(0x23, bytes.fromhex(PAN + "D24122012386013860")),
        bmp(0x24, bytes.fromhex(PAN)),
        bmp(0x2D, b"B" + PAN.encode() + b"^DOE/JOHN^2412"),
        bmp(0x3C, b"Karte " + PAN.encode()),
        bmp(0x3C, b"Karte 5598 8455 5554 8074"),
        bmp(0x8B, b"VISA " + PAN.encode()),
        bmp(0xAF, bytes.fromhex(PAN)),
        bmp(0x06, tlv.encode("1F09", bytes.fromhex(PAN + "D24125"))),
        bmp(0x06, tlv.encode("25", tlv.encode("07", b"Nr. " + PAN.encode()))),
        bmp(0x06, tlv.encode("46", b"Nr. 5598-8455-5554-8074")),
        bmp(0x06, tlv.encode("1F1A", bytes.fromhex(PAN))),
        bmp(0xF1, PAN.encode()),
    ],
)
def test_no_card_number_leaves(part):
    out = msgspec.json.encode(show(parse(Packet(0x040F, part)))).decode()
    digits = "".join(c for c in out if c.isdigit())
    assert PAN not in digits
    assert PAN.encode().hex() not in out
    assert "4122012386" not in out
    assert "DOE" not in out


@pytest.mark.parametrize(
    ("digits", "want"),
    [
        (PAN, "559884******8074"),
        ("4711008005757038004F", "471100*********8004"),
        ("EEEEEEEEEEEE4771", "************4771"),
        ("559884EEEEEE8074", "559884******8074"),
        ("12345678", "********"),
    ],
)
def test_a_card_number_is_truncated(digits, want):
    assert parse(of(0x040F, bmp(0x22, bytes.fromhex(digits)))).fields["pan"] == want


def test_nothing_of_a_card_is_in_what_python_prints_of_a_packet():
    packet = of(0x040F, bmp(0x22, bytes.fromhex(PAN)), bmp(0x06, tlv.encode("1F09", bytes.fromhex(PAN))))
    printed = repr(packet) + repr(parse(packet)) + repr(Packet(0x0600, b"\x12\x34\x56\xde"))
    assert "".join(c for c in printed if c.isalnum()).find(PAN[6:12]) < 0
    assert repr(bytes.fromhex(PAN))[2:-1] not in printed
    assert "123456" not in printed
    assert "x124V" not in printed


def test_an_expiry_date_is_never_shown():
    assert parse(of(0x040F, bmp(0x0E, bytes.fromhex("2405")))).fields == {"expiry": "****"}


@given(st.integers(10**12, 10**19 - 1))
def test_track_2_shows_at_most_first_six_and_last_four(number):
    pan = str(number)
    track = (pan + "D2512201999999999999")[:37]
    data = bytes.fromhex(track + "F" * (len(track) % 2))
    out = str(parse(of(0x040F, bmp(0x23, data))).fields["track_2"])
    assert out == pan[:6] + "*" * (len(pan) - 10) + pan[-4:] + "****"


@given(st.sampled_from(sorted(COMMANDS)), st.binary(max_size=400))
@example(0x040F, b"\x06\x82\xff\xff")
@example(0x061E, b"")
@example(0x061E, b"\x6f\x09")
@settings(max_examples=400)
def test_any_data_is_understood_or_refused_by_the_codecs_own_error(command, data):
    try:
        message = parse(Packet(command, data))
    except ZvtError as e:
        place = e.offset
    else:
        place = 0
        json.loads(msgspec.json.encode(show(message)))
    assert 0 <= place <= len(data) + 5


_VALUES = st.sampled_from(sorted(BMPS)).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.binary(min_size=BMPS[n].length, max_size=BMPS[n].length)
        if isinstance(BMPS[n].length, int)
        else st.binary(max_size=90),
    )
)


@given(st.lists(_VALUES, max_size=12, unique_by=lambda v: v[0]))
@settings(max_examples=300)
def test_well_framed_bmps_fail_only_for_what_they_hold(values):
    data = b"".join(bmp(number, value) for number, value in values)
    why = ""
    try:
        parse(Packet(0x040F, data))
    except ZvtError as e:
        why = e.what
    about_content = ("BCD", "card number", "totals", "tag", "container", "stands twice")
    assert not why or any(word in why for word in about_content)


def test_a_hostile_length_reserves_no_memory():
    nest = b""
    for _ in range(40):
        nest = tlv.encode("25", nest)
    hostile = [
        b"\x06\x82\xff\xff" + b"\x25\x82\xff\xf0",
        b"\x3c\xf9\xf9\xf9",
        b"\x06" + bytes((len(nest),)) + nest,
    ]
    tracemalloc.start()
    try:
        for data in hostile:
            with pytest.raises(ZvtError):
                parse(Packet(0x040F, data))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@given(st.integers(0, 10**12 - 1))
def test_an_amount_is_twelve_digits(amount_minor):
    assert parse(of(0x040F, bmp(0x04, amount_minor))).fields == {"amount_minor": amount_minor}


@pytest.mark.parametrize("amount_minor", [-1, 10**12])
def test_an_amount_that_does_not_fit_is_refused(amount_minor):
    with pytest.raises(ValueError, match="digits"):
        bmp(0x04, amount_minor)


def test_the_test_number_would_not_be_found_by_its_luhn_digit():
    assert not luhn(PAN)
