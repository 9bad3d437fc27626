#!/usr/bin/env python3
"""What an invoice costs as each document, and the export of 10,000 of them: time, and memory that stays the same.

.venv/bin/python scripts/benchmarks/documents.py --json
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec

from edge.documents.formats import FORMATS, render
from edge.documents.sale import Sale
from edge.domain import pricing
from edge.domain.invoice import Invoice, InvoiceDraft, MeterRecord, Paid, Place, Seller, TariffText, seal
from edge.domain.tariffs import load_tariff
from edge.store.schema import migrate

START = datetime(2026, 6, 1, 10, tzinfo=UTC)
INVOICES = 10_000
#: Milliseconds that one document may take, the first import apart.
GOALS_MS = {"json": 5, "ubl": 5, "pdf": 150}
#: Memory at the last invoice over that at a tenth of them: what grows with the number is a leak.
GROWTH_MAX = 1.05
ROUNDS = {"html": 200, "pdf": 20, "receipt-58": 20, "receipt-80": 20}


def sale() -> Sale:
    """A session with energy, parking and a fee, prices with tax."""
    prices = [("ENERGY", 0.49, 1), ("PARKING_TIME", 3.6, 60), ("FLAT", 0.35, 1)]
    document = {
        "country_code": "DE",
        "party_id": "CHT",
        "id": "T",
        "currency": "EUR",
        "tax_included": "YES",
        "elements": [
            {"price_components": [{"type": t, "price": p, "vat": 19, "step_size": s} for t, p, s in prices]}
        ],
        "last_updated": "2026-01-01T00:00:00Z",
    }
    compiled = pricing.compile_tariff(load_tariff(document), time_zone="Europe/Berlin")
    accrual, end = pricing.begin(compiled, at=START), START
    for seconds, energy_wh, state in ((3000, 22_345, "Charging"), (631, 0, "SuspendedEV")):
        end += timedelta(seconds=seconds)
        accrual = pricing.extend(
            compiled, accrual, pricing.Interval(end=end, energy_wh=energy_wh, state=state)
        )
    bill = pricing.settle(compiled, accrual)
    draft = InvoiceDraft(
        session_id="5e551010" * 4,
        seller=Seller(
            name="Demo Charging GmbH",
            address="Musterstr. 1, 10115 Berlin",
            country="DE",
            tax_id="DE123456789",
        ),
        place=Place(
            evse_id="DE*CHT*E1", label="1", address="Am Markt 2, 20095 Hamburg", time_zone="Europe/Berlin"
        ),
        begin=START,
        end=end,
        energy_wh=22_345,
        meter=MeterRecord(begin_wh=4_711_280, end_wh=4_733_625, serial="20240001"),
        ended_by="card",
        estimated=False,
        dated=True,
        currency="EUR",
        tax_included=True,
        figures=bill.invoice,
        paid=Paid(
            method="card", hold_minor=6000, captured_minor=bill.invoice.payable_minor, status="captured"
        ),
        tariff=TariffText(hash="3e07" * 16, text="Energy €0.49/kWh; Parking €0.06/min; Per session €0.35"),
    )
    invoice = seal(draft, series="CT-BENCH001", sequence=1, now=end)
    return Sale(invoice=invoice, bill=bill, evse_kind="AC", token_commitment="c0" * 32)


def one_document(subject: Sale) -> dict[str, dict[str, float]]:
    """Median and slowest milliseconds of each format, and the first one with its imports."""
    figures = {}
    for form in FORMATS.values():
        if form.name == "safe-xml":
            continue
        started = perf_counter()
        render(form, subject, language="de")
        first = perf_counter() - started
        times = []
        for _ in range(ROUNDS.get(form.name, 500)):
            started = perf_counter()
            render(form, subject, language="de")
            times.append((perf_counter() - started) * 1000)
        figures[form.name] = {
            "median_ms": round(statistics.median(times), 3),
            "max_ms": round(max(times), 3),
            "first_ms": round(first * 1000, 1),
        }
    return figures


def ledger(folder: Path, invoice: Invoice, count: int) -> Path:
    """A till's database that holds `count` invoices."""
    file = folder / f"{count}.db"
    db = sqlite3.connect(file)
    migrate(db)
    rows = []
    for n in range(1, count + 1):
        made = seal(invoice.draft, series="CT-BENCH001", sequence=n, now=START + timedelta(minutes=n))
        rows.append(
            (
                made.number,
                made.series,
                n,
                f"{n:032x}",
                made.issued_at.isoformat(),
                "EUR",
                msgspec.json.encode(made),
            )
        )
    db.executemany(
        "INSERT INTO invoice (number, series, sequence, session_id, issued_at, currency, document) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    db.commit()
    db.close()
    return file


#: The command, and then its own peak: what a parent is told of a child includes the parent's memory.
MEASURED = """
import sys
from pathlib import Path
from edge.__main__ import main
try:
    main()
finally:
    [peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    print(peak.split()[1])
"""


def exported(file: Path, form: str, folder: Path) -> tuple[float, float]:
    """Seconds and peak MB of the command that exports everything."""
    out = folder / f"{file.stem}-{form}"
    command = ["--db", str(file), "invoice", "export", "--all", "--format", form, "--out", str(out)]
    started = perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], check=True, stdout=subprocess.PIPE, text=True
    )
    return perf_counter() - started, int(done.stdout) / 1024


def many(subject: Sale) -> dict[str, Any]:
    """Exports of a tenth and of all: their time, and how far memory grows in between."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for form, count in (("ubl", INVOICES), ("pdf", INVOICES // 50)):
            _, few_mb = exported(ledger(folder, subject.invoice, count // 10), form, folder)
            seconds, all_mb = exported(ledger(folder, subject.invoice, count), form, folder)
            figures[form] = {
                "invoices": count,
                "seconds": round(seconds, 2),
                "peak_mb": round(all_mb, 1),
                "growth": round(all_mb / few_mb, 3),
            }
    return figures


def main() -> int:
    """Measure, print, and say whether the goals are met."""
    parser = argparse.ArgumentParser(description="documents of an invoice")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    subject = sale()
    one, export = one_document(subject), many(subject)
    missed = [name for name, goal in GOALS_MS.items() if one[name]["median_ms"] > goal]
    missed += [f"export {name}" for name, figures in export.items() if figures["growth"] > GROWTH_MAX]
    if options.json:
        print(json.dumps({"document": one, "export": export, "missed": missed}))
        return 1 if missed else 0
    for name, figures in one.items():
        goal = f"  (goal {GOALS_MS[name]} ms)" if name in GOALS_MS else ""
        print(f"{name:<12}{figures['median_ms']:>9.3f} ms, first {figures['first_ms']:>6.1f} ms{goal}")
    for name, figures in export.items():
        print(
            f"{figures['invoices']} as {name} in {figures['seconds']} s, peak {figures['peak_mb']} MB, "
            f"x{figures['growth']} of a tenth (goal x{GROWTH_MAX})"
        )
    print("missed: " + ", ".join(missed) if missed else "all goals met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
