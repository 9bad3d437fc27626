"""`chargetill backoffice member|tariff`: what every device of a site is told."""

from __future__ import annotations

from codecs import BOM_UTF8
from datetime import datetime
from pathlib import Path
from typing import Literal

import click
import msgspec

from edge.cli.books import checked, config_option, currency_option, db_option, open_orders
from edge.cli.call import Call, command, table
from edge.errors import CallError, InputError

_site = click.option("--site", required=True, help="the site whose devices it is for")


class _FileUnreadable(CallError):
    code = "call.file"
    hint = "does the file exist and may it be read?"


@click.group("member")
def member() -> None:
    """Who may charge on account, by token: a keyed hash of the card, the same on every charger."""


@member.command("add")
@_site
@click.option("--token", required=True, help="64 hex digits: the card's HMAC under the operator's key")
@click.option("--account", required=True, help="whose account")
@click.option("--limit-minor", type=click.IntRange(1, 100_000_000), required=True, help="for one session")
@currency_option
@click.option("--group", default="", help="as plans name it under `groups`")
@click.option(
    "--invoice",
    type=click.Choice(["session", "collective"]),
    default="session",
    show_default=True,
    help="one for each session, or one a month",
)
@click.option(
    "--buyer",
    "buyer_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSON of who is named on invoices",
)
@click.option(
    "--valid-until",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z"]),
    help="such as 2027-01-01T00:00:00+01:00: from then on the card starts nothing",
)
@db_option
@config_option
@command
def add(  # noqa: PLR0913, PLR0917  (one per option)
    call: Call,
    site: str,
    token: str,
    account: str,
    limit_minor: int,
    currency: str,
    group: str,
    invoice: Literal["session", "collective"],
    buyer_file: Path | None,
    valid_until: datetime | None,
    db_here: Path | None,
    config_here: Path | None,
) -> None:
    """Add or change a member, and tell the devices."""
    from edge.cli.buyer import read_buyer
    from edge.sync.contract.orders import ListedMember

    listed = checked(
        ListedMember(
            token=token,
            account=account,
            limit_minor=limit_minor,
            currency=currency,
            group=group,
            invoice=invoice,
            buyer=None if buyer_file is None else read_buyer(buyer_file),
            valid_until=valid_until,
        )
    )
    with open_orders(call, db_here, config_here) as orders:
        orders.put_members(site, [listed])
        version = orders.publish_members(site)
    call.say({"site": site, "version": version}, f"member list {version} of {site}")


@member.command("block")
@_site
@click.option("--token", required=True, help="64 hex digits")
@db_option
@config_option
@command
def block_member(call: Call, site: str, token: str, db_here: Path | None, config_here: Path | None) -> None:
    """Block a card, whether it is a member's or not, and tell the devices."""
    from edge.sync.contract.orders import ListedMember

    with open_orders(call, db_here, config_here) as orders:
        known = next((m for m in orders.members(site) if m.token == token), ListedMember(token=token))
        orders.put_members(site, [checked(msgspec.structs.replace(known, blocked=True))])
        version = orders.publish_members(site)
    call.say({"site": site, "version": version}, f"member list {version} of {site}")


@member.command("remove")
@_site
@click.option("--token", required=True, help="64 hex digits")
@db_option
@config_option
@command
def remove(call: Call, site: str, token: str, db_here: Path | None, config_here: Path | None) -> None:
    """Forget a member here and at the devices."""
    with open_orders(call, db_here, config_here) as orders:
        if not orders.remove_members(site, [token]):
            raise InputError("no such member", hint="`backoffice member list` shows them")
        version = orders.publish_members(site)
    call.say({"site": site, "version": version}, f"member list {version} of {site}")


@member.command("import")
@_site
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@db_option
@config_option
@command
def import_members(call: Call, site: str, file: Path, db_here: Path | None, config_here: Path | None) -> None:
    """Add or change many: NDJSON of {"token","account","limit_minor","currency","group"?,"blocked"?,"valid_until"?}."""
    from edge.sync.contract.orders import ListedMember

    decoder = msgspec.json.Decoder(ListedMember)
    listed = []
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                told = line.removeprefix(BOM_UTF8).strip()
                if not told:
                    continue
                try:
                    listed.append(decoder.decode(told))
                except msgspec.DecodeError as e:
                    raise InputError(f"{file}, line {number}: {e}") from e
    except OSError as e:
        raise _FileUnreadable(f"{file}: {e.strerror}") from e
    with open_orders(call, db_here, config_here) as orders:
        orders.put_members(site, listed)
        version = orders.publish_members(site)
    found = {"site": site, "version": version, "members": len(listed)}
    call.say(found, f"{len(listed)} members, list {version} of {site}")


@member.command("list")
@_site
@db_option
@config_option
@command
def members(call: Call, site: str, db_here: Path | None, config_here: Path | None) -> None:
    """The members of a site."""
    with open_orders(call, db_here, config_here) as orders:
        found = orders.members(site)
    rows = [msgspec.structs.asdict(m) for m in found]
    columns = ("token", "account", "limit_minor", "currency", "group", "blocked", "valid_until", "invoice")
    call.say(found, table(rows, columns))


@click.group("tariff")
def tariff() -> None:
    """The tariff that a site's devices sell by."""


@tariff.command("publish")
@_site
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@db_option
@config_option
@command
def publish(call: Call, site: str, file: Path, db_here: Path | None, config_here: Path | None) -> None:
    """Check a tariff and send it to every device of a site."""
    from edge.domain.tariffs import freeze
    from edge.sync.contract.orders import PublishTariff

    try:
        document = file.read_bytes()
    except OSError as e:
        raise _FileUnreadable(f"{file}: {e.strerror}") from e
    frozen = freeze(document)
    with open_orders(call, db_here, config_here) as orders:
        version = orders.publish(site, checked(PublishTariff(document=document.decode())))
    found = {"site": site, "version": version, "hash": frozen.hash}
    call.say(found, f"tariff {version} of {site}, hash {frozen.hash}")


@click.group("plans")
def plans() -> None:
    """The plans of a site's members."""


@plans.command("publish")
@_site
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@db_option
@config_option
@command
def publish_plans(call: Call, site: str, file: Path, db_here: Path | None, config_here: Path | None) -> None:
    """Check a JSON list of plans and send it to every device of a site, in place of the one before."""
    from edge.runtime.plans import load_plans
    from edge.sync.contract.orders import PublishPlans

    count = len(load_plans(file))
    with open_orders(call, db_here, config_here) as orders:
        version = orders.publish(site, checked(PublishPlans(document=file.read_text(encoding="utf-8"))))
    found = {"site": site, "version": version, "plans": count}
    call.say(found, f"plans {version} of {site}: {count}")
