"""What the journal knows of the time: looked up from its end, and written down when a boot's clock is found right."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

import msgspec

from edge.domain.instant import Instant
from edge.domain.ledger.boots import Boots, Run, monotonic_ns, zero_of
from edge.domain.ledger.envelope import open_envelope, read_fact
from edge.domain.ledger.facts import BootBounded, ClockTrusted
from edge.store.transaction import Tx

#: How far back a boot that knew the time is looked for: months of sessions, and less than a second of reading. What
#: lies further back bounds nothing.
_LOOK_BACK_MAX = 20_000


class _Stamp(msgspec.Struct, frozen=True):
    """Of an entry, which boot wrote it and when; there are many to read."""

    bootid: str
    monotonicns: str


_stamp = msgspec.json.Decoder(_Stamp)


def note_trusted(tx: Tx, *, source: str, error_ms: int | None, at: Instant) -> None:
    """Write down that this boot's wall clock is right, and what bounds the boots before it that never knew the time."""
    zero_at = at.utc - timedelta(microseconds=at.monotonic_ns // 1000)
    tx.append(ClockTrusted(source=source, boot_id=at.boot_id, zero_at=zero_at, error_ms=error_ms), at)
    for bounded in look_back(tx.connection).unknown(but=at.boot_id):
        tx.append(bounded, at)


def recall(db: sqlite3.Connection) -> Boots:
    """What tells the latest time that the journal knows, and whether its newest boot did."""
    newest = _newest(db, "1")
    trusted = _newest(db, "type = ?", ClockTrusted.TYPE)
    if newest is not None and trusted is not None:
        last, told = open_envelope(newest), open_envelope(trusted)
        at_ns, zero = monotonic_ns(last), zero_of(told)
        if last.bootid == told.bootid and at_ns is not None and zero is not None:
            return Boots([Run(boot_id=last.bootid, first_ns=at_ns, last_ns=at_ns)], {told.bootid: zero})
    return look_back(db, trusted=1)


def look_back(db: sqlite3.Connection, *, trusted: int = 2) -> Boots:
    """The newest boots, back to where the time was found right for the `trusted` last time.

    What lies before the last but one is bounded already.
    """
    runs: list[Run] = []
    zeros: dict[str, datetime] = {}
    said: list[BootBounded] = []
    rows = db.execute("SELECT type, raw FROM entry ORDER BY id DESC LIMIT ?", (_LOOK_BACK_MAX,))
    for kind, raw in rows:
        try:
            stamp = _stamp.decode(raw)
        except msgspec.DecodeError:
            continue  # `ledger verify` tells of it
        at_ns = monotonic_ns(stamp)
        if at_ns is None:
            continue
        _before(runs, stamp.bootid, at_ns)
        if kind == ClockTrusted.TYPE and (zero := zero_of(open_envelope(bytes(raw)))) is not None:
            zeros.setdefault(stamp.bootid, zero)
            trusted -= 1
            if not trusted:
                break
        elif kind == BootBounded.TYPE:
            fact = read_fact(open_envelope(bytes(raw)))
            said += [fact] if isinstance(fact, BootBounded) else []
    return Boots(reversed(runs), zeros, said)


def _newest(db: sqlite3.Connection, condition: str, *values: str) -> bytes | None:
    row = db.execute(f"SELECT raw FROM entry WHERE {condition} ORDER BY id DESC LIMIT 1", values).fetchone()  # noqa: S608  (ours)
    return None if row is None else bytes(row[0])


def _before(runs: list[Run], boot_id: str, at_ns: int) -> None:
    """One entry more, of before `runs`, whose newest stands first."""
    if runs and runs[-1].boot_id == boot_id:
        later = runs[-1]
        first_ns, last_ns = min(at_ns, later.first_ns), max(at_ns, later.last_ns)
        runs[-1] = Run(boot_id=boot_id, first_ns=first_ns, last_ns=last_ns)
    else:
        runs.append(Run(boot_id=boot_id, first_ns=at_ns, last_ns=at_ns))
