"""`chargetill privacy`: personal data that this till keeps beside its journal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.call import NO, Call, command
from edge.cli.daemon import change

if TYPE_CHECKING:
    from collections.abc import Collection

    from edge.domain.instant import Instant
    from edge.store.store import Store


@click.group()
def privacy() -> None:
    """Personal data: kept for [privacy] token_days, and erased on request."""


@privacy.command("erase")
@click.option("--token", help="the token (64 hex digits) that stands for a card")
@click.option("--session", "session_id", help="one session")
@click.option("--account", help="every session of an account")
@click.option("--buyers", is_flag=True, help="also who is named on the invoices of these sessions")
@command
def erase(call: Call, token: str | None, session_id: str | None, account: str | None, buyers: bool) -> None:
    """Erase what says who it was. The journal holds commitments only: it verifies as before.

    The list of members that the back office sent forgets them too; what the device's own list says is its owner's.
    Exit 1 when nothing was found, or a session is still open and keeps its data until it has ended.
    """
    import msgspec
    from msgspec.structs import replace

    from edge.store.privacy import Erasure
    from edge.store.privacy import erase as erase_now

    wanted = Erasure(token=token, session_id=session_id, account=account, buyers=buyers)

    def offline(store: Store, _at: Instant) -> Any:
        erased = store.submit(lambda tx: erase_now(tx, wanted)).result()
        store.fold().result()
        return replace(erased, members=_erase_members(store.path, erased.tokens, account))

    if sum(v is not None for v in (token, session_id, account)) != 1:
        raise click.UsageError("give one of --token, --session and --account")
    found = msgspec.to_builtins(change(call, "privacy.erase", msgspec.to_builtins(wanted), offline=offline))
    answer = {
        "sessions": found["sessions"],
        "open_sessions": found["open_sessions"],
        "counters": found["counters"],
        "buyers": found["buyers"],
        **({"members": found["members"]} if found["members"] else {}),
    }
    counts = f"{found['counters']} counters, {found['buyers']} buyers"
    lines = [f"erased: {len(found['sessions'])} sessions, {counts}"]
    lines += [f"{found['members']} members of the back office's lists"] if found["members"] else []
    lines += [f"still open: {s}" for s in found["open_sessions"]]
    call.say(answer, "\n".join(lines))
    if found["open_sessions"] or not any(answer.values()):
        raise click.exceptions.Exit(NO)


def _erase_members(database: Path, tokens: Collection[str], account: str | None) -> int:
    """In the lists that the back office sent, where there are any."""
    from edge.sync.downlink import open_lists

    path = database.with_suffix(".lists.db")
    if not path.exists():
        return 0
    lists = open_lists(path)
    try:
        return lists.erase(tokens, account)
    finally:
        lists.close()
