"""`chargetill terminal`: what a payment terminal holds that no payment explains, and what becomes of it."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.call import Call, command
from edge.cli.place import database


@click.group()
def terminal() -> None:
    """Payment terminals of the running till."""


@terminal.command("list")
@command
def listed(call: Call) -> None:
    """Each terminal, and the receipts of holds that belong to no payment in the journal."""
    found = _asked(call, "terminal.list", {})
    lines = [
        f"terminal {t['terminal']}  {t['state']}  "
        + (f"holds without a payment: {', '.join(map(str, t['orphans']))}" if t["orphans"] else "books agree")
        for t in found
    ]
    call.say(found, "\n".join(lines) or "no terminal is configured")


@terminal.command("release")
@click.argument("receipt", type=click.IntRange(0, 9999))
@click.option(
    "--terminal", "number", type=click.IntRange(0, 7), default=0, help="its place in the configuration"
)
@command
def release(call: Call, receipt: int, number: int) -> None:
    """Give a hold back whole: nobody charged for it."""
    found = _asked(call, "terminal.release", {"terminal": number, "receipt": receipt})
    call.say(found, f"receipt {receipt} is released")


@terminal.command("book")
@click.argument("receipt", type=click.IntRange(0, 9999))
@click.argument("amount_minor", type=click.IntRange(1, 100_000_000))
@click.option(
    "--terminal", "number", type=click.IntRange(0, 7), default=0, help="its place in the configuration"
)
@command
def book(call: Call, receipt: int, amount_minor: int, number: int) -> None:
    """Take AMOUNT_MINOR of a hold: another book shows that it was charged."""
    arguments = {"terminal": number, "receipt": receipt, "amount_minor": amount_minor}
    found = _asked(call, "terminal.book", arguments)
    call.say(found, f"receipt {receipt} is booked with {amount_minor} minor units")


def _asked(call: Call, name: str, arguments: dict[str, Any]) -> Any:
    from edge.runtime.control import ask, socket_of

    return ask(socket_of(database(call)), name, arguments)
