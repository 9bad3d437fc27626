"""Packets as terminals of several makers sent them, and as other people's tills send them, field by field."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hw.terminals.zvt.message import parse, show
from hw.terminals.zvt.packet import SerialFraming, decode


def read(text: str) -> dict[str, object]:
    return dict(parse(decode(bytes.fromhex(text))).fields)


FROM_TERMINALS = [
    pytest.param(
        "060f89f0f4f04745522d4150502d76322e302e393b635230322e30312e30312d30302e30392d322d323b4343323600065b1f44045250"
        "0245e4431f400a6356454e4420626f782b1f41284745522d4150502d76322e302e393b635230322e30312e30312d30302e30392d322d"
        "323b434332361f420411e930ec1f430100340d1f0e04202306221f0f03085556",
        {
            "software_version": "GER-APP-v2.0.9;cR02.01.01-00.09-2-2;CC26",
            "status_code": 0,
            "device_name": "cVEND box+",
            "terminal_id": 52500245,
        },
        id="status of a cVEND box+",
    ),
    pytest.param(
        "061e2e6c062b1f1605ff000014411f1720416262727563682064757263682065787465726e6573204b6f6d6d616e646f21",
        {"error_code": 108, "error_text": "Abbruch durch externes Kommando!"},
        id="abort by command, cVEND",
    ),
    pytest.param("061E04B887FFFF", {"error_code": 184, "receipt_no": 0xFFFF}, id="no open reservation"),
    pytest.param("061E04B8870123", {"error_code": 184, "receipt_no": 123}, id="one open reservation"),
    pytest.param(
        "061E10 B8 870123 060A 2308 08024567 08027890",
        {"error_code": 184, "receipt_no": 123, "open_receipts": [4567, 7890]},
        id="several open reservations",
    ),
    pytest.param(
        "040F37 2700 04000000004000 490978 0C093848 0D0425 22F1F15966666666D20021220100 170001 870175 0B613995 1940"
        "2960099914 0E0512 8A02",
        {
            "result_code": 0,
            "amount_minor": 4000,
            "currency": 978,
            "time": 93848,
            "date": 425,
            "pan": "*" * 14,
            "card_sequence_no": 1,
            "receipt_no": 175,
            "trace_no": 613995,
            "payment_type": 64,
            "terminal_id": 60099914,
            "expiry": "****",
            "card_type": 2,
        },
        id="payment by girocard, with track 2 for a number",
    ),
    pytest.param(
        "040F77 2700 04000000002040 0B000470 0C223953 0D1006 0E2512 170001 1970 22F0F8EEEEEEEEEEEE4771 2928004869"
        "2A313030343631373633202020202020 3B3631313830340000 3CF0F1F447454E2E4E522E3A363131383034 490978 870470"
        "88000470 8A2E 8BF1F74465626974204D61737465726361726400",
        {
            "result_code": 0,
            "amount_minor": 2040,
            "trace_no": 470,
            "time": 223953,
            "date": 1006,
            "expiry": "****",
            "card_sequence_no": 1,
            "payment_type": 112,
            "pan": "************4771",
            "terminal_id": 28004869,
            "vu_number": "100461763",
            "authorization": "611804",
            "additional_text": "GEN.NR.:611804",
            "currency": 978,
            "receipt_no": 470,
            "turnover_no": 470,
            "card_type": 46,
            "card_name": "Debit Mastercard",
        },
        id="payment, card complete",
    ),
    pytest.param(
        "040F6C270004000000002040 0C2109160D11010E999922F0F8EEEEEEEEEEEE4771A00129000000068700050B0000008A068BF1F1"
        "4D415354455243415244 00062E2F081F1201011F100103601B4307A00000000410104410446562697420"
        "4D6173746572636172641F2B0410016005",
        {
            "result_code": 0,
            "amount_minor": 2040,
            "time": 210916,
            "date": 1101,
            "expiry": "****",
            "pan": "************4771",
            "host_result_code": 1,
            "terminal_id": 6,
            "receipt_no": 5,
            "trace_no": 0,
            "card_type": 6,
            "card_name": "MASTERCARD",
        },
        id="payment, hobex",
    ),
    pytest.param(
        "040F1E 276C 2928004869 3CF0F1F9 41626272756368206475726368204B756E6465",
        {"result_code": 108, "terminal_id": 28004869, "additional_text": "Abbruch durch Kunde"},
        id="cancelled by the customer",
    ),
    pytest.param(
        "04FF1EFF10061A2418070845555220312E3233070C42697474652077617274656E",
        {"status_code": 255, "timeout_min": 10, "lines": ["EUR 1.23", "Bitte warten"]},
        id="please wait",
    ),
    pytest.param(
        "060F11190029520012334909780605270314 01FF",
        {"status_byte": 0, "terminal_id": 52001233, "currency": 978},
        id="registered, cVEND",
    ),
    pytest.param(
        "060F0BF0F0F7322E31342E313500", {"software_version": "2.14.15", "status_code": 0}, id="status"
    ),
    pytest.param("060F0106", {"status_code": 6}, id="status without a version"),
    pytest.param("060F03060600", {"status_code": 6}, id="status without a version, with an empty container"),
    pytest.param("060F0227E0", {"result_code": 0xE0}, id="completion with a result"),
    pytest.param(
        "06D11F004E723A20202A2A2A2A202A2A2A2A202A2A2A2A203438323106041F070101",
        {"attribute": 0, "lines": ["Nr:  **** **** **** 4821"]},
        id="a line of a receipt",
    ),
]


@pytest.mark.parametrize(("text", "fields"), FROM_TERMINALS)
def test_what_terminals_say(text, fields):
    assert read(text) == fields


def test_the_rest_of_track_2_is_not_shown():
    shown = show(parse(decode(bytes.fromhex("040F0B22F0F8541333D1225201FF"))))
    assert shown["fields"] == {"pan": "******" + "****"}


FROM_TILLS = [
    pytest.param(
        "060006123456BA0978", {"password": "****", "config_byte": 0xBA, "currency": 978}, id="plain"
    ),
    pytest.param("06000498765441", {"password": "****", "config_byte": 0x41}, id="without a currency"),
    pytest.param(
        "06000E1234568E0978060626040A0206D3",
        {"password": "****", "config_byte": 0x8E, "currency": 978},
        id="as a maker's support writes it",
    ),
    pytest.param(
        "06000A000000AE097803000600",
        {"password": "****", "config_byte": 0xAE, "currency": 978, "service_byte": 0},
        id="with an empty container",
    ),
    pytest.param(
        "06001900000008490978030006 0E260C040F04FF060F061E06D106D3",
        {"password": "****", "config_byte": 8, "currency": 978, "service_byte": 0},
        id="currency as a BMP, commands without tags",
    ),
    pytest.param(
        "060063 000000 FE 0978 0300 0659 10021602 120140 1A021000 2628 0A02040F 0A02060F 0A02061E 0A0204FF 0A0206D8"
        "0A0206DB 0A0206D9 0A0206DA 0A0206DD 0A0206D3 27031401FF 2810 15024445 1502454E 15024652 15024954 4002C000"
        "1F0402F100 1F050100",
        {"password": "****", "config_byte": 0xFE, "currency": 978, "service_byte": 0},
        id="with all that can be said",
    ),
    pytest.param("050103123456", {"password": "****"}, id="status enquiry with a password"),
    pytest.param("06C0070106041F1501D0", {"timeout_s": 1}, id="read card"),
    pytest.param(
        "06010E020104000000001000194449 0978",
        {"max_status_infos": 1, "amount_minor": 1000, "payment_type": 0x44, "currency": 978},
        id="payment",
    ),
]


@pytest.mark.parametrize(("text", "fields"), FROM_TILLS)
def test_what_other_tills_say(text, fields):
    assert read(text) == fields


@pytest.mark.parametrize(
    "text",
    [
        "1002 060F 0B F0F0F7322E31342E313500 1003 B111",
        "1002 060006123456BA0978 1003 24C3",
        "1002 06010A040000000110100049 0978 1003 F2FF",
        "1002 84 9C 00 1003 C341",
    ],
)
def test_serial_blocks_of_other_tills_and_terminals(text):
    (packet,) = SerialFraming().feed(bytes.fromhex(text))
    assert parse(packet).fields is not None


def test_the_command_reads_all_of_them():
    lines = [each.values[0] for each in (*FROM_TERMINALS, *FROM_TILLS)]
    done = subprocess.run(
        [sys.executable, "-m", "edge", "zvt", "decode", "--hex"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    out = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(out) == len(lines)
    assert not [line for line in out if "error" in line]
