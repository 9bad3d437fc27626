"""Who may do what at the broker: an own CA, certificates, and mosquitto's rules, in one folder.

    authority = Authority.open(folder)          # made there at the first call
    authority.issue_broker(("localhost", "127.0.0.1"))
    authority.issue_device(peer("site", "device"))
    authority.write_mosquitto(8883)

A device is its certificate's common name, `site.device`; the rules let it write its own topics and read what is
meant for it, and nothing else. Private keys are readable by their owner only.
"""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.backoffice import revocation
from edge.errors import TillError
from edge.sync.contract.topics import Peer, peer

#: The CA outlives the chargers; what it signs is renewed.
_CA_DAYS = 20 * 365
CERTIFICATE_DAYS = 825

#: Clocks of chargers without a battery may be behind when they are set up.
_BACKDATED = timedelta(days=1)

BACKOFFICE_NAME = "backoffice"

_REQUEST = "take the file that `chargetill provision` wrote on the device"

_DEVICE_WRITES = ("tx", "state", "reply", "authorize")
_DEVICE_READS = ("ack", "cmd", "authorization")
#: Signed documents for everyone at a site.
_SITE_READS = ("tariff", "members/#", "plans")


class AccessError(TillError):
    code = "backoffice.access"
    hint = "give a folder that you may write to; keep ca.key safe, whoever has it can be any device"


