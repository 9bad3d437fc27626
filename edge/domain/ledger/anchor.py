"""What a pruned prefix leaves: a signed anchor, and the entries that what follows still needs, byte for byte.

An anchor stands for every entry up to one place. It says where the chain goes on, how far each series of numbers had
come, and which entries from before that place were kept (sessions that were open there, the tariffs and plans that
are still priced with, balances, openings and keys). Anyone checks it with the device's public key alone.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.domain.ledger import facts
from edge.domain.ledger.envelope import GENESIS, Envelope
from edge.errors import LedgerError

TYPE = "chargetill.ledger.anchor.v1"

Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class SeriesAnchor(msgspec.Struct, frozen=True, kw_only=True):
    """A series of numbers: the last one before the anchor, and the roll over its documents up to there.

    Documents up to `gone` are kept no longer; the roll over those is `gone_roll`.
    """

    last: int = 0
    roll: Hash = GENESIS
    gone: int = 0
    gone_roll: Hash = GENESIS


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """Everything up to and with entry `upto` of `epoch`, whose hash is `head`; `entries` of them are gone.

    `kept` entries from before stay; `kept_hash` is the roll over their hashes, in order. `open_holds` had not ended
    at this place, and have ended since.
    """

    site: str
    device: str
    epoch: str
    upto: int
    head: Hash
    entries: int
    kept: int
    kept_hash: Hash
    open_holds: tuple[str, ...]
    series: dict[str, SeriesAnchor]
    at: datetime


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line before the entries of an export. The signature is over `data`, exactly as it stands."""

    type: Literal["chargetill.ledger.anchor.v1"]
    keyid: str
    signature: str
    data: msgspec.Raw


class SignedAnchor(msgspec.Struct, frozen=True, kw_only=True):
    """`data` is the anchor's exact JSON, which `signature` (Ed25519, hex, by `key_id`) covers."""

    anchor: Anchor
    key_id: str
    signature: str
    data: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def line(self) -> bytes:
        """As it stands in an export, without a newline."""
        return msgspec.json.encode(
            _Line(
                type="chargetill.ledger.anchor.v1",
                keyid=self.key_id,
                signature=self.signature,
                data=msgspec.Raw(self.data),
            )
        )


_line = msgspec.json.Decoder(_Line)
_anchor = msgspec.json.Decoder(Anchor)


def anchor_message(data: bytes) -> bytes:
    """The bytes that an anchor's signature covers."""
    return TYPE.encode() + b":" + data


def encode(anchor: Anchor) -> bytes:
    """The anchor's JSON, as it is signed."""
    return msgspec.json.encode(anchor)


def read_anchor(line: bytes) -> SignedAnchor | None:
    """The anchor in a line of an export; None when the line is another thing. Raises LedgerError."""
    try:
        found = _line.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return signed_anchor(bytes(found.data), key_id=found.keyid, signature=found.signature)


def signed_anchor(data: bytes, *, key_id: str, signature: str) -> SignedAnchor:
    """An anchor with its signature, which is not checked here. Raises LedgerError when it is none."""
    try:
        anchor = _anchor.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise LedgerError(f"not an anchor: {e}") from e
    return SignedAnchor(anchor=anchor, key_id=key_id, signature=signature, data=data)


def rolled(roll: str, sha256: str) -> str:
    """The roll over one hash more: SHA-256 over the roll before and the hash, both as hex digits."""
    return hashlib.sha256(f"{roll}{sha256}".encode()).hexdigest()


class _Sealed(msgspec.Struct, frozen=True):
    invoice: msgspec.Raw = msgspec.Raw()
    credit_note: msgspec.Raw = msgspec.Raw()


def document_hash(envelope: Envelope, fact: facts.Fact) -> tuple[str, int, str] | None:
    """Series, number and SHA-256 of the numbered document in an entry, over its bytes as they were sealed."""
    match fact:
        case facts.InvoiceSealed(invoice=document) | facts.CreditNoteSealed(credit_note=document):
            sealed = msgspec.json.decode(envelope.data, type=_Sealed)
            raw = bytes(sealed.invoice) or bytes(sealed.credit_note)
            return document.series, document.sequence, hashlib.sha256(raw).hexdigest()
        case _:
            return None
