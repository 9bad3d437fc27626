"""`chargetill backoffice access|device`: who may connect, and what one device is ordered to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from edge.cli.books import checked, config_option, database, db_option, open_orders
from edge.cli.call import Call, command, table
from edge.errors import InputError

if TYPE_CHECKING:
    from edge.sync.contract.orders import Command


@click.command("access")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", "hosts", multiple=True, required=True, help="the broker's names and addresses")
@click.option("--port", type=click.IntRange(1, 65535), default=8883, show_default=True)
@command
def access(call: Call, folder: Path, hosts: tuple[str, ...], port: int) -> None:
    """Make a CA, the broker's and the back office's certificates, and mosquitto's configuration with its rules."""
    from edge.backoffice.access import Authority

    authority = Authority.open(folder)
    authority.issue_broker(hosts)
    authority.issue_backoffice()
    conf = authority.write_mosquitto(port)
    found = {"folder": str(folder), "mosquitto": str(conf), "devices": len(authority.devices())}
    call.say(found, f"mosquitto -c {conf}")


@click.group("device")
def device() -> None:
    """The chargers that this back office knows."""


@device.command("enroll")
@click.argument("site", required=False)
@click.argument("name", required=False)
@click.option(
    "--request", type=click.Path(path_type=Path), help="what `chargetill provision` wrote on the device"
)
@click.option("--access", "folder", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8883, show_default=True)
@command
def enroll(
    call: Call, site: str | None, name: str | None, request: Path | None, folder: Path, port: int
) -> None:
    """Issue a device's certificate and let it in; tell mosquitto with SIGHUP.

    With --request the key stays on the device; SITE and NAME, where given, have to be the request's.
    """
    from edge.backoffice.access import Authority
    from edge.backoffice.enrollment import enrolled
    from edge.sync.contract.topics import peer

    authority = Authority.open(folder)
    if request is not None:
        found = enrolled(authority, request, expected=(site, name))
        authority.write_mosquitto(port)
        call.say(found, f"take back to the device: {found['answer']}, then SIGHUP to mosquitto")
        return
    if site is None or name is None:
        raise InputError("which device?", hint="give SITE and NAME, or --request FILE")
    certificate = authority.issue_device(peer(site, name))
    authority.write_mosquitto(port)
    found = {
        "site": site,
        "device": name,
        "ca": str(folder / "ca.pem"),
        "cert": str(certificate),
        "key": str(certificate.with_suffix(".key")),
    }
    text = f"copy to the device: {found['ca']} {found['cert']} {found['key']}, then SIGHUP to mosquitto"
    call.say(found, text)


@device.command("list")
@db_option
@config_option
@command
def devices(call: Call, db_here: Path | None, config_here: Path | None) -> None:
    """Each device with what it said last."""
    from edge.backoffice.stats import collect

    found = collect(database(call, db_here, config_here)).devices
    columns = ("site", "device", "online", "state_at", "entries", "sessions", "invoices", "quarantined")
    rows = [{column: getattr(d, column) for column in columns} for d in found]
    call.say(rows, table(rows, columns))


def _order(
    call: Call, site: str, name: str, body: Command, *, good_for_s: int | None, where: tuple[Path | None, ...]
) -> None:
    from edge.sync.contract.topics import peer

    with open_orders(call, *where) as orders:
        version = orders.command(peer(site, name), body, good_for_s=good_for_s)
    found = {"site": site, "device": name, "stream": "cmd", "version": version}
    call.say(
        found, f"order {version} for {site}/{name}; `backoffice device orders {site} {name}` shows its answer"
    )


_good_for = click.option(
    "--good-for-s", type=click.IntRange(1, 31_536_000), help="forget it when it was not carried out by then"
)


@device.command("start")
@click.argument("site")
@click.argument("name")
@click.option("--evse", "evse_id", required=True)
@click.option("--account", required=True)
@click.option("--limit-minor", type=click.IntRange(1, 100_000_000), required=True)
@click.option("--currency", default="EUR", show_default=True)
@_good_for
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
    with open_orders(call, db_here, config_here) as orders:
        version, authorization_id = orders.start(
            peer(site, name),
            evse_id=evse_id,
            account=account,
            limit_minor=limit_minor,
            currency=currency,
            good_for_s=good_for_s or _START_S,
        )
    found = {
        "site": site,
        "device": name,
        "stream": "cmd",
        "version": version,
        "authorization_id": authorization_id,
    }
    call.say(found, f"order {version} for {site}/{name}, permission {authorization_id}")


#: A driver who waits longer than this has gone.
_START_S = 120


@device.command("stop")
@click.argument("site")
@click.argument("name")
@click.argument("session")
@_good_for
@db_option
@config_option
@command
def stop(
    call: Call,
    site: str,
    name: str,
    session: str,
    good_for_s: int | None,
    db_here: Path | None,
    config_here: Path | None,
) -> None:
    """Stop a session."""
    from edge.sync.contract.orders import RemoteStop

    body = checked(RemoteStop(session_id=session))
    _order(call, site, name, body, good_for_s=good_for_s, where=(db_here, config_here))


@device.command("block")
@click.argument("site")
@click.argument("name")
@click.option("--evse", "evse_id", required=True)
@click.option("--reason", required=True)
@click.option("--stop", "stop_session", is_flag=True, help="end a running session now")
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
    db_here: Path | None,
    config_here: Path | None,
) -> None:
    """Sell nothing on an EVSE until it is unblocked; a running session goes on unless told otherwise."""
    from edge.sync.contract.orders import BlockEvse

    body = checked(BlockEvse(evse_id=evse_id, reason=reason, stop_session=stop_session))
    _order(call, site, name, body, good_for_s=None, where=(db_here, config_here))


@device.command("unblock")
@click.argument("site")
@click.argument("name")
@click.option("--evse", "evse_id", required=True)
@db_option
@config_option
@command
def unblock(
    call: Call, site: str, name: str, evse_id: str, db_here: Path | None, config_here: Path | None
) -> None:
    """Sell on an EVSE again."""
    from edge.sync.contract.orders import UnblockEvse

    body = checked(UnblockEvse(evse_id=evse_id))
    _order(call, site, name, body, good_for_s=None, where=(db_here, config_here))


@device.command("credit")
@click.argument("site")
@click.argument("name")
@click.argument("invoice")
@click.option("--reason", required=True)
@db_option
@config_option
@command
def credit(
    call: Call,
    site: str,
    name: str,
    invoice: str,
    reason: str,
    db_here: Path | None,
    config_here: Path | None,
) -> None:
    """Have the device credit one of its invoices."""
    from edge.sync.contract.orders import Credit

    body = checked(Credit(invoice_number=invoice, reason=reason))
    _order(call, site, name, body, good_for_s=None, where=(db_here, config_here))


@device.command("orders")
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


@device.command("orders-key")
@db_option
@config_option
@command
def orders_key(call: Call, db_here: Path | None, config_here: Path | None) -> None:
    """The public key that devices must know to obey: [mqtt] orders_keys."""
    from edge.backoffice.orders import orders_key as key_of

    key = key_of(database(call, db_here, config_here))
    call.say({"key_id": key.key_id, "public_key": key.public_hex}, key.public_hex)
