"""`chargetill backoffice erase`: who somebody was, on request."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.books import config_option, database, db_option, open_orders
from edge.cli.call import NO, Call, command

if TYPE_CHECKING:
    from edge.backoffice.orders import Orders
    from edge.backoffice.privacy import Asked
    from edge.sync.contract.orders import Reply

#: Between two looks at the books for answers.
_LOOK_S = 0.2


@click.command("erase")
@click.option("--token", help="the token (64 hex digits) that stands for a card")
@click.option("--account", help="everything of an account")
@click.option("--buyers", is_flag=True, help="with --account: also who is named on its invoices")
@click.option("--wait-s", type=click.IntRange(1, 3600), help="wait for the devices' answers, and give them")
@db_option
@config_option
@command
def erase(
    call: Call,
    token: str | None,
    account: str | None,
    buyers: bool,
    wait_s: int | None,
    db_here: Path | None,
    config_here: Path | None,
) -> None:
    """Erase a member from the lists here, and from the tables of every device. All journals verify as before.

    Each device gets a signed order, which is sent until it is answered; `backoffice stats` counts those that wait, and
    run again this command asks again. Exit 1 when nothing was found and nobody was asked; with --wait-s also when a
    device has not confirmed it.
    """
    from edge.backoffice.privacy import erase as erase_now
    from edge.cli.books import checked
    from edge.sync.contract.orders import Erase

    checked(Erase(token=token, account=account, buyers=buyers))
    with open_orders(call, db_here, config_here) as orders:
        done = erase_now(
            database(call, db_here, config_here), orders, token=token, account=account, buyers=buyers
        )
        replies = _answers(orders, done.devices, 0 if wait_s is None else wait_s)
    found = {
        "members": done.members,
        "buyers": done.buyers,
        "orders": done.orders,
        "sites": done.sites,
        "devices": [_told(asked, reply) for asked, reply in zip(done.devices, replies, strict=True)],
    }
    lines = [f"erased: {done.members} members, {done.buyers} buyers, {done.orders} orders"]
    lines += [_line(asked, reply) for asked, reply in zip(done.devices, replies, strict=True)]
    call.say(found, "\n".join(lines))
    confirmed = all(reply is not None and reply.ok for reply in replies)
    if not (done.members or done.buyers or done.orders or done.devices) or (wait_s and not confirmed):
        raise click.exceptions.Exit(NO)


def _answers(orders: Orders, devices: tuple[Asked, ...], wait_s: int) -> list[Reply | None]:
    from edge.sync.contract.topics import peer

    ends = time.monotonic() + wait_s
    while True:
        found = [orders.reply(peer(asked.site, asked.device), asked.version) for asked in devices]
        if None not in found or time.monotonic() >= ends:
            return found
        time.sleep(_LOOK_S)


def _told(asked: Asked, reply: Reply | None) -> dict[str, Any]:
    return {
        "site": asked.site,
        "device": asked.device,
        "version": asked.version,
        "ok": None if reply is None else reply.ok,
        "result": None if reply is None else reply.result,
        "error": None if reply is None else reply.error,
    }


def _line(asked: Asked, reply: Reply | None) -> str:
    name = f"{asked.site}/{asked.device}"
    if reply is None:
        return f"{name}: order {asked.version} is on its way"
    if reply.error is not None:
        return f"{name}: {reply.error.code}: {reply.error.message} ({reply.error.hint})"
    result = reply.result if isinstance(reply.result, dict) else {}
    still = result.get("open_sessions")
    more = f"; {still} sessions are open and keep theirs: erase again when they have ended" if still else ""
    return f"{name}: confirmed, {result.get('sessions')} sessions and {result.get('members')} members{more}"
