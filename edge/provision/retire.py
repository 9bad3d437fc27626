"""What a decommissioned device leaves: its ledger for whoever keeps the books, and no key behind."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, cast

import msgspec

from edge.config import Config
from edge.domain.ledger.anchor import SignedAnchor
from edge.domain.ledger.checks import Report
from edge.domain.ledger.envelope import Entry, open_envelope, read_fact
from edge.domain.ledger.facts import LedgerKeySucceeded, LedgerOpened
from edge.errors import TillError
from edge.store.backup import back_up, settle_folder
from edge.store.connection import open_writer, translated
from edge.store.epochs import DECOMMISSIONED
from edge.store.lock import take_lock
from edge.store.reading import Reading
from edge.store.verification import verify
from edge.sync.options import UplinkOptions

#: A key that is on its way to be one: made, or named as the next, and not in its place yet.
_UNFINISHED: Final = (".next", ".new")


#: Facts that name the key which signs from there on; pruning keeps them all.
_KEYS: Final = (LedgerOpened.TYPE, LedgerKeySucceeded.TYPE)


class HandoverFailed(TillError):
    code = "decommission.handover"
    hint = "the till sells no more; run this again with a folder that can be written"


class KeysRemain(TillError):
    code = "decommission.keys"
    hint = "the ledger is handed over; run this again, or remove the files by hand"


class HandedOver(msgspec.Struct, frozen=True, kw_only=True):
    """`report` is of the copy, checked with nothing but the public key that lies beside it."""

    files: tuple[Path, ...]
    report: Report


def hand_over(database: Path, folder: Path) -> HandedOver:
    """Everything that somebody needs who keeps the books from here on, durable when this returns.

    The database, the export of its journal, the public key that signed its end, and the report. Written anew each time;
    a file takes its name when it is whole. Raises HandoverFailed, StoreError.
    """
    export, key, verdict = (folder / n for n in ("ledger.ndjson", "public.key", "verify.json"))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        copy = back_up(database, folder / "till.db")
        with Reading(copy) as till:
            with _whole(export) as out:
                public_key = _export(out, till.anchor(), till.entries())
            report = verify(till, public_key=public_key)
        with _whole(key) as out:
            out.write(public_key.encode() + b"\n")
        with _whole(verdict) as out:
            out.write(msgspec.json.encode(report) + b"\n")
        settle_folder(folder)
    except OSError as e:
        raise HandoverFailed(f"{folder}: {e.strerror}") from e
    return HandedOver(files=(copy, export, key, verdict), report=report)


def _export(out: IO[bytes], anchor: SignedAnchor | None, entries: Iterator[Entry]) -> str:
    """The journal as `ledger export` has it; the last key that it names."""
    if anchor is not None:
        out.write(anchor.line + b"\n")
    public_key = ""
    for entry in entries:
        out.write(entry.raw + b"\n")
        if entry.type in _KEYS:
            fact = read_fact(open_envelope(entry.raw))
            assert isinstance(fact, LedgerOpened | LedgerKeySucceeded)
            public_key = fact.public_key
    return public_key


def keys_of(config: Config) -> tuple[Path, ...]:
    """Where this device's keys lie, and the operator's that were lent to it. The ledger's own comes last."""
    options = cast("UplinkOptions | None", config.mqtt)
    tls = None if options is None or options.tls is None else options.tls.key
    password = None if options is None else options.password_file
    found = [
        config.members_key_file,
        config.sun_keys_file,
        None if password is None else Path(password),
        None if tls is None else Path(tls).with_name("tls.next.key"),
        None if tls is None else Path(tls),
        *(config.key.with_name(config.key.name + end) for end in _UNFINISHED),
        config.key,
    ]
    return tuple(path for path in found if path is not None)


def lists_of(config: Config) -> tuple[Path, ...]:
    """What the back office sent of its members. A till that runs still reads it."""
    lists = config.database.with_suffix(".lists.db")
    ends = ("-wal", "-shm", "-wal.broken", "-shm.broken", ".broken", "")
    return tuple(lists.with_name(lists.name + end) for end in ends)


def lay_aside_handed_over(database: Path, *, key_id: str) -> Path | None:
    """A device whose keys were destroyed begins a new ledger; where the old one is now.

    None where it goes on in its own. Raises StoreError: StoreInUse while a till runs.
    """
    if not database.exists():
        return None
    with Reading(database) as till:
        stats = till.stats()
    if stats["closed"] != DECOMMISSIONED or stats["key_id"] == key_id:
        return None
    old = database.with_name(f"{database.stem}-{stats['epoch']}.db")
    lock = take_lock(database)
    try:
        with contextlib.closing(open_writer(database)) as db, translated("fold", database):
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()  # the file alone is the ledger
        for end in ("-wal", "-shm", ""):  # the database last: interrupted, this is done again
            with contextlib.suppress(FileNotFoundError):
                database.with_name(database.name + end).replace(old.with_name(old.name + end))
        settle_folder(database.parent)
    except OSError as e:
        raise HandoverFailed(f"{database}: {e.strerror}", hint="move it away by hand") from e
    finally:
        os.close(lock)
    return old


def destroy(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """Overwrite and remove what is there; which ones were. Done again after a power cut it does the rest.

    Flash media may keep old copies of what was overwritten: who must be sure destroys the medium. Raises KeysRemain.
    """
    gone = []
    for path in paths:
        try:
            size = path.stat().st_size
            with path.open("rb+") as file:
                file.write(bytes(size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
            settle_folder(path.parent)
        except FileNotFoundError:
            continue
        except OSError as e:
            raise KeysRemain(f"{path}: {e.strerror}") from e
        gone.append(path)
    return tuple(gone)


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A private file that takes its name when all of it is on the medium."""
    part = path.with_name(path.name + ".part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
