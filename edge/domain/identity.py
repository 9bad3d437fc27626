"""Who tapped: tokens that stand for a card, never the card's own number."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from typing import Literal

import msgspec

from edge.domain.buyer import Invoicing

#: A 4-byte UID that starts with 08 is drawn anew at each tap (ISO/IEC 14443-3, 6.5.4): never an identity.
_RANDOM_UID_FIRST_BYTE = 0x08


class IdToken(msgspec.Struct, frozen=True, kw_only=True):
    """A recognizable card or account. `value` is a keyed HMAC in hex under the operator's key `key_id`.

    `anonymous` is a card that cannot be recognized: its value is drawn for one tap.
    """

    kind: Literal["uid", "sun", "terminal", "par", "card", "remote", "anonymous"]
    value: str
    key_id: str


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """An account that may charge. `account` is opaque: no name, nothing that says who it is (I6).

    `limit_minor` is what one session may cost at most. From `valid_until` on the card starts nothing any more.
    """

    account: str
    token: str
    limit_minor: int
    currency: str
    group: str = ""
    blocked: bool = False
    invoicing: Invoicing = Invoicing()
    valid_until: datetime | None = None


def canonical_uid(uid: bytes) -> str:
    """One spelling for a UID: the bytes in the order of the air interface, upper-case hex."""
    return uid.hex().upper()


def is_random_uid(uid: bytes) -> bool:
    """True for a phone's or passport's UID, which is another one at the next tap."""
    return len(uid) == 4 and uid[0] == _RANDOM_UID_FIRST_BYTE


def uid_token(uid: bytes, *, key: bytes, key_id: str) -> IdToken:
    """The token of a membership card read by its UID: the same on every charger of one operator."""
    digest = hmac.new(key, b"uid:" + canonical_uid(uid).encode(), hashlib.sha256).hexdigest()
    return IdToken(kind="uid", value=digest, key_id=key_id)


def sun_token(uid: bytes, *, key: bytes, key_id: str) -> IdToken:
    """The token of a card that proved itself (SUN); never that of a card which only shows the same UID."""
    digest = hmac.new(key, b"sun:" + canonical_uid(uid).encode(), hashlib.sha256).hexdigest()
    return IdToken(kind="sun", value=digest, key_id=key_id)


def bank_token(kind: Literal["terminal", "par", "card"], name: str, *, key: bytes, key_id: str) -> IdToken:
    """The token of a bank card or phone by what names it: the terminal's own token, the payment account reference
    (EMV 9F24), or the card number, which goes no further than here. Each kind is a name of its own.
    """
    digest = hmac.new(key, f"{kind}:{name}".encode(), hashlib.sha256).hexdigest()
    return IdToken(kind=kind, value=digest, key_id=key_id)


def receipt_token_hash(token: str) -> str:
    """What the chain holds of a receipt's address: SHA-256 of its token, hex. Only the screen shows the token."""
    return hashlib.sha256(token.encode()).hexdigest()


def commitment(token: IdToken, salt: bytes) -> str:
    """What the chain holds of a token: a salted hash that says nothing once the salt is erased (I6)."""
    return hashlib.sha256(salt + token.value.encode()).hexdigest()
