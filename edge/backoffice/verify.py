"""Checking the books again from the bytes alone: every chain, every signature, every number.

What a device signed is checked with the key that its epoch named in its first entry; whether that key is the
device's own is known from its enrollment.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge.backoffice.schema import read_books
from edge.domain.ledger.envelope import GENESIS, Envelope, digest, open_envelope, read_fact
from edge.domain.ledger.facts import LedgerCheckpoint, LedgerKeySucceeded, LedgerOpened
from edge.domain.ledger.signature import (
    checkpoint_message,
    key_id_of,
    succession_message,
    verifies,
)
from edge.errors import LedgerError
from edge.store.connection import translated

#: So many problems are listed; a broken disk would list every entry.
PROBLEMS_MAX = 1000


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked, and what is wrong with it. Fine when `problems` is empty."""

    devices: int
    epochs: int
    entries: int
    checkpoints: int
    invoices: int
    problems: tuple[str, ...]


class _Count:
    def __init__(self) -> None:
        self.entries = 0
        self.checkpoints = 0


def verify(path: Path) -> Findings:
    """Raises StoreError."""
    db = read_books(path)
    count = _Count()
    problems: list[str] = []
    try:
        with translated("read", path):
            db.execute("BEGIN")
            lines = db.execute(
                "SELECT site, device, line_id, epoch, upto, head FROM line JOIN device USING (device_id) "
                "ORDER BY site, device, line_id"
            ).fetchall()
            (devices,) = db.execute("SELECT count(*) FROM device").fetchone()
            (invoices,) = db.execute("SELECT count(*) FROM invoice WHERE corrects IS NULL").fetchone()
            for line in lines:
                problems += list(_line(db, line, count))
            problems += list(_numbers(db))
            problems += list(_twice(db))
            problems += list(_accounts(db))
            problems += list(_quarantine(db))
    finally:
        db.close()
    return Findings(
        devices=devices,
        epochs=len(lines),
        entries=count.entries,
        checkpoints=count.checkpoints,
        invoices=invoices,
        problems=tuple(problems[:PROBLEMS_MAX]),
    )


def _line(db: sqlite3.Connection, line: tuple[str, str, int, str, int, str], count: _Count) -> Iterator[str]:
    site, device, line_id, epoch, upto, head = line
    where = f"{site}/{device} epoch {epoch}"
    previous, key, expected = GENESIS, "", 1
    rows = db.execute(
        "SELECT seq, raw, hash FROM entry WHERE line_id = ? AND seq <= ? ORDER BY seq", (line_id, upto)
    )
    for seq, raw, stored in rows:
        count.entries += 1
        if seq != expected:
            yield f"{where}: entries {expected} to {seq - 1} are missing"
        expected = seq + 1
        sha256 = digest(raw)
        if sha256 != stored:
            yield f"{where}: entry {seq} does not match its hash"
        try:
            envelope = open_envelope(raw)
            fact = read_fact(envelope)
        except LedgerError as e:
            yield f"{where}: entry {seq} cannot be read: {e.message}"
            previous = sha256
            continue
        if (envelope.epoch, envelope.seq) != (epoch, str(seq)):
            yield f"{where}: entry {seq} says that it is {envelope.epoch}-{envelope.seq}"
        if envelope.prevhash != previous:
            yield f"{where}: entry {seq} does not follow entry {seq - 1}"
        match fact:
            case LedgerOpened() if seq != 1:
                yield f"{where}: entry {seq} opens it again; its key counts for nothing"
            case LedgerOpened():
                key = fact.public_key
                yield from _opening(where, fact, site, device)
            case LedgerKeySucceeded():
                yield from _succession(where, fact, envelope, key)
                key = fact.public_key
            case LedgerCheckpoint():
                count.checkpoints += 1
                yield from _checkpoint(where, fact, epoch, seq, previous, key)
            case _:
                pass
        previous = sha256
    if expected != upto + 1:
        yield f"{where}: entries {expected} to {upto} are missing"
    elif previous != head:
        yield f"{where}: the chain ends with another hash than was acknowledged"


