"""`chargetill backoffice erase`: who somebody was, on request."""

from __future__ import annotations

from pathlib import Path

import click

from edge.cli.books import config_option, database, db_option, open_orders
from edge.cli.call import NO, Call, command


@click.command("erase")
@click.option("--token", help="the token (64 hex digits) that stands for a card")
@click.option("--account", help="everything of an account")
@click.option("--buyers", is_flag=True, help="with --account: also who is named on its invoices")
@db_option
@config_option
@command
def erase(
    call: Call,
    token: str | None,
    account: str | None,
    buyers: bool,
    db_here: Path | None,
    config_here: Path | None,
) -> None:
    """Erase a member from the lists, here and at the devices. The devices' journals verify as before.

    Exit 1 when nothing was found. At each device, `chargetill privacy erase` does the same for its own tables.
    """
    from edge.backoffice.privacy import erase as erase_now

    with open_orders(call, db_here, config_here) as orders:
        done = erase_now(
            database(call, db_here, config_here), orders, token=token, account=account, buyers=buyers
        )
    call.say(done, f"erased: {done.members} members, {done.buyers} buyers, {done.orders} orders")
    if not (done.members or done.buyers or done.orders):
        raise click.exceptions.Exit(NO)
