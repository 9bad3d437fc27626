"""Erasing who somebody was, on request: in the member lists, here and at the devices, and beside the invoices.

The devices' entries hold commitments and opaque accounts only; every chain verifies as before. What the broker retains
of the lists is replaced by a whole new list, without the erased member.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from edge.backoffice.orders import Orders
from edge.backoffice.schema import open_books
from edge.errors import CallError
from edge.store.connection import translated


class ErasureUnclear(CallError):
    code = "call.erase"
    hint = "name one of: a token, an account"


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """How many members, buyers and answered orders went; `sites` get a new list."""

    members: int
    buyers: int
    orders: int
    sites: tuple[str, ...]


def erase(
    path: Path, orders: Orders, *, token: str | None = None, account: str | None = None, buyers: bool = False
) -> Erased:
    """Everything of a card's token, or of an account. `buyers`: also who is named on the account's invoices.

    Whoever keeps books may have to keep that: it goes only when it is asked for. Raises ErasureUnclear, StoreError.
    """
    if (token is None) == (account is None) or (buyers and account is None):
        raise ErasureUnclear("a token, or an account (with its buyers)")
    db = open_books(path)
    try:
        with translated("erase", path):
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
            gone = _scrub(db, names)
            count = _erase_buyers(db, account) if buyers and account is not None else 0
            # what was there before must not come back from the log
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.close()
    return Erased(members=members, buyers=count, orders=gone, sites=sites)


def _scrub(db: sqlite3.Connection, tokens: set[str]) -> int:
    """Orders that were answered and name one of these tokens: that they were given stays, what they said goes."""
    gone = 0
    for token in sorted(tokens):
        gone += db.execute(
            "UPDATE orders SET body = '{}', payload = x'' WHERE stream = 'cmd' AND reply IS NOT NULL "
            "AND instr(body, ?) > 0",
            (token,),
        ).rowcount
    return gone


def _erase_buyers(db: sqlite3.Connection, account: str) -> int:
    return db.execute(
        "DELETE FROM buyer WHERE commitment IN (SELECT json_extract(document, '$.draft.buyer') FROM invoice "
        "WHERE json_extract(document, '$.draft.account') = ?)",
        (account,),
    ).rowcount
