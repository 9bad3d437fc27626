"""Personal data whose time is over goes by itself, daily, while the receiver runs.

What stands here and for how long: edge/sync/README.md, "Personal data". The devices' entries hold none. What went does
not come back, so no clock is believed alone: see `certain`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from edge import log
from edge.backoffice.orders import Orders, orders_key
from edge.backoffice.privacy import decommissioned, order_again
from edge.errors import TillError
from edge.store.connection import translated
from edge.sync.contract.messages import State
from edge.sync.contract.topics import Peer

#: Retention is counted in days; a start has other things to do, and a look that failed is repeated sooner.
_FIRST_S: Final = 60.0
_DAY_S: Final = 86_400.0
#: What a restart may lose of the time that was counted.
_HOUR_S: Final = 3_600.0
_AGAIN_S: Final = 600.0

#: So much later than any device told may it be: devices say their state each minute, and some nights nobody hears them.
_BEYOND: Final = timedelta(days=1)

#: What nobody was granted is of no use to anybody but the device that may ask again.
_REFUSED_DAYS: Final = 7


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[retention]` of the back office's configuration.

    After `personal_days`: what answered or expired commands said, permissions that nobody used as far as their devices
    have told, and what the retained lists still say of members who were removed. After `documents_days`: who is named
    on invoices, and permissions of devices that were never heard of again.
    """

    personal_days: Annotated[int, Meta(ge=1, le=3650)] = 90
    documents_days: Annotated[int, Meta(ge=30, le=36_500)] = 3650


class Expired(msgspec.Struct, frozen=True, kw_only=True):
    """How much went: commands, permissions, buyers, and lists that were made anew without those who had left."""

    commands: int = 0
    permissions: int = 0
    buyers: int = 0
    lists: int = 0


class RetentionStats(msgspec.Struct, frozen=True, kw_only=True):
    """What the receiver last enforced, the time that it has certainly reached, and how much went in all."""

    personal_days: int
    documents_days: int
    looked_at: str
    expired: Expired


def certain(db: sqlite3.Connection, path: Path, now: datetime, *, waited: timedelta) -> datetime | None:
    """The latest time that has certainly come, where our clock shows `now` and `waited` has passed since the last look:
    our clock's, as far as that look and devices whose clocks are trusted bear it out. None where neither is there, or
    where our clock stands before what was booked by it. Raises StoreError.
    """
    with translated("read", path):
        newest = db.execute("SELECT received_at FROM entry ORDER BY rowid DESC LIMIT 1").fetchone()
        told = [
            state.at for _, state in _states(db) if state.health is not None and state.health.clock_trusted
        ]
        looked = noted(db)
    if newest is not None and now < datetime.fromisoformat(newest[0]):
        return None
    latest = [(at, _BEYOND) for at in told]
    if looked is not None:
        latest.append((datetime.fromisoformat(looked.looked_at), waited))
    if not latest:
        return None
    at, more = max(latest, key=lambda found: (found[0] - now) + found[1])
    return now if at >= now - more else at + more


def begin(
    db: sqlite3.Connection, path: Path, retention: Retention, now: datetime, *, waited: timedelta
) -> bool:
    """Where nobody bears our clock out: note what to count from, and let nothing go. Raises StoreError.

    That is when the newest entry was booked, and what has passed since; without entries what our clock shows. False
    where there is such a note already, or our clock stands before what was booked by it.
    """
    with translated("note", path):
        newest = db.execute("SELECT received_at FROM entry ORDER BY rowid DESC LIMIT 1").fetchone()
        booked = None if newest is None else datetime.fromisoformat(newest[0])
        if noted(db) is not None or (booked is not None and now < booked):
            return False
        _note(db, retention, Expired(), now if booked is None else min(now, booked + waited))
    return True


def reach(db: sqlite3.Connection, path: Path, at: datetime) -> None:
    """Note that it is `at` by now, where that is later than what was noted. Raises StoreError."""
    with translated("note", path):
        found = noted(db)
        if found is not None and datetime.fromisoformat(found.looked_at) < at:
            db.execute("UPDATE retention SET stats = json_set(stats, '$.looked_at', ?)", (at.isoformat(),))


