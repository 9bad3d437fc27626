"""`chargetill session`: what happened at this charger."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.call import Call, command, table
from edge.cli.figures import duration, kilowatt_hours, minute, money
from edge.cli.place import database


@click.group()
def session() -> None:
    """The charging sessions of this till."""


@session.command("list")
@command
def list_(call: Call) -> None:
    """All sessions, oldest first."""
    from edge.store.reading import Reading

    with Reading(database(call)) as db:
        rows = db.sessions()
    call.say(rows, _table(rows))


@session.command("show")
@click.argument("session_id")
@command
def show(call: Call, session_id: str) -> None:
    """One session with its journal entries; the start of its id is enough."""
    from edge.store.reading import Reading

    with Reading(database(call)) as db:
        found = db.session(session_id)
    lines = [
        f"{name.replace('_', ' '):16} {('no', 'yes')[value] if isinstance(value, bool) else value}"
        for name, value in found.items()
        if name != "events" and value is not None
    ]
    events = [f"  {e['epoch']}/{e['seq']}  {e['type']}" for e in found["events"]]
    call.say(found, "\n".join([*lines, "journal", *events]))


@session.command("stop")
@click.argument("session_id")
@command
def stop(call: Call, session_id: str) -> None:
    """End a running session, as if the driver had; the running till does it. The start of its id is enough."""
    from edge.runtime.control import ask, socket_of
    from edge.store.reading import Reading

    with Reading(database(call)) as db:
        found = db.session(session_id)
    done = ask(socket_of(database(call)), "session.stop", {"session_id": found["session_id"]})
    call.say(done, f"session {done['session_id']} is being stopped")


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "no sessions yet"
    shown = [
        {
            "session": row["session_id"][:8],
            "evse": row["evse_id"],
            "began (UTC)": minute(row["began_at"] or row["opened_at"]),
            "h:min": duration(row["began_at"], row["ended_at"]),
            "kWh": kilowatt_hours(row["energy_wh"]),
            "total": money(row["payable_minor"], row["currency"]),
            "outcome": row["outcome"] or row["status"],
            "stopped by": row["stop_reason"],
            "payment": row["payment_status"],
            "invoice": row["invoice_number"],
        }
        for row in rows
    ]
    return table(shown, tuple(shown[0]), right=("h:min", "kWh", "total"))