class Authority:
    """The CA in a folder. Issues certificates and writes the broker's configuration beside them."""

    def __init__(self, folder: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self.folder = folder
        self._key = key
        self._certificate = certificate

    @classmethod
    def open(cls, folder: Path) -> Authority:
        """The CA that is there, or a new one. Raises AccessError."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "ca.pem").exists():
                _make_ca(folder)
            key = load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
            certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise AccessError(f"{folder}/ca.key is not an elliptic-curve key")
            revocation.begin(folder, certificate, key)
        except (OSError, ValueError) as e:
            raise AccessError(f"{folder}: {e}") from e
        return cls(folder, key, certificate)

    def issue_broker(self, names: tuple[str, ...], *, days: int = CERTIFICATE_DAYS) -> Path:
        """The broker's certificate for these host names and addresses, `broker.pem` and `.key`."""
        return self._issue("broker", names[0], ExtendedKeyUsageOID.SERVER_AUTH, names, days)

    def issue_device(self, device: Peer, *, days: int = CERTIFICATE_DAYS) -> Path:
        """A device's certificate, `device-{site}.{device}.pem` and `.key`."""
        name = f"{device.site}.{device.device}"
        return self._issue(f"device-{name}", name, ExtendedKeyUsageOID.CLIENT_AUTH, (), days)

    def certify(self, device: Peer, request: bytes, *, days: int = CERTIFICATE_DAYS) -> Path:
        """The certificate for a key that stays on the device, from its request (PKCS #10, PEM). Raises AccessError.

        The name is the back office's own word, whatever the request says.
        """
        try:
            asked = x509.load_pem_x509_csr(request)
            key = asked.public_key()
            signed = asked.is_signature_valid
        except ValueError as e:
            raise AccessError("the certificate request cannot be read", hint=_REQUEST) from e
        if not signed or not isinstance(key, ec.EllipticCurvePublicKey):
            raise AccessError("the certificate request is not signed by an elliptic-curve key", hint=_REQUEST)
        name = f"{device.site}.{device.device}"
        return self._issue(f"device-{name}", name, ExtendedKeyUsageOID.CLIENT_AUTH, (), days, theirs=key)

    def issue_backoffice(self, *, days: int = CERTIFICATE_DAYS) -> Path:
        """The receiver's own certificate."""
        return self._issue(BACKOFFICE_NAME, BACKOFFICE_NAME, ExtendedKeyUsageOID.CLIENT_AUTH, (), days)

    def revoke(self, device: Peer) -> int:
        """Let a device in no more: its certificates are listed, and its rules end with the next `write_mosquitto`.

        How many certificates were listed. Raises AccessError for a device that never had one.
        """
        name = f"{device.site}.{device.device}"
        try:
            count = revocation.revoke(self.folder, self._certificate, self._key, name)
            known = self.folder / f"device-{name}.pem"
            if not count and not known.exists():
                raise AccessError(f"{device.site}/{device.device} has no certificate here")
            known.unlink(missing_ok=True)
            known.with_suffix(".key").unlink(missing_ok=True)
        except (OSError, ValueError) as e:
            raise AccessError(f"{self.folder}: {e}") from e
        return count

    def devices(self) -> tuple[Peer, ...]:
        """Every device that has a certificate here."""
        names = sorted(p.name.removeprefix("device-").removesuffix(".pem") for p in self._device_files())
        return tuple(peer(*name.split(".", 1)) for name in names)

    def _device_files(self) -> list[Path]:
        return list(self.folder.glob("device-*.pem"))

    def write_mosquitto(self, port: int, *, address: str = "") -> Path:
        """`mosquitto.conf` and `acl` for the devices that have a certificate; mosquitto rereads on SIGHUP."""
        folder = self.folder.resolve()
        (folder / "acl").write_text(rules(self.devices()))
        lines = (
            f"listener {port} {address}".rstrip(),
            "allow_anonymous false",
            f"cafile {folder}/ca.pem",
            f"certfile {folder}/broker.pem",
            f"keyfile {folder}/broker.key",
            f"crlfile {folder}/{revocation.LIST}",
            "tls_version tlsv1.2",
            "require_certificate true",
            "use_identity_as_username true",
            f"acl_file {folder}/acl",
            "message_size_limit 1048576",
            "max_inflight_messages 20",
            "max_queued_messages 1000",
        )
        file = folder / "mosquitto.conf"
        file.write_text("\n".join(lines) + "\n")
        return file

    def _issue(
        self,
        file: str,
        name: str,
        usage: x509.ObjectIdentifier,
        hosts: tuple[str, ...],
        days: int,
        *,
        theirs: ec.EllipticCurvePublicKey | None = None,
    ) -> Path:
        """For a key that is made here, or for `theirs`, whose private half we never see."""
        ours = ec.generate_private_key(ec.SECP256R1()) if theirs is None else None
        now = datetime.now(UTC)
        not_after = now + timedelta(days=days)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self._certificate.subject)
            .public_key(theirs or cast("ec.EllipticCurvePrivateKey", ours).public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, not_after) - _BACKDATED)
            .not_valid_after(not_after)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        path = self.folder / f"{file}.pem"
        try:
            if ours is not None:
                _write_key(self.folder / f"{file}.key", ours)
            revocation.note(self.folder, certificate, name)
            path.write_bytes(certificate.public_bytes(Encoding.PEM))
        except OSError as e:
            raise AccessError(f"{path}: {e.strerror}") from e
        return path


def rules(devices: tuple[Peer, ...]) -> str:
    """Mosquitto's access list: each device by name, and the back office. Everything else is refused."""
    blocks = [
        "\n".join(
            (
                f"user {BACKOFFICE_NAME}",
                *(f"topic read till/v1/+/+/{channel}" for channel in _DEVICE_WRITES),
                *(f"topic write till/v1/+/+/{channel}" for channel in _DEVICE_READS),
                *(f"topic write till/v1/+/{channel}" for channel in _SITE_READS),
            )
        )
    ]
    blocks += [
        "\n".join(
            (
                f"user {device.site}.{device.device}",
                *(
                    f"topic write till/v1/{device.site}/{device.device}/{channel}"
                    for channel in _DEVICE_WRITES
                ),
                *(f"topic read till/v1/{device.site}/{device.device}/{channel}" for channel in _DEVICE_READS),
                *(f"topic read till/v1/{device.site}/{channel}" for channel in _SITE_READS),
            )
        )
        for device in devices
    ]
    return "\n\n".join(blocks) + "\n"


def _make_ca(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    name = _name("Chargetill devices")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=_CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    _write_key(folder / "ca.key", key)
    (folder / "ca.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
