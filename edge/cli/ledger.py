"""`chargetill ledger`: the journal, and whether it is whole."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from edge.cli.call import NO, Call, command
from edge.cli.figures import block, counted, kilowatt_hours, money, size
from edge.cli.ledger_changes import new_epoch, prune, restore, rotate_key
from edge.cli.place import database
from edge.errors import CallError, LedgerError, TillError

if TYPE_CHECKING:
    from edge.domain.ledger.boots import Boots
    from edge.domain.ledger.checks import Report
    from edge.domain.ledger.envelope import Entry


#: Ten times an entry with the largest tariff; what is longer is no entry, and is read in such pieces.
_LINE_MAX = 10_000_000


class _KeyUnreadable(CallError):
    code = "call.public_key"
    hint = "a file with 64 hex digits, or a public key in PEM form"


class _ExportUnreadable(CallError):
    code = "call.export"
    hint = "a file that `chargetill ledger export` wrote"


class _NotWritten(TillError):
    code = "export.failed"


@click.group()
def ledger() -> None:
    """The journal: append-only, hash-chained, signed."""


@ledger.command("verify")
@click.option(
    "--file", "export", type=click.Path(path_type=Path), help="an export (NDJSON) instead of a database"
)
@click.option("--public-key", type=click.Path(path_type=Path), help="the device's key, from elsewhere")
@command
def verify(call: Call, export: Path | None, public_key: Path | None) -> None:
    """Check chain, signatures, holds, invoice numbers, and every total again."""
    key = None if public_key is None else _public_key(public_key)
    if export is not None:
        report = _verify_export(export, key)
    else:
        from edge.store import verification
        from edge.store.reading import Reading

        with Reading(database(call)) as db:
            report = verification.verify(db, public_key=key)
    call.say(report)
    if report.problems:
        raise click.exceptions.Exit(NO)


@ledger.command("stats")
@command
def stats(call: Call) -> None:
    """How much there is, what is held, and what the back office has acknowledged."""
    from edge.store.reading import Reading

    with Reading(database(call)) as db:
        found = db.stats()
    call.say(found, block(_told(found)))


def _told(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The figures of a ledger, in the order in which they are asked for."""
    yield "sessions", f"{found['sessions']:,}, {found['open_sessions']} open"
    yield "sold", f"{kilowatt_hours(found['invoiced_wh'])} kWh"
    for total in found["totals"]:
        amount = money(total["payable_minor"], total["currency"])
        yield "sold", f"{amount} in {counted(total['invoices'], 'invoice')}"
    yield (
        "credited",
        f"{counted(found['credit_notes'], 'credit note')}, {counted(found['statements'], 'statement')}",
    )
    for hold in found["open_holds"]:
        amount = money(hold["hold_minor"], hold["currency"])
        yield "holds open", f"{amount or 'amount unknown'}, {hold['status']} ({hold['payment_ref']})"
    if not found["open_holds"]:
        yield "holds open", "none"
    yield (
        "at risk",
        f"{found['exposure']['device_minor']:,} minor units taken without a connection, {found['lost_minor']:,} lost",
    )
    yield "journal", f"{counted(found['entries'], 'entry', 'entries')}, {found['waiting']:,} not acknowledged"
    for epoch in found["epochs"]:
        yield (
            "journal",
            f"epoch {epoch['epoch']}: {epoch['last']:,} written, {epoch['acknowledged']:,} acknowledged",
        )
    pruned = found["pruned"]
    if pruned is not None:
        cut = counted(pruned["entries"], "entry", "entries")
        yield "journal", f"{cut} pruned, up to {pruned['epoch']}/{pruned['upto']}"
    yield "signed by", f"key {found['key_id']}" if found["key_id"] else "-"
    yield "database", f"{size(found['database_bytes'])}, {size(found['free_bytes'])} of it free"
    if found["closed"] is not None:
        yield "state", f"sells nothing: {found['closed']}"


@ledger.command("export")
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "csv"]),
    default="ndjson",
    show_default=True,
    help="lines of JSON, or a table with a heading",
)
@click.option("--out", type=click.Path(path_type=Path), help="a file; default: standard output")
@command
def export(call: Call, form: str, out: Path | None) -> None:
    """The journal as the exact bytes of its entries, one a line, or as a table for people.

    Of a pruned ledger the first line is its signed anchor, and the entries that it kept follow.
    """
    from edge.store.reading import Reading

    with Reading(database(call)) as db:
        first: list[bytes] = [b"epoch,seq,time,type,subject,hash,derived_time,not_before,not_after\n"]
        if form == "ndjson":
            anchor = db.anchor()
            first = [] if anchor is None else [anchor.line + b"\n"]
        boots = None if form == "ndjson" else _boots(db.entries())
        rest = (entry.raw + b"\n" if boots is None else _csv(entry, boots) for entry in db.entries())
        lines: Iterable[bytes] = chain(first, rest)
        if out is None:
            sys.stdout.buffer.writelines(lines)
            sys.stdout.buffer.flush()
            return
        try:
            with out.open("wb") as target:
                target.writelines(lines)
        except OSError as e:
            raise _NotWritten(
                f"{out}: {e.strerror}", hint="check the folder and the space on its disk"
            ) from e


