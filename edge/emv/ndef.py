"""Reading a card's NDEF address: NFC Forum Type 4 Tag, mapping version 2.0, and URI record type.

The conversation knows no reader: it yields commands and is sent answers.

    talk = read_uri()
    command = next(talk)
    while True:
        try:
            command = talk.send(await card.apdu(command))
        except StopIteration as end:
            return end.value
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

_SELECT_APPLICATION: Final = bytes.fromhex("00A4040007D276000085010100")
_SELECT_FILE: Final = bytes.fromhex("00A4000C02E104")
_OK: Final = b"\x90\x00"

#: NTAG 424 DNA has a file of 256 bytes; a membership card needs no longer address.
NDEF_MAX: Final = 256

#: One command's worth, below what the smallest frames of a reader hold.
_READ_BYTES: Final = 0xF0

#: A card that gives less at a time than this allows for keeps its driver waiting.
_READS_MAX: Final = 32

#: URI record type, 3.2.2: what the first byte stands for.
_PREFIXES: Final = ("", "http://www.", "https://www.", "http://", "https://")

#: A well-known record that is the whole message (MB, ME, SR, TNF 1) of type U, with a one-byte length.
_URI_RECORD: Final = (0xD1, 1)
_TYPE_URI: Final = 0x55


def read_uri() -> Generator[bytes, bytes, str | None]:
    """The address that the card shows, or None where it shows none."""
    for command in (_SELECT_APPLICATION, _SELECT_FILE):
        answer = yield command
        if answer[-2:] != _OK:
            return None
    content = b""
    length = NDEF_MAX
    for _ in range(_READS_MAX):
        if len(content) >= min(length + 2, NDEF_MAX):
            return _uri(content[2 : 2 + length])
        wanted = min(_READ_BYTES, min(length + 2, NDEF_MAX) - len(content))
        answer = yield b"\x00\xb0" + len(content).to_bytes(2, "big") + bytes((wanted,))
        if answer[-2:] != _OK or not 2 < len(answer) <= wanted + 2:
            return None
        content += answer[:-2]
        if len(content) < 2:
            return None
        length = int.from_bytes(content[:2], "big")
    return None


def _uri(message: bytes) -> str | None:
    if len(message) < 5 or (message[0], message[1]) != _URI_RECORD or message[3] != _TYPE_URI:
        return None
    payload = message[4 : 4 + message[2]]
    if len(payload) != message[2] or not payload or payload[0] >= len(_PREFIXES):
        return None
    try:
        return _PREFIXES[payload[0]] + payload[1:].decode("ascii")
    except UnicodeDecodeError:
        return None
