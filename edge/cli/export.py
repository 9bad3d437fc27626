"""`chargetill invoice export`: invoices as documents, to standard output, a file or a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import date, datetime
from pathlib import Path
from typing import BinaryIO

import click

from edge.cli.call import NO, Call, command, encode, note
from edge.cli.place import database
from edge.documents.formats import FORMATS, Format, above, file_name, format_named, render
from edge.documents.sale import NotExpressible, Sale
from edge.domain.invoice import Invoice
from edge.emv.scrub import scrub
from edge.errors import CallError, TillError
from edge.store.reading import Reading


class _NotWritten(TillError):
    code = "export.failed"


class _OutNeeded(CallError):
    code = "call.out"


_DAY = click.DateTime(["%Y-%m-%d"])


@click.command("export")
@click.argument("number", required=False)
@click.option("--all", "everything", is_flag=True, help="every invoice")
@click.option("--format", "form", default="json", show_default=True, help=", ".join(FORMATS))
@click.option("--from", "first", type=_DAY, help="with --all: the first day of issue, such as 2026-03-01")
@click.option("--to", "last", type=_DAY, help="with --all: the last day of issue")
@click.option(
    "--lang", type=click.Choice(["en", "de"]), default="en", show_default=True, help="language of the texts"
)
@click.option(
    "--out",
    "place",
    help="a file, or a folder; with --all a folder, or one file such as all.csv for formats of lines",
)
@command
def export(
    call: Call,
    number: str | None,
    form: str,
    first: datetime | None,
    last: datetime | None,
    lang: str,
    place: str | None,
    *,
    everything: bool,
) -> None:
    """One invoice or credit note, or all of them, as documents named NUMBER.FORMAT.EXT."""
    out = None if place is None else Path(place)
    folder = out is not None and (out.is_dir() or str(place).endswith(os.sep))
    if (number is None) != everything:
        raise click.UsageError("give one invoice's number, or --all")
    if not everything and (first or last):
        raise click.UsageError("--from and --to choose among --all")
    wanted = format_named(form)
    _check_out(wanted, out, everything=everything)
    with Reading(database(call)) as db:
        if number is not None:
            sale = _sale(db, wanted, db.invoice(number))
            target = out / file_name(wanted, sale) if out is not None and folder else out
            write(render(wanted, sale, language=lang), target)
            return
        days = first.date() if first else None, last.date() if last else None
        one = out if wanted.stream and out is not None and not folder and _is_one(out, wanted) else None
        with nullcontext(None) if one is None else _whole(one) as together:
            failed = _export_all(call, db, wanted, days, lang, together or out)
    if failed:
        sys.exit(NO)


def _is_one(out: Path, wanted: Format) -> bool:
    """True for a file that there is, and for a name such as all.csv: many lines go into one file."""
    return out.exists() or out.suffix in {f".{wanted.suffix}", ".ndjson"}


def _check_out(wanted: Format, out: Path | None, *, everything: bool) -> None:
    if out is not None:
        return
    if everything and not wanted.stream:
        raise _OutNeeded(
            f"many {wanted.name} documents do not fit one stream", hint="give a folder with --out"
        )
    if wanted.binary and sys.stdout.isatty():
        raise _OutNeeded(f"{wanted.name} is not for a terminal", hint="give a file with --out")


def _export_all(
    call: Call,
    db: Reading,
    wanted: Format,
    days: tuple[date | None, date | None],
    language: str,
    out: Path | BinaryIO | None,
) -> int:
    """Every document of these days, one at a time; how many could not be expressed, each with its reason.

    It ends where nobody reads on.
    `out`: a folder, one open file for all of them, or None for standard output.
    """
    failed, alone = 0, isinstance(out, Path)
    if isinstance(out, Path):
        _make(out)
    elif not _put(call, above(wanted), out):
        return 0
    shown = out is not None and sys.stderr.isatty()
    stats = db.stats() if shown else {"invoices": 0, "credit_notes": 0}
    total = stats["invoices"] + stats["credit_notes"]
    bar = (
        click.progressbar(db.invoices(), length=total, label="exporting", file=sys.stderr)
        if shown
        else nullcontext(db.invoices())
    )
    with bar as invoices:
        for invoice in _between(invoices, days):
            sale = _sale(db, wanted, invoice)
            try:
                document = render(wanted, sale, language=language, heading=alone)
            except NotExpressible as e:
                failed += 1
                if not _tell(call, e, invoice, in_line=out is None and wanted.suffix == "json"):
                    break
                continue
            if isinstance(out, Path):
                write(document, out / file_name(wanted, sale))
            elif not _put(call, document, out):
                break
    return failed


def _put(call: Call, document: bytes, stream: BinaryIO | None) -> bool:
    """False where nobody reads on."""
    if stream is None:
        return call.line(document, nl=False)
    stream.write(document)
    return True


def _tell(call: Call, error: NotExpressible, invoice: Invoice, *, in_line: bool) -> bool:
    """Among lines of JSON an error is one of them; anything else is not mixed with documents."""
    if in_line:
        return call.line(scrub(encode({"number": invoice.number, "error": error.as_json()})))
    note(scrub(encode({"error": error.as_json()}) if call.json else str(error)))
    return True


def _between(invoices: Iterator[Invoice], days: tuple[date | None, date | None]) -> Iterator[Invoice]:
    first, last = days
    for invoice in invoices:
        day = invoice.issued_at.date()
        if (first is None or day >= first) and (last is None or day <= last):
            yield invoice


def _sale(db: Reading, wanted: Format, invoice: Invoice) -> Sale:
    """The invoice with what its format needs of the journal."""
    buyer = db.buyer(invoice.draft.buyer)
    if not wanted.session:
        return Sale(invoice=invoice, buyer=buyer)
    session_id = invoice.draft.session_id
    opened, settled = db.settled(session_id)
    return Sale(
        invoice=invoice,
        bill=settled.bill if settled else None,
        evse_kind=opened.evse_kind if opened else None,
        token_commitment=opened.token_commitment if opened else None,
        tariff=db.tariff(invoice.draft.tariff.hash),
        signed=db.signed(session_id),
        buyer=buyer,
    )


def write(document: bytes, target: Path | None) -> None:
    """To standard output, or whole to a file: nobody ever sees half of a document."""
    if target is None:
        click.echo(document, nl=False)
        return
    with _whole(target) as file:
        file.write(document)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise _NotWritten(f"{folder}: {e.strerror}", hint="check where it is to stand") from e


@contextmanager
def _whole(target: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when it is whole. A device or a pipe is written to, and never replaced."""
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():
            with target.open("wb") as stream:
                yield stream
            return
        try:
            with fresh.open("wb") as stream:
                yield stream
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as e:
        raise _NotWritten(f"{target}: {e.strerror}", hint="check the folder and the space on its disk") from e
