"""The signature algorithms of OCMF: elliptic curves, hashes and how records name them.

OCMF 1.2, table 22, with the curves that meters on the market use beyond it (secp521r1, brainpoolP512r1) and
SHA-384 and SHA-512 beside SHA-256.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

import msgspec

Hash: TypeAlias = Literal["SHA256", "SHA384", "SHA512"]

#: What holds for a record that names no algorithm (OCMF 1.2, table 22).
DEFAULT = "ECDSA-secp256r1-SHA256"


class Curve(msgspec.Struct, frozen=True):
    """A curve. `oid` is the content of its DER object identifier, `size_bytes` the length of a coordinate."""

    name: str
    oid: bytes
    size_bytes: int


class Algorithm(msgspec.Struct, frozen=True):
    """ECDSA on a curve over a hash."""

    curve: Curve
    hash: Hash


def _curve(name: str, oid_hex: str, size_bytes: int) -> Curve:
    return Curve(name, bytes.fromhex(oid_hex), size_bytes)


#: Object identifiers: SEC 2, A.2 and RFC 5639, 4.1.
CURVES = (
    _curve("secp192k1", "2B8104001F", 24),
    _curve("secp192r1", "2A8648CE3D030101", 24),
    _curve("secp256k1", "2B8104000A", 32),
    _curve("secp256r1", "2A8648CE3D030107", 32),
    _curve("secp384r1", "2B81040022", 48),
    _curve("secp521r1", "2B81040023", 66),
    _curve("brainpoolP256r1", "2B2403030208010107", 32),
    _curve("brainpoolP384r1", "2B240303020801010B", 48),
    _curve("brainpoolP512r1", "2B240303020801010D", 64),
)
_BY_OID = {curve.oid: curve for curve in CURVES}
_BY_NAME = {curve.name.lower().replace("poolp", "pool"): curve for curve in CURVES}
_HASHES: dict[str, Hash] = {"sha256": "SHA256", "sha384": "SHA384", "sha512": "SHA512"}
_NAME = re.compile(r"ecdsa-([a-z0-9]+)-(sha[0-9]+)")


def algorithm(name: str) -> Algorithm | None:
    """The algorithm of that name; None for one that is not verified here (RSA, another curve, another hash).

    The specification writes `brainpool256r1`, meters also `brainpoolP256r1`; case does not matter.
    """
    match = _NAME.fullmatch(name.lower())
    if match is None:
        return None
    curve = _BY_NAME.get(match[1].replace("poolp", "pool"))
    found = _HASHES.get(match[2])
    return None if curve is None or found is None else Algorithm(curve, found)


def curve_of(oid: bytes) -> Curve | None:
    """The curve with this object identifier."""
    return _BY_OID.get(oid)
