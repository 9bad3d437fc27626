"""Cards that want to hurt a terminal: endless lists, lengths that lie, answers that never end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edge.emv.tlv import encode
from hw.virtual.bank_cards.card import PPSE
from hw.virtual.cards import IsoCard, Scripted, VirtualCard

_UID: Final = bytes.fromhex("04EE00112233F0")
_OK: Final = b"\x90\x00"
_VISA: Final = bytes.fromhex("A0000000031010")

#: Kernel 3 speaks on only with a card that asks for the terminal's qualifiers.
_ASKS_FOR_TTQ: Final = bytes.fromhex("9F6604")

#: What one answer may hold in an extended frame.
_ANSWER_MAX: Final = 65_000


def _directory(entries: bytes) -> bytes:
    return encode("6F", encode("84", PPSE) + encode("A5", encode("BF0C", entries))) + _OK


def _entry(aid: bytes, priority: int = 1) -> bytes:
    return encode("61", encode("4F", aid) + encode("50", b"TEST") + encode("87", bytes((priority,))))


def _application(pdol: bytes = b"") -> bytes:
    shown = encode("50", b"TEST") + (encode("9F38", pdol) if pdol else b"")
    return encode("6F", encode("84", _VISA) + encode("A5", shown)) + _OK


def _options(afl: bytes) -> bytes:
    """What kernel 3 wants before it reads records; kernel 2 wants less."""
    given = {
        "82": b"\x20\x00",
        "94": afl,
        "57": bytes.fromhex("4761739001010119D31122010000012300000F"),
        "9F10": bytes.fromhex("06011203A00000"),
        "9F26": bytes(8),
        "9F27": b"\x80",
        "9F36": b"\x00\x01",
        "9F6C": bytes(2),
    }
    return encode("77", b"".join(encode(tag, value) for tag, value in given.items())) + _OK


def _nested(length: int) -> bytes:
    data = b""
    while len(data) < length:
        data = encode("A5", data)
    return data


Answer = Callable[[bytes], bytes]


def _card(
    directory: bytes, application: bytes, options: bytes, record: Answer, *, more: Answer | None = None
) -> VirtualCard:
    def answer(n: int, command: bytes, inner: VirtualCard) -> bytes:
        del n, inner
        match command[:2]:
            case b"\x00\xa4":
                return directory if PPSE in command else application
            case b"\x80\xa8":
                return options
            case b"\x00\xb2":
                return record(command)
            case _:
                return more(command) if more is not None else b"\x6d\x00"

    return Scripted(IsoCard(_UID), answer)


def _always(data: bytes) -> VirtualCard:
    def answer(n: int, command: bytes, inner: VirtualCard) -> bytes:
        del n, command, inner
        return data

    return Scripted(IsoCard(_UID), answer)


def _long_record(command: bytes) -> bytes:
    """A record full of objects that nobody needs, another one at each number."""
    filler = encode("9F7C", bytes((command[2],)) * 240)
    return encode("70", filler) + _OK


def _same_record(_: bytes) -> bytes:
    return encode("70", encode("57", bytes.fromhex("4761739001010119D31122010000012300000F"))) + _OK


def hostiles() -> dict[str, VirtualCard]:
    """Every one of them, by what it does."""
    plain = _directory(_entry(_VISA))
    normal = _application(_ASKS_FOR_TTQ)
    every_file = b"".join(bytes((sfi << 3, 1, 255, 0)) for sfi in range(1, 31))
    circle = bytes.fromhex("08010100") * 30
    one_by_one = b"".join(_entry(_VISA + bytes((n,)), n % 15 + 1) for n in range(9))
    greedy = b"".join(bytes((0x9F, tag, 0xFF)) for tag in range(1, 0x7F))
    many = b"".join(_entry(_VISA + bytes((n >> 8, n & 0xFF)), n % 15 + 1) for n in range(2500))
    return {
        "endless records": _card(plain, normal, _options(every_file), _long_record),
        "file locator in a circle": _card(plain, normal, _options(circle), _same_record),
        "file locator backwards": _card(plain, normal, _options(bytes.fromhex("08050103")), _same_record),
        "file locator of no file": _card(
            plain, normal, _options(bytes.fromhex("00010100F8010100")), _same_record
        ),
        "asks for more than a command holds": _card(
            plain, _application(_ASKS_FOR_TTQ + greedy[:180]), _options(b""), _same_record
        ),
        "asks for gigabytes": _card(
            plain, _application(_ASKS_FOR_TTQ + (greedy * 200)[:_ANSWER_MAX]), _options(b""), _same_record
        ),
        "applications that all refuse": _card(_directory(one_by_one), normal, b"\x69\x85", _same_record),
        "asks for itself": _card(
            plain, _application(_ASKS_FOR_TTQ + bytes.fromhex("9F3840") * 4), _options(b""), _same_record
        ),
        "thousands of applications": _card(_directory(many), normal, _options(circle), _same_record),
        "nested deep": _card(encode("6F", _nested(200)) + _OK, normal, _options(b""), _same_record),
        "nested without end": _card(encode("6F", _nested(8000)) + _OK, normal, _options(b""), _same_record),
        "length that lies": _always(bytes.fromhex("6F83FFFFFF8400") + _OK),
        "length without end": _always(bytes.fromhex("6F84FFFFFFFF") + _OK),
        "tag without end": _always(b"\x1f" + b"\xff" * 200 + _OK),
        "more to come, always": _always(b"\x61\x00"),
        "other length, always": _always(b"\x6c\x10"),
        "busy, always": _always(b"\x63\xc0"),
        "nothing but a status": _always(_OK),
        "one byte": _always(b"\x90"),
        "noise": _always(bytes(range(256)) + _OK),
        "megabytes of padding": _always(bytes(_ANSWER_MAX) + _OK),
    }
