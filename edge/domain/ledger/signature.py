"""Checking a device's signatures with its public key alone (Ed25519, RFC 8032)."""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def key_id_of(public_hex: str) -> str:
    """16 hex digits that name a public key (32 raw bytes in hex): the start of its SHA-256."""
    return hashlib.sha256(bytes.fromhex(public_hex)).hexdigest()[:16]


def verifies(public_hex: str, signature_hex: str, message: bytes) -> bool:
    """Whether the key signed the message. A malformed key or signature is a plain no."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex))
        key.verify(bytes.fromhex(signature_hex), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def checkpoint_message(*, epoch: str, upto: int, head: str) -> bytes:
    """The bytes that a ledger checkpoint signs."""
    return f"{epoch}:{upto}:{head}".encode()


def succession_message(*, epoch: str, seq: int, key_id: str, public_key: str) -> bytes:
    """The bytes that a key signs to name its successor, in the entry `seq` of `epoch`."""
    return f"successor:{epoch}:{seq}:{key_id}:{public_key}".encode()
