"""What the tables know of payments, asked inside a commit: open holds, what they are called, what is at risk."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

import msgspec

from edge.domain.identity import IdToken
from edge.domain.payment import Method, OpenPayment

_OPEN = "status IN ('requested', 'authorized', 'capturing', 'reversing')"

#: Bounded: an EVSE carries 33 open payments at most, a till has 64 EVSEs.
_OPEN_MAX = 64 * 33


def session_of(db: sqlite3.Connection, ref: str) -> str | None:
    """The session of a payment."""
    row = db.execute("SELECT session_id FROM payment WHERE payment_ref = ?", (ref,)).fetchone()
    return None if row is None else str(row[0])


def noted(db: sqlite3.Connection, ref: str) -> str | None:
    """What the payment is called by whoever holds the money, also after its end."""
    row = db.execute("SELECT handle FROM payment WHERE payment_ref = ?", (ref,)).fetchone()
    return None if row is None or row[0] is None else str(row[0])


def find_open(db: sqlite3.Connection, ref: str) -> OpenPayment | None:
    """The payment if it has not ended."""
    found = _open(db, "payment_ref = ?", ref)
    return found[0] if found else None


def list_open(db: sqlite3.Connection, method: Method) -> tuple[OpenPayment, ...]:
    """Every payment of a method that has not ended, oldest first."""
    return _open(db, "method = ?", method)


def _open(db: sqlite3.Connection, where: str, value: str) -> tuple[OpenPayment, ...]:
    rows = db.execute(
        "SELECT payment_ref, session_id, status, requested_minor, hold_minor, handle FROM payment "  # noqa: S608
        f"WHERE {_OPEN} AND {where} ORDER BY rowid LIMIT {_OPEN_MAX}",  # (`where` is ours)
        (value,),
    )
    return tuple(
        OpenPayment(
            ref=ref,
            session_id=session_id,
            status=status,
            requested_minor=requested_minor,
            hold_minor=hold_minor,
            handle=handle,
        )
        for ref, session_id, status, requested_minor, hold_minor, handle in rows
    )


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """What was accepted on account without a connection, in minor units: at most what is held or was taken.

    `device_minor`: all of it that the back office has not acknowledged; `day_minor` and `card_minor`: within the
    last 24 hours, in all and by one card.
    """

    device_minor: int
    day_minor: int
    card_minor: int


#: Which sessions `last_day` means.
OF_LAST_DAY = "(opened_at >= ? OR opened_at BETWEEN ? AND ?)"


def last_day(now: datetime, *, shown: datetime | None = None) -> tuple[str, str, str]:
    """The values of OF_LAST_DAY: the 24 hours before `now`, the latest time that has certainly come; and what a clock
    that may be wrong, and shows `shown`, has dated within a day of that: today's sessions, also of boots before.
    """
    day, shown = timedelta(days=1), shown or now
    return (now - day).isoformat(), (shown - day).isoformat(), (shown + day).isoformat()


def exposure(db: sqlite3.Connection, *, day: tuple[str, str, str], token: IdToken | None = None) -> Exposure:
    """See Exposure. A payment counts with what it took once it has ended, else with its hold."""
    at_risk = "COALESCE(p.captured_minor, p.hold_minor, 0)"
    (device_minor,) = db.execute(
        f"SELECT COALESCE(SUM({at_risk}), 0) FROM payment p WHERE p.deferred = 1 AND EXISTS ("  # noqa: S608
        "SELECT 1 FROM entry e LEFT JOIN watermark w USING (epoch) WHERE e.subject = p.session_id "
        "AND e.seq > COALESCE(w.upto, 0))"
    ).fetchone()
    (day_minor,) = db.execute(
        f"SELECT COALESCE(SUM({at_risk}), 0) FROM payment p JOIN session s USING (session_id) "  # noqa: S608
        f"WHERE p.deferred = 1 AND {OF_LAST_DAY}",
        day,
    ).fetchone()
    card_minor = 0
    if token is not None:
        (card_minor,) = db.execute(
            f"SELECT COALESCE(SUM({at_risk}), 0) FROM payment p JOIN session s USING (session_id) "  # noqa: S608
            f"JOIN personal o USING (session_id) WHERE p.deferred = 1 AND o.token = ? AND {OF_LAST_DAY}",
            (token.value, *day),
        ).fetchone()
    return Exposure(device_minor=int(device_minor), day_minor=int(day_minor), card_minor=int(card_minor))


def last_heard(db: sqlite3.Connection) -> datetime | None:
    """When the back office last acknowledged something, by the wall clock of then."""
    (at,) = db.execute("SELECT MAX(at) FROM watermark").fetchone()
    return None if at is None else datetime.fromisoformat(at)


def day_ended(db: sqlite3.Connection, terminal: int) -> datetime | None:
    """When a terminal last handed its captures in, by the wall clock of then."""
    row = db.execute("SELECT ended_at FROM terminal_day WHERE terminal = ?", (terminal,)).fetchone()
    return None if row is None else datetime.fromisoformat(row[0])
