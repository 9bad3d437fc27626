"""After a story: what each side holds, and whether all books agree."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from edge.cli.demo.stage import Stage
from edge.documents.invoice_json import invoice_json
from edge.documents.invoice_text import invoice_text
from edge.domain.invoice import Invoice
from edge.domain.ledger.checks import Checker
from edge.errors import StoreError
from edge.store.connection import open_reader
from edge.store.reading import Reading
from hw.virtual.acquirer import VirtualAcquirer
from hw.virtual.terminal_books import Books


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that has to be true at the end, and what was found."""

    name: str
    ok: bool
    found: str


def told(found: dict[str, Any], database: Path) -> str:
    """What `collect` found, for people: every invoice, `ledger verify`, and what agrees."""
    with Reading(database) as db:
        receipts = [invoice_text(invoice) for invoice in db.invoices()]
    ledger = found["till"]["ledger"]
    summary = (
        f"ledger verify: {ledger.entries} entries, {ledger.sessions} sessions, "
        f"{ledger.invoices} invoices, {len(ledger.problems)} problems"
    )
    checks = [f"  {'yes' if c.ok else 'NO '}  {c.name}: {c.found}" for c in found["checks"]]
    return "\n".join(
        [
            found["story"],
            "",
            *(receipt + "\n" for receipt in receipts),
            summary,
            *checks,
            "all books agree" if found["agree"] else "the books do not agree",
        ]
    )


def at_rest(database: Path) -> bool:
    """True when no session is open and the back office has acknowledged every entry."""
    try:
        with Reading(database) as db:
            stats = db.stats()
    except StoreError:
        return False
    acknowledged = all(e["acknowledged"] == e["last"] for e in stats["epochs"])
    return stats["open_sessions"] == 0 and acknowledged


def collect(stage: Stage) -> dict[str, Any]:
    """What till, back office and meter hold, and the checks between them."""
    with Reading(stage.database) as db:
        sessions = db.sessions()
        invoices = list(db.invoices())
        entries = list(db.entries())
        stats = db.stats()
    checker = Checker()
    for entry in entries:
        checker.add(entry)
    report = checker.report()
    received = _received(stage.backoffice_database)
    copies = _copies(stage.backoffice_database)
    world = stage.world
    drawn_wh = world.register_wh - stage.world.register_begin_wh
    checks = [
        Check(name="ledger verifies", ok=not report.problems, found="; ".join(report.problems) or "whole"),
        Check(
            name="every hold has ended", ok=not report.open_holds, found=", ".join(report.open_holds) or "all"
        ),
        Check(
            name="back office has the same journal",
            ok=received == [e.raw for e in entries],
            found=f"{len(received)} of {len(entries)} entries",
        ),
        Check(
            name="back office has the same invoices",
            ok=copies == invoices,
            found=f"{len(copies)} of {len(invoices)} invoices",
        ),
        _energy(sessions, drawn_wh, world.step_wh),
        _money(invoices, stats),
        _terminal(invoices, world.terminal.books),
        *_acquirer(invoices, world.acquirer),
        *_wanted(stage, sessions, invoices),
    ]
    return {
        "story": stage.story.name,
        "agree": all(c.ok for c in checks),
        "checks": checks,
        "till": {
            "sessions": sessions,
            "invoices": [invoice_json(i) for i in invoices],
            "ledger": report,
            "entries": len(entries),
        },
        "back_office": {"entries": len(received), "invoices": [invoice_json(i) for i in copies]},
        "terminal": {
            "captured_minor": world.terminal.books.captured_minor,
            "open_holds": len(world.terminal.books.open),
        },
        "meter": {"begin_wh": world.register_begin_wh, "end_wh": world.register_wh, "delivered_wh": drawn_wh},
    }


def _energy(sessions: list[dict[str, Any]], drawn_wh: int, step_wh: int) -> Check:
    """Each session's energy is its own registers' difference, and together they are what the meter delivered."""
    charged = [s for s in sessions if s["begin_wh"] is not None]
    whole = all(s["energy_wh"] == s["end_wh"] - s["begin_wh"] for s in charged)
    billed_wh = sum(s["energy_wh"] or 0 for s in charged)
    # each session begins and ends somewhere within a step of the register
    ok = whole and abs(billed_wh - drawn_wh) <= 2 * step_wh * len(charged)
    return Check(
        name="energy is meter end minus meter begin",
        ok=ok,
        found=f"{billed_wh} Wh in sessions, {drawn_wh} Wh on the meter",
    )


def _money(invoices: list[Invoice], stats: dict[str, Any]) -> Check:
    captured = sum(i.draft.paid.captured_minor for i in invoices)
    invoiced = sum(t["payable_minor"] for t in stats["totals"])
    return Check(
        name="captured equals invoiced",
        ok=captured == invoiced,
        found=f"{captured} and {invoiced} minor units",
    )


def _terminal(invoices: list[Invoice], books: Books) -> Check:
    """What the payment terminal took is what the invoices say, and it holds nothing any more (I2)."""
    paid_minor = sum(i.draft.paid.captured_minor for i in invoices if i.draft.paid.method == "terminal")
    return Check(
        name="the terminal's books are the till's",
        ok=books.captured_minor == paid_minor and not books.open,
        found=f"{books.captured_minor} and {paid_minor} minor units, {len(books.open)} holds open",
    )


def _acquirer(invoices: list[Invoice], acquirer: VirtualAcquirer | None) -> list[Check]:
    if acquirer is None:
        return []
    books = acquirer.host.books
    paid_minor = sum(i.draft.paid.captured_minor for i in invoices if i.draft.paid.method == "card")
    return [
        Check(
            name="the acquirer's books are the till's",
            ok=books.captured_minor == paid_minor and not books.open,
            found=f"{books.captured_minor} and {paid_minor} minor units, {len(books.open)} holds open",
        )
    ]


def _wanted(stage: Stage, sessions: list[dict[str, Any]], invoices: list[Invoice]) -> list[Check]:
    then = stage.story.then
    return [
        Check(name=f"{name}: {wanted}", ok=found == wanted, found=str(found))
        for name, wanted, found in (
            ("sessions", then.sessions, len(sessions)),
            ("invoices", then.invoices, len(invoices)),
        )
        if wanted is not None
    ]


def _received(database: Path) -> list[bytes]:
    """The back office's copy of the journal, in order."""
    return [
        bytes(raw)
        for (raw,) in _rows(
            database, "SELECT e.raw FROM entry e JOIN line l USING (line_id) ORDER BY l.line_id, e.seq"
        )
    ]


def _copies(database: Path) -> list[Invoice]:
    rows = _rows(database, "SELECT document FROM invoice ORDER BY series, sequence")
    return [msgspec.json.decode(document, type=Invoice) for (document,) in rows]


def _rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    db: sqlite3.Connection = open_reader(database)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()