@ledger.command("backup")
@click.argument("target", metavar="F")
@command
def backup(call: Call, target: str) -> None:
    """Copy the database to the file or folder F, on a stick say, and verify the copy. F/ is a folder, made if need be.

    The daemon may run. An earlier backup of that name is replaced once the new one is whole. Exit 1 if the
    ledger in the copy has problems; the copy stays.
    """
    from edge.store.backup import back_up
    from edge.store.reading import Reading
    from edge.store.verification import verify as verify_all

    source, place = database(call), Path(target)
    if target.endswith(os.sep):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise _NotWritten(f"{place}: {e.strerror}", hint="check where the folder is to stand") from e
    file = back_up(source, place)
    with Reading(file) as db:
        report = verify_all(db)
    answer = {"file": str(file), "bytes": file.stat().st_size, "entries": report.entries}
    verdict = "\n".join(f"problem: {p}" for p in report.problems) or "verified"
    call.say(
        {**answer, "problems": report.problems},
        f"{file}: {answer['bytes']} bytes, {report.entries} entries\n{verdict}",
    )
    if report.problems:
        raise click.exceptions.Exit(NO)


for _change in (restore, new_epoch, rotate_key, prune):
    ledger.add_command(_change)


def _boots(entries: Iterable[Entry]) -> Boots:
    """What the whole journal says of the times of its boots."""
    from edge.domain.ledger.boots import Boots
    from edge.domain.ledger.envelope import open_envelope, read_fact

    boots = Boots()
    for entry in entries:
        envelope = open_envelope(entry.raw)
        boots.add(envelope, read_fact(envelope) if entry.type in boots.TOLD_BY else None)
    return boots


def _csv(entry: Entry, boots: Boots) -> bytes:
    """The time that the wall clock showed, and the one that is known by now; where it is not, what bounds it."""
    from edge.domain.ledger.envelope import open_envelope

    envelope = open_envelope(entry.raw)
    bounds = boots.written(envelope)
    derived = bounds.not_before if bounds.not_before == bounds.not_after else None
    known = ("" if t is None else t.isoformat() for t in (derived, bounds.not_before, bounds.not_after))
    columns = (entry.epoch, str(entry.seq), envelope.time.isoformat(), entry.type, entry.subject or "")
    return (",".join((*columns, entry.hash, *known)) + "\n").encode()


def _verify_export(path: Path, public_key: str | None) -> Report:
    """Check an export, from its anchor on where it begins with one."""
    from edge.domain.ledger.anchor import read_anchor
    from edge.domain.ledger.checks import Checker

    checker = Checker(public_key=public_key)
    entries = _exported(path)
    first = next(entries, None)
    if first is None:
        return replace(checker.report(), problems=("no entry at all: a ledger begins with its opening",))
    try:
        anchor = read_anchor(first.raw)
    except LedgerError:
        anchor = None
    if anchor is None:
        checker.add(first)
    else:
        checker.start(anchor)
    for entry in entries:
        checker.add(entry)
    return checker.report()


def _exported(path: Path) -> Iterator[Entry]:
    from edge.domain.ledger.envelope import Entry, digest, open_envelope

    try:
        with path.open("rb") as lines:
            for number, line in enumerate(iter(partial(lines.readline, _LINE_MAX), b""), start=1):
                raw = line.rstrip(b"\n")
                unread = Entry(epoch="line", seq=number, type="", subject=None, raw=raw, hash=digest(raw))
                try:
                    envelope = open_envelope(raw)
                    seq = int(envelope.seq)
                except (LedgerError, ValueError):
                    yield unread
                    continue
                yield replace(
                    unread, epoch=envelope.epoch, seq=seq, type=envelope.type, subject=envelope.subject
                )
    except OSError as e:
        raise _ExportUnreadable(f"{path}: {e.strerror}") from e


def _public_key(path: Path) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        text = path.read_text().strip()
    except OSError as e:
        raise _KeyUnreadable(f"{path}: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise _KeyUnreadable(f"{path}: it is no text") from e
    if re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        return text.lower()
    try:
        key = load_pem_public_key(text.encode())
    except ValueError as e:
        raise _KeyUnreadable(f"{path}: {e}") from e
    if not isinstance(key, Ed25519PublicKey):
        raise _KeyUnreadable(f"{path}: not an Ed25519 key")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
