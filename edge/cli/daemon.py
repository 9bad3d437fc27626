"""How a command that changes something reaches the till: through the running daemon, else on the database itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edge.cli.call import Call
from edge.cli.place import config_file, database

if TYPE_CHECKING:
    from edge.domain.instant import Instant
    from edge.store.store import Store


def change(
    call: Call,
    command: str,
    arguments: Mapping[str, Any],
    *,
    offline: Callable[[Store, Instant], Any],
    timeout_s: float = 60.0,
) -> Any:
    """The daemon's answer; without a daemon what `offline` does with the store. Raises TillError, StoreInUse."""
    from edge.runtime.control import DaemonAbsent, ask, socket_of

    try:
        return ask(socket_of(database(call)), command, arguments, timeout_s=timeout_s)
    except DaemonAbsent:
        with opened(call) as (store, now):
            return offline(store, now)


@contextmanager
def opened(call: Call) -> Iterator[tuple[Store, Instant]]:
    """The till's store, opened as the daemon does it, and the time by this computer's clock."""
    from edge import inventory
    from edge.store.epochs import Owner
    from edge.store.keys import load_or_make
    from edge.store.store import Store

    config = inventory.load(config_file(call))
    now = inventory.make_clock(config).now()
    store = Store.open(
        call.db or config.database,
        key=load_or_make(config.key),
        owner=Owner(site=config.device.site, device=config.device.name),
        prefix=config.invoice.prefix,
        now=now,
    )
    try:
        yield store, now
    finally:
        store.close()
