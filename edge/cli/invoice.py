"""`chargetill invoice`: the documents that this till has issued."""

from __future__ import annotations

import click

from edge.cli.call import Call, command, table
from edge.cli.export import export
from edge.cli.place import database


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


invoice.add_command(export)
