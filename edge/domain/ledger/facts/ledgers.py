"""What the journal says of itself: its epochs, keys, signatures and anchors."""

from __future__ import annotations

from typing import ClassVar, Literal

from edge.domain.ledger.facts.base import Fact


class LedgerOpened(Fact, frozen=True, kw_only=True):
    """First entry of an epoch: whose ledger this is, and the key that signs it (Ed25519, raw, hex)."""

    TYPE: ClassVar[str] = "chargetill.ledger.opened.v1"
    site: str
    device: str
    reason: Literal["provisioned", "restored", "new_epoch"]
    key_id: str
    public_key: str
    previous_epoch: str | None = None
    previous_upto: int | None = None
    previous_head: str | None = None


class LedgerCheckpoint(Fact, frozen=True, kw_only=True):
    """The device's signature (Ed25519, hex) over `epoch:upto:head`: head is the SHA-256 of entry `upto`."""

    TYPE: ClassVar[str] = "chargetill.ledger.checkpoint.v1"
    upto: int
    head: str
    signature: str


class LedgerKeySucceeded(Fact, frozen=True, kw_only=True):
    """From the next entry on another key signs; `signature` is its predecessor's word for it (Ed25519, hex)."""

    TYPE: ClassVar[str] = "chargetill.ledger.key_succeeded.v1"
    key_id: str
    public_key: str
    signature: str


class LedgerPruned(Fact, frozen=True, kw_only=True):
    """Acknowledged entries up to `upto` of `epoch` are gone; what they leave is the signed anchor of this SHA-256."""

    TYPE: ClassVar[str] = "chargetill.ledger.pruned.v1"
    epoch: str
    upto: int
    head: str
    anchor_sha256: str


class LedgerRolledBack(Fact, frozen=True, kw_only=True):
    """The back office has booked another end of `epoch` than this device holds. Nothing is sold in this epoch."""

    TYPE: ClassVar[str] = "chargetill.ledger.rolled_back.v1"
    epoch: str
    reason: Literal["ahead", "diverged"]
    held: int
    acknowledged: int
    head: str


class LedgerCarried(Fact, frozen=True, kw_only=True):
    """An entry of an epoch in which the back office knows another one of its number: `raw` is its exact text.

    A receiver that has booked the same bytes already ignores it; otherwise what it says counts from here on.
    """

    TYPE: ClassVar[str] = "chargetill.ledger.carried.v1"
    epoch: str
    seq: int
    raw: str
