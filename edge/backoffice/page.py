"""A small read-only page of devices, sessions and invoices, for whoever sits at the back office's machine.

It listens on loopback only and knows no users: put a proxy with your own login before it to show it elsewhere.
"""

from __future__ import annotations

import ipaddress
import sqlite3
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from microdot import Request, Response

from edge import web
from edge.backoffice.receipts import BookReceipts
from edge.backoffice.schema import read_books
from edge.backoffice.stats import collect
from edge.domain.money import from_minor
from edge.errors import CallError, TillError
from edge.receipts.site import Site, SiteOptions
from edge.store.connection import translated
from edge.sync.options import host_port

#: Rows per page; the newest first.
ROWS = 100

_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 70rem; margin: 0 auto; padding: 1rem }
nav a { margin-right: 1rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #8884; overflow-wrap: anywhere }
td.n { text-align: right; white-space: nowrap }
pre { overflow-x: auto }
"""


class PageUnavailable(TillError):
    code = "backoffice.page"
    hint = "choose a free port: --listen 127.0.0.1:8081"


class PagePublic(CallError):
    code = "backoffice.page_public"
    hint = "listen on 127.0.0.1 and put a proxy with a login before it"


def application(database: Path) -> web.Web:
    """The page over one database, which is opened read-only for each request."""
    app = web.Web()
    Request.max_content_length = 1024
    pages = _Pages(database)
    app.get("/")(pages.devices)
    app.get("/sessions")(pages.sessions)
    app.get("/invoices")(pages.invoices)
    app.get("/invoices/<site>/<device>/<number>")(pages.invoice)
    Site(BookReceipts(database), SiteOptions()).register(app)
    app.errorhandler(TillError)(_failed)
    return app


class _Pages:
    def __init__(self, database: Path) -> None:
        self._database = database

    async def devices(self, _request: Request) -> Response:
        stats = collect(self._database)
        rows = [
            (d.site, d.device, _yes(d.online), d.state_at, d.entries, d.sessions, d.invoices, d.quarantined)
            for d in stats.devices
        ]
        head = ("site", "device", "online", "since", "entries", "sessions", "invoices", "quarantined")
        totals = " · ".join(
            f"{t.invoices} invoices, {from_minor(t.payable_minor, t.currency)} {t.currency}"
            for t in stats.totals
        )
        return _page("Devices", f"<p>{escape(totals) or 'No invoices yet.'}</p>{_table(head, rows)}")

    async def sessions(self, request: Request) -> Response:
        rows = _query(
            self._database,
            "SELECT began_at, ended_at, site, device, evse_id, energy_wh, currency, payable_minor, "
            "coalesce(outcome, status), invoice_number FROM sessions ORDER BY opened_at DESC LIMIT ? OFFSET ?",
            request,
        )
        shown = [(*row[:6], _money(row[7], row[6]), *row[8:]) for row in rows]
        head = ("begin", "end", "site", "device", "EVSE", "Wh", "total", "outcome", "invoice")
        return _page("Sessions", _table(head, shown) + _more("/sessions", request, len(rows)))

    async def invoices(self, request: Request) -> Response:
        rows = _query(
            self._database,
            "SELECT site, device, number, issued_at, session_id, currency, "
            "CASE WHEN corrects IS NULL THEN payable_minor ELSE -payable_minor END FROM invoices "
            "ORDER BY issued_at DESC, number DESC LIMIT ? OFFSET ?",
            request,
        )
        shown = [(*row[:5], _money(row[6], row[5])) for row in rows]
        links = [f"/invoices/{quote(r[0])}/{quote(r[1])}/{quote(r[2])}" for r in rows]
        head = ("site", "device", "number", "issued", "session", "total")
        return _page("Invoices", _table(head, shown, links) + _more("/invoices", request, len(rows)))

    async def invoice(self, _request: Request, site: str, device: str, number: str) -> Response:
        rows = _rows(
            self._database,
            "SELECT document FROM invoices WHERE site = ? AND device = ? AND number = ?",
            (site, device, number),
        )
        if not rows:
            return _page("No such invoice", "", status=404)
        document = msgspec.json.format(rows[0][0], indent=2)
        return _page(f"Invoice {number}", f"<pre>{escape(document)}</pre>")


async def _failed(_request: Request, error: Exception) -> Response:
    return _page("Not available", f"<p>{escape(str(error))}</p>", status=503)


async def serve(database: Path, listen: str, *, bound: web.Bound | None = None) -> None:
    """Until cancelled. Raises PagePublic, PageUnavailable."""
    host, port = host_port(listen)
    if host != "localhost" and not _is_loopback(host):
        raise PagePublic(f"{host} can be reached by others")
    try:
        await web.serve(application(database), host, port, bound=bound)
    except OSError as e:
        raise PageUnavailable(f"cannot listen on {listen}: {e.strerror or e}") from e


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _query(database: Path, sql: str, request: Request) -> list[tuple[Any, ...]]:
    return _rows(database, sql, (ROWS, _page_number(request) * ROWS))


def _rows(database: Path, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
    db: sqlite3.Connection = read_books(database)
    try:
        with translated("read", database):
            return db.execute(sql, values).fetchall()
    finally:
        db.close()


def _page_number(request: Request) -> int:
    text = str(request.args.get("page", "0"))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0


def _more(path: str, request: Request, count: int) -> str:
    number = _page_number(request)
    newer = f'<a href="{path}?page={number - 1}">newer</a> ' if number else ""
    older = f'<a href="{path}?page={number + 1}">older</a>' if count == ROWS else ""
    return f"<p>{newer}{older}</p>"


def _page(title: str, body: str, *, status: int = 200) -> Response:
    nav = '<nav><a href="/">Devices</a><a href="/sessions">Sessions</a><a href="/invoices">Invoices</a></nav>'
    html = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"{nav}<h1>{escape(title)}</h1>{body}</html>"
    )
    return Response(html, status, dict(_HEADERS))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], links: Sequence[str] | None = None) -> str:
    """`links`: where each row's `number` column leads."""
    heading = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = []
    for index, row in enumerate(rows):
        cells = []
        for name, value in zip(head, row, strict=True):
            text = "&ndash;" if value is None else escape(str(value))
            if name == "number" and links is not None:
                text = f'<a href="{escape(links[index])}">{text}</a>'
            cells.append(f'<td class="n">{text}</td>' if isinstance(value, int) else f"<td>{text}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{heading}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _money(amount_minor: int | None, currency: str | None) -> str | None:
    if amount_minor is None or currency is None:
        return None
    return f"{from_minor(amount_minor, currency)} {currency}"


def _yes(value: bool | None) -> str | None:  # noqa: FBT001  (a cell's value)
    return None if value is None else "yes" if value else "no"
