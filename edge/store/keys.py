"""The device's ledger key: Ed25519, made on the device at the first start, in a file that only it may read."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.domain.ledger.signature import key_id_of
from edge.errors import StoreError

#: An Ed25519 key in PKCS #8, up to its 32 octets (RFC 8410, 7).
_PKCS8: Final = bytes.fromhex("302e020100300506032b657004220420")

#: The file that is made here, and that openssl makes.
_OURS: Final = re.compile(rb"-----BEGIN PRIVATE KEY-----\n([A-Za-z0-9+/]{64})\n-----END PRIVATE KEY-----\n?")


class KeyUnusable(StoreError):
    code = "ledger.key"
    hint = "the ledger key belongs to this device: restore the file, or open a new epoch with a new key"


class LedgerKey:
    """Signs checkpoints. `key_id` is the start of the public key's SHA-256."""

    def __init__(self, private: Ed25519PrivateKey, *, path: Path | None = None) -> None:
        self._private = private
        self.path = path
        raw = private.public_key().public_bytes_raw()
        self.public_hex = raw.hex()
        self.key_id = key_id_of(self.public_hex)

    def sign(self, message: bytes) -> str:
        """The signature in hex."""
        return self._private.sign(message).hex()


def load_or_make(path: Path) -> LedgerKey:
    """The key in `path`; made there, durable and mode 0600, when there is none. Raises KeyUnusable."""
    try:
        return _load(path)
    except FileNotFoundError:
        return _make(path)


def make_successor(path: Path) -> LedgerKey:
    """A new key beside the one in `path`, durable; `take_over` puts it in its place. Raises KeyUnusable."""
    return _make(_successor_of(path))


def take_over(path: Path, key_id: str) -> LedgerKey | None:
    """Put the successor in its predecessor's place, where there is one of this id. Raises KeyUnusable."""
    try:
        successor = _load(_successor_of(path))
    except FileNotFoundError:
        return None
    if successor.key_id != key_id:
        return None
    try:
        _successor_of(path).replace(path)
        _settle(path.parent)
    except OSError as e:
        raise KeyUnusable(f"cannot put the new key into {path}: {e.strerror}") from e
    return _load(path)


def _successor_of(path: Path) -> Path:
    return path.with_name(path.name + ".next")


def _settle(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make(path: Path) -> LedgerKey:
    data = base64.b64encode(_PKCS8 + Ed25519PrivateKey.generate().private_bytes_raw())
    pem = b"-----BEGIN PRIVATE KEY-----\n" + data + b"\n-----END PRIVATE KEY-----\n"
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(handle, pem)
            os.fsync(handle)
        finally:
            os.close(handle)
        fresh.replace(path)
        _settle(path.parent)
    except OSError as e:
        raise KeyUnusable(f"cannot make {path}: {e.strerror}") from e
    return _load(path)


def _load(path: Path) -> LedgerKey:
    try:
        pem = path.read_bytes()
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise
    except OSError as e:
        raise KeyUnusable(f"cannot read {path}: {e.strerror}") from e
    if mode & 0o077:
        raise KeyUnusable(f"{path} is readable by others (mode {mode & 0o777:o})", hint=f"chmod 600 {path}")
    return LedgerKey(_private(pem, path), path=path)


def _private(pem: bytes, path: Path) -> Ed25519PrivateKey:
    ours = _OURS.fullmatch(pem)
    data = b"" if ours is None else base64.b64decode(ours[1])
    if data.startswith(_PKCS8):
        return Ed25519PrivateKey.from_private_bytes(data[len(_PKCS8) :])
    # whatever else may hold such a key; every other cipher is loaded with this, a megabyte of them
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        private = load_pem_private_key(pem, password=None)
    except TypeError as e:  # it wants a password
        raise KeyUnusable(f"{path} is encrypted; the till has nobody to ask for a password") from e
    except ValueError as e:
        raise KeyUnusable(f"{path} is not a private key in PEM form") from e
    except UnsupportedAlgorithm as e:
        raise KeyUnusable(f"{path} is not an Ed25519 key") from e
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyUnusable(f"{path} is not an Ed25519 key")
    return private