def expire(db: sqlite3.Connection, path: Path, retention: Retention, now: datetime) -> Expired:
    """Once. Raises StoreError, MembersTooMany."""
    personal_time = timedelta(days=retention.personal_days)
    personal = (now - personal_time).isoformat()
    documents = (now - timedelta(days=retention.documents_days)).isoformat()
    with translated("expire", path):
        db.execute("PRAGMA secure_delete = ON").fetchone()
        gone = Expired(
            commands=_commands(db, personal, now.isoformat()),
            permissions=_refusals(db, (now - timedelta(days=_REFUSED_DAYS)).isoformat())
            + _permissions(db, personal, documents, personal_time),
            buyers=_buyers(db, documents),
            lists=_lists(db, path, personal),
        )
        _note(db, retention, gone, now)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        db.execute("PRAGMA secure_delete = FAST").fetchone()
    return gone


def noted(db: sqlite3.Connection) -> RetentionStats | None:
    """What was enforced last; None before the first time."""
    row = db.execute("SELECT stats FROM retention").fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=RetentionStats)


def _commands(db: sqlite3.Connection, before: str, now: str) -> int:
    """That they were given stays. An erasure that no device has confirmed still has to say whom it is about."""
    return db.execute(
        "UPDATE orders SET body = json_object('do', json_extract(body, '$.do')), payload = x'', "
        "reply = json_remove(reply, '$.result') WHERE stream = 'cmd' AND payload <> x'' AND issued_at < ? "
        'AND (reply IS NOT NULL OR expires_at < ?) AND substr(body, 1, 13) <> \'{"do":"erase"\'',
        (before, now),
    ).rowcount


def _refusals(db: sqlite3.Connection, before: str) -> int:
    return db.execute("DELETE FROM authorization WHERE refused IS NOT NULL AND at < ?", (before,)).rowcount


def _permissions(db: sqlite3.Connection, before: str, anyway_before: str, kept: timedelta) -> int:
    """Those that no session and no payment names, once their device has told everything that it wrote until their time
    was over: what it did with them while it was away may still arrive. One that said its last word has nothing to add.
    """
    heard, last_words = _heard(db), decommissioned(db)
    unused = db.execute(
        "SELECT authorization_id, site, device, at FROM authorization a WHERE refused IS NULL AND at < ? "
        "AND NOT EXISTS (SELECT 1 FROM session s JOIN device d USING (device_id) WHERE d.site = a.site "
        "AND d.device = a.device AND s.authorization_id = a.authorization_id) "
        "AND NOT EXISTS (SELECT 1 FROM payment p JOIN device d USING (device_id) WHERE d.site = a.site "
        "AND d.device = a.device AND p.payment_ref = a.reference)",
        (before,),
    ).fetchall()
    gone = [
        (authorization_id,)
        for authorization_id, site, device, at in unused
        if at < anyway_before
        or Peer(site, device) in last_words
        or ((told := heard.get(Peer(site, device))) is not None and told >= datetime.fromisoformat(at) + kept)
    ]
    db.executemany("DELETE FROM authorization WHERE authorization_id = ?", gone)
    return len(gone)


def _heard(db: sqlite3.Connection) -> dict[Peer, datetime]:
    """Up to when, by its own trusted clock, everything that a device wrote is booked."""
    found = {}
    for device, state in _states(db):
        position, health = state.position, state.health
        if position is None or health is None or not health.clock_trusted:
            continue
        row = db.execute(
            "SELECT upto FROM line JOIN device USING (device_id) WHERE site = ? AND device = ? AND epoch = ?",
            (device.site, device.device, position.epoch),
        ).fetchone()
        if row is not None and row[0] >= position.seq:
            found[device] = state.at
    return found


def _states(db: sqlite3.Connection) -> Iterator[tuple[Peer, State]]:
    """What each device last said of itself while it was there, and when."""
    for site, device, state in db.execute(
        "SELECT site, device, state FROM device WHERE state IS NOT NULL"
    ).fetchall():
        said = msgspec.json.decode(state, type=State)
        if said.at.tzinfo is not None:
            yield Peer(site, device), said


