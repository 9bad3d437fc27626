"""`chargetill evse`: what an operator decides at a charge point of the running till."""

from __future__ import annotations

import click

from edge.cli.call import Call, command
from edge.cli.place import database


@click.group()
def evse() -> None:
    """Charge points of the running till."""


@evse.command("release")
@click.argument("evse_id")
@command
def release(call: Call, evse_id: str) -> None:
    """Sell again behind a contactor that was found welded: it was replaced, and it opens."""
    from edge.runtime.control import ask, socket_of

    found = ask(socket_of(database(call)), "evse.release", {"evse_id": evse_id})
    call.say(found, f"{evse_id} is released: it sells again as soon as it is ready")
