"""`chargetill backoffice device ...`: what one device is ordered to do, and what it answered."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from edge.cli.books import checked, config_option, currency_option, database, db_option, open_orders
from edge.cli.call import NO, Call, command, table
from edge.errors import InputError, SyncError

if TYPE_CHECKING:
    from edge.backoffice.orders import Orders
    from edge.sync.contract.orders import Command, Reply
    from edge.sync.contract.topics import Peer

#: Between two looks at the books for an answer.
_LOOK_S = 0.2

#: A driver who waits longer than this has gone.
_START_S = 120


class _Unanswered(SyncError):
    code = "order.unanswered"
    hint = "it is sent until it is answered, or no longer good; `backoffice device orders` shows that"


_good_for = click.option(
    "--good-for-s", type=click.IntRange(1, 31_536_000), help="forget it when it was not carried out by then"
)
_wait = click.option(
    "--wait-s", type=click.IntRange(1, 3600), help="wait for the device's answer, and give that"
)


def _order(
    call: Call,
    site: str,
    name: str,
    body: Command,
    *,
    good_for_s: int | None = None,
    wait_s: int | None,
    where: tuple[Path | None, ...],
) -> None:
    from edge.sync.contract.topics import peer

    device = peer(site, name)
    with open_orders(call, *where) as orders:
        version = orders.command(device, body, good_for_s=good_for_s)
        _say(call, orders, device, version, wait_s=wait_s)


def _say(call: Call, orders: Orders, device: Peer, version: int, *, wait_s: int | None, **more: Any) -> None:
    """The number of the order; with `wait_s` the answer, and exit 1 when it is no. Raises _Unanswered."""
    found = {"site": device.site, "device": device.device, "stream": "cmd", "version": version, **more}
    where = f"{device.site} {device.device}"
    if wait_s is None:
        call.say(found, f"order {version}; `backoffice device orders {where}` shows its answer")
        return
    reply = _answer(orders, device, version, wait_s)
    if reply.ok:
        result = reply.result
        lines = result.get("lines") if isinstance(result, dict) else None
        call.say(
            {**found, "ok": True, "result": result},
            "\n".join(lines) if lines is not None else f"order {version}: done",
        )
        return
    error = reply.error
    call.say(
        {**found, "ok": False, "error": error},
        f"order {version}: no" if error is None else f"{error.code}: {error.message} ({error.hint})",
    )
    sys.exit(NO)


def _answer(orders: Orders, device: Peer, version: int, wait_s: int) -> Reply:
    ends = time.monotonic() + wait_s
    while time.monotonic() < ends:
        reply = orders.reply(device, version)
        if reply is not None:
            return reply
        time.sleep(_LOOK_S)
    raise _Unanswered(f"{device.site}/{device.device} did not answer order {version} within {wait_s} s")


@click.command("start")
@click.argument("site")
@click.argument("name")
@click.option("--evse", "evse_id", required=True, help="its EVSE id, such as DE*CHT*E17")
@click.option("--account", required=True, help="whose account")
@click.option(
    "--limit-minor",
    type=click.IntRange(1, 100_000_000),
    required=True,
    help="what it may cost at most, in minor units (cents)",
)
@currency_option
@_good_for
@_wait
@db_option
@config_option
@command
def start(  # noqa: PLR0913, PLR0917  (one per option)
    call: Call,
    site: str,
    name: str,
    evse_id: str,
    account: str,
    limit_minor: int,
    currency: str,
    good_for_s: int | None,
    wait_s: int | None,
    db_here: Path | None,
    config_here: Path | None,
) -> None:
    """Let an account charge, as if its card had been tapped."""
    from edge.sync.contract.orders import RemoteStart
    from edge.sync.contract.topics import peer

    checked(
        RemoteStart(
            evse_id=evse_id, account=account, limit_minor=limit_minor, currency=currency, authorization_id="-"
        )
    )
    device = peer(site, name)
    with open_orders(call, db_here, config_here) as orders:
        version, authorization_id = orders.start(
            device,
            evse_id=evse_id,
            account=account,
            limit_minor=limit_minor,
            currency=currency,
            good_for_s=good_for_s or _START_S,
        )
        _say(call, orders, device, version, wait_s=wait_s, authorization_id=authorization_id)


@click.command("stop")
@click.argument("site")
@click.argument("name")
@click.argument("session")
@_good_for
@_wait
@db_option
@config_option
@command
def stop(
    call: Call,
    site: str,
    name: str,
    session: str,
    good_for_s: int | None,
    wait_s: int | None,
    db_here: Path | None,
    config_here: Path | None,
) -> None:
    """Stop a session."""
    from edge.sync.contract.orders import RemoteStop

    body = checked(RemoteStop(session_id=session))
    _order(call, site, name, body, good_for_s=good_for_s, wait_s=wait_s, where=(db_here, config_here))


@click.command("block")
@click.argument("site")
@click.argument("name")
@click.option("--evse", "evse_id", required=True, help="its EVSE id, such as DE*CHT*E17")
@click.option("--reason", required=True, help="why, as the journal says it")
@click.option("--stop", "stop_session", is_flag=True, help="end a running session now")
@_wait
@db_option
@config_option
@command
def block(
    call: Call,
    site: str,
    name: str,
    evse_id: str,
    reason: str,
    stop_session: bool,
    wait_s: int | None,
    db_here: Path | None,
    config_here: Path | None,
) -> None:
    """Sell nothing on an EVSE until it is unblocked; a running session goes on unless told otherwise."""
    from edge.sync.contract.orders import BlockEvse

    body = checked(BlockEvse(evse_id=evse_id, reason=reason, stop_session=stop_session))
    _order(call, site, name, body, wait_s=wait_s, where=(db_here, config_here))


@click.command("unblock")
@click.argument("site")
@click.argument("name")
@click.option("--evse", "evse_id", required=True, help="its EVSE id, such as DE*CHT*E17")
@_wait
@db_option
@config_option
@command
def unblock(
    call: Call,
    site: str,
    name: str,
    evse_id: str,
    wait_s: int | None,
    db_here: Path | None,
    config_here: Path | None,
) -> None:
    """Sell on an EVSE again."""
    from edge.sync.contract.orders import UnblockEvse

    body = checked(UnblockEvse(evse_id=evse_id))
    _order(call, site, name, body, wait_s=wait_s, where=(db_here, config_here))


@click.command("credit")
@click.argument("site")
@click.argument("name")
@click.argument("invoice")
@click.option("--reason", required=True, help="why, as the journal says it")
@_wait
@db_option
@config_option
@command
def credit(
    call: Call,
    site: str,
    name: str,
    invoice: str,
    reason: str,
    wait_s: int | None,
    db_here: Path | None,
    config_here: Path | None,
) -> None:
    """Have the device credit one of its invoices."""
    from edge.sync.contract.orders import Credit

    body = checked(Credit(invoice_number=invoice, reason=reason))
    _order(call, site, name, body, wait_s=wait_s, where=(db_here, config_here))


@click.command("logs")
@click.argument("site")
@click.argument("name")
@click.option("--lines", type=click.IntRange(1, 500), default=100, show_default=True, help="how many")
@click.option(
    "--wait-s",
    type=click.IntRange(1, 3600),
    default=30,
    show_default=True,
    help="how long the answer is waited for, seconds",
)
@db_option
@config_option
@command
def logs(
    call: Call,
    site: str,
    name: str,
    lines: int,
    wait_s: int,
    db_here: Path | None,
    config_here: Path | None,
) -> None:
    """The newest lines of a device's log, as far as they fit into one answer."""
    from edge.sync.contract.orders import SendLogs

    body = SendLogs(lines=lines)
    _order(call, site, name, body, good_for_s=wait_s, wait_s=wait_s, where=(db_here, config_here))


