"""`chargetill ledger restore`, `new-epoch`, `rotate-key` and `prune`: what changes the journal's place or its key."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.call import Call, command
from edge.cli.daemon import change
from edge.cli.place import config_file

if TYPE_CHECKING:
    from edge.domain.instant import Instant
    from edge.store.store import Store

#: Each step of a pruning is a commit; a backlog of 200,000 entries takes a hundred of them, on a slow card.
_PRUNE_MAX_S = 600.0


@click.command("restore")
@click.argument("backup", metavar="F", type=click.Path(path_type=Path))
@click.option(
    "--force", is_flag=True, help="also over a ledger that holds more, and from a backup with problems"
)
@command
def restore(call: Call, backup: Path, force: bool) -> None:
    """Bring the backup F back and open a new epoch. The daemon must not run.

    What stands in its place is laid aside under another name. A ledger that holds more than the backup is refused,
    unless it cannot be read.
    """
    from edge import inventory
    from edge.store.epochs import Owner
    from edge.store.keys import load_or_make
    from edge.store.restoring import restore as bring_back

    config = inventory.load(config_file(call))
    done = bring_back(
        backup,
        call.db or config.database,
        key=load_or_make(config.key),
        owner=Owner(site=config.device.site, device=config.device.name),
        prefix=config.invoice.prefix,
        at=inventory.make_clock(config).now(),
        force=force,
    )
    lines = [f"epoch {done.epoch}, after entry {done.previous_upto} of epoch {done.previous_epoch}"]
    if done.sessions_closed:
        lines.append(
            f"{done.sessions_closed} sessions were open in the backup: they are closed as it knew them"
        )
    if done.laid_aside is not None:
        lines.append(f"laid aside: {done.laid_aside}")
    call.say(done, "\n".join(lines))


@click.command("new-epoch")
@command
def new_epoch(call: Call) -> None:
    """Go on in a new epoch, which sells again after the back office found the journal rolled back.

    What the back office could not take in the old epoch is carried along.
    """

    def offline(store: Store, at: Instant) -> Any:
        return store.open_epoch("new_epoch", at).result()

    done = _plain(change(call, "ledger.new_epoch", {}, offline=offline))
    text = f"epoch {done['epoch']} follows {done['previous']}"
    if done["carried"]:
        text += f" and carries {done['carried']} of its entries"
    call.say(done, text)


@click.command("rotate-key")
@command
def rotate_key(call: Call) -> None:
    """Make a new ledger key, signed by the one in force; `ledger verify --public-key` follows from the old one."""

    def offline(store: Store, at: Instant) -> Any:
        return {"key_id": store.rotate_key(at).result()}

    done = _plain(change(call, "ledger.rotate_key", {}, offline=offline))
    call.say(done, f"key {done['key_id']} signs from here on")


@click.command("prune")
@command
def prune(call: Call) -> None:
    """Let go now of what may go: acknowledged, old enough by [ledger], and needed by nothing open."""

    def offline(store: Store, at: Instant) -> Any:
        from edge import inventory
        from edge.store.epochs import Owner
        from edge.store.pruning import Retention, cut, note_acknowledged, plan

        config = inventory.load(config_file(call))
        owner = Owner(site=config.device.site, device=config.device.name)
        retention = Retention(keep_days=config.ledger.keep_days, entries_max=config.ledger.entries_max)
        store.submit(lambda tx: note_acknowledged(tx, at.utc)).result()
        gone = 0
        while (found := plan(store.path, retention, at.utc)) is not None:
            gone += store.submit(partial(cut, found=found, owner=owner, at=at)).result()
        return {"pruned": gone}

    done = _plain(change(call, "ledger.prune", {}, offline=offline, timeout_s=_PRUNE_MAX_S))
    call.say(done, f"{done['pruned']} entries pruned")


def _plain(answer: Any) -> dict[str, Any]:
    import msgspec

    plain = msgspec.to_builtins(answer)
    assert isinstance(plain, dict)
    return plain
