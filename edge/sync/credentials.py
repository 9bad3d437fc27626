"""How we prove to a broker who we are, and it to us."""

from __future__ import annotations

import ssl
from pathlib import Path

from edge.errors import SyncError
from edge.sync.options import TlsOptions


class LinkRefused(SyncError):
    code = "sync.refused"
    hint = "the broker's access rules or this device's name and credentials do not fit"


class CertificateRefused(SyncError):
    code = "sync.certificate"
    hint = (
        "check [mqtt.tls]: the CA, the dates of the certificates, and that the broker trusts this device's CA"
    )


def reason_of(error: Exception) -> str:
    """What the system says, without its numbers."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def password(path: str | None) -> str | None:
    """What stands in the file. Raises LinkRefused."""
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as e:
        raise LinkRefused(f"cannot read the password in {path}: {reason_of(e)}") from e


def tls_context(tls: TlsOptions) -> ssl.SSLContext:
    """TLS 1.2 or later, the broker's name checked, our certificate shown. Raises CertificateRefused."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as e:
        raise CertificateRefused(f"cannot use [mqtt.tls]: {reason_of(e)}") from e
    return context
