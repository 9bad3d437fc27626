"""`chargetill decommission`: the last thing that a till does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.call import NO, Call, command
from edge.cli.daemon import change
from edge.cli.place import config_file, database

if TYPE_CHECKING:
    from edge.config import Config
    from edge.domain.instant import Instant
    from edge.store.store import Store

#: Beyond the deadline: for the daemon's last commits.
_GRACE_S = 30.0


_HAND_IN = "end its day at the terminal, or the money does not come"

#: What is left to do by hand; the second run removes the lists of members, which a till that runs still reads.
_NEXT = "next: systemctl disable --now chargetill; then this command once more"


@click.command("decommission")
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--reason", default="asked", show_default=True, help="as it stands in the journal")
@click.option(
    "--within", "within_s", type=click.FloatRange(0, 3600), default=60.0, show_default=True, help="seconds"
)
@click.option("--stop-sessions", is_flag=True, help="end running sessions now instead of waiting for them")
@click.option(
    "--unacknowledged", is_flag=True, help="go on although the back office does not have everything"
)
@click.option("--destroy-keys", is_flag=True, help="remove this device's keys once everything is handed over")
@command
def decommission(
    call: Call,
    folder: Path | None,
    reason: str,
    within_s: float,
    *,
    stop_sessions: bool,
    unacknowledged: bool,
    destroy_keys: bool,
) -> None:
    """Sell no more, wait until the back office has everything, and hand the ledger over into FOLDER.

    Waits for running sessions, their money and refunds; what is left at the deadline is named, and the till sells on.
    FOLDER (default: `handover` beside the database) gets the database, the export of its journal, the public key and
    the report of `ledger verify`. Interrupted or run again it goes on where it was. Only provisioning lets the till
    sell again.
    """
    source = database(call)
    done = _finished(call, source)
    if done is None:
        order = {
            "reason": reason,
            "within_s": within_s,
            "stop_sessions": stop_sessions,
            "unacknowledged": unacknowledged,
        }

        def offline(store: Store, at: Instant) -> Any:
            return _last_word(call, store, at, reason=reason, unacknowledged=unacknowledged)

        done = change(call, "decommission", order, offline=offline, timeout_s=within_s + _GRACE_S)
    _hand_over(call, done, source, folder=folder or source.with_name("handover"), destroy_keys=destroy_keys)


def _hand_over(call: Call, done: dict[str, Any], source: Path, *, folder: Path, destroy_keys: bool) -> None:
    from edge.provision.retire import destroy, hand_over, keys_of, lists_of

    handed = hand_over(source, folder)
    problems, acknowledged = handed.report.problems, bool(done["acknowledged"])
    captures = int(done["captures_not_handed_in"])
    gone: tuple[Path, ...] = ()
    if destroy_keys and acknowledged and not problems:
        config = _config(call)
        gone = destroy(keys_of(config))
        if not _runs(source):
            gone += destroy(lists_of(config))
    extent = "all acknowledged" if acknowledged else "not all acknowledged: run this again when it is"
    lines = [
        f"decommissioned: epoch {done['epoch']}, {done['entries']} entries, {extent}",
        *(str(f) for f in handed.files),
        *(f"to be paid back by the operator: {ref}" for ref in done["refunds_due"]),
        *([f"{captures} captures since the terminal's last end of day: {_HAND_IN}"] if captures else []),
        *(f"problem: {p}" for p in problems),
        *(f"destroyed: {f}" for f in gone),
    ]
    if destroy_keys:
        kept = problems or not acknowledged
        lines.append(
            "the keys stay until that is mended" if kept else "next: systemctl disable --now chargetill"
        )
    answer = {
        **done,
        "files": [str(f) for f in handed.files],
        "problems": problems,
        "keys_destroyed": [str(f) for f in gone],
    }
    call.say(answer, "\n".join(lines))
    if problems or not acknowledged:
        raise click.exceptions.Exit(NO)


def _finished(call: Call, source: Path) -> dict[str, Any] | None:
    """A ledger with an acknowledged last word needs neither daemon nor key any more; None for all others."""
    from edge.store.epochs import DECOMMISSIONED
    from edge.store.outstanding import outstanding
    from edge.store.reading import Reading

    with Reading(source):  # a till's, and no other database
        left = outstanding(source)
    if left.closed != DECOMMISSIONED or (left.waiting and _config(call).mqtt is not None):
        return None
    return {
        "epoch": left.epoch,
        "entries": left.entries,
        "acknowledged": True,
        "refunds_due": list(left.due),
        "captures_not_handed_in": left.captures,
    }


def _last_word(call: Call, store: Store, at: Instant, *, reason: str, unacknowledged: bool) -> dict[str, Any]:
    """Without a daemon nothing can be sent: everything has to be acknowledged already, or there is no back office."""
    from edge.runtime.keeper import NotAcknowledged, require_settled
    from edge.store.epochs import DECOMMISSIONED
    from edge.store.outstanding import outstanding

    sends = _config(call).mqtt is not None
    left = outstanding(store.path)
    require_settled(left)
    if sends and left.waiting and not unacknowledged and store.closed != DECOMMISSIONED:
        raise NotAcknowledged(
            f"{left.waiting} entries wait for the back office",
            hint="start the till, which sends them; --unacknowledged hands over what the back office does not have",
        )
    store.decommission(reason, at).result()
    return {
        "epoch": store.head.epoch,
        "entries": store.head.seq,
        "acknowledged": not sends,
        "refunds_due": list(left.due),
        "captures_not_handed_in": left.captures,
    }


def _runs(source: Path) -> bool:
    """Whether a till has this database."""
    from edge.store.store import StoreInUse, take_lock

    try:
        os.close(take_lock(source))
    except StoreInUse:
        return True
    return False


def _config(call: Call) -> Config:
    from edge import inventory

    return inventory.load(config_file(call))
