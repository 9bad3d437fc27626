"""The books for other programs: entries as the devices signed them, or tables for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge.backoffice.schema import read_books
from edge.store.connection import translated

Table = Literal[
    "entries",
    "entry_times",
    "sessions",
    "payments",
    "invoices",
    "statements",
    "refunds",
    "meter_values",
    "settlements",
]

#: `settlements`: what the back office authorized itself and now settles with whoever stands behind the account.
#: The columns of each table that mean something outside this database, and their order.
_QUERIES: dict[Table, str] = {
    "entries": "SELECT raw FROM entries WHERE seq <= (SELECT upto FROM line WHERE line.line_id = entries.line_id) "
    "ORDER BY site, device, line_id, seq",
    "entry_times": "SELECT site, device, epoch, seq, type, subject, time, derived_time, not_before, not_after "
    "FROM entry_times ORDER BY site, device, epoch, seq",
    "sessions": "SELECT site, device, session_id, evse_id, opened_at, method, account, status, meter_model, "
    "meter_serial, began_at, begin_wh, ended_at, end_wh, energy_wh, estimated, stop_reason, currency, payable_minor, "
    "outcome, invoice_number, tariff_hash FROM sessions ORDER BY opened_at, site, device, session_id",
    "payments": "SELECT site, device, payment_ref, session_id, method, currency, status, requested_minor, hold_minor, "
    "captured_minor, reason FROM payments ORDER BY site, device, payment_ref",
    "invoices": "SELECT site, device, number, session_id, issued_at, currency, payable_minor, corrects, document "
    "FROM invoices ORDER BY site, device, series, sequence",
    "statements": "SELECT site, device, session_id, account, ended_at, currency, payable_minor, a.number AS invoice, "
    "s.document FROM statements s LEFT JOIN account_session a USING (device_id, session_id) "
    "ORDER BY ended_at, site, device, session_id",
    "refunds": "SELECT site, device, refund_ref, payment_ref, session_id, method, currency, amount_minor, status, "
    "reason FROM refunds ORDER BY site, device, refund_ref",
    "meter_values": "SELECT site, device, session_id, at, context, register_wh FROM meter_values "
    "ORDER BY site, device, session_id, at",
    "settlements": "SELECT p.site, p.device, p.session_id, p.payment_ref, a.authorization_id, "
    "coalesce(s.account, a.account) AS account, p.currency, p.captured_minor, s.ended_at, s.energy_wh, "
    "s.invoice_number FROM payments p JOIN session s USING (device_id, session_id) "
    "LEFT JOIN authorization a ON a.authorization_id = coalesce(s.authorization_id, (SELECT x.authorization_id "
    "FROM authorization x WHERE x.site = p.site AND x.device = p.device AND x.reference = p.payment_ref)) "
    "WHERE p.method = 'upstream' AND p.status = 'captured' ORDER BY s.ended_at, p.site, p.device, p.payment_ref",
}


def export(path: Path, table: Table, form: Literal["ndjson", "csv"]) -> Iterator[bytes]:
    """Lines with their ends. `entries` are the exact bytes, device by device, so that anyone can verify them.

    Raises StoreError.
    """
    db = read_books(path)
    try:
        with translated("read", path):
            cursor = db.execute(_QUERIES[table])
            names = [column[0] for column in cursor.description]
            if form == "csv" and table != "entries":
                yield _csv(names)
            for row in cursor:
                if table == "entries":
                    yield bytes(row[0]) + b"\n"
                elif form == "csv":
                    yield _csv(list(row))
                else:
                    yield msgspec.json.encode(_record(names, row)) + b"\n"
    finally:
        db.close()


def _record(names: list[str], row: tuple[Any, ...]) -> dict[str, Any]:
    record = dict(zip(names, row, strict=True))
    if "document" in record:
        record["document"] = msgspec.Raw(record["document"].encode())
    return record


def _csv(values: list[Any]) -> bytes:
    """RFC 4180; a text that a spreadsheet would take for a formula is marked as text."""
    out = io.StringIO()
    csv.writer(out).writerow([_cell(value) for value in values])
    return out.getvalue().encode()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value
