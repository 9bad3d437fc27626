"""`chargetill backoffice`: the reference receiver and what it holds."""

from __future__ import annotations

import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from edge.cli.backoffice_accounts import account
from edge.cli.backoffice_devices import access, device
from edge.cli.backoffice_lists import member, plans, tariff
from edge.cli.backoffice_orders import COMMANDS
from edge.cli.backoffice_privacy import erase
from edge.cli.books import config_option, database, db_option, listen_option, say_where
from edge.cli.books import options as options_of
from edge.cli.call import NO, Call, command, table
from edge.errors import TillError

if TYPE_CHECKING:
    from edge.backoffice.export import Table
    from edge.backoffice.stats import Stats


class _FileUnwritable(TillError):
    code = "call.output"
    hint = "choose a file that you may write, on a disk with room"


@click.group()
def backoffice() -> None:
    """The reference back office: receives, verifies and shows what the chargers send."""


@backoffice.command("run")
@click.option("--broker", "brokers", multiple=True, metavar="HOST:PORT", help="repeat for several")
@db_option
@config_option
@command
def run(call: Call, brokers: tuple[str, ...], db_here: Path | None, config_here: Path | None) -> None:
    """Receive until SIGTERM; prints `ready` once a broker took the subscription."""
    from edge import log
    from edge.backoffice.receiver import Receiver

    log.setup()
    given: dict[str, Any] = {}
    if brokers:
        given["brokers"] = brokers
    if (db := db_here or call.db) is not None:
        given["db"] = str(db)
    options = options_of(config_here or call.config, given)
    receiver = Receiver(options, on_ready=lambda: click.echo("ready"))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: receiver.stop())
    receiver.run()


@backoffice.command("stats")
@db_option
@config_option
@command
def stats(call: Call, db_here: Path | None, config_here: Path | None) -> None:
    """Devices, epochs, entries, sessions, invoices and totals."""
    from edge.backoffice.stats import collect

    found = collect(database(call, db_here, config_here))
    rows = [
        {
            "site": d.site,
            "device": d.device,
            "online": d.online,
            "epoch": e.epoch,
            "entries": e.entries,
            "upto": e.upto,
            "sessions": d.sessions,
            "invoices": d.invoices,
            "quarantined": d.quarantined,
        }
        for d in found.devices
        for e in d.epochs
    ]
    totals = "".join(
        f"\n{t.invoices} invoices, {t.payable_minor} {t.currency} minor units" for t in found.totals
    )
    columns = ("site", "device", "online", "epoch", "entries", "upto", "sessions", "invoices", "quarantined")
    call.say(found, table(rows, columns) + totals + _kept(found))


def _kept(found: Stats) -> str:
    """How long what says who somebody was is kept, and what still waits to be erased."""
    lines = ""
    if (enforced := found.retention) is not None:
        lines += (
            f"\npersonal data is kept {enforced.personal_days} days, documents {enforced.documents_days}; "
            f"looked at {enforced.looked_at}"
        )
    if found.erasures_waiting:
        lines += f"\n{found.erasures_waiting} erasures wait for their devices"
    return lines


@backoffice.command("verify")
@db_option
@config_option
@command
def verify(call: Call, db_here: Path | None, config_here: Path | None) -> None:
    """Check every chain, signature and number again; exit 1 if anything is wrong."""
    from edge.backoffice.verify import verify as check

    found = check(database(call, db_here, config_here))
    summary = (
        f"{found.devices} devices, {found.epochs} epochs, {found.entries} entries, "
        f"{found.checkpoints} signatures, {found.invoices} invoices: "
        + (f"{len(found.problems)} problems" if found.problems else "all is well")
    )
    call.say(found, "\n".join([*found.problems, summary]))
    if found.problems:
        sys.exit(NO)


@backoffice.command("rebuild")
@db_option
@config_option
@command
def rebuild(call: Call, db_here: Path | None, config_here: Path | None) -> None:
    """Make the tables anew from the entries: after an update that understands more of them."""
    from datetime import UTC, datetime

    from edge.backoffice.books import Books

    books = Books(database(call, db_here, config_here))
    try:
        found = books.rebuild(datetime.now(UTC))
    finally:
        books.close()
    call.say(found, f"{found.entries} entries, {found.problems} not understood")


@backoffice.command("export")
@click.option(
    "--table",
    "table_name",
    type=click.Choice(
        [
            "entries",
            "sessions",
            "payments",
            "invoices",
            "statements",
            "refunds",
            "meter_values",
            "entry_times",
            "settlements",
        ]
    ),
    default="entries",
    show_default=True,
    help="what to export",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "csv"]),
    default="ndjson",
    show_default=True,
    help="lines of JSON, or a table with a heading",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="default: standard output")
@db_option
@config_option
@command
def export(
    call: Call, table_name: str, form: str, out: Path | None, db_here: Path | None, config_here: Path | None
) -> None:
    """The entries byte for byte, or a table."""
    from edge.backoffice.export import export as lines

    if table_name == "entries" and form == "csv":
        raise click.UsageError("entries are signed bytes: they have no CSV form")
    found = lines(
        database(call, db_here, config_here),
        cast("Table", table_name),
        cast("Literal['ndjson', 'csv']", form),
    )
    try:
        with nullcontext(sys.stdout.buffer) if out is None else out.open("wb") as file:
            file.writelines(found)
            file.flush()
    except BrokenPipeError:
        raise
    except OSError as e:
        raise _FileUnwritable(f"{out or 'standard output'}: {e.strerror}") from e


@backoffice.command("web")
@listen_option("127.0.0.1:8090")
@db_option
@config_option
@command
def web(call: Call, listen: str, db_here: Path | None, config_here: Path | None) -> None:
    """A read-only page of devices, sessions and invoices, on this machine only."""
    import asyncio

    from edge.backoffice.page import serve
    from edge.backoffice.schema import read_books

    books = database(call, db_here, config_here)
    read_books(books).close()  # what cannot be read is said now, not to who asks for a page
    try:
        asyncio.run(serve(books, listen, bound=say_where("/")))
    except KeyboardInterrupt:
        return


@backoffice.command("receipts")
@listen_option("127.0.0.1:8091")
@click.option(
    "--keep-days",
    type=click.IntRange(1, 3660),
    default=90,
    show_default=True,
    help="receipts of older sessions are gone",
)
@click.option("--behind-proxy", is_flag=True, help="a proxy stands before it and says who asks")
@db_option
@config_option
@command
def receipts(
    call: Call,
    listen: str,
    keep_days: int,
    behind_proxy: bool,
    db_here: Path | None,
    config_here: Path | None,
) -> None:
    """The drivers' receipts, each under the address of its QR code; nothing else is shown."""
    import asyncio

    from edge.backoffice.receipts import BookReceipts
    from edge.backoffice.schema import read_books
    from edge.receipts.site import Site, SiteOptions, serve
    from edge.sync.options import host_port

    books = database(call, db_here, config_here)
    read_books(books).close()
    site = Site(BookReceipts(books), SiteOptions(keep_days=keep_days, proxied=behind_proxy))
    host, port = host_port(listen)
    try:
        asyncio.run(serve(site, host, port, bound=say_where("/r/")))
    except KeyboardInterrupt:
        return


for order in COMMANDS:
    device.add_command(order)
for admin in (access, account, device, erase, member, plans, tariff):
    backoffice.add_command(admin)
