"""What travels between the till and its back office, beside the journal entries themselves.

Entries go up as they are: the exact bytes of `edge.domain.ledger.envelope`, one per MQTT message or several
joined by a newline (NDJSON). Unknown fields are ignored by both sides, so that either may be the newer one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from edge.errors import SyncError
from edge.sync.contract.foreign import UNREADABLE

Epoch = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="an epoch of a device's journal")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", description="SHA-256, lower-case hex")]
#: 2^63 - 1: what SQLite and most databases hold
Seq = Annotated[int, Meta(ge=0, le=9_223_372_036_854_775_807)]

#: One acknowledgement names at most this many bad entries; the rest follow with the next one.
NAMED_MAX = 100

#: Acknowledgements and states are small; more than this is not from us.
CONTROL_BYTES_MAX = 64 * 1024


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that the back office cannot put into the line: it stops there until a person has looked.

    `conflict`: another entry with this number is already booked. `chain`: its `prevhash` is not the hash of
    the entry before it.
    """

    seq: Seq
    reason: Annotated[str, Meta(max_length=64, description="conflict or chain")]


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """Send again from this number on: what came after it waits for it."""

    from_: Annotated[int, Meta(ge=1)] = msgspec.field(name="from")


class Ack(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Down, `ack`: every entry of `epoch` up to and with `upto` is booked durably; `head` is the hash of that one.

    `upto` 0 with a head of 64 zeros: nothing of this epoch is known. It repeats as it likes and may fall when
    the back office was restored from a backup. `quarantined`: entries that are booked as bytes but could not
    be understood; they are acknowledged all the same.
    """

    epoch: Epoch
    upto: Seq
    head: Sha256
    quarantined: Annotated[tuple[int, ...], Meta(max_length=NAMED_MAX)] = ()
    refused: Refusal | None = None
    need: Need | None = None


class EvseHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One EVSE as its screen shows it; `meter_read_at` is the last good reading, None before the first."""

    evse_id: Annotated[str, Meta(max_length=64)]
    kind: Annotated[str, Meta(max_length=32)]
    reason: Annotated[str, Meta(max_length=256)] | None = None
    meter_read_at: datetime | None = None


class TerminalHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A payment terminal: why it takes no card now, and how many holds it has that no payment explains."""

    reason: Annotated[str, Meta(max_length=64)] | None
    orphans: Annotated[int, Meta(ge=0)]


class StateFields(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the state that the rest of the till knows: a last will alone shows only that MQTT died."""

    version: Annotated[str, Meta(max_length=64)]
    boot_id: Annotated[str, Meta(max_length=64)]
    clock_trusted: bool
    evses: Annotated[tuple[EvseHealth, ...], Meta(max_length=64)] = ()
    exposure_minor: (
        Annotated[
            int,
            Meta(ge=0, description="accepted on account without a connection, not acknowledged yet"),
        ]
        | None
    ) = None
    terminals: Annotated[tuple[TerminalHealth, ...], Meta(max_length=8)] = ()


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where the journal stands at the device: its newest epoch and entry, and what waits for acknowledgement."""

    epoch: Epoch
    seq: Seq
    head: Sha256
    acknowledged: Seq
    waiting: Annotated[int, Meta(ge=0, description="entries without acknowledgement, over all epochs")]
    oldest_waiting_at: datetime | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Up, `state`, retained: the device's health. The last will has `online` false and nothing else known."""

    online: bool
    at: datetime
    reason: Annotated[str, Meta(max_length=256)] | None = None
    position: Position | None = None
    health: StateFields | None = None


class MessageInvalid(SyncError):
    code = "sync.message"
    retryable = False
    hint = "the other side speaks another contract: compare edge/sync/README.md"


T = TypeVar("T")

#: A receiver in another language may write its numbers as strings.
_ack = msgspec.json.Decoder(Ack, strict=False)
_state = msgspec.json.Decoder(State)


def read_ack(payload: bytes) -> Ack:
    """Raises MessageInvalid."""
    return _read(payload, _ack, "ack")


def read_state(payload: bytes) -> State:
    """Raises MessageInvalid."""
    return _read(payload, _state, "state")


def _read(payload: bytes, decoder: msgspec.json.Decoder[T], name: str) -> T:
    if len(payload) > CONTROL_BYTES_MAX:
        raise MessageInvalid(f"{name} of {len(payload)} bytes, at most {CONTROL_BYTES_MAX} are read")
    try:
        return decoder.decode(payload)
    except UNREADABLE as e:
        raise MessageInvalid(f"{name}: {e}") from e
