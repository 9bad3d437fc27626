"""As much of ASN.1 DER as signatures and public keys need (ITU-T X.690, 8.1 and 10.1).

Lenient where meters are: a length may take more bytes than it must, an integer may carry zeros in front or lack
the one that keeps it positive. Nothing may be missing and nothing may follow.
"""

from __future__ import annotations

SEQUENCE, INTEGER, BIT_STRING, NULL, OBJECT_IDENTIFIER = 0x30, 0x02, 0x03, 0x05, 0x06
_LONG_FORM = 0x80
_LENGTH_BYTES_MAX = 4  # more than any key or signature fills


class NotDer(ValueError):
    """The bytes are not the structure that was asked for."""


def element(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the element at the front, which must have this tag, and what follows it. Raises NotDer."""
    if len(data) < 2 or data[0] != tag:
        raise NotDer(f"no element with tag {tag:02X}")
    length, start = data[1], 2
    if length & _LONG_FORM:
        count = length & 0x7F
        start = 2 + count
        if not 1 <= count <= _LENGTH_BYTES_MAX or len(data) < start:
            raise NotDer("a length that cannot be one")
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise NotDer(f"{start + length - len(data)} bytes are missing")
    return data[start : start + length], data[start + length :]


def whole(data: bytes, tag: int) -> bytes:
    """The content of the only element. Raises NotDer."""
    content, rest = element(data, tag)
    if rest:
        raise NotDer(f"{len(rest)} bytes too many")
    return content


def signature_numbers(data: bytes) -> tuple[int, int]:
    """The r and s of an Ecdsa-Sig-Value (RFC 3279, 2.2.3). Raises NotDer."""
    r, rest = element(whole(data, SEQUENCE), INTEGER)
    s = whole(rest, INTEGER)
    if not r or not s:
        raise NotDer("an integer without bytes")
    return int.from_bytes(r, "big"), int.from_bytes(s, "big")


def public_key_parts(data: bytes) -> tuple[bytes, bytes | None, bytes]:
    """Algorithm OID, curve OID and key bits of a SubjectPublicKeyInfo (RFC 5480). Raises NotDer.

    The curve is None where the parameters name none: RSA, or a curve given by its numbers.
    """
    algorithm, rest = element(whole(data, SEQUENCE), SEQUENCE)
    bits = whole(rest, BIT_STRING)
    oid, parameters = element(algorithm, OBJECT_IDENTIFIER)
    if bits[:1] != b"\0":
        raise NotDer("key bits that are no whole bytes")
    if parameters[:1] == bytes([OBJECT_IDENTIFIER]):
        return oid, whole(parameters, OBJECT_IDENTIFIER), bits[1:]
    return oid, None, bits[1:]
