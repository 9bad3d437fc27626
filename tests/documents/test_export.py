"""`chargetill invoice export` in every format, on a ledger that the real machine wrote."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import pty
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from edge.cli.root import root
from edge.documents import accounting, formats, sale
from edge.documents.accounting import accounting_rows, heading
from edge.documents.formats import FORMATS, file_name, format_named, render
from edge.documents.safe_xml import signed_values
from edge.documents.sale import NotExpressible, PartMissing
from edge.domain.energy import SignedValue
from edge.domain.money import from_minor
from edge.metering.ocmf import keys, safe_xml
from edge.metering.ocmf.algorithms import CURVES
from edge.metering.ocmf.keys import PublicKey

ALL = [
    "json", "html", "pdf", "receipt-58", "receipt-80", "ubl", "cii", "cdr-2.2.1", "cdr-2.3.0", "safe-xml", "csv",
]  # fmt: skip
#: A point of NIST P-256 (its generator), as the key of no real meter.
POINT = bytes.fromhex(
    "046B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296"
    "4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5"
)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """Two sessions of the charger of tests/domain, kept by the real store."""
    path = Path(__file__).parent.parent / "domain" / "conftest.py"
    spec = importlib.util.spec_from_file_location("charger_of_documents", path)
    charger = importlib.util.module_from_spec(spec)
    sys.modules["charger_of_documents"] = charger
    spec.loader.exec_module(charger)
    till = charger.Charger()
    till.devices_answer()
    for card in "AB":
        till.tap(card)
        till.deliver()
        till.plug()
        till.deliver()
        till.wait(400)
        till.pilot_to("A")
        till.deliver()
        till.deliver()
        till.wait(90_000)
    file = tmp_path_factory.mktemp("ledger") / "till.db"
    file.write_bytes(till.journal.db.serialize())
    return file


@pytest.fixture
def export(ledger):
    def run(*arguments):
        return CliRunner().invoke(root, ["--db", str(ledger), "invoice", "export", *map(str, arguments)])

    return run


@pytest.fixture
def numbers(ledger):
    db = sqlite3.connect(ledger)
    found = [n for (n,) in db.execute("SELECT number FROM invoice ORDER BY rowid")]
    db.close()
    return found


def test_the_formats_are_those_of_the_contract():
    assert list(FORMATS) == ALL


@pytest.mark.parametrize("form", [f for f in ALL if f != "safe-xml"])
def test_all_invoices_become_files_by_name(export, numbers, tmp_path, form):
    assert export("--all", "--format", form, "--lang", "de", "--out", tmp_path).exit_code == 0
    suffix = FORMATS[form].suffix
    assert sorted(f.name for f in tmp_path.iterdir()) == [f"{n}.{form}.{suffix}" for n in numbers]
    one = export(numbers[0], "--format", form, "--lang", "de")
    assert one.exit_code == 0
    assert one.stdout_bytes == (tmp_path / f"{numbers[0]}.{form}.{suffix}").read_bytes()
    assert export(numbers[1], "--format", form, "--out", tmp_path / "one").exit_code == 0
    assert (tmp_path / "one").stat().st_size > 100


def test_a_table_of_all_invoices_has_one_heading_and_sums_to_what_is_payable(export, numbers):
    rows = list(csv.DictReader(io.StringIO(export("--all", "--format", "csv").stdout)))
    payable = sum(
        json.loads(line, parse_float=Decimal)["payable"] for line in export("--all").stdout.splitlines()
    )
    assert [r["number"] for r in rows if r["row"] == "line" and r["description"] == "ENERGY"] == numbers
    assert sum(Decimal(r["amount"]) for r in rows) == payable


def test_many_lines_go_into_the_one_file_that_is_named_so(export, numbers, tmp_path):
    table, records = tmp_path / "books" / "all.csv", tmp_path / "all.json"
    records.write_bytes(b"of last month")
    assert export("--all", "--format", "csv", "--out", table).exit_code == 0
    assert export("--all", "--out", records).exit_code == 0
    assert table.read_bytes() == export("--all", "--format", "csv").stdout_bytes
    assert records.read_bytes() == export("--all").stdout_bytes
    assert {f.name for f in tmp_path.rglob("*")} == {"books", "all.csv", "all.json"}


def test_a_name_that_ends_as_a_folder_is_one(export, numbers, tmp_path):
    assert export(numbers[0], "--format", "ubl", "--out", f"{tmp_path / 'new'}/").exit_code == 0
    assert [f.name for f in (tmp_path / "new").iterdir()] == [f"{numbers[0]}.ubl.xml"]


def test_a_pipe_is_written_to_and_stays_one(export, numbers, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert export(numbers[0], "--format", "ubl", "--out", pipe).exit_code == 0
        assert os.read(reader, 100_000).startswith(b"<?xml")
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_cdrs_of_all_invoices_are_lines_of_json(export, numbers):
    lines = export("--all", "--format", "cdr-2.3.0").stdout.splitlines()
    assert [json.loads(line)["invoice_reference_id"] for line in lines] == numbers


def test_an_unknown_format_lists_the_known_ones(export):
    error = export("--all", "--format", "docx").exception
    assert error.code == "call.format"
    assert error.exit_code == 2
    assert all(name in error.hint for name in ALL)


def test_documents_that_do_not_follow_each_other_need_a_folder(export):
    assert export("--all", "--format", "pdf").exception.code == "call.out"


def test_a_session_without_signed_values_has_no_safe_xml(export, numbers, tmp_path):
    assert export(numbers[0], "--format", "safe-xml").exception.code == "document.not_expressible"
    done = export("--all", "--format", "safe-xml", "--out", tmp_path)
    assert done.exit_code == 1
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["document.not_expressible"] * 2
    assert list(tmp_path.iterdir()) == []


def test_signed_values_are_written_as_the_meter_signed_them(ordinary, ledger, export, numbers, tmp_path):
    der = keys.to_der(PublicKey(POINT, next(c for c in CURVES if c.name == "secp256r1")))
    values = tuple(
        SignedValue(ocmf=f"OCMF|{{}}|{{{i} <&}}".encode(), public_key=der, verified=True) for i in range(2)
    )
    found = safe_xml.read(signed_values(replace(ordinary, signed=values)))
    assert [v.record() for v in found] == [v.ocmf for v in values]
    assert [v.context for v in found] == ["Transaction.Begin", "Transaction.End"]
    assert {v.transaction_id for v in found} == {"1"}

    db = sqlite3.connect(ledger)
    (session_id,) = db.execute("SELECT session_id FROM invoice WHERE number = ?", (numbers[1],)).fetchone()
    signed = tmp_path / "signed.db"
    with sqlite3.connect(signed) as copy:
        db.backup(copy)
        copy.execute(
            "INSERT INTO signed (evse_id, session_id, kind, ocmf, public_key, verified) VALUES ('E', ?, 'record', ?, ?, 1)",
            (session_id, values[1].ocmf, der),
        )
    copy.close()
    db.close()
    done = CliRunner().invoke(
        root, ["--db", str(signed), "invoice", "export", numbers[1], "--format", "safe-xml"]
    )
    assert [v.record() for v in safe_xml.read(done.stdout_bytes)] == [values[1].ocmf]
    done = CliRunner().invoke(
        root, ["--db", str(signed), "invoice", "export", numbers[1], "--format", "cdr-2.2.1"]
    )
    assert len(json.loads(done.stdout)["signed_data"]["signed_values"]) == 1


def test_a_key_without_an_encoding_is_refused(ordinary, monkeypatch):
    monkeypatch.setattr(keys, "from_bytes", lambda _der: object())
    value = SignedValue(ocmf=b"OCMF|{}|{}", public_key=b"\x30", verified=False)
    with pytest.raises(NotExpressible, match="does not know"):
        signed_values(replace(ordinary, signed=(value,)))


def test_a_key_that_cannot_be_read_is_refused(ordinary):
    value = SignedValue(ocmf=b"OCMF|{}|{}", public_key=b"\x30", verified=False)
    with pytest.raises(NotExpressible, match="cannot be read"):
        signed_values(replace(ordinary, signed=(value,)))


def test_a_person_sees_how_far_the_export_is(ledger, numbers, tmp_path):
    screen, stderr = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "edge",
        "--db",
        str(ledger),
        "invoice",
        "export",
        "--all",
        "--format",
        "csv",
    ]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], stderr=stderr, stdout=subprocess.PIPE, check=True
    )
    os.close(stderr)
    assert b"exporting" in os.read(screen, 4096)
    os.close(screen)
    assert done.stdout == b""
    assert len(list(tmp_path.iterdir())) == len(numbers)


def test_a_missing_package_says_how_to_install_it(ordinary, monkeypatch):
    monkeypatch.setattr(sale, "find_spec", lambda name: None if name == "fpdf" else object())
    with pytest.raises(PartMissing, match=r"package fpdf.*chargetill\[documents\]"):
        render(format_named("pdf"), ordinary)
    assert render(format_named("ubl"), ordinary)


def test_a_format_loads_only_what_it_needs():
    """The daemon imports the documents' room; only who asks for paper loads what sets it."""
    code = (
        "import sys, edge.app, edge.documents.formats as f; f.format_named('pdf');"
        "print([m for m in ('fpdf', 'babel', 'lxml', 'PIL', 'fontTools') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_number_with_a_slash_stays_in_its_folder(ordinary):
    odd = replace(ordinary, invoice=replace(ordinary.invoice, number="../2026/1"))
    assert file_name(format_named("pdf"), odd) == "-2026-1.pdf.pdf"


def test_the_rows_of_a_table_sum_to_what_is_payable_and_run_nothing(ordinary):
    draft = ordinary.invoice.draft
    odd = replace(draft, account='=HYPERLINK("x")')
    text = (
        heading() + accounting_rows(replace(ordinary, invoice=replace(ordinary.invoice, draft=odd)))
    ).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {r["account"] for r in rows} == {'\'=HYPERLINK("x")'}
    assert [r["row"] for r in rows] == ["line", "line", "line", "tax", "rounding"]
    assert sum(Decimal(r["amount"]) for r in rows) == from_minor(draft.figures.payable_minor, "EUR")
    assert list(rows[0]) == list(accounting.COLUMNS)


def test_every_renderer_that_is_named_is_there():
    for form in FORMATS.values():
        assert callable(formats._function(form.renderer))
