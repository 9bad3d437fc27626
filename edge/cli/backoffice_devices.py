"""`chargetill backoffice access|device`: who may connect, and which devices there are."""

from __future__ import annotations

from pathlib import Path

import click

from edge.cli.books import DatabaseUnknown, config_option, database, db_option
from edge.cli.call import Call, command, table
from edge.errors import InputError

#: What whoever enrolls should know.
_NO_ORDERS = "no books were named (--db): the device obeys nobody that its own configuration does not name"


@click.command("access")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", "hosts", multiple=True, required=True, help="the broker's names and addresses")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8883, show_default=True, help="where the broker listens"
)
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
@click.option(
    "--access",
    "folder",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="the folder that `backoffice access` made",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8883, show_default=True, help="where the broker listens"
)
@db_option
@config_option
@command
def enroll(
    call: Call,
    site: str | None,
    name: str | None,
    request: Path | None,
    folder: Path,
    port: int,
    db_here: Path | None,
    config_here: Path | None,
) -> None:
    """Issue a device's certificate and let it in; tell mosquitto with SIGHUP.

    With --request the key stays on the device; SITE and NAME, where given, have to be the request's. With --db, or a
    configuration that names the database, the device also learns the key whose orders it shall obey.
    """
    from edge.backoffice.access import Authority
    from edge.backoffice.enrollment import enrolled
    from edge.sync.contract.topics import peer

    authority = Authority.open(folder)
    keys = _orders_keys(call, db_here, config_here)
    if request is not None:
        found = enrolled(authority, request, expected=(site, name), orders_keys=keys)
        authority.write_mosquitto(port)
        text = f"take back to the device: {found['answer']}, then SIGHUP to mosquitto"
        call.say(found, text if keys else f"{text}\n{_NO_ORDERS}")
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
        "orders_keys": list(keys),
    }
    text = f"copy to the device: {found['ca']} {found['cert']} {found['key']}, then SIGHUP to mosquitto"
    call.say(found, f"{text}\nits [mqtt] orders_keys: {keys[0]}" if keys else text)


def _orders_keys(call: Call, db_here: Path | None, config_here: Path | None) -> tuple[str, ...]:
    """Who signs for these books; nobody where none are named."""
    from edge.backoffice.orders import orders_key

    try:
        books = database(call, db_here, config_here)
    except DatabaseUnknown:
        return ()
    return (orders_key(books).public_hex,)


@device.command("revoke")
@click.argument("site")
@click.argument("name")
@click.option(
    "--access",
    "folder",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="the folder that `backoffice access` made",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8883, show_default=True, help="where the broker listens"
)
@command
def revoke(call: Call, site: str, name: str, folder: Path, port: int) -> None:
    """Let a device in no more: its certificates are on the revocation list; tell mosquitto with SIGHUP."""
    from edge.backoffice.access import Authority
    from edge.sync.contract.topics import peer

    authority = Authority.open(folder)
    count = authority.revoke(peer(site, name))
    authority.write_mosquitto(port)
    found = {"site": site, "device": name, "revoked": count, "list": str(folder / "revoked.pem")}
    call.say(found, f"{count} certificates revoked, then SIGHUP to mosquitto")


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
