"""Public keys as they reach a verifier: DER or PEM, or the bare point, in hex or base64, with or without spaces.

A bare point does not say on which curve it lies; it is one of the curve that the record names, or invalid.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TypeAlias

import msgspec

from edge.metering.ocmf import der
from edge.metering.ocmf.algorithms import CURVES, Curve, curve_of
from edge.metering.ocmf.errors import KeyUnreadable

KEY_BYTES_MAX = 8192  # a PEM file of a 16 kbit RSA key, to call even that unsupported by name
_EC_PUBLIC_KEY = bytes.fromhex("2A8648CE3D0201")
_RSA = bytes.fromhex("2A864886F70D0101")  # rsaEncryption and its relatives (RFC 8017, C)
_UNCOMPRESSED, _COMPRESSED = b"\x04", (b"\x02", b"\x03")
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----(.*)-----END PUBLIC KEY-----", re.DOTALL)
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_SIZES = frozenset(curve.size_bytes for curve in CURVES)


class PublicKey(msgspec.Struct, frozen=True):
    """A point in SEC 1 form (2.3.3): 04 X Y, or 02/03 X. `curve` is None when only the point was given."""

    point: bytes
    curve: Curve | None = None

    @property
    def abscissa(self) -> bytes:
        """The X of the point, which every form of it has: two records of one meter have the same."""
        whole = self.point[:1] == _UNCOMPRESSED
        return self.point[1 : 1 + len(self.point) // 2] if whole else self.point[1:]


class ForeignKey(msgspec.Struct, frozen=True):
    """A key that is understood but cannot verify anything here: RSA, or an unknown curve."""

    kind: str


Key: TypeAlias = PublicKey | ForeignKey


def from_text(text: str) -> Key:
    """A key in hex, base64 or PEM. Hex wins where both fit. Raises KeyUnreadable."""
    if len(text) > KEY_BYTES_MAX:
        raise KeyUnreadable(f"a public key has no {len(text)} characters")
    pem = _PEM.search(text)
    if pem is None and "-----BEGIN" in text:
        raise KeyUnreadable("a PEM file that holds no public key")
    compact = "".join((pem[1] if pem else text).split()).replace(":", "")
    if pem is None and _HEX.fullmatch(compact.removeprefix("0x")):
        return from_bytes(bytes.fromhex(compact.removeprefix("0x")))
    try:
        data = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise KeyUnreadable("a public key that is neither hex nor base64") from None
    return from_bytes(data)


def from_file(data: bytes) -> Key:
    """A key from a file: binary, or any text that `from_text` reads. Raises KeyUnreadable."""
    if len(data) > KEY_BYTES_MAX:
        raise KeyUnreadable(f"a public key has no {len(data)} bytes")
    try:
        return from_text(data.removeprefix(b"\xef\xbb\xbf").decode("ascii").strip())
    except (UnicodeDecodeError, KeyUnreadable):
        return from_bytes(data)


def from_bytes(data: bytes) -> Key:
    """A SubjectPublicKeyInfo or a bare point. Raises KeyUnreadable."""
    try:
        algorithm, curve_oid, bits = der.public_key_parts(data)
    except der.NotDer:
        return PublicKey(_point(data))
    if algorithm.startswith(_RSA):
        return ForeignKey("an RSA key")
    if algorithm != _EC_PUBLIC_KEY:
        return ForeignKey("a key of an unknown kind")
    curve = None if curve_oid is None else curve_of(curve_oid)
    if curve is None:
        return ForeignKey("a key on an unknown curve")
    return PublicKey(_point(bits), curve)


def to_der(key: PublicKey) -> bytes:
    """The key as SubjectPublicKeyInfo; its curve must be known. Raises ValueError."""
    if key.curve is None:
        raise ValueError("a point without a curve")
    algorithm = _wrap(der.SEQUENCE, _wrap(6, _EC_PUBLIC_KEY) + _wrap(6, key.curve.oid))
    return _wrap(der.SEQUENCE, algorithm + _wrap(der.BIT_STRING, b"\0" + key.point))


def _wrap(tag: int, content: bytes) -> bytes:
    length = len(content)
    return bytes([tag, length] if length < 0x80 else [tag, 0x81, length]) + content


def _point(data: bytes) -> bytes:
    """The point in SEC 1 form; X and Y without the 04 get it."""
    size = len(data)
    if data[:1] == _UNCOMPRESSED and size % 2 and (size - 1) // 2 in _SIZES:
        return data
    if data[:1] in _COMPRESSED and size - 1 in _SIZES:
        return data
    if size % 2 == 0 and size // 2 in _SIZES:
        return _UNCOMPRESSED + data
    raise KeyUnreadable(f"{size} bytes that are no public key")
