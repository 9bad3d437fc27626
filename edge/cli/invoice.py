"""`chargetill invoice`: the documents that this till has issued."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import click

from edge.cli.call import Call, command, encode, table
from edge.cli.place import database
from edge.errors import CallError, TillError


class _FormatUnknown(CallError):
    code = "call.format"


class _NotWritten(TillError):
    code = "export.failed"


_DAY = click.DateTime(["%Y-%m-%d"])


@click.group()
def invoice() -> None:
    """The invoices of this till."""


@invoice.command("list")
@command
def list_(call: Call) -> None:
    """All invoices in the order of their numbers."""
    from edge.domain.money import from_minor
    from edge.store.reading import Reading

    with Reading(database(call)) as db:
        rows = [
            {
                "number": i.number,
                "issued_at": i.issued_at.isoformat(),
                "session_id": i.draft.session_id,
                "energy_wh": i.draft.energy_wh,
                "payable": from_minor(i.draft.figures.payable_minor, i.draft.currency),
                "currency": i.draft.currency,
                "paid": i.draft.paid.status,
            }
            for i in db.invoices()
        ]
    text = table(rows, ("number", "issued_at", "energy_wh", "payable", "currency", "paid"))
    call.say(rows, text if rows else "no invoices yet")


@invoice.command("show")
@click.argument("number")
@command
def show(call: Call, number: str) -> None:
    """One invoice as a person reads it."""
    from edge.documents.invoice_json import invoice_json
    from edge.documents.invoice_text import invoice_text
    from edge.store.reading import Reading

    with Reading(database(call)) as db:
        found = db.invoice(number)
    call.say(invoice_json(found), invoice_text(found))


@invoice.command("export")
@click.argument("number", required=False)
@click.option("--all", "everything", is_flag=True, help="every invoice")
@click.option("--format", "form", default="json", show_default=True, help="json")
@click.option("--from", "first", type=_DAY, help="with --all: the first day of issue, such as 2026-03-01")
@click.option("--to", "last", type=_DAY, help="with --all: the last day of issue")
@click.option("--out", type=click.Path(path_type=Path), help="a file or a folder; a folder with --all")
@command
def export(
    call: Call,
    number: str | None,
    form: str,
    first: datetime | None,
    last: datetime | None,
    out: Path | None,
    *,
    everything: bool,
) -> None:
    """One invoice, or all of them, as documents named NUMBER.FORMAT.EXT."""
    from edge.documents.invoice_json import invoice_json
    from edge.store.reading import Reading

    if (number is None) != everything:
        raise click.UsageError("give one invoice's number, or --all")
    if not everything and (first or last):
        raise click.UsageError("--from and --to choose among --all")
    if form != "json":
        raise _FormatUnknown(f"no format {form}", hint="this version exports json")
    with Reading(database(call)) as db:
        invoices = db.invoices() if number is None else iter((db.invoice(number),))
        for found in invoices:
            day = found.issued_at.date()
            if (first and day < first.date()) or (last and day > last.date()):
                continue
            folder = out is not None and (everything or out.is_dir())
            target = out / f"{found.number}.json.json" if out is not None and folder else out
            _write(encode(invoice_json(found)), target)


def _write(text: str, target: Path | None) -> None:
    """To standard output, or whole to a file: nobody ever sees half of a document."""
    if target is None:
        click.echo(text)
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}.{os.getpid()}")
        fresh.write_text(text + "\n")
        fresh.replace(target)
    except OSError as e:
        raise _NotWritten(f"{target}: {e.strerror}", hint="check the folder and the space on its disk") from e
