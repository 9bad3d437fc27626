"""Whether a record was signed by the holder of a key. Never "valid" by accident: every doubt has another name."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
from typing import Literal, TypeAlias

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from edge.metering.ocmf import der
from edge.metering.ocmf.algorithms import Algorithm, Curve, Hash, algorithm
from edge.metering.ocmf.keys import ForeignKey, Key, PublicKey
from edge.metering.ocmf.record import Record

Status: TypeAlias = Literal["valid", "invalid", "no_key", "unsupported"]

_DER_MIME = "application/x-der"
_CURVES: dict[str, type[ec.EllipticCurve]] = {
    "secp192r1": ec.SECP192R1,
    "secp256k1": ec.SECP256K1,
    "secp256r1": ec.SECP256R1,
    "secp384r1": ec.SECP384R1,
    "secp521r1": ec.SECP521R1,
    "brainpoolP256r1": ec.BrainpoolP256R1,
    "brainpoolP384r1": ec.BrainpoolP384R1,
    "brainpoolP512r1": ec.BrainpoolP512R1,
}
_HASHES: dict[Hash, type[hashes.HashAlgorithm]] = {
    "SHA256": hashes.SHA256,
    "SHA384": hashes.SHA384,
    "SHA512": hashes.SHA512,
}


class Verdict(msgspec.Struct, frozen=True):
    """What the check of one record found. `reason` says why it is not valid."""

    status: Status
    reason: str | None = None


_VALID = Verdict("valid")


def verify(record: Record, key: Key | None) -> Verdict:
    """The verdict on a record's signature over its payload, byte for byte as it came.

    >>> verify(parse(b'OCMF|{...}|{"SD":"3045..."}'), None)
    Verdict(status='no_key', reason='no public key was given, and the file holds none')
    """
    known = algorithm(record.algorithm)
    if known is None:
        return Verdict("unsupported", f"the signature algorithm {record.algorithm[:64]!r} is not verified")
    if record.signature_mime != _DER_MIME:
        return Verdict("unsupported", f"a signature of type {record.signature_mime[:64]!r} is not read")
    if record.signature_encoding not in {"hex", "base64"}:
        return Verdict("unsupported", f"a signature in {record.signature_encoding[:64]!r} is not read")
    match key:
        case None:
            return Verdict("no_key", "no public key was given, and the file holds none")
        case ForeignKey(kind=kind):
            return Verdict("unsupported", f"{kind} cannot verify an OCMF record")
        case PublicKey():
            return _check(record, known, key)


def _check(record: Record, known: Algorithm, key: PublicKey) -> Verdict:
    curve = known.curve
    if key.curve not in {None, curve}:
        assert key.curve is not None
        return Verdict("invalid", f"the key is on {key.curve.name}, the record was signed on {curve.name}")
    if len(key.point) not in {1 + curve.size_bytes, 1 + 2 * curve.size_bytes}:
        return Verdict("invalid", f"the key is on another curve than the record's {curve.name}")
    signatures = _numbers(record, curve)
    if not signatures:
        return Verdict("invalid", "the signature is not one of ECDSA")
    try:
        verified = any(_verified(known, key.point, r, s, record.payload) for r, s in signatures)
    except ValueError:
        return Verdict("invalid", f"the key is no point of {curve.name}")
    except (UnsupportedAlgorithm, ImportError):
        return Verdict("unsupported", f"{curve.name} is not verified by this installation")
    return _VALID if verified else Verdict("invalid", "the signature does not fit the data and the key")


def _numbers(record: Record, curve: Curve) -> list[tuple[int, int]]:
    """The r and s as the bytes can be read: DER, or the two numbers side by side, as some meters give them."""
    text = "".join(record.signature_data.split())
    try:
        data = (
            bytes.fromhex(text)
            if record.signature_encoding == "hex"
            else base64.b64decode(text, validate=True)
        )
    except (ValueError, binascii.Error):
        return []
    found = []
    with contextlib.suppress(der.NotDer):
        found.append(der.signature_numbers(data))
    size = curve.size_bytes
    if len(data) == 2 * size:
        found.append((int.from_bytes(data[:size], "big"), int.from_bytes(data[size:], "big")))
    return found


def _verified(known: Algorithm, point: bytes, r: int, s: int, payload: bytes) -> bool:
    """Raises ValueError for a point off the curve, ImportError or UnsupportedAlgorithm for a missing part."""
    curve = _CURVES.get(known.curve.name)
    if curve is None:
        return _verified_secp192k1(known.hash, point, r, s, payload)
    key = ec.EllipticCurvePublicKey.from_encoded_point(curve(), point)
    try:
        key.verify(encode_dss_signature(r, s), payload, ec.ECDSA(_HASHES[known.hash]()))
    except InvalidSignature:
        return False
    return True


def _verified_secp192k1(hash_name: Hash, point: bytes, r: int, s: int, payload: bytes) -> bool:
    """With the package `ecdsa`, since OpenSSL's builds and `cryptography` lack the curve. SEC 2, 2.2.1."""
    from ecdsa import VerifyingKey, ellipticcurve  # noqa: PLC0415  # an extra, and 4 MB that only this curve needs
    from ecdsa.curves import Curve as EcdsaCurve  # noqa: PLC0415
    from ecdsa.errors import MalformedPointError  # noqa: PLC0415
    from ecdsa.keys import BadSignatureError  # noqa: PLC0415

    field = ellipticcurve.CurveFp(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFEE37, 0, 3, 1)
    generator = ellipticcurve.PointJacobi(
        field,
        0xDB4FF10EC057E9AE26B07D0280B7F4341DA5D1B1EAE06C7D,
        0x9B2F2F6D9C5628A7844163D015BE86344082AA88D95E2F9D,
        1,
        0xFFFFFFFFFFFFFFFFFFFFFFFE26F2FC170F69466A74DEFD8D,
        generator=True,
    )
    curve = EcdsaCurve("secp192k1", field, generator, (1, 3, 132, 0, 31))
    try:
        key = VerifyingKey.from_string(point, curve=curve)
    except MalformedPointError as e:
        raise ValueError(str(e)) from e
    digest = hashlib.new(hash_name, payload).digest()
    try:
        return bool(
            key.verify_digest((r, s), digest, sigdecode=lambda numbers, _order: numbers, allow_truncate=True)
        )
    except BadSignatureError:
        return False
