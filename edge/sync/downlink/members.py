"""The members that the back office listed, as tables: a full list in parts, what changed since, and who was erased.

Statements only: whoever calls them holds the transaction, and knows what a list or its changes are for.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

import msgspec

from edge.domain.buyer import Invoicing
from edge.domain.identity import IdToken, Member
from edge.sync.contract.orders import ListedMember, MemberChanges, MemberPart

MEMBER_TABLES: Final = """
CREATE TABLE IF NOT EXISTS active (
    name TEXT PRIMARY KEY, version INTEGER NOT NULL, base INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS part (
    version INTEGER NOT NULL, part INTEGER NOT NULL, PRIMARY KEY (version, part)
) STRICT;
CREATE TABLE IF NOT EXISTS member (
    version INTEGER NOT NULL, token TEXT NOT NULL, account TEXT, limit_minor INTEGER NOT NULL,
    currency TEXT NOT NULL, member_group TEXT NOT NULL, blocked INTEGER NOT NULL, invoicing TEXT,
    valid_until TEXT,
    PRIMARY KEY (version, token)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS change (
    token TEXT PRIMARY KEY, removed INTEGER NOT NULL, account TEXT, limit_minor INTEGER NOT NULL,
    currency TEXT NOT NULL, member_group TEXT NOT NULL, blocked INTEGER NOT NULL, invoicing TEXT,
    valid_until TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS erased (digest TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""

#: Those whose rows are lists, and come again.
LISTED: Final = ("part", "member", "change")

#: Of the tables. Another version's are emptied: the lists come again, what was ordered does not.
VERSION: Final = 1

#: Rows of an outdated list that one commit removes: a short commit on an SD card.
SWEEP_ROWS: Final = 5000

_COLUMNS: Final = "account, limit_minor, currency, member_group, blocked, invoicing, valid_until"


def version_of(db: sqlite3.Connection, name: str) -> tuple[int, int | None]:
    """The version in force of what has this name, and the list that it is based on; 0 and None when there is none."""
    row = db.execute("SELECT version, base FROM active WHERE name = ?", (name,)).fetchone()
    return (0, None) if row is None else (row[0], row[1])


def activate(db: sqlite3.Connection, name: str, version: int, base: int | None) -> None:
    """From now on this version is in force."""
    db.execute(
        "INSERT INTO active (name, version, base) VALUES (?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET version = excluded.version, base = excluded.base",
        (name, version, base),
    )


def load_part(db: sqlite3.Connection, version: int, part: MemberPart) -> bool:
    """Store one part of a full list; True when all its parts are there."""
    db.executemany(
        f"INSERT OR REPLACE INTO member (version, token, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  (names are ours)
        ((version, *_row(member)) for member in _not_erased(db, version, part.members)),
    )
    db.execute("INSERT OR IGNORE INTO part (version, part) VALUES (?, ?)", (version, part.part))
    (count,) = db.execute(
        "SELECT count(*) FROM part WHERE version = ? AND part <= ?", (version, part.parts)
    ).fetchone()
    return int(count) == part.parts


def replace_changes(db: sqlite3.Connection, version: int, changes: MemberChanges) -> None:
    """Replace the changes."""
    db.execute("DELETE FROM change")
    db.executemany(
        f"INSERT INTO change (token, removed, {_COLUMNS}) VALUES (?, 0, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  (names are ours)
        (_row(member) for member in _not_erased(db, version, changes.put)),
    )
    db.executemany(
        f"INSERT OR REPLACE INTO change (token, removed, {_COLUMNS}) VALUES (?, 1, NULL, 1, '', '', 0, NULL, NULL)",  # noqa: S608  (names are ours)
        ((token,) for token in changes.remove),
    )
    activate(db, "changes", version, changes.base)


def find_member(db: sqlite3.Connection, token: IdToken) -> Member | None:
    """By the changes of the list in force, then by the list. A blocked card without an account is one of nobody."""
    row = db.execute(
        f"SELECT removed, {_COLUMNS} FROM change, active c, active m WHERE token = ? "  # noqa: S608  (names are ours)
        "AND c.name = 'changes' AND m.name = 'members' AND c.base = m.version",
        (token.value,),
    ).fetchone()
    if row is None:
        row = db.execute(
            f"SELECT 0, {_COLUMNS} FROM member WHERE token = ? "  # noqa: S608  (names are ours)
            "AND version = (SELECT version FROM active WHERE name = 'members')",
            (token.value,),
        ).fetchone()
    if row is None or row[0]:
        return None
    _, account, limit_minor, currency, group, blocked, invoicing, valid_until = row
    return Member(
        account=account or "",
        token=token.value,
        limit_minor=limit_minor,
        currency=currency,
        group=group,
        blocked=bool(blocked) or account is None,
        invoicing=Invoicing() if invoicing is None else msgspec.json.decode(invoicing, type=Invoicing),
        valid_until=None if valid_until is None else datetime.fromisoformat(valid_until),
    )


def erase_members(db: sqlite3.Connection, tokens: Collection[str], account: str | None) -> int:
    """Forget these cards, and everybody of an account; how many there were. Lists of today do not bring them back."""
    found = {
        token
        for table in ("member", "change")
        for (token,) in db.execute(
            f"SELECT token FROM {table} WHERE account = ? OR token IN (SELECT value FROM json_each(?))",  # noqa: S608  (names are ours)
            (account, msgspec.json.encode(list(tokens)).decode()),
        )
    }
    gone = msgspec.json.encode(sorted(found)).decode()
    for table in ("member", "change"):
        named = f"DELETE FROM {table} WHERE token IN (SELECT value FROM json_each(?))"  # noqa: S608  (names are ours)
        db.execute(named, (gone,))
    (newest,) = db.execute(
        "SELECT MAX(version) FROM (SELECT version FROM active WHERE name IN ('members', 'changes') UNION ALL "
        "SELECT version FROM part UNION ALL SELECT version FROM seen WHERE slot LIKE 'members%')"
    ).fetchone()
    if newest is not None:  # else nothing is on its way
        names = {*tokens, *found, *(() if account is None else (account,))}
        db.executemany(
            "INSERT OR REPLACE INTO erased (digest, version) VALUES (?, ?)",
            [(_digest(name), newest) for name in names],
        )
    return len(found)


def sweep_members(db: sqlite3.Connection, version: int) -> bool:
    """Drop some members of lists that are older than this version; True when no more are left."""
    removed = db.execute(
        "DELETE FROM member WHERE (version, token) IN "
        "(SELECT version, token FROM member WHERE version < ? LIMIT ?)",
        (version, SWEEP_ROWS),
    ).rowcount
    return removed < SWEEP_ROWS


def sweep_rest(db: sqlite3.Connection, version: int) -> None:
    """Drop what else there is of older lists."""
    db.execute("DELETE FROM part WHERE version < ?", (version,))
    db.execute("DELETE FROM erased WHERE version < ?", (version,))


def _not_erased(
    db: sqlite3.Connection, version: int, listed: Iterable[ListedMember]
) -> Iterable[ListedMember]:
    """Without those who were erased after this version was made."""
    erased = {d for (d,) in db.execute("SELECT digest FROM erased WHERE version >= ?", (version,))}
    if not erased:
        return listed
    return [
        member
        for member in listed
        if erased.isdisjoint(_digest(name) for name in (member.token, member.account) if name is not None)
    ]


def _digest(name: str) -> str:
    """An erased name is not kept."""
    return hashlib.sha256(name.encode()).hexdigest()


def _row(member: ListedMember) -> tuple[str | int | None, ...]:
    return (
        member.token,
        member.account,
        member.limit_minor,
        member.currency,
        member.group,
        int(member.blocked),
        None if member.invoicing == Invoicing() else msgspec.json.encode(member.invoicing).decode(),
        None if member.valid_until is None else member.valid_until.isoformat(),
    )
