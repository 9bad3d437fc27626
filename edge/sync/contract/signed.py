"""Signed messages: JWS in its compact form with EdDSA (RFC 7515, RFC 8037), which every language has a library for.

`BASE64URL({"alg":"EdDSA","kid":...}) . BASE64URL(payload) . BASE64URL(signature)`; the key is Ed25519 and `kid`
the first 16 hex digits of the SHA-256 of the raw public key.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from edge.domain.ledger.signature import verifies
from edge.errors import SyncError
from edge.sync.contract.foreign import UNREADABLE


class SignatureRefused(SyncError):
    code = "order.unsigned"
    retryable = False
    hint = "orders are signed with a key that [mqtt] orders_keys of the device names"


class Signer(Protocol):
    """Who signs: the back office's key."""

    key_id: str

    def sign(self, message: bytes) -> str:
        """The Ed25519 signature in hex."""
        ...


class _Header(msgspec.Struct, frozen=True):
    alg: Literal["EdDSA"]
    kid: str


_header = msgspec.json.Decoder(_Header)


def sign(payload: bytes, signer: Signer) -> bytes:
    """The payload with its signature, as it travels."""
    header = msgspec.json.encode(_Header(alg="EdDSA", kid=signer.key_id))
    signed = _encode(header) + b"." + _encode(payload)
    return signed + b"." + _encode(bytes.fromhex(signer.sign(signed)))


def open_signed(token: bytes, keys: Mapping[str, str]) -> bytes:
    """The payload, if one of `keys` (public keys in hex, by key id) signed it. Raises SignatureRefused."""
    parts = token.split(b".")
    if len(parts) != 3:
        raise SignatureRefused("not a signed message")
    try:
        header = _header.decode(_decode(parts[0]))
        payload, signature = _decode(parts[1]), _decode(parts[2])
    except (*UNREADABLE, binascii.Error, ValueError) as e:
        raise SignatureRefused(f"not a signed message: {e}") from e
    public = keys.get(header.kid)
    if public is None:
        raise SignatureRefused("signed with a key that this device does not know")
    if not verifies(public, signature.hex(), parts[0] + b"." + parts[1]):
        raise SignatureRefused("the signature does not fit the message")
    return payload


def _encode(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    """Strict: one spelling per value, so that a message cannot be changed without changing what is signed."""
    raw = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encode(raw) != text:
        raise ValueError("not canonical base64url")
    return raw
