"""The back office's tables. The views without a leading underscore are for people who ask in SQL.

`entry` holds what the devices sent, byte for byte; everything else follows from it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from edge.errors import StoreError
from edge.store.connection import open_reader, open_writer, translated


class BooksTooNew(StoreError):
    code = "backoffice.too_new"
    hint = "this database was written by a newer version of chargetill: install that version or a later one"


class BooksForeign(StoreError):
    code = "backoffice.no_books"
    hint = "`chargetill backoffice run` makes and updates them; is this the back office's database?"


_FIRST = """
CREATE TABLE device (
    device_id INTEGER PRIMARY KEY,
    site TEXT NOT NULL,
    device TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    online INTEGER,
    state TEXT,
    state_at TEXT,
    UNIQUE (site, device)
) STRICT;
CREATE TABLE line (
    line_id INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL REFERENCES device,
    epoch TEXT NOT NULL,
    upto INTEGER NOT NULL,
    head TEXT NOT NULL,
    top INTEGER NOT NULL,
    key_id TEXT,
    public_key TEXT,
    UNIQUE (device_id, epoch)
) STRICT;
CREATE TABLE entry (
    line_id INTEGER NOT NULL REFERENCES line,
    seq INTEGER NOT NULL,
    type TEXT,
    subject TEXT,
    time TEXT,
    hash TEXT NOT NULL,
    received_at TEXT NOT NULL,
    problem TEXT,
    raw BLOB NOT NULL,
    PRIMARY KEY (line_id, seq)
) STRICT;
CREATE INDEX entry_subject ON entry (subject) WHERE subject IS NOT NULL;
CREATE TABLE quarantine (
    quarantine_id INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL REFERENCES device,
    epoch TEXT,
    seq INTEGER,
    reason TEXT NOT NULL,
    hash TEXT NOT NULL,
    received_at TEXT NOT NULL,
    raw BLOB NOT NULL,
    UNIQUE (device_id, hash)
) STRICT;
CREATE TABLE session (
    device_id INTEGER NOT NULL REFERENCES device,
    session_id TEXT NOT NULL,
    evse_id TEXT NOT NULL,
    opened_at TEXT NOT NULL,
    method TEXT NOT NULL,
    account TEXT,
    authorization_id TEXT,
    tariff_hash TEXT NOT NULL,
    status TEXT NOT NULL,
    meter_model TEXT,
    meter_serial TEXT,
    began_at TEXT,
    begin_wh INTEGER,
    ended_at TEXT,
    end_wh INTEGER,
    energy_wh INTEGER,
    estimated INTEGER,
    stop_reason TEXT,
    currency TEXT,
    payable_minor INTEGER,
    outcome TEXT,
    invoice_number TEXT,
    receipt_hash TEXT,
    PRIMARY KEY (device_id, session_id)
) STRICT;
CREATE INDEX session_receipt ON session (receipt_hash) WHERE receipt_hash IS NOT NULL;
CREATE TABLE payment (
    device_id INTEGER NOT NULL REFERENCES device,
    payment_ref TEXT NOT NULL,
    session_id TEXT NOT NULL,
    method TEXT NOT NULL,
    currency TEXT NOT NULL,
    status TEXT NOT NULL,
    requested_minor INTEGER NOT NULL,
    hold_minor INTEGER,
    captured_minor INTEGER,
    loss_minor INTEGER,
    deferred INTEGER,
    reason TEXT,
    PRIMARY KEY (device_id, payment_ref)
) STRICT;
CREATE TABLE invoice (
    device_id INTEGER NOT NULL REFERENCES device,
    number TEXT NOT NULL,
    series TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    session_id TEXT NOT NULL,
    issued_at TEXT NOT NULL,
    currency TEXT NOT NULL,
    payable_minor INTEGER NOT NULL,
    corrects TEXT,
    document TEXT NOT NULL,
    PRIMARY KEY (device_id, number),
    UNIQUE (device_id, series, sequence)
) STRICT;
CREATE INDEX invoice_session ON invoice (device_id, session_id);
CREATE TABLE statement (
    device_id INTEGER NOT NULL REFERENCES device,
    session_id TEXT NOT NULL,
    account TEXT NOT NULL,
    ended_at TEXT NOT NULL,
    currency TEXT NOT NULL,
    payable_minor INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (device_id, session_id)
) STRICT;
CREATE INDEX statement_account ON statement (account, ended_at);
CREATE TABLE refund (
    device_id INTEGER NOT NULL REFERENCES device,
    refund_ref TEXT NOT NULL,
    payment_ref TEXT NOT NULL,
    session_id TEXT NOT NULL,
    method TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    PRIMARY KEY (device_id, refund_ref)
) STRICT;
CREATE TABLE meter_value (
    device_id INTEGER NOT NULL REFERENCES device,
    session_id TEXT NOT NULL,
    at TEXT NOT NULL,
    context TEXT NOT NULL,
    register_wh INTEGER NOT NULL
) STRICT;
CREATE INDEX meter_value_session ON meter_value (device_id, session_id);
CREATE INDEX session_authorization ON session (device_id, authorization_id) WHERE authorization_id IS NOT NULL;
CREATE INDEX payment_session ON payment (device_id, session_id);
CREATE TABLE tariff (
    hash TEXT PRIMARY KEY,
    document TEXT NOT NULL
) STRICT;
CREATE VIEW entries AS
    SELECT site, device, epoch, entry.* FROM entry JOIN line USING (line_id) JOIN device USING (device_id);
