"""What a device sent, as far as it can be read: each entry with its place, or with what is wrong. PURE."""

from __future__ import annotations

import re
from datetime import UTC

import msgspec

from edge.domain.ledger.envelope import digest, open_envelope, read_fact
from edge.domain.ledger.facts import Fact
from edge.errors import LedgerError
from edge.sync.contract.foreign import UNREADABLE
from edge.sync.contract.topics import Peer

#: A message holds at most so many bytes and lines: a device sends 64 KiB, and one entry is never that large.
MESSAGE_BYTES_MAX = 1_048_576
LINES_MAX = 1000

_EPOCH = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_SEQ = re.compile(r"^[1-9][0-9]{0,18}$")
_HASH = re.compile(r"^[0-9a-f]{64}$")
_SEQ_MAX = 2**63 - 1


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One MQTT message on `tx`."""

    peer: Peer
    payload: bytes


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """An entry with a place in a line. `problem`: why it could not be understood; it is booked all the same."""

    epoch: str
    seq: int
    prevhash: str
    raw: bytes
    hash: str
    type: str | None = None
    subject: str | None = None
    time: str | None = None
    fact: Fact | None = None
    problem: str | None = None


class Unplaced(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that say nothing of where they belong."""

    raw: bytes
    hash: str
    reason: str


class _Place(msgspec.Struct, frozen=True):
    epoch: str
    seq: str
    prevhash: str


_place = msgspec.json.Decoder(_Place)

#: An error's text as it is kept: long enough to find the field, and bounded.
_REASON_MAX = 200


def split(payload: bytes) -> list[bytes]:
    """The entries of a message: lines without their newline; empty ones are none."""
    return [line for line in payload.split(b"\n") if line.strip()][:LINES_MAX]


def read(raw: bytes) -> Placed | Unplaced:
    """One entry, as far as it goes."""
    sha256 = digest(raw)
    try:
        envelope = open_envelope(raw)
    except LedgerError as e:
        return _only_placed(raw, sha256, e.message)
    if not _is_place(envelope.epoch, envelope.seq, envelope.prevhash):
        return Unplaced(raw=raw, hash=sha256, reason="epoch, seq or prevhash is malformed")
    fact, problem, time = None, None, None
    try:
        fact = read_fact(envelope)
        time = envelope.time.astimezone(UTC).isoformat()
    except LedgerError as e:
        problem = e.message[:_REASON_MAX]
    except OverflowError:
        fact, problem = None, "its time is out of range"
    return Placed(
        epoch=envelope.epoch,
        seq=int(envelope.seq),
        prevhash=envelope.prevhash,
        raw=raw,
        hash=sha256,
        type=envelope.type,
        subject=envelope.subject,
        time=time,
        fact=fact,
        problem=problem,
    )


def _only_placed(raw: bytes, sha256: str, reason: str) -> Placed | Unplaced:
    try:
        place = _place.decode(raw)
    except UNREADABLE:
        return Unplaced(raw=raw, hash=sha256, reason=reason[:_REASON_MAX])
    if not _is_place(place.epoch, place.seq, place.prevhash):
        return Unplaced(raw=raw, hash=sha256, reason=reason[:_REASON_MAX])
    return Placed(
        epoch=place.epoch,
        seq=int(place.seq),
        prevhash=place.prevhash,
        raw=raw,
        hash=sha256,
        problem=reason[:_REASON_MAX],
    )


def _is_place(epoch: str, seq: str, prevhash: str) -> bool:
    return bool(
        _EPOCH.fullmatch(epoch) and _SEQ.fullmatch(seq) and int(seq) <= _SEQ_MAX and _HASH.fullmatch(prevhash)
    )