@click.command("configure")
@click.argument("site")
@click.argument("name")
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE...")
@_wait
@db_option
@config_option
@command
def configure(
    call: Call,
    site: str,
    name: str,
    values: tuple[str, ...],
    wait_s: int | None,
    db_here: Path | None,
    config_here: Path | None,
) -> None:
    """Change settings of a running device, such as session.plug_timeout_s=120; KEY= takes its own again."""
    from edge.sync.contract.orders import Configure

    body = checked(Configure(values=dict(map(_setting, values))))
    _order(call, site, name, body, wait_s=wait_s, where=(db_here, config_here))


def _setting(text: str) -> tuple[str, str | int | float | bool | None]:
    """`key=value`, the value as JSON where it is that. Raises InputError."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"{text!r} is not KEY=VALUE")
    if not value:
        return key, None
    try:
        return key, msgspec.json.decode(value, type=int | float | bool)
    except msgspec.DecodeError:
        return key, value


@click.command("orders")
@click.argument("site")
@click.argument("name")
@db_option
@config_option
@command
def ordered(call: Call, site: str, name: str, db_here: Path | None, config_here: Path | None) -> None:
    """The orders for a device and what it answered."""
    from edge.sync.contract.topics import peer

    with open_orders(call, db_here, config_here) as orders:
        found = orders.status(peer(site, name))
    rows = [
        {
            "version": o.version,
            "issued_at": o.issued_at,
            "order": msgspec.json.decode(o.order).get("do"),
            "done": None if o.reply is None else o.reply.ok,
            "error": None if o.reply is None or o.reply.error is None else o.reply.error.code,
        }
        for o in found
    ]
    call.say(found, table(rows, ("version", "issued_at", "order", "done", "error")))


@click.command("orders-key")
@db_option
@config_option
@command
def orders_key(call: Call, db_here: Path | None, config_here: Path | None) -> None:
    """The public key that devices must know to obey: [mqtt] orders_keys."""
    from edge.backoffice.orders import orders_key as key_of

    key = key_of(database(call, db_here, config_here))
    call.say({"key_id": key.key_id, "public_key": key.public_hex}, key.public_hex)


#: What `backoffice device` can order, beside what it is for itself.
COMMANDS = (start, stop, block, unblock, credit, logs, configure, ordered, orders_key)
