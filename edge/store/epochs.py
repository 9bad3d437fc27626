"""Epochs and keys of one ledger: what opens a new epoch, what a new epoch carries along, and who signs next."""

from __future__ import annotations

import secrets
from typing import Literal

import msgspec

from edge.domain.instant import Instant
from edge.domain.ledger.envelope import Head
from edge.domain.ledger.facts import (
    DeviceDecommissioned,
    LedgerCarried,
    LedgerKeySucceeded,
    LedgerOpened,
    LedgerRolledBack,
)
from edge.domain.ledger.signature import succession_message
from edge.errors import LedgerError
from edge.store.keys import LedgerKey
from edge.store.transaction import Tx

#: Crockford's base 32 without the letters that people misread: eight of them make an epoch's id (40 random bits)
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 8

Reason = Literal["provisioned", "restored", "new_epoch"]

#: Why an epoch sells nothing more, as codes that the screen has words for.
ROLLED_BACK = "ledger_rolled_back"
DECOMMISSIONED = "decommissioned"

#: Of an epoch before the current one: the next one carries what the back office could not take in it.
CARRIED = "carried"


class LedgerDecommissioned(LedgerError):
    code = "ledger.decommissioned"
    hint = "`chargetill provision` opens the ledger of a device that sells again"


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Whose ledger it is."""

    site: str
    device: str

    @property
    def source(self) -> str:
        """CloudEvents `source`."""
        return f"/till/{self.site}/{self.device}"


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A new epoch, and how many entries of the one before it carries."""

    epoch: str
    previous: str | None
    carried: int


def open_epoch(tx: Tx, owner: Owner, reason: Reason, at: Instant) -> Opened:
    """Begin a new epoch after the current one, in a commit of its own. Raises LedgerDecommissioned.

    What the back office cannot take any more in the epoch before (it knows other entries under these numbers, or
    misses entries that were pruned here) is carried: the same bytes, inside entries of the new epoch.
    """
    before = tx.head if tx.head.seq else None
    if reason != "provisioned" and tx.closed == DECOMMISSIONED:
        raise LedgerDecommissioned("this device was decommissioned")
    stranded = [] if before is None else _stranded(tx, before.epoch)
    epoch = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    tx.connection.execute(
        "INSERT INTO epoch (epoch, ordinal, reason, key_id) "
        "SELECT ?, COALESCE(MAX(ordinal), 0) + 1, ?, ? FROM epoch",
        (epoch, reason, tx.key.key_id),
    )
    tx.head, tx.signed_upto, tx.closed = Head(epoch=epoch), 0, None
    tx.append(
        LedgerOpened(
            site=owner.site,
            device=owner.device,
            reason=reason,
            key_id=tx.key.key_id,
            public_key=tx.key.public_hex,
            previous_epoch=None if before is None else before.epoch,
            previous_upto=None if before is None else before.seq,
            previous_head=None if before is None else before.hash,
        ),
        at,
    )
    if before is None:
        return Opened(epoch=epoch, previous=None, carried=0)
    for seq in stranded:
        (raw,) = tx.connection.execute(
            "SELECT raw FROM entry WHERE epoch = ? AND seq = ?", (before.epoch, seq)
        ).fetchone()
        tx.append(LedgerCarried(epoch=before.epoch, seq=seq, raw=bytes(raw).decode()), at)
    if stranded:
        tx.set_watermark(before.epoch, before.seq, before.hash, at)
        tx.connection.execute(
            "UPDATE epoch SET closed = COALESCE(closed, ?) WHERE epoch = ?", (CARRIED, before.epoch)
        )
    tx.sign(at)
    return Opened(epoch=epoch, previous=before.epoch, carried=len(stranded))


def _stranded(tx: Tx, epoch: str) -> list[int]:
    """Entries of the epoch that wait for an acknowledgement which cannot come any more."""
    row = tx.connection.execute("SELECT upto FROM watermark WHERE epoch = ?", (epoch,)).fetchone()
    acknowledged = row[0] if row else 0
    if tx.closed != ROLLED_BACK and acknowledged >= pruned_upto(tx, epoch):
        return []
    waiting = "SELECT seq FROM entry WHERE epoch = ? AND seq > ? ORDER BY seq"
    return [seq for (seq,) in tx.connection.execute(waiting, (epoch, acknowledged))]


def pruned_upto(tx: Tx, epoch: str) -> int:
    """How many of the epoch's entries were pruned, counted from its first."""
    row = tx.connection.execute("SELECT epoch, upto FROM anchor").fetchone()
    return row[1] if row is not None and row[0] == epoch else 0


def roll_back(tx: Tx, found: LedgerRolledBack, at: Instant) -> bool:
    """Write down, once an epoch, that the back office knows another end of it. False for an epoch that is over."""
    if tx.head.epoch != found.epoch or tx.closed is not None:
        return False
    tx.append(found, at)
    _close(tx, ROLLED_BACK)
    return True


def decommission(tx: Tx, reason: str, at: Instant) -> None:
    """The device's last word, signed."""
    if tx.closed == DECOMMISSIONED:
        return
    tx.append(DeviceDecommissioned(reason=reason), at)
    _close(tx, DECOMMISSIONED)
    tx.sign(at)


def _close(tx: Tx, why: str) -> None:
    tx.closed = why
    tx.connection.execute("UPDATE epoch SET closed = ? WHERE epoch = ?", (why, tx.head.epoch))


def succeed(tx: Tx, successor: LedgerKey, at: Instant) -> None:
    """The key in force names its successor, which signs from the next entry on, and at once."""
    old = tx.key
    message = succession_message(
        epoch=tx.head.epoch, seq=tx.head.seq + 1, key_id=old.key_id, public_key=successor.public_hex
    )
    tx.append(
        LedgerKeySucceeded(
            key_id=successor.key_id, public_key=successor.public_hex, signature=old.sign(message)
        ),
        at,
    )
    tx.key = successor
    tx.connection.execute("UPDATE epoch SET key_id = ? WHERE epoch = ?", (successor.key_id, tx.head.epoch))
    tx.sign(at)
