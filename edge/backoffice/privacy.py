"""Erasing who somebody was, on request: in the member lists, beside the invoices, and at every device.

The devices' entries hold commitments and opaque accounts only; every chain verifies as before. What the broker retains
of the lists is replaced by a whole new list, without the erased member. Each device gets a signed order to do the same;
until it has answered, that order is the one place here that still names whom it is about.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edge.backoffice.orders import Orders
from edge.backoffice.schema import open_books
from edge.domain.ledger.facts import DeviceDecommissioned
from edge.errors import CallError
from edge.store.connection import translated
from edge.sync.contract.orders import Erase, Reply
from edge.sync.contract.topics import Peer, peer

#: After its last word a device says little more: so many entries at the end of a line are looked through for it.
_LAST_ENTRIES = 100

#: That the device `d` has said its last word.
_DECOMMISSIONED = (
    "EXISTS (SELECT 1 FROM line l JOIN entry e USING (line_id) "
    "WHERE l.line_id = (SELECT max(line_id) FROM line WHERE device_id = d.device_id) "
    "AND e.seq > l.upto - ? AND e.type = ?)"
)

#: What is left of an order whose content has gone.
_BLANK = '{"do":"erase"}'

#: Erasures among the commands; not every order's body is JSON.
_ERASURES = """stream = 'cmd' AND substr(body, 1, 13) = '{"do":"erase"'"""

#: Refusals that say nothing about the order itself: another one of the same content is carried out.
_AGAIN = ("order.old", "order.interrupted")


class ErasureUnclear(CallError):
    code = "call.erase"
    hint = "name one of: a token, an account"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A device that was ordered to erase, and the number of its order."""

    site: str
    device: str
    version: int


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """How many members, buyers, and answered or expired orders went; `sites` get a new list, `devices` an order."""

    members: int
    buyers: int
    orders: int
    sites: tuple[str, ...]
    devices: tuple[Asked, ...]


def erase(
    path: Path, orders: Orders, *, token: str | None = None, account: str | None = None, buyers: bool = False
) -> Erased:
    """Everything of a card's token, or of an account. `buyers`: also who is named on the account's invoices.

    For an account each device is told of its cards too, which may have charged there for another one. Whoever keeps
    books may have to keep who was named: it goes only when it is asked for. Raises ErasureUnclear, StoreError.
    """
    if (token is None) == (account is None) or (buyers and account is None):
        raise ErasureUnclear("a token, or an account (with its buyers)")
    db = open_books(path)
    try:
        with translated("erase", path):
            # what is deleted is overwritten, not only given free
            db.execute("PRAGMA secure_delete = ON").fetchone()
            found = db.execute(
                "SELECT site, token FROM member WHERE token = ? OR (listed <> '' AND "
                "json_extract(listed, '$.account') = ?)",
                (token, account),
            ).fetchall()
        sites = tuple(sorted({site for site, _ in found}))
        members = sum(orders.remove_members(site, [t for s, t in found if s == site]) for site in sites)
        for site in sites:
            orders.publish_members(site, whole=True)
        with translated("erase", path):
            names = {t for _, t in found} | ({token} if token is not None else set())
            gone = _scrub(db, names, account)
            count = _erase_buyers(db, account) if buyers and account is not None else 0
            bodies = [Erase(token=name) for name in sorted(names)]
            bodies += [Erase(account=account, buyers=buyers)] if account is not None else []
            devices = tuple(asked for body in bodies for asked in _order(db, orders, body))
            # what was there before must not come back from the log
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.close()
    return Erased(members=members, buyers=count, orders=gone, sites=sites, devices=devices)


def answered(db: sqlite3.Connection, device: Peer, reply: Reply) -> None:
    """A device has answered; where it has erased, the order that named somebody says so no more."""
    if reply.stream == "cmd" and reply.ok:
        db.execute(
            f"UPDATE orders SET body = ?, payload = x'' WHERE {_ERASURES} AND site = ? AND device = ? "  # noqa: S608  (ours)
            "AND version = ? AND reply IS NOT NULL",
            (_BLANK, device.site, device.device, reply.version),
        )


