"""`chargetill decommission`: the last thing that a till does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.call import NO, Call, command
from edge.cli.daemon import change
from edge.cli.place import config_file, database
from edge.errors import TillError

if TYPE_CHECKING:
    from edge.domain.instant import Instant
    from edge.domain.ledger.checks import Report
    from edge.store.store import Store

#: Beyond the deadline: for the daemon's last commits.
_GRACE_S = 30.0


class HandoverFailed(TillError):
    code = "decommission.handover"
    hint = "the till sells no more; run this again with a folder that can be written"


@click.command("decommission")
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--reason", default="asked", show_default=True, help="as it stands in the journal")
@click.option(
    "--within", "within_s", type=click.FloatRange(0, 3600), default=60.0, show_default=True, help="seconds"
)
@click.option(
    "--unacknowledged", is_flag=True, help="go on although the back office does not have everything"
)
@command
def decommission(call: Call, folder: Path | None, reason: str, within_s: float, unacknowledged: bool) -> None:
    """Sell no more, wait until the back office has everything, and hand the ledger over into FOLDER.

    Refused while a session is open. FOLDER (default: `handover` beside the database) gets the database, the export
    of its journal and the report of `ledger verify`. Run again it hands over once more. Only provisioning lets the
    till sell again.
    """

    def offline(store: Store, at: Instant) -> Any:
        return _last_word(call, store, at, reason=reason, unacknowledged=unacknowledged)

    order = {"reason": reason, "within_s": within_s, "unacknowledged": unacknowledged}
    done = change(call, "decommission", order, offline=offline, timeout_s=within_s + _GRACE_S)
    source = database(call)
    report, files = _hand_over(source, folder or source.with_name("handover"))
    answer = {**done, "files": [str(f) for f in files], "problems": report.problems}
    extent = "all" if done["acknowledged"] else "not all"
    lines = [
        f"decommissioned: epoch {done['epoch']}, {done['entries']} entries, {extent} acknowledged",
        *(str(f) for f in files),
        *(f"problem: {p}" for p in report.problems),
    ]
    call.say(answer, "\n".join(lines))
    if report.problems or not done["acknowledged"]:
        raise click.exceptions.Exit(NO)


def _last_word(call: Call, store: Store, at: Instant, *, reason: str, unacknowledged: bool) -> dict[str, Any]:
    """Without a daemon nothing can be sent: everything has to be acknowledged already, or there is no back office."""
    from edge import inventory
    from edge.runtime.keeper import NotAcknowledged, SessionsOpen
    from edge.store.reading import Reading

    sends = inventory.load(config_file(call)).mqtt is not None
    with Reading(store.path) as till:
        stats = till.stats()
        running = [s["session_id"] for s in till.sessions() if s["status"] != "ended"]
    if running or stats["open_holds"]:
        held = [h["session_id"] for h in stats["open_holds"]]
        names = ", ".join(dict.fromkeys([*running, *held]))
        raise SessionsOpen(f"sessions are open: {names}", hint="start the till, which settles them")
    if sends and stats["waiting"] and not unacknowledged and store.closed != "decommissioned":
        raise NotAcknowledged(
            f"{stats['waiting']} entries wait for the back office",
            hint="start the till, which sends them; --unacknowledged hands over what the back office does not have",
        )
    store.decommission(reason, at).result()
    return {"epoch": store.head.epoch, "entries": store.head.seq, "acknowledged": not sends}


def _hand_over(source: Path, folder: Path) -> tuple[Report, list[Path]]:
    """Everything that somebody needs who keeps the books from here on."""
    import msgspec

    from edge.store.backup import back_up
    from edge.store.reading import Reading
    from edge.store.verification import verify

    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        copy = back_up(source, folder / "till.db")
        export, verdict = folder / "ledger.ndjson", folder / "verify.json"
        with Reading(copy) as till:
            with _private(export) as out:
                anchor = till.anchor()
                if anchor is not None:
                    out.write(anchor.line + b"\n")
                out.writelines(entry.raw + b"\n" for entry in till.entries())
            report = verify(till)
        with _private(verdict) as out:
            out.write(msgspec.json.encode(report) + b"\n")
    except OSError as e:
        raise HandoverFailed(f"{folder}: {e.strerror}") from e
    return report, [copy, export, verdict]


def _private(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
