"""Signed static and dynamic application data: EMV Book 2, 5.4, 6.5 and 6.6 (tables 7, 17, 19 and 22)."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from edge.emv.errors import NotAuthentic
from edge.emv.oda.keys import PublicKey
from edge.emv.oda.recovery import HASH_BYTES, recover

_STATIC_OVERHEAD: Final = 26
_DYNAMIC_OVERHEAD: Final = 25
_DYNAMIC_NUMBER_BYTES: Final = range(2, 9)
_CRYPTOGRAM_BYTES: Final = 8
_COUNTER_BYTES: Final = 2

#: Signed data formats of dynamic data (Book 2, table 17).
_DYNAMIC: Final = b"\x05"

#: fDDA over a request that goes online has a format of its own, so that it is no proof for an offline approval
#: (Book C-3, annex C); cards of the first generation sign both alike.
_FAST_ONLINE: Final = b"\x95\x05"


class Combined(msgspec.Struct, frozen=True, kw_only=True):
    """What a combined signature holds: the cryptogram and its kind, and the hash of the whole conversation.

    `rest` is what follows: the relay resistance data of kernel 2 where they were exchanged.
    """

    cid: int
    cryptogram: bytes
    transaction_hash: bytes
    rest: bytes


def check_static(signature: bytes, issuer: PublicKey, *, static: bytes) -> None:
    """Static data authentication. Raises NotAuthentic."""
    recover(
        signature,
        issuer,
        what="the static signature",
        forms=b"\x03",
        hash_at=2,
        least=_STATIC_OVERHEAD,
        vouched=static,
    )


def check_dynamic(signature: bytes, card: PublicKey, *, terminal_data: bytes) -> bytes:
    """DDA: what the card signed of its own, its dynamic number first. Raises NotAuthentic."""
    return _dynamic(signature, card, terminal_data, _DYNAMIC)


def check_fast(
    signature: bytes, card: PublicKey, *, terminal_data: bytes, counter: bytes | None, online: bool
) -> None:
    """Fast DDA over a request that goes `online`, or over an offline approval. `counter` is the card's ATC (9F36),
    which cards sign as their dynamic number. Raises NotAuthentic.
    """
    dynamic = _dynamic(signature, card, terminal_data, _FAST_ONLINE if online else _DYNAMIC)
    number = dynamic[1 : 1 + dynamic[0]]
    if len(number) == _COUNTER_BYTES and number != counter:
        raise NotAuthentic("the dynamic signature is for another transaction counter (9F36)")


def _dynamic(signature: bytes, card: PublicKey, terminal_data: bytes, forms: bytes) -> bytes:
    what = "the dynamic signature"
    data = recover(
        signature,
        card,
        what=what,
        forms=forms,
        hash_at=2,
        least=_DYNAMIC_OVERHEAD + 3,
        vouched=terminal_data,
    )
    length = data[3]
    if length > len(data) - _DYNAMIC_OVERHEAD:
        raise NotAuthentic(f"{what} holds less than it says")
    dynamic = data[4 : 4 + length]
    if not dynamic or dynamic[0] not in _DYNAMIC_NUMBER_BYTES or 1 + dynamic[0] > length:
        raise NotAuthentic(f"{what} holds no dynamic number")
    return dynamic


def check_combined(
    signature: bytes, card: PublicKey, *, unpredictable_number: bytes, conversation: bytes, cid: int
) -> Combined:
    """CDA. `conversation`: the data of PDOL and CDOL1 as sent, and the answer's objects without 9F4B, each whole.

    `cid` is what the answer says beside the signature; both have to agree. Raises NotAuthentic.
    """
    dynamic = check_dynamic(signature, card, terminal_data=unpredictable_number)
    at = 1 + dynamic[0]
    if len(dynamic) < at + 1 + _CRYPTOGRAM_BYTES + HASH_BYTES:
        raise NotAuthentic("the combined signature holds no cryptogram")
    cryptogram_end = at + 1 + _CRYPTOGRAM_BYTES
    found = Combined(
        cid=dynamic[at],
        cryptogram=dynamic[at + 1 : cryptogram_end],
        transaction_hash=dynamic[cryptogram_end : cryptogram_end + HASH_BYTES],
        rest=dynamic[cryptogram_end + HASH_BYTES :],
    )
    if found.cid != cid:
        raise NotAuthentic("the combined signature is for another kind of cryptogram")
    if hashlib.sha1(conversation, usedforsecurity=False).digest() != found.transaction_hash:
        raise NotAuthentic("the combined signature is for another conversation: its hash differs")
    return found
