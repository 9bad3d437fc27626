"""Whole answers to APDUs: what a card wants fetched in pieces is fetched, within bounds.

ISO/IEC 7816-4, 5.3.4: `61xx` says that xx more bytes wait for GET RESPONSE, `6Cxx` that Le should be xx.
"""

from __future__ import annotations

from collections.abc import Callable

from edge.errors import CardLost, CardUnreadable

#: An extended-length response: 64 KiB and the status word.
RESPONSE_MAX = 65_536 + 2

#: Pieces of one answer; 64 KiB in pieces of 256 bytes would be more, no card of ours has so much to say.
PIECES_MAX = 32


def complete(transmit: Callable[[bytes], bytes], command: bytes) -> bytes:
    """The answer to `command` with its last status word. Raises CardLost; CardUnreadable beyond the bounds."""
    answer = _checked(transmit(command))
    if answer[-2] == 0x6C and len(command) >= 5:
        answer = _checked(transmit(command[:-1] + answer[-1:]))
    body = bytearray(answer[:-2])
    for _ in range(PIECES_MAX):
        if answer[-2] != 0x61:
            return bytes(body) + answer[-2:]
        answer = _checked(transmit(bytes((command[0] & 0x03, 0xC0, 0, 0, answer[-1]))))
        body += answer[:-2]
        if len(body) > RESPONSE_MAX:
            raise CardUnreadable(f"the card's answer exceeds {RESPONSE_MAX} bytes")
    raise CardUnreadable(f"the card's answer has more than {PIECES_MAX} pieces")


def _checked(answer: bytes) -> bytes:
    if not answer:
        raise CardLost("the card gave no answer")  # what PC/SC makes of a card that just left
    if not 2 <= len(answer) <= RESPONSE_MAX:
        raise CardUnreadable(f"the card's answer has {len(answer)} bytes")
    return answer