def _buyers(db: sqlite3.Connection, before: str) -> int:
    """Those of whom no document is younger. Nothing is looked through while no document is as old as that."""
    documents = (("invoice", "issued_at"), ("statement", "ended_at"), ("account_invoice", "issued_at"))
    if not any(
        db.execute(f"SELECT 1 FROM {table} WHERE {at} < ? LIMIT 1", (before,)).fetchone()  # noqa: S608  (ours)
        for table, at in documents
    ):
        return 0
    return db.execute(
        "DELETE FROM buyer WHERE commitment NOT IN (SELECT named FROM ("
        "SELECT json_extract(document, '$.draft.buyer') AS named FROM invoice WHERE issued_at >= :before UNION ALL "
        "SELECT json_extract(document, '$.draft.buyer') FROM statement WHERE ended_at >= :before UNION ALL "
        "SELECT json_extract(document, '$.content.buyer') FROM account_invoice WHERE issued_at >= :before) "
        "WHERE named IS NOT NULL)",
        {"before": before},
    ).rowcount


def _lists(db: sqlite3.Connection, path: Path, before: str) -> int:
    """Sites whose retained list is that old and still names members who were removed since; erasures once more."""
    sites = [
        site
        for (site,) in db.execute(
            "SELECT DISTINCT site FROM member WHERE removed AND site IN (SELECT site FROM orders "
            "WHERE topic LIKE '%/members/list' AND payload <> x'' AND issued_at < ?)",
            (before,),
        ).fetchall()
    ]
    with closing(Orders(path, orders_key(path))) as orders:
        for site in sites:
            orders.publish_members(site, whole=True)
        order_again(db, orders)
    return len(sites)


def _note(db: sqlite3.Connection, retention: Retention, gone: Expired, now: datetime) -> None:
    before = noted(db)
    total = before.expired if before is not None else Expired()
    stats = RetentionStats(
        personal_days=retention.personal_days,
        documents_days=retention.documents_days,
        looked_at=now.isoformat(),
        expired=Expired(
            **{name: getattr(total, name) + getattr(gone, name) for name in Expired.__struct_fields__}
        ),
    )
    db.execute(
        "INSERT INTO retention (id, stats) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET stats = excluded.stats",
        (msgspec.json.encode(stats).decode(),),
    )


class Upkeep:
    """On the receiver's thread: `serve` does it when a day has passed, and notes each hour how far time has come.

    Times are monotonic seconds.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, retention: Retention) -> None:
        self._db = db
        self._path = path
        self._retention = retention
        self._next: float | None = None
        self._due = 0.0
        self._since = 0.0

    def serve(self, now: float) -> None:
        if self._next is None:
            self._next = self._due = now + _FIRST_S
            self._since = now
        if now < self._next:
            return
        self._next = now + _AGAIN_S  # unless it succeeds
        try:
            gone = self._look(now)
        except TillError as e:  # a list that cannot be made anew is no reason to book nothing
            log.error("retention.not_kept", error=e)
            return
        if any(getattr(gone, name) for name in Expired.__struct_fields__):
            log.event(
                "retention.expired",
                commands=gone.commands,
                permissions=gone.permissions,
                buyers=gone.buyers,
                lists=gone.lists,
            )

    def _look(self, now: float) -> Expired:
        gone, utc = Expired(), datetime.now(UTC)
        waited = timedelta(seconds=now - self._since)
        reached = certain(self._db, self._path, utc, waited=waited)
        if reached is None:
            if not begin(self._db, self._path, self._retention, utc, waited=waited):
                return gone
            self._due = now + _DAY_S
        elif now >= self._due:
            gone = expire(self._db, self._path, self._retention, reached)
            self._due = now + _DAY_S
        else:
            reach(self._db, self._path, reached)
        self._since = now
        self._next = min(self._due, now + _HOUR_S)
        return gone
