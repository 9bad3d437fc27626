"""`chargetill invoice`: the documents that this till has issued, and taking one back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.call import Call, command, table
from edge.cli.export import export
from edge.cli.place import config_file, database
from edge.errors import CallError

if TYPE_CHECKING:
    from edge.domain.instant import Instant
    from edge.store.credits import CreditOrder
    from edge.store.store import Store


@click.group()
def invoice() -> None:
    """The invoices of this till."""


@invoice.command("list")
@command
def list_(call: Call) -> None:
    """All invoices and credit notes in the order of their sealing; what a credit note takes back is negative."""
    from edge.domain.money import from_minor
    from edge.store.reading import Reading

    with Reading(database(call)) as db:
        rows = [
            {
                "number": i.number,
                "corrects": i.corrects and i.corrects.number,
                "issued_at": i.issued_at.isoformat(),
                "session_id": i.draft.session_id,
                "energy_wh": i.draft.energy_wh,
                "payable": (-1 if i.corrects else 1)
                * from_minor(i.draft.figures.payable_minor, i.draft.currency),
                "currency": i.draft.currency,
                "paid": i.draft.paid.status,
            }
            for i in db.invoices()
        ]
    text = table(rows, ("number", "issued_at", "energy_wh", "payable", "currency", "paid", "corrects"))
    call.say(rows, text if rows else "no invoices yet")


@invoice.command("show")
@click.argument("number")
@command
def show(call: Call, number: str) -> None:
    """One invoice or credit note as a person reads it."""
    from edge.documents.invoice_json import invoice_json
    from edge.documents.invoice_text import invoice_text
    from edge.store.reading import Reading

    with Reading(database(call)) as db:
        found = db.invoice(number)
        buyer = db.buyer(found.draft.buyer)
    call.say(invoice_json(found, buyer), invoice_text(found, buyer))


@invoice.command("refunds")
@command
def refunds(call: Call) -> None:
    """What credit notes give back, and where it stands: `due` and `declined` are yours to pay back."""
    from edge.domain.money import from_minor
    from edge.store.reading import Reading

    with Reading(database(call)) as db:
        rows = [
            {
                "credit_note": r["refund_ref"],
                "method": r["method"],
                "amount": from_minor(r["amount_minor"], r["currency"]),
                "currency": r["currency"],
                "status": r["status"],
                "reason": r["reason"],
            }
            for r in db.refunds()
        ]
    columns = ("credit_note", "method", "amount", "currency", "status", "reason")
    call.say(rows, table(rows, columns) if rows else "no refunds yet")


@invoice.command("credit")
@click.argument("number")
@click.option("--reason", required=True, help="why, as it stands on the credit note")
@click.option("--amount", help="with tax, such as 4.50; default: all that is left")
@click.option("--reissue", is_flag=True, help="take the whole invoice back for a new one; the money stays")
@click.option(
    "--buyer",
    "buyer_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="with --reissue: JSON of who it is for",
)
@command
def credit(
    call: Call, number: str, reason: str, amount: str | None, reissue: bool, buyer_file: Path | None
) -> None:
    """Take an invoice back, whole or in part, with a credit note; the money goes back the way it came."""
    import msgspec

    from edge.cli.buyer import read_buyer
    from edge.store.credits import CreditOrder

    if buyer_file is not None and not reissue:
        raise click.UsageError("--buyer is for the new invoice: it needs --reissue")
    values = {
        "number": number,
        "reason": reason,
        "amount": amount,
        "reissue": reissue,
        "buyer": None if buyer_file is None else read_buyer(buyer_file),
    }
    try:
        order = msgspec.convert(values, CreditOrder)
    except msgspec.ValidationError as e:
        said = str(e).replace("`$.", "`--")
        raise CallError(said, hint="`chargetill invoice credit --help` shows the bounds") from e
    done = _credit(call, order)
    text = (
        f"credit note {done['credit_note']}: {done['amount']} {done['currency']} of invoice {done['invoice']}"
    )
    if done["refund"] is not None:
        text += f", refund {done['refund']}"
    if done["new_invoice"] is not None:
        text += f", new invoice {done['new_invoice']}"
    call.say(done, text)


def _credit(call: Call, order: CreditOrder) -> dict[str, Any]:
    """Through the running till, else on its database: the ways to pay that need devices are asked at its next start."""
    import msgspec

    from edge.cli.daemon import change

    def offline(store: Store, _now: Instant) -> dict[str, Any]:
        import asyncio

        from edge import inventory
        from edge.payments.account import AccountPayment, Caution
        from edge.payments.members import FileMembers
        from edge.runtime.credits import Refunds, told
        from edge.runtime.credits import credit as take_back

        clock = inventory.make_clock(inventory.load(config_file(call)))

        async def nobody(_token: object) -> int:
            return 0

        async def carried_out() -> dict[str, Any]:
            credited = await take_back(store, clock, order)
            account = AccountPayment(FileMembers({}), caution=Caution(), recent=nobody)
            await Refunds(store, {"account": account}, clock).settle(final=False)
            return told(credited)

        return asyncio.run(carried_out())

    done = change(call, "invoice.credit", msgspec.to_builtins(order), offline=offline)
    assert isinstance(done, dict)
    return done


invoice.add_command(export)