def order_again(db: sqlite3.Connection, orders: Orders) -> tuple[Asked, ...]:
    """Erasures that were overtaken by another order, or interrupted by a crash: ordered once more."""
    rows = db.execute(
        f"SELECT order_id, site, device, body FROM orders WHERE {_ERASURES} "  # noqa: S608  (ours)
        "AND body <> ? AND json_extract(reply, '$.error.code') IN (?, ?)",
        (_BLANK, *_AGAIN),
    ).fetchall()
    found = []
    for order_id, site, device, body in rows:
        version = orders.command(peer(site, device), msgspec.json.decode(body, type=Erase))
        db.execute("UPDATE orders SET body = ?, payload = x'' WHERE order_id = ?", (_BLANK, order_id))
        found.append(Asked(site=site, device=device, version=version))
    return tuple(found)


def decommissioned(db: sqlite3.Connection) -> set[Peer]:
    """Devices that have said their last word, and of which nothing waits behind a gap: they have told everything."""
    rows = db.execute(
        f"SELECT site, device FROM device d WHERE {_DECOMMISSIONED} "  # noqa: S608  (ours)
        "AND NOT EXISTS (SELECT 1 FROM line WHERE device_id = d.device_id AND top > upto)",
        (_LAST_ENTRIES, DeviceDecommissioned.TYPE),
    ).fetchall()
    return {Peer(site, device) for site, device in rows}


def waiting(db: sqlite3.Connection) -> int:
    """Erasures that their devices have not confirmed."""
    (count,) = db.execute(
        f"SELECT count(*) FROM orders WHERE {_ERASURES} AND body <> ? "  # noqa: S608  (ours)
        "AND coalesce(json_extract(reply, '$.ok'), 0) = 0",
        (_BLANK,),
    ).fetchone()
    return int(count)


def _order(db: sqlite3.Connection, orders: Orders, body: Erase) -> tuple[Asked, ...]:
    """An order for each device that may still have a driver's data; one that waits already is as good."""
    found = []
    text = msgspec.json.encode(body).decode()
    for site, device in _devices(db):
        row = db.execute(
            "SELECT version FROM orders WHERE stream = 'cmd' AND site = ? AND device = ? AND body = ? "
            "AND reply IS NULL",
            (site, device, text),
        ).fetchone()
        version = orders.command(peer(site, device), body) if row is None else int(row[0])
        found.append(Asked(site=site, device=device, version=version))
    return tuple(found)


def _devices(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """All but those that have said their last word."""
    return db.execute(
        f"SELECT site, device FROM device d WHERE NOT {_DECOMMISSIONED} ORDER BY site, device",  # noqa: S608  (ours)
        (_LAST_ENTRIES, DeviceDecommissioned.TYPE),
    ).fetchall()


def _scrub(db: sqlite3.Connection, tokens: set[str], account: str | None) -> int:
    """Orders that nobody obeys any more and that name one of these: that they were given stays, what they said goes."""
    gone, now = 0, datetime.now(UTC).isoformat()
    for name in sorted(tokens | ({account} if account is not None else set())):
        gone += db.execute(
            "UPDATE orders SET body = json_object('do', json_extract(body, '$.do')), payload = x'' "
            "WHERE stream = 'cmd' AND (reply IS NOT NULL OR expires_at < ?) AND instr(body, ?) > 0",
            (now, f'"{name}"'),
        ).rowcount
    return gone


def _erase_buyers(db: sqlite3.Connection, account: str) -> int:
    return db.execute(
        "DELETE FROM buyer WHERE commitment IN (SELECT json_extract(document, '$.draft.buyer') FROM invoice "
        "WHERE json_extract(document, '$.draft.account') = :account "
        "UNION SELECT json_extract(document, '$.draft.buyer') FROM statement WHERE account = :account "
        "UNION SELECT json_extract(document, '$.content.buyer') FROM account_invoice WHERE account = :account)",
        {"account": account},
    ).rowcount
