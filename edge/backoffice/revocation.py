"""Certificates that count no more: which were issued to whom, and the list that a broker checks (RFC 5280, 5)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

#: One line of JSON for each certificate, so that a device's older ones can be revoked too.
_ISSUED = "issued.ndjson"
LIST = "revoked.pem"


class _Issued(msgspec.Struct, frozen=True):
    serial: str
    name: str
    until: datetime


def note(folder: Path, certificate: x509.Certificate, name: str) -> None:
    """Remember a certificate before it is handed out. Raises OSError."""
    line = _Issued(f"{certificate.serial_number:x}", name, certificate.not_valid_after_utc)
    with (folder / _ISSUED).open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


def revoke(folder: Path, authority: x509.Certificate, key: ec.EllipticCurvePrivateKey, name: str) -> int:
    """Put every certificate of `name` on the list; how many are new there. Raises OSError, ValueError."""
    now = datetime.now(UTC)
    listed = {
        revoked.serial_number: revoked for revoked in x509.load_pem_x509_crl((folder / LIST).read_bytes())
    }
    fresh = {
        serial: x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        for serial in _serials(folder, name)
        if serial not in listed
    }
    _write(folder, authority, key, [*listed.values(), *fresh.values()])
    return len(fresh)


def begin(folder: Path, authority: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """An empty list, where there is none: a broker that checks one must have one. Raises OSError."""
    if not (folder / LIST).exists():
        _write(folder, authority, key, [])


def _serials(folder: Path, name: str) -> list[int]:
    if not (folder / _ISSUED).exists():
        return []
    lines = (folder / _ISSUED).read_bytes().splitlines()
    issued = [msgspec.json.decode(line, type=_Issued) for line in lines]
    return [int(each.serial, 16) for each in issued if each.name == name]


def _write(
    folder: Path,
    authority: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    revoked: list[x509.RevokedCertificate],
) -> None:
    """Good for as long as the CA: a list that runs out would lock every device out."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(authority.not_valid_before_utc)
        .next_update(authority.not_valid_after_utc)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    for each in revoked:
        builder = builder.add_revoked_certificate(each)
    fresh = folder / f"{LIST}.new"
    fresh.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    fresh.replace(folder / LIST)
