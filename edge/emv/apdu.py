"""Commands to a card and its answers: ISO/IEC 7816-4, 5.1, and EMV Book 3, 6.5. Short APDUs are built; extended
ones are read too.
"""

from __future__ import annotations

from typing import Final

import msgspec

from edge.emv.errors import CardDataInvalid

OK: Final = 0x9000

#: A short command carries no more.
DATA_MAX: Final = 255

#: A short command's answer: 256 bytes and a status word.
ANSWER_MAX: Final = 258

SELECT: Final = 0xA4
READ_RECORD: Final = 0xB2
GET_RESPONSE: Final = 0xC0
GET_PROCESSING_OPTIONS: Final = 0xA8
GENERATE_AC: Final = 0xAE
INTERNAL_AUTHENTICATE: Final = 0x88
EXCHANGE_RELAY_RESISTANCE_DATA: Final = 0xEA


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command. `data` is empty where it has none; whether it had an Le does not matter."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""

    def __repr__(self) -> str:
        return f"Command({self.cla:02X} {self.ins:02X} {self.p1:02X} {self.p2:02X}, {len(self.data)} bytes)"


class Answer(msgspec.Struct, frozen=True):
    """What a card answered, and its status word. Never shown: it may hold card data."""

    data: bytes
    sw: int

    def __repr__(self) -> str:
        return f"Answer({len(self.data)} bytes, {self.sw:04X})"


def encode(command: Command) -> bytes:
    """A short command with an Le that takes whatever the card has."""
    assert len(command.data) <= DATA_MAX
    head = bytes((command.cla, command.ins, command.p1, command.p2))
    return head + (bytes((len(command.data),)) + command.data if command.data else b"") + b"\x00"


def parse_command(raw: bytes) -> Command | None:
    """None for what is no command. One whose Lc promises more than is there has what is there."""
    if len(raw) < 4:
        return None
    if len(raw) <= 5:
        data = b""
    elif raw[4] == 0 and len(raw) >= 7:
        data = raw[7 : 7 + int.from_bytes(raw[5:7], "big")] if len(raw) > 7 else b""
    else:
        data = raw[5 : 5 + raw[4]]
    return Command(cla=raw[0], ins=raw[1], p1=raw[2], p2=raw[3], data=data)


def parse_answer(raw: bytes) -> Answer:
    """Raises CardDataInvalid for what is shorter than a status word."""
    if len(raw) < 2:
        raise CardDataInvalid("an answer without a status word")
    return Answer(raw[:-2], int.from_bytes(raw[-2:], "big"))


def read_short(raw: bytes) -> Answer:
    """The answer to a short command. Raises CardDataInvalid for what is longer than one can be."""
    if len(raw) > ANSWER_MAX:
        raise CardDataInvalid(f"an answer of more than {ANSWER_MAX} bytes")
    return parse_answer(raw)


def select(name: bytes) -> bytes:
    """SELECT by DF name, first occurrence (Book 1, 11.3)."""
    return encode(Command(cla=0x00, ins=SELECT, p1=0x04, p2=0x00, data=name))


def get_processing_options(pdol_data: bytes) -> bytes:
    """GET PROCESSING OPTIONS (Book 3, 6.5.8). The data stand in a template 83."""
    length = len(pdol_data)
    head = bytes((0x83, length)) if length < 0x80 else bytes((0x83, 0x81, length))
    return encode(Command(cla=0x80, ins=GET_PROCESSING_OPTIONS, p1=0, p2=0, data=head + pdol_data))


def read_record(sfi: int, number: int) -> bytes:
    """READ RECORD (Book 3, 6.5.11)."""
    return encode(Command(cla=0x00, ins=READ_RECORD, p1=number, p2=sfi << 3 | 0x04))


def generate_ac(wanted: int, cdol_data: bytes) -> bytes:
    """GENERATE AC (Book 3, 6.5.5). `wanted` is its reference control parameter."""
    return encode(Command(cla=0x80, ins=GENERATE_AC, p1=wanted, p2=0, data=cdol_data))