def _opening(where: str, fact: LedgerOpened, site: str, device: str) -> Iterator[str]:
    if (fact.site, fact.device) != (site, device):
        yield f"{where}: it is the ledger of {fact.site}/{fact.device}"
    try:
        matches = key_id_of(fact.public_key) == fact.key_id
    except ValueError:
        matches = False
    if not matches:
        yield f"{where}: the key's name {fact.key_id} is not that of its public key"


def _succession(where: str, fact: LedgerKeySucceeded, envelope: Envelope, key: str) -> Iterator[str]:
    message = succession_message(
        epoch=envelope.epoch, seq=int(envelope.seq), key_id=envelope.keyid, public_key=fact.public_key
    )
    if not verifies(key, fact.signature, message):
        yield f"{where}: the key that entry {envelope.seq} names is not signed by the one before it"


def _checkpoint(
    where: str, fact: LedgerCheckpoint, epoch: str, seq: int, previous: str, key: str
) -> Iterator[str]:
    if (fact.upto, fact.head) != (seq - 1, previous):
        yield f"{where}: checkpoint {seq} signs entry {fact.upto}, which is another one"
    message = checkpoint_message(epoch=epoch, upto=fact.upto, head=fact.head)
    if not verifies(key, fact.signature, message):
        yield f"{where}: the signature of checkpoint {seq} is not the device's"


def _numbers(db: sqlite3.Connection) -> Iterator[str]:
    """Every series starts at 1 and has no gap (I4)."""
    rows = db.execute(
        "SELECT site, device, series, min(sequence), max(sequence), count(*) "
        "FROM invoice JOIN device USING (device_id) GROUP BY device_id, series"
    ).fetchall()
    for site, device, series, first, last, count in rows:
        if first != 1 or last != count:
            yield f"{site}/{device} series {series}: {count} invoices for the numbers {first} to {last}"


def _twice(db: sqlite3.Connection) -> Iterator[str]:
    """A session that a restored device ended once more, and that nobody has credited yet (I4)."""
    rows = db.execute(
        "SELECT site, device, session_id, group_concat(number, ', ') FROM invoice i JOIN device USING (device_id) "
        "WHERE corrects IS NULL AND NOT EXISTS (SELECT 1 FROM invoice c WHERE c.device_id = i.device_id "
        "AND c.corrects = i.number) GROUP BY device_id, session_id HAVING count(*) > 1"
    ).fetchall()
    for site, device, session_id, numbers in rows:
        yield f"{site}/{device} session {session_id}: is invoiced more than once: {numbers}"


def _accounts(db: sqlite3.Connection) -> Iterator[str]:
    """The back office's own series has no gap either, and nothing is credited beyond what was billed."""
    rows = db.execute(
        "SELECT series, min(sequence), max(sequence), count(*) FROM account_invoice GROUP BY series"
    ).fetchall()
    for series, first, last, count in rows:
        if first != 1 or last != count:
            yield f"series {series}: {count} invoices for the numbers {first} to {last}"
    credited = db.execute(
        "SELECT i.number, i.payable_minor, sum(c.payable_minor) FROM account_invoice i "
        "JOIN account_invoice c ON c.corrects = i.number GROUP BY i.number"
    ).fetchall()
    for number, payable, given in credited:
        if given > payable:
            yield f"invoice {number}: {given} of {payable} is credited"


def _quarantine(db: sqlite3.Connection) -> Iterator[str]:
    rows = db.execute(
        "SELECT site, device, epoch, seq, reason FROM quarantine JOIN device USING (device_id) "
        "ORDER BY quarantine_id LIMIT ?",
        (PROBLEMS_MAX,),
    ).fetchall()
    for site, device, epoch, seq, reason in rows:
        yield f"{site}/{device}: quarantined {epoch or '?'}-{seq or '?'}: {reason}"
