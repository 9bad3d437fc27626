"""How a device is introduced to its back office: a key that never leaves it, and a request that does."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from edge.errors import TillError
from edge.store.keys import LedgerKey
from edge.sync.contract.enrollment import Enrolled, EnrollmentRequest
from edge.sync.contract.topics import Peer


class EnrollmentFailed(TillError):
    code = "provision.enrollment"
    hint = "make the request anew with `chargetill provision --renew` and enroll it at the back office"


def tls_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The device's TLS key (P-256); made in `path`, mode 0600, when there is none. Raises EnrollmentFailed."""
    try:
        if not path.exists():
            fresh = ec.generate_private_key(ec.SECP256R1())
            pem = fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as e:
        raise EnrollmentFailed(f"{path}: {e}") from e
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise EnrollmentFailed(f"{path} is not an elliptic-curve key")
    return key


def request(
    device: Peer, key: ec.EllipticCurvePrivateKey, ledger: LedgerKey, version: str
) -> EnrollmentRequest:
    """What the back office has to know of this device; nothing in it is secret."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{device.site}.{device.device}")])
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return EnrollmentRequest(
        site=device.site,
        device=device.device,
        version=version,
        certificate_request=signed.public_bytes(Encoding.PEM).decode(),
        ledger_key_id=ledger.key_id,
        ledger_public_key=ledger.public_hex,
    )


def check(answer: Enrolled, device: Peer, key_file: Path) -> None:
    """The certificate is this device's, for the key that lies here. Raises EnrollmentFailed."""
    if (answer.site, answer.device) != (device.site, device.device):
        raise EnrollmentFailed(
            f"this answer is for {answer.site}/{answer.device}, not for {device.site}/{device.device}"
        )
    try:
        certificate = x509.load_pem_x509_certificate(answer.certificate.encode())
        x509.load_pem_x509_certificate(answer.ca.encode())
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as e:
        raise EnrollmentFailed(f"{key_file} and the answer: {e}") from e
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*spki) != key.public_key().public_bytes(*spki):
        raise EnrollmentFailed("the certificate is for another key than this device's")