CREATE VIEW sessions AS SELECT site, device, session.* FROM session JOIN device USING (device_id);
CREATE VIEW payments AS SELECT site, device, payment.* FROM payment JOIN device USING (device_id);
CREATE VIEW invoices AS SELECT site, device, invoice.* FROM invoice JOIN device USING (device_id);
CREATE VIEW statements AS SELECT site, device, statement.* FROM statement JOIN device USING (device_id);
CREATE VIEW refunds AS SELECT site, device, refund.* FROM refund JOIN device USING (device_id);
CREATE VIEW meter_values AS SELECT site, device, meter_value.* FROM meter_value JOIN device USING (device_id);
CREATE VIEW quarantined AS SELECT site, device, quarantine.* FROM quarantine JOIN device USING (device_id);
"""

_ORDERS = """
CREATE TABLE orders (
    order_id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    site TEXT NOT NULL,
    device TEXT,
    version INTEGER NOT NULL,
    topic TEXT NOT NULL,
    issued_at TEXT NOT NULL,
    expires_at TEXT,
    body TEXT NOT NULL,
    payload BLOB NOT NULL,
    reply TEXT
) STRICT;
CREATE INDEX orders_open ON orders (order_id) WHERE stream = 'cmd' AND reply IS NULL;
CREATE INDEX orders_topic ON orders (topic);
CREATE INDEX orders_device ON orders (site, device, version);
CREATE TABLE stream (
    stream TEXT NOT NULL,
    site TEXT NOT NULL,
    device TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (stream, site, device)
) STRICT;
CREATE TABLE member (
    site TEXT NOT NULL,
    token TEXT NOT NULL,
    listed TEXT NOT NULL,
    removed INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (site, token)
) STRICT;
CREATE INDEX member_changed ON member (site) WHERE changed;
CREATE INDEX member_token ON member (token);
CREATE TABLE authorization (
    authorization_id TEXT PRIMARY KEY,
    site TEXT NOT NULL,
    device TEXT NOT NULL,
    reference TEXT,
    evse_id TEXT NOT NULL,
    account TEXT,
    limit_minor INTEGER,
    currency TEXT NOT NULL,
    refused TEXT,
    at TEXT NOT NULL,
    UNIQUE (site, device, reference)
) STRICT;
CREATE INDEX authorization_account ON authorization (account) WHERE account IS NOT NULL;
CREATE INDEX authorization_refused ON authorization (at) WHERE refused IS NOT NULL;
CREATE TABLE answer (
    site TEXT NOT NULL,
    device TEXT NOT NULL,
    stream TEXT NOT NULL,
    part INTEGER NOT NULL,
    version INTEGER NOT NULL,
    ok INTEGER NOT NULL,
    reply TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (site, device, stream, part)
) STRICT;
"""

#: Numbers of the back office's own series, and what was billed with each: nothing is billed twice.
_ACCOUNTS = """
CREATE TABLE buyer (
    commitment TEXT PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;
CREATE TABLE series (
    series TEXT PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT;
CREATE TABLE account_invoice (
    number TEXT PRIMARY KEY,
    series TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    account TEXT NOT NULL,
    month TEXT NOT NULL,
    currency TEXT NOT NULL,
    issued_at TEXT NOT NULL,
    payable_minor INTEGER NOT NULL,
    corrects TEXT REFERENCES account_invoice,
    document TEXT NOT NULL,
    UNIQUE (series, sequence)
) STRICT;
CREATE UNIQUE INDEX account_invoice_once ON account_invoice (account, month, currency) WHERE corrects IS NULL;
CREATE TABLE account_session (
    device_id INTEGER NOT NULL,
    session_id TEXT NOT NULL,
    number TEXT NOT NULL REFERENCES account_invoice,
    PRIMARY KEY (device_id, session_id)
) STRICT;
CREATE TABLE account_fee (
    account TEXT NOT NULL,
    plan_id TEXT NOT NULL,
    period TEXT NOT NULL,
    number TEXT NOT NULL REFERENCES account_invoice,
    PRIMARY KEY (account, plan_id, period)
) STRICT;
"""

#: What of the retention time was enforced last (edge/backoffice/retention.py).
_RETENTION = """
CREATE TABLE retention (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    stats TEXT NOT NULL
) STRICT
"""

#: When the monotonic clock of each boot stood at 0 (microseconds since 1970 UTC), as far as the device found out; both
#: bounds are the same where it knew. The view has each entry's own time beside what the wall clock showed.
_BOOTS = """
CREATE TABLE boot (
    device_id INTEGER NOT NULL REFERENCES device,
    boot_id TEXT NOT NULL,
    not_before_us INTEGER,
    not_after_us INTEGER NOT NULL,
    PRIMARY KEY (device_id, boot_id)
) STRICT;
CREATE VIEW entry_times AS
    SELECT site, device, epoch, seq, type, subject, time,
        CASE WHEN low = high THEN strftime('%Y-%m-%dT%H:%M:%f+00:00', low, 'unixepoch') END AS derived_time,
        strftime('%Y-%m-%dT%H:%M:%f+00:00', low, 'unixepoch') AS not_before,
        strftime('%Y-%m-%dT%H:%M:%f+00:00', high, 'unixepoch') AS not_after
    FROM (
        SELECT site, device, epoch, seq, type, subject, time,
            (not_before_us + at_us) / 1000000.0 AS low, (not_after_us + at_us) / 1000000.0 AS high
        FROM (
            SELECT device_id, epoch, entry.*, json_extract(CAST(raw AS TEXT), '$.bootid') AS boot_id,
                CAST(json_extract(CAST(raw AS TEXT), '$.monotonicns') AS INTEGER) / 1000 AS at_us
            FROM entry JOIN line USING (line_id) WHERE type IS NOT NULL
        ) JOIN device USING (device_id) LEFT JOIN boot USING (device_id, boot_id)
    )
"""

MIGRATIONS: tuple[str, ...] = (_FIRST, _ORDERS, _ACCOUNTS, _RETENTION, _BOOTS)


def open_books(path: Path) -> sqlite3.Connection:
    """The writing connection, with this version's tables. Raises StoreError, BooksTooNew."""
    db = open_writer(path)
    with translated("migrate", path):
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            db.close()
            raise BooksTooNew(f"{path} has schema {version}, this version knows {len(MIGRATIONS)}")
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            # two receivers may open a new file at once: whoever comes second sees the first one's version
            db.execute("BEGIN IMMEDIATE")
            (current,) = db.execute("PRAGMA user_version").fetchone()
            if current < number:
                for statement in script.split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {number}")
            db.execute("COMMIT")
    return db


def read_books(path: Path) -> sqlite3.Connection:
    """A read-only connection to books of this version. Raises StoreError, BooksForeign, BooksTooNew."""
    db = open_reader(path)
    try:
        _require_books(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _require_books(db: sqlite3.Connection, path: Path) -> None:
    with translated("read", path):
        (version,) = db.execute("PRAGMA user_version").fetchone()
        known = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'line'").fetchone()
    if version > len(MIGRATIONS):
        raise BooksTooNew(f"{path} has schema {version}, this version knows {len(MIGRATIONS)}")
    if known is None or version < len(MIGRATIONS):
        raise BooksForeign(f"{path} has no books of this version")
