"""`chargetill zvt decode`: a line of JSON for each packet, whatever stands between them."""

from __future__ import annotations

import io
import json

import pytest

from edge.__main__ import main

YES = bytes.fromhex("800000")
DONE = bytes.fromhex("060F022700")
SERIAL_YES = bytes.fromhex("10028000001003F51F")


class _Stdin:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BufferedReader(io.BytesIO(data))


@pytest.fixture
def decode(monkeypatch, capsys):
    def run(data: bytes, *args: str) -> tuple[int, list[dict]]:
        monkeypatch.setattr("sys.stdin", _Stdin(data))
        code = 0
        try:
            main(["zvt", "decode", *args])
        except SystemExit as e:
            code = int(e.code or 0)
        out, err = capsys.readouterr()
        assert err == ""
        return code, [json.loads(line) for line in out.splitlines()]

    return run


def commands(lines: list[dict]) -> list[str]:
    return [line.get("command", "error") for line in lines]


def test_packets_back_to_back(decode):
    code, lines = decode(YES + DONE + YES)
    assert code == 0
    assert lines[:2] == [
        {"command": "80 00", "name": "Positive Acknowledgement", "fields": {}},
        {"command": "06 0F", "name": "Completion", "fields": {"result_code": 0}},
    ]
    assert len(lines) == 3


def test_hex_is_one_packet_a_line_in_any_spelling(decode):
    code, lines = decode(b"80 00 00\n\n06-0F-02-27-00\r\n80:00:00\n060f022700", "--hex")
    assert code == 0
    assert commands(lines) == ["80 00", "06 0F", "80 00", "06 0F"]


def test_a_serial_capture_may_have_acknowledging_bytes_between_blocks(decode):
    code, lines = decode(b"\x06" + SERIAL_YES + b"\x06\x15" + SERIAL_YES, "--serial")
    assert (code, commands(lines)) == (0, ["80 00", "80 00"])
    code, lines = decode(SERIAL_YES.hex().encode() + b"\n06\n", "--serial", "--hex")
    assert (code, commands(lines)) == (0, ["80 00"])


@pytest.mark.parametrize(
    ("data", "args", "want"),
    [
        (YES + bytes.fromhex("040F0177") + DONE, (), ["80 00", "error", "06 0F"]),
        (YES + bytes.fromhex("AAAA0101") + DONE, (), ["80 00", "error", "06 0F"]),
        (YES + DONE[:-1], (), ["80 00", "error"]),
        (b"800000\nzz\n06\n80000099\n060F022700", ("--hex",), ["80 00", "error", "error", "error", "06 0F"]),
        (SERIAL_YES[:-1] + b"\x00" + SERIAL_YES, ("--serial",), ["error", "80 00"]),
        (b"junk" + SERIAL_YES, ("--serial",), ["error", "80 00"]),
        (SERIAL_YES[:-2], ("--serial",), ["error"]),
    ],
)
def test_a_bad_packet_costs_its_own_line_and_the_exit_code(decode, data, args, want):
    code, lines = decode(data, *args)
    assert (code, commands(lines)) == (1, want)
    for line in lines:
        if "error" in line:
            assert {"code", "message", "hint"} == set(line["error"])


def test_card_data_and_passwords_are_hidden(decode):
    status = bytes.fromhex("040F0D2700" + "22F0F8" + "5598845555548074")
    registration = bytes.fromhex("060006123456DE0978")
    code, lines = decode(status + registration)
    assert code == 0
    assert lines[0]["fields"] == {"result_code": 0, "pan": "559884******8074"}
    assert lines[1]["fields"] == {"password": "****", "config_byte": 222, "currency": 978}


def test_nothing_in_is_nothing_out(decode):
    assert decode(b"") == (0, [])
    assert decode(b"\n \n", "--hex") == (0, [])
