"""What a certificate or signature holds: RSA with message recovery, EMV Book 2, annex A2.1.

6A | format | ... | SHA-1 of what follows 6A, then of what the signer vouches for besides | BC
"""

from __future__ import annotations

import hashlib
from typing import Final

from edge.emv.errors import NotAuthentic
from edge.emv.oda.keys import PublicKey

HASH_BYTES: Final = 20
_HEADER: Final = 0x6A
_TRAILER: Final = 0xBC

#: The hash and public key algorithms of Book 2, annex B: SHA-1, RSA. There are no others for these formats.
SHA_1: Final = 0x01
RSA: Final = 0x01


def recover(
    signature: bytes, key: PublicKey, *, what: str, forms: bytes, hash_at: int, least: int, vouched: bytes
) -> bytes:
    """The recovered bytes, whole, once header, format, hash and trailer are right. Raises NotAuthentic.

    `what` names it in errors, `forms` are the format bytes that it may have, `hash_at` is where its hash algorithm
    stands, `least` how many bytes it has at least. `vouched`: what the hash covers beyond the recovered bytes.
    """
    size = len(key.modulus)
    if len(signature) != size:
        raise NotAuthentic(f"{what} has {len(signature)} bytes, its key has {size}")
    modulus = int.from_bytes(key.modulus, "big")
    number = int.from_bytes(signature, "big")
    if size < least or number >= modulus:
        raise NotAuthentic(f"{what} does not fit its key")
    data = pow(number, key.exponent, modulus).to_bytes(size, "big")
    if data[0] != _HEADER or data[-1] != _TRAILER:
        raise NotAuthentic(f"{what} was not made with this key")
    if data[1] not in forms:
        raise NotAuthentic(f"{what} has format {data[1]:02X}, not {forms[:1].hex()}")
    if data[hash_at] != SHA_1:
        raise NotAuthentic(f"{what} names hash algorithm {data[hash_at]:02X}, which is unknown")
    body, digest = data[1 : -1 - HASH_BYTES], data[-1 - HASH_BYTES : -1]
    if hashlib.sha1(body + vouched, usedforsecurity=False).digest() != digest:
        raise NotAuthentic(f"{what} is not for these data: its hash differs")
    return data
