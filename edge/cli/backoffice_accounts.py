"""`chargetill backoffice account`: the monthly invoices of accounts, and their credit notes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.cli.books import billing, config_option, database, db_option
from edge.cli.call import NO, Call, command, encode, table
from edge.cli.export import write
from edge.documents.formats import COLLECTIVE_NAMES
from edge.emv.scrub import scrub
from edge.errors import CallError

if TYPE_CHECKING:
    from edge.backoffice.accounts import Accounts
    from edge.domain.collective import CollectiveInvoice


class _OutNeeded(CallError):
    code = "call.out"
    hint = "give a folder with --out"


@click.group("account")
def account() -> None:
    """Collective invoices: a month's sessions on account and the fees of plans, one document a member."""


@account.command("invoice")
@click.option("--month", required=True, metavar="YYYY-MM", help="the month, such as 2026-03")
@click.option(
    "--early", is_flag=True, help="the month is not over: what comes later goes on the next invoice"
)
@db_option
@config_option
@command
def invoice(call: Call, month: str, early: bool, db_here: Path | None, config_here: Path | None) -> None:
    """Make the invoices of a month; run again, it makes what is missing and nothing twice."""
    with _accounts(call, db_here, config_here) as accounts:
        made = accounts.bill(month, datetime.now(UTC), early=early)
    rows = [_row(i) for i in made]
    call.say(rows, table(rows, _COLUMNS) if rows else f"nothing left to invoice for {month}")


@account.command("list")
@db_option
@config_option
@command
def list_(call: Call, db_here: Path | None, config_here: Path | None) -> None:
    """All collective invoices and credit notes; what a credit note takes back is negative."""
    from edge.backoffice.account_books import AccountBooks

    with AccountBooks(database(call, db_here, config_here)) as books:
        rows = [_row(i) for i in books.invoices()]
    call.say(rows, table(rows, _COLUMNS) if rows else "no collective invoices yet")


@account.command("show")
@click.argument("number")
@db_option
@config_option
@command
def show(call: Call, number: str, db_here: Path | None, config_here: Path | None) -> None:
    """One collective invoice."""
    from edge.backoffice.account_books import AccountBooks
    from edge.documents.collective_json import collective_json

    with AccountBooks(database(call, db_here, config_here)) as books:
        found = books.invoice(number)
        buyer = books.buyer(found)
    lines = [
        {
            "for": f"{s.begin.isoformat()} {s.evse_id}",
            "energy_wh": s.energy_wh,
            "minor": s.figures.payable_minor,
        }
        for s in found.content.sessions
    ]
    lines += [{"for": f"{f.name} {f.period}", "minor": f.payable_minor} for f in found.content.fees]
    heading = table([_row(found)], _COLUMNS)
    call.say(collective_json(found, buyer), f"{heading}\n\n{table(lines, ('for', 'energy_wh', 'minor'))}")


@account.command("credit")
@click.argument("number")
@click.option("--reason", required=True, help="why, as it stands on the credit note")
@click.option("--amount", help="with tax, such as 4.50; default: all that is left")
@db_option
@config_option
@command
def credit(
    call: Call, number: str, reason: str, amount: str | None, db_here: Path | None, config_here: Path | None
) -> None:
    """Take a collective invoice back, whole or in part."""
    from edge.domain.credit import REASON_MAX

    if len(reason) > REASON_MAX:
        raise click.UsageError(f"--reason has at most {REASON_MAX} characters")
    with _accounts(call, db_here, config_here) as accounts:
        note = accounts.credit(number, reason=scrub(reason), amount=amount, now=datetime.now(UTC))
    call.say(_row(note), table([_row(note)], _COLUMNS))


@account.command("export")
@click.argument("number", required=False)
@click.option("--all", "everything", is_flag=True, help="every collective invoice and credit note")
@click.option("--format", "form", default="json", show_default=True, help=", ".join(COLLECTIVE_NAMES))
@click.option(
    "--lang", type=click.Choice(["en", "de"]), default="en", show_default=True, help="language of the texts"
)
@click.option("--out", type=click.Path(path_type=Path), help="a file or a folder; a folder with --all")
@db_option
@config_option
@command
def export(
    call: Call,
    number: str | None,
    form: str,
    lang: str,
    out: Path | None,
    db_here: Path | None,
    config_here: Path | None,
    *,
    everything: bool,
) -> None:
    """One collective invoice, or all of them, as documents named NUMBER.FORMAT.EXT."""
    from edge.backoffice.account_books import AccountBooks
    from edge.documents.sale import NotExpressible, require

    require("babel")
    from edge.documents.collective import file_name, format_named, render
    from edge.documents.formats import above

    if (number is None) != everything:
        raise click.UsageError("give one invoice's number, or --all")
    wanted = format_named(form)
    if out is None and ((everything and not wanted.stream) or (wanted.binary and sys.stdout.isatty())):
        raise _OutNeeded(f"{wanted.name} documents need a place of their own")
    failed = 0
    if everything and out is None:
        click.echo(above(wanted), nl=False)
    with AccountBooks(database(call, db_here, config_here)) as books:
        for found in books.invoices() if number is None else iter((books.invoice(number),)):
            try:
                heading = out is not None or not everything
                document = render(wanted, found, books.buyer(found), language=lang, heading=heading)
            except NotExpressible as e:
                failed += 1
                click.echo(scrub(encode({"error": e.as_json()}) if call.json else str(e)), err=True)
                continue
            folder = out is not None and (everything or out.is_dir())
            write(document, out / file_name(wanted, found) if out is not None and folder else out)
    if failed:
        sys.exit(NO)


_COLUMNS = ("number", "issued_at", "account", "month", "payable", "currency", "sessions", "corrects")


def _row(found: CollectiveInvoice) -> dict[str, object]:
    from edge.domain.money import from_minor

    content, corrects = found.content, found.corrects
    sign = -1 if corrects else 1
    return {
        "number": found.number,
        "issued_at": found.issued_at.isoformat(),
        "account": content.account,
        "month": content.month,
        "payable": sign * from_minor(content.figures.payable_minor, content.currency),
        "currency": content.currency,
        "sessions": len(content.sessions),
        "corrects": corrects and corrects.number,
    }


@contextmanager
def _accounts(call: Call, db_here: Path | None, config_here: Path | None) -> Iterator[Accounts]:
    from edge.backoffice.accounts import Accounts

    accounts = Accounts(database(call, db_here, config_here), billing(call, config_here))
    try:
        yield accounts
    finally:
        accounts.close()
