"""One journal entry: the exact bytes of a CloudEvents 1.0 JSON whose SHA-256 is the next one's `prevhash`.

The envelope is the same at rest, on the wire and in an export; whoever holds the bytes can check them.
CloudEvents allows only a-z0-9 in names of extensions and has no 64-bit integers: those are strings here.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

import msgspec

from edge.domain.instant import Instant
from edge.domain.ledger.facts import FACTS, Fact
from edge.errors import LedgerError

#: `prevhash` of an epoch's first entry
GENESIS = "0" * 64


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """CloudEvents 1.0, structured mode, with the journal's six extensions. `data` is the fact's own JSON."""

    specversion: str
    id: str
    source: str
    type: str
    time: datetime
    datacontenttype: str
    epoch: str
    seq: str
    prevhash: str
    keyid: str
    bootid: str
    monotonicns: str
    subject: str | None = None
    data: msgspec.Raw


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an epoch's chain: how many entries it has, and the hash of the last."""

    epoch: str
    seq: int = 0
    hash: str = GENESIS


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as it is stored and sent: its place, its bytes and their hash."""

    epoch: str
    seq: int
    type: str
    subject: str | None
    raw: bytes
    hash: str


_decode = msgspec.json.Decoder(Envelope)


def digest(raw: bytes) -> str:
    """SHA-256 of an entry's bytes, hex."""
    return hashlib.sha256(raw).hexdigest()


def wrap(fact: Fact, *, head: Head, at: Instant, source: str, key_id: str) -> Entry:
    """The entry that follows `head`."""
    seq = head.seq + 1
    envelope = Envelope(
        specversion="1.0",
        id=f"{head.epoch}-{seq}",
        source=source,
        type=fact.TYPE,
        time=at.utc,
        datacontenttype="application/json",
        epoch=head.epoch,
        seq=str(seq),
        prevhash=head.hash,
        keyid=key_id,
        bootid=at.boot_id,
        monotonicns=str(at.monotonic_ns),
        subject=fact.subject,
        data=msgspec.Raw(msgspec.json.encode(fact)),
    )
    raw = msgspec.json.encode(envelope)
    return Entry(epoch=head.epoch, seq=seq, type=fact.TYPE, subject=fact.subject, raw=raw, hash=digest(raw))


def open_envelope(raw: bytes) -> Envelope:
    """The envelope in `raw`. Raises LedgerError when it is none."""
    try:
        return _decode.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise LedgerError(f"not a journal entry: {e}") from e


def read_fact(envelope: Envelope) -> Fact | None:
    """The fact inside, or None for a type this version does not know (a newer device's)."""
    kind = FACTS.get(envelope.type)
    if kind is None:
        return None
    try:
        return msgspec.json.decode(envelope.data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise LedgerError(f"entry {envelope.id} of type {envelope.type}: {e}") from e


def instant_of(envelope: Envelope) -> Instant:
    """Both clocks at the time of the entry."""
    return Instant(utc=envelope.time, boot_id=envelope.bootid, monotonic_ns=int(envelope.monotonicns))
