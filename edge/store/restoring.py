"""Bringing a backup back over a ledger that is missing, broken or older. The restored ledger opens a new epoch.

The copy is finished beside the database and takes its name in one step, so that a power cut leaves the old database
or the new one. What was there before is laid aside, never deleted.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from edge.domain.instant import Instant
from edge.domain.ledger.envelope import Head, open_envelope, read_fact
from edge.domain.ledger.facts import LedgerOpened
from edge.domain.session.restored import restored
from edge.domain.session.state import EvseState
from edge.errors import CallError, LedgerError, StoreError, TillError
from edge.store.backup import copy_of, settle_folder
from edge.store.connection import open_writer, translated
from edge.store.epochs import Owner, open_epoch
from edge.store.keys import LedgerKey
from edge.store.lock import take_lock
from edge.store.reading import Reading
from edge.store.schema import migrate
from edge.store.store import LedgerForeign
from edge.store.transaction import Tx
from edge.store.verification import verify


class RestoreRefused(CallError):
    code = "call.restore"
    hint = "`chargetill ledger verify --db FILE` shows what is in it; --force restores it all the same"


class LedgerNewer(LedgerError):
    code = "ledger.newer"
    hint = "what is newer is lost to this till: --force lays the ledger aside and restores all the same"


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """The new epoch and the one before it, with how many entries the backup has of that; what was laid aside."""

    epoch: str
    previous_epoch: str
    previous_upto: int
    sessions_closed: int
    laid_aside: str | None


def restore(
    backup: Path,
    database: Path,
    *,
    key: LedgerKey,
    owner: Owner,
    prefix: str,
    at: Instant,
    force: bool = False,
) -> Restored:
    """See the module. Nobody may use the database meanwhile.

    `force`: also a backup with problems, and over a ledger that holds more than the backup. Raises RestoreRefused,
    LedgerNewer, LedgerForeign, StoreInUse, StoreError.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    if database.exists() and backup.exists() and backup.samefile(database):
        raise RestoreRefused(f"{backup} is the database itself", hint="name a backup")
    lock = take_lock(database)
    try:
        held = _positions(backup, owner, check=not force)
        if not force:
            _require_older(database, owner, held)
        fresh = database.with_name(database.name + ".restoring")
        for leftover in (fresh, *_logs(fresh)):
            leftover.unlink(missing_ok=True)
        copy_of(backup, fresh)
        done = _reopen(fresh, key=key, owner=owner, prefix=prefix, at=at)
        aside = _lay_aside(database)
        fresh.replace(database)
        settle_folder(database.parent)
    except OSError as e:
        raise StoreError(f"restore {database}: {e.strerror}", hint="check the disk and its space") from e
    finally:
        os.close(lock)
    return msgspec.structs.replace(done, laid_aside=None if aside is None else str(aside))


def _positions(file: Path, owner: Owner, *, check: bool) -> dict[str, int]:
    """How far each epoch of a ledger goes. Raises RestoreRefused, LedgerForeign, StoreError."""
    with Reading(file) as till:
        found = {e["epoch"]: int(e["last"]) for e in till.stats()["epochs"]}
        if not found:
            raise RestoreRefused(f"{file} holds no ledger", hint="name a file that `ledger backup` wrote")
        opened = next(
            (
                fact
                for e in till.entries()
                if isinstance(fact := read_fact(open_envelope(e.raw)), LedgerOpened)
            ),
            None,
        )
        if opened is not None and (opened.site, opened.device) != (owner.site, owner.device):
            raise LedgerForeign(f"{file} is the ledger of {opened.site}/{opened.device}")
        if check and (problems := verify(till).problems):
            raise RestoreRefused(f"{file} has {len(problems)} problems: {problems[0]}")
    return found


def _require_older(database: Path, owner: Owner, held: dict[str, int]) -> None:
    """The backup has everything that the ledger in place has, as far as that one can be read."""
    if not database.exists():
        return
    try:
        present = _positions(database, owner, check=False)
    except (LedgerForeign, RestoreRefused):
        raise
    except TillError:
        return  # it cannot be read: there is nothing to compare, and it is laid aside
    more = {epoch: last for epoch, last in present.items() if last > held.get(epoch, 0)}
    if more:
        epoch, last = next(iter(more.items()))
        raise LedgerNewer(
            f"{database} goes up to {epoch}/{last}, the backup only to {held.get(epoch, 0)} of that epoch"
        )


def _reopen(fresh: Path, *, key: LedgerKey, owner: Owner, prefix: str, at: Instant) -> Restored:
    """Open the new epoch in the copy, and close what was open in it: one commit, and one file afterwards."""
    with closing(open_writer(fresh)) as db, translated("restore", fresh):
        migrate(db)
        db.execute("BEGIN IMMEDIATE")
        epoch, seq, sha256, closed = _head(db)
        tx = Tx(db, head=Head(epoch=epoch, seq=seq, hash=sha256), source=owner.source, key=key, prefix=prefix)
        tx.closed = closed
        opened = open_epoch(tx, owner, "restored", at)
        sessions = 0
        for evse_id, saved in db.execute("SELECT evse_id, state FROM evse").fetchall():
            state = msgspec.json.decode(bytes(saved), type=EvseState)
            step = restored(state, at)
            for fact in step.records:
                tx.append(fact, at)  # type: ignore[arg-type]  # no invoice is sealed here
            sessions += step.state != state
            tx.save_evse(evse_id, msgspec.json.encode(step.state))
        tx.sign(at)
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = DELETE")
    with fresh.open("rb+") as written:
        os.fsync(written.fileno())
    return Restored(
        epoch=opened.epoch,
        previous_epoch=epoch,
        previous_upto=seq,
        sessions_closed=sessions,
        laid_aside=None,
    )


def _head(db: sqlite3.Connection) -> tuple[str, int, str, str | None]:
    row = db.execute(
        "SELECT epoch, seq, hash, (SELECT closed FROM epoch WHERE epoch.epoch = entry.epoch) "
        "FROM entry ORDER BY id DESC LIMIT 1"
    ).fetchone()
    assert row is not None, "a ledger without entries was refused before"
    return str(row[0]), int(row[1]), str(row[2]), row[3]


def _lay_aside(database: Path) -> Path | None:
    """Give what stands in the database's place another name beside its own; the log beside it goes along."""
    if not database.exists():
        return None
    with suppress(StoreError):  # a broken one: its log keeps its company
        open_writer(database).close()  # folds the log into the file
    number = 1
    while (aside := database.with_name(f"{database.name}.replaced-{number}")).exists():
        number += 1
    for log, name in zip(_logs(database), _logs(aside), strict=True):
        if log.exists():
            log.replace(name)
    try:
        os.link(database, aside)
    except OSError:
        shutil.copy2(database, aside)  # a file system without hard links
    return aside


def _logs(database: Path) -> tuple[Path, Path]:
    return database.with_name(database.name + "-wal"), database.with_name(database.name + "-shm")
