"""`chargetill sync`: the queue upstream."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.cli.call import CONFIG_DEFAULT, Call, command
from edge.cli.figures import age, block, counted

if TYPE_CHECKING:
    from edge.sync.uplink.queue import QueueStatus


@click.group()
def sync() -> None:
    """The way of the journal to the back office."""


@sync.command("status")
@click.option("--config", "config_here", type=click.Path(path_type=Path), help=f"default {CONFIG_DEFAULT}")
@click.option("--db", "db_here", type=click.Path(path_type=Path), help="the till's database")
@command
def status(call: Call, config_here: Path | None, db_here: Path | None) -> None:
    """What is acknowledged, what waits and for how long, what is refused, and which brokers are configured."""
    from edge.store.reading import Reading
    from edge.sync.uplink.queue import queue_status

    database, brokers = _where(config_here or call.config, db_here or call.db)
    with Reading(database):  # a till's, and no other database
        pass
    found = queue_status(database, brokers=brokers, now=datetime.now(UTC))
    call.say(found, block(_told(found)))


def _told(found: QueueStatus) -> Iterator[tuple[str, str]]:
    """The queue in the order in which one asks: does anything wait, since when, and for whom?"""
    since = "" if found.oldest_waiting_s is None else f", the oldest for {age(found.oldest_waiting_s)}"
    yield "waiting", f"{counted(found.waiting, 'entry', 'entries')}{since}" if found.waiting else "nothing"
    yield "acknowledged", f"{found.acknowledged:,} of {counted(found.entries, 'entry', 'entries')}"
    if (refused := found.newest_refused) is not None:
        told = counted(found.refused, "entry", "entries")
        yield "refused", f"{told}, the newest {refused.seq} of {refused.epoch}: {refused.reason}"
    for epoch in found.epochs:
        yield "epoch", f"{epoch.epoch}: {epoch.acknowledged:,} of {epoch.entries:,}"
    yield "head", "-" if found.head is None else f"{found.head.seq} {found.head.hash}"
    for broker in found.brokers or ("-",):
        yield "broker", broker


def _where(config: Path | None, db: Path | None) -> tuple[Path, tuple[str, ...] | None]:
    """The database and the brokers; a database alone says nothing of brokers. Raises ConfigError."""
    if db is not None and config is None and not CONFIG_DEFAULT.exists():
        return db, None
    from edge import config as configuration
    from edge.inventory import kinds

    loaded = configuration.load(config or CONFIG_DEFAULT, kinds())
    brokers = tuple(getattr(loaded.mqtt, "brokers", ()))
    return db or loaded.database, brokers
