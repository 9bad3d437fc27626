"""Personal data beside the chain: what it is, how it is erased on request, and how it goes when its time is over.

The chain holds salted commitments and opaque accounts; without the rows that are erased here nobody can tell whose
they are. The chain verifies as before. Backups that were made earlier keep what they hold.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec.structs import replace

from edge.domain.session.state import EvseState
from edge.errors import CallError
from edge.store.transaction import Tx


class ErasureUnclear(CallError):
    code = "call.erase"
    hint = "name one of: a token, a session, an account"


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """Whose data: a token (the HMAC that stands for a card), one session, or everything of an account.

    `buyers`: also who is named on the invoices of these sessions; whoever keeps books may have to keep that.
    """

    token: str | None = None
    session_id: str | None = None
    account: str | None = None
    buyers: bool = False


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What went. `open_sessions` go on and keep theirs: ask again when they have ended.

    `tokens` are the tokens that are known here no longer, for parts of the till that have them in memory. `members`
    went from the back office's lists.
    """

    sessions: tuple[str, ...]
    open_sessions: tuple[str, ...]
    counters: int
    buyers: int
    tokens: tuple[str, ...]
    members: int = 0


def erase(tx: Tx, wanted: Erasure) -> Erased:
    """Erase in one commit; `Store.fold` afterwards empties the log too. Raises ErasureUnclear."""
    named = [v for v in (wanted.token, wanted.session_id, wanted.account) if v is not None]
    if len(named) != 1:
        raise ErasureUnclear(f"{len(named)} things are named")
    db = tx.connection
    found = _sessions(db, wanted)
    running = {s for (s,) in db.execute("SELECT session_id FROM session WHERE status != 'ended'")}
    over = [s for s in found if s not in running]
    tokens = _tokens(db, found) | ({wanted.token} if wanted.token is not None else set())
    if wanted.session_id is not None:
        tokens = set()  # one visit of a card that may come again
    _overwriting(db, on=True)
    try:
        buyers = _erase_buyers(db, over) if wanted.buyers else 0
        _delete(db, "DELETE FROM personal WHERE session_id IN (SELECT value FROM json_each(?))", over)
        counters = _delete(
            db, "DELETE FROM sun_counter WHERE token IN (SELECT value FROM json_each(?))", tokens
        )
        _forget_last(tx, tokens, over)
    finally:
        _overwriting(db, on=False)
    return Erased(
        sessions=tuple(over),
        open_sessions=tuple(s for s in found if s in running),
        counters=counters,
        buyers=buyers,
        tokens=tuple(sorted(tokens)),
    )


def expire(tx: Tx, before: datetime) -> int:
    """Erase the tokens of sessions that have ended and were opened before then; how many."""
    db = tx.connection
    over = [
        s
        for (s,) in db.execute(
            "SELECT session_id FROM personal JOIN session USING (session_id) "
            "WHERE status = 'ended' AND opened_at < ?",
            (before.isoformat(),),
        )
    ]
    if over:
        _overwriting(db, on=True)
        try:
            _delete(db, "DELETE FROM personal WHERE session_id IN (SELECT value FROM json_each(?))", over)
            _forget_last(tx, set(), over)
        finally:
            _overwriting(db, on=False)
    return len(over)


def has_expired(db: sqlite3.Connection, before: datetime) -> bool:
    """Whether `expire` has something to do; on any connection."""
    return (
        db.execute(
            "SELECT 1 FROM personal JOIN session USING (session_id) WHERE status = 'ended' AND opened_at < ? "
            "LIMIT 1",
            (before.isoformat(),),
        ).fetchone()
        is not None
    )


def _sessions(db: sqlite3.Connection, wanted: Erasure) -> list[str]:
    """An account's are those that were opened on it, and those that the back office granted to it."""
    rows = db.execute(
        "SELECT session_id FROM session LEFT JOIN personal USING (session_id) "
        "WHERE token = ? OR session_id = ? OR session.account = ? OR personal.account = ? ORDER BY opened_at",
        (wanted.token, wanted.session_id, wanted.account, wanted.account),
    )
    return [s for (s,) in rows]


def _tokens(db: sqlite3.Connection, sessions: Iterable[str]) -> set[str]:
    rows = db.execute(
        "SELECT DISTINCT token FROM personal WHERE session_id IN (SELECT value FROM json_each(?))",
        (_list(sessions),),
    )
    return {token for (token,) in rows}


def _erase_buyers(db: sqlite3.Connection, sessions: Iterable[str]) -> int:
    named = "SELECT json_extract(CAST(document AS TEXT), '$.draft.buyer') FROM invoice WHERE session_id IN"
    return _delete(
        db,
        f"DELETE FROM buyer WHERE commitment IN ({named} (SELECT value FROM json_each(?)))",  # noqa: S608  (ours)
        sessions,
    )


def forget_last(tx: Tx, erased: Erased) -> None:
    """The states of the EVSEs once more."""
    _forget_last(tx, set(erased.tokens), erased.sessions)


def _forget_last(tx: Tx, tokens: set[str], sessions: Iterable[str]) -> None:
    """The card of an EVSE's last session, which its state still names."""
    over = set(sessions)
    for evse_id, saved in tx.connection.execute("SELECT evse_id, state FROM evse").fetchall():
        state = msgspec.json.decode(bytes(saved), type=EvseState)
        if is_last(state, tokens, over):
            tx.save_evse(evse_id, msgspec.json.encode(replace(state, last=None)))


def is_last(state: EvseState, tokens: set[str], sessions: set[str]) -> bool:
    """Whether the EVSE still knows the card of its last session, and that is one of these."""
    last = state.last
    return last is not None and (last.token.value in tokens or last.finished.session_id in sessions)


def _delete(db: sqlite3.Connection, statement: str, names: Iterable[str]) -> int:
    return db.execute(statement, (_list(names),)).rowcount


def _list(names: Iterable[str]) -> str:
    return msgspec.json.encode(list(names)).decode()


def _overwriting(db: sqlite3.Connection, *, on: bool) -> None:
    """Deleted content is overwritten with zeros, not only given free."""
    db.execute(f"PRAGMA secure_delete = {'ON' if on else 'FAST'}").fetchone()
