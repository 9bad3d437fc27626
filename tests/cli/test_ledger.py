"""`session`, `invoice` and `ledger`, as scripts call them."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
from datetime import UTC, datetime

import pytest

from edge.domain.instant import Instant
from edge.domain.ledger.facts import DeviceStopped
from edge.store.boots import note_trusted
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store


@pytest.fixture
def run(call, sold):
    """Run a command on the database with the sold sessions."""
    return lambda *arguments: call("--db", sold, *arguments)


def answer(done):
    assert done.code == 0, done.err
    return json.loads(done.out)


@pytest.fixture
def copy(sold, tmp_path):
    return shutil.copy(sold, tmp_path / "copy.db")


def sql(file, statement, *values):
    db = sqlite3.connect(file)
    db.execute(statement, values)
    db.commit()
    db.close()


# --- sessions


def test_sessions_are_listed_and_shown(run):
    sessions = answer(run("session", "list", "--json"))
    assert [s["outcome"] for s in sessions] == ["invoiced", "invoiced", "no_plug", None]
    assert [s["status"] for s in sessions] == ["ended", "ended", "ended", "charging"]
    assert sessions[0]["energy_wh"] == sessions[0]["end_wh"] - sessions[0]["begin_wh"]
    shown = answer(run("--json", "session", "show", sessions[0]["session_id"]))
    assert shown["events"][0]["type"] == "chargetill.session.opened.v1"
    assert shown["events"][0]["entry"]["specversion"] == "1.0"
    text = run("session", "list")
    assert text.code == 0
    assert len(text.out.splitlines()) == 5
    assert "estimated        no\n" in run("session", "show", sessions[0]["session_id"]).out
    assert run("session", "show", sessions[0]["session_id"][:31]).code == 1


@pytest.mark.parametrize(
    "arguments", [("session", "show", "zz"), ("invoice", "show", "CT-1"), ("invoice", "export", "CT-1")]
)
def test_what_is_not_there_is_a_no(run, arguments):
    done = run(*arguments, "--json")
    assert done.code == 1
    assert done.out == ""
    assert done.error["code"] == "call.not_found"


# --- invoices


def test_the_invoices_json_has_what_the_contract_names(run):
    first, second = answer(run("invoice", "list", "--json"))
    found = answer(run("invoice", "show", first["number"], "--json"))
    assert found.keys() >= {
        "number", "issued_at", "begin", "end", "energy_wh", "meter", "lines", "taxes", "total_before_taxes",
        "total_after_taxes", "payable", "currency", "paid", "tariff",
    }  # fmt: skip
    assert found["meter"].keys() == {"begin_wh", "end_wh", "serial", "signed"}
    assert found["paid"].keys() == {"method", "hold_minor", "captured_minor", "status"}
    assert found["tariff"].keys() == {"hash", "text"}
    assert found["begin"].endswith("+01:00")
    assert second["issued_at"].endswith("+02:00")  # the clocks changed in the night between
    assert round(found["payable"] * 100) == found["paid"]["captured_minor"]
    assert found["energy_wh"] == found["meter"]["end_wh"] - found["meter"]["begin_wh"]
    exported = answer(run("invoice", "export", first["number"]))
    assert exported == found
    assert first["number"] in run("invoice", "show", first["number"]).out


def test_invoices_are_exported_to_files_by_name_and_by_day(run, tmp_path):
    numbers = [i["number"] for i in answer(run("invoice", "list", "--json"))]
    folder = tmp_path / "out"
    assert run("invoice", "export", "--all", "--out", folder).code == 0
    assert sorted(f.name for f in folder.iterdir()) == [f"{n}.json.json" for n in numbers]
    assert json.loads((folder / f"{numbers[0]}.json.json").read_text())["number"] == numbers[0]
    assert run("invoice", "export", numbers[0], "--out", tmp_path / "one.json").code == 0
    assert json.loads((tmp_path / "one.json").read_text())["number"] == numbers[0]
    assert run("invoice", "export", numbers[1], "--out", tmp_path).code == 0
    assert (tmp_path / f"{numbers[1]}.json.json").exists()
    day = answer(run("invoice", "show", numbers[1], "--json"))["issued_at"][:10]
    lines = run("invoice", "export", "--all", "--from", day, "--to", day).out.splitlines()
    assert [json.loads(line)["number"] for line in lines] == [numbers[1]]
    assert run("invoice", "export", "--all", "--to", "2000-01-01").out == ""


def test_an_export_of_no_invoices_is_an_empty_table_or_folder(run, tmp_path):
    none = ("invoice", "export", "--all", "--to", "2000-01-01")
    every = run("invoice", "export", "--all", "--format", "csv").out
    heading = every.splitlines(keepends=True)[0]
    assert every.count(heading) == 1
    assert run(*none, "--format", "csv").out == heading
    assert run(*none, "--format", "csv", "--out", tmp_path / "none.csv").code == 0
    assert (tmp_path / "none.csv").read_bytes() == heading.encode().replace(b"\n", b"\r\n")
    assert run(*none, "--format", "csv", "--out", tmp_path / "folder").code == 0
    assert list((tmp_path / "folder").iterdir()) == []


def test_among_lines_of_json_an_error_is_a_line(call, copy):
    sql(copy, "DELETE FROM entry WHERE subject = (SELECT session_id FROM invoice WHERE sequence = 1)")
    done = call("--db", copy, "invoice", "export", "--all", "--format", "cdr-2.2.1")
    lost, cdr = map(json.loads, done.out.splitlines())
    assert (done.code, done.err) == (1, "")
    assert (lost["error"]["code"], cdr["country_code"]) == ("document.not_expressible", "DE")
    assert lost["number"] != cdr["invoice_reference_id"]


@pytest.mark.parametrize(
    "arguments",
    [("export",), ("export", "CT-1", "--all"), ("export", "--all", "--format", "docx"),
     ("export", "CT-1", "--from", "2026-01-01"), ("export", "--all", "--from", "yesterday")],
)  # fmt: skip
def test_a_wrong_export_is_exit_2(run, arguments):
    done = run("invoice", *arguments, "--json")
    assert done.code == 2
    assert done.error["code"].startswith("call.")


def test_an_export_that_cannot_be_written_says_where(run, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    for arguments in (
        ("invoice", "export", "--all", "--out", blocked / "x"),
        ("ledger", "export", "--out", blocked / "x"),
    ):
        done = run(*arguments, "--json")
        assert done.code == 3
        assert done.error["code"] == "export.failed"
        assert str(blocked) in done.error["message"]


# --- the ledger


def test_a_good_ledger_verifies_also_with_a_running_session(run, sold):
    report = answer(run("ledger", "verify"))
    assert report.keys() == {"entries", "verified_from", "sessions", "invoices", "open_holds", "problems"}
    assert (report["sessions"], report["invoices"], len(report["open_holds"])) == (4, 2, 1)
    assert report["problems"] == []
    assert answer(run("ledger", "verify", "--json", "--public-key", sold.parent / "key")) == report


def test_the_export_is_the_exact_bytes_and_verifies_elsewhere(run, call, sold, tmp_path):
    file = tmp_path / "export.ndjson"
    assert run("ledger", "export", "--out", file).code == 0
    db = sqlite3.connect(sold)
    assert file.read_bytes().splitlines() == [r for (r,) in db.execute("SELECT raw FROM entry ORDER BY id")]
    db.close()
    assert run("ledger", "export").out.encode() == file.read_bytes()
    assert answer(call("ledger", "verify", "--file", file)) == answer(run("ledger", "verify"))
    rows = list(csv.DictReader(io.StringIO(run("ledger", "export", "--format", "csv").out)))
    assert len(rows) == answer(run("ledger", "stats", "--json"))["entries"]
    assert rows[0]["type"] == "chargetill.ledger.opened.v1"


def test_the_table_for_people_has_the_times_that_became_known_beside_those_that_were_shown(call, tmp_path):
    true, wrong = datetime(2026, 6, 1, 12, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)

    def at(boot, utc, seconds):
        return Instant(utc=utc, boot_id=boot, monotonic_ns=seconds * 1_000_000_000)

    file = tmp_path / "t.db"
    key, owner = load_or_make(tmp_path / "key"), Owner(site="s", device="d")
    store = Store.open(file, key=key, owner=owner, prefix="CT", now=at("lost", wrong, 10))
    store.submit(lambda tx: tx.append(DeviceStopped(reason="x"), at("found", wrong, 5))).result()
    trusted = at("found", true, 65)
    store.submit(lambda tx: note_trusted(tx, source="ntp", error_ms=5, at=trusted)).result()
    store.close()
    assert answer(call("--db", file, "ledger", "verify"))["problems"] == []
    rows = list(csv.DictReader(io.StringIO(call("--db", file, "ledger", "export", "--format", "csv").out)))
    early, late = "2026-06-01T11:59:00+00:00", "2026-06-01T12:00:00+00:00"
    assert [(r["time"][:4], r["derived_time"], r["not_before"], r["not_after"]) for r in rows] == [
        ("1970", "", "", early),
        ("1970", early, early, early),
        ("2026", late, late, late),
        ("2026", late, late, late),
    ]


@pytest.mark.parametrize(
    "spoil",
    [lambda b: b[:-20], lambda b: b.replace(b'"seq":"5"', b'"seq":"x"'), lambda b: b"\xff" + b[1:], lambda b: b + b"junk\n",
     lambda b: b[b.index(b"\n") + 1 :], lambda b: b""],
)  # fmt: skip
def test_a_spoilt_export_has_problems_and_is_no_crash(run, call, tmp_path, spoil):
    file = tmp_path / "export.ndjson"
    run("ledger", "export", "--out", file)
    file.write_bytes(spoil(file.read_bytes()))
    done = call("ledger", "verify", "--file", file)
    assert done.code == 1
    assert json.loads(done.out)["problems"]
    assert done.err == ""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET raw = CAST(replace(CAST(raw AS TEXT), '0.49', '0.39') AS BLOB)",
        "UPDATE entry SET type = 'chargetill.device.booted.v1' WHERE seq = 4",
        "DELETE FROM entry WHERE seq = 7",
        "UPDATE invoice SET document = CAST(replace(CAST(document AS TEXT), 'Berlin', 'Bonn') AS BLOB)",
        "UPDATE invoice SET document = x'00'",
        "DELETE FROM invoice WHERE sequence = 2",
    ],
)
def test_a_changed_database_has_problems(call, copy, statement):
    sql(copy, statement)
    done = call("--db", copy, "ledger", "verify")
    assert done.code == 1
    assert json.loads(done.out)["problems"]


def test_another_devices_key_does_not_verify(run, tmp_path):
    key = tmp_path / "key"
    key.write_text("ab" * 32)
    assert run("ledger", "verify", "--public-key", key).code == 1
    for text in ("", "zz", "ab" * 31):
        key.write_text(text)
        done = run("ledger", "verify", "--public-key", key, "--json")
        assert (done.code, done.error["code"]) == (2, "call.public_key")


def test_stats_tell_what_is_open(run):
    stats = answer(run("ledger", "stats", "--json"))
    assert (stats["sessions"], stats["open_sessions"], stats["invoices"]) == (4, 1, 2)
    assert [h["status"] for h in stats["open_holds"]] == ["authorized"]
    assert stats["epochs"][0]["last"] == stats["entries"]
    assert "open" in run("ledger", "stats").out


# --- no database


@pytest.mark.parametrize(
    "command",
    [("session", "list"), ("session", "show", "a"), ("invoice", "list"), ("invoice", "export", "--all"),
     ("ledger", "verify"), ("ledger", "stats"), ("ledger", "export"), ("sync", "status")],
)  # fmt: skip
def test_where_there_is_no_till_every_command_says_so(call, command, tmp_path):
    missing = call("--db", tmp_path / "none.db", *command, "--json")
    assert (missing.code, missing.error["code"]) == (3, "store.unreadable")
    other = tmp_path / "other.db"
    sql(other, "CREATE TABLE x (y)")
    wrong = call("--db", other, *command, "--json")
    assert (wrong.code, wrong.error["code"]) == (3, "store.no_till")
    assert all(done.out == "" and done.error["hint"] for done in (missing, wrong))


def test_a_file_that_is_no_database(call, tmp_path):
    file = tmp_path / "till.db"
    file.write_text("no database, but long enough to be taken for one" * 20)
    assert call("--db", file, "ledger", "verify", "--json").error["code"] == "store.corrupt"


@pytest.mark.parametrize("command", [("session", "list"), ("ledger", "verify"), ("sync", "status")])
def test_a_newer_versions_database_is_not_guessed_at(call, copy, command):
    sql(copy, "PRAGMA user_version = 999")
    done = call("--db", copy, *command, "--json")
    assert (done.code, done.out, done.error["code"]) == (3, "", "store.too_new")


def test_the_configuration_names_the_database(call, place, sold):
    shutil.copy(sold, place.database)
    assert len(answer(call("--config", place.config, "session", "list", "--json"))) == 4
    place.config.unlink()
    assert call("--config", place.config, "session", "list", "--json").error["code"] == "config.invalid"


def test_commands_read_beside_a_running_daemon(place, daemon, call):
    till = daemon(place.config)
    till.says("till.ready")
    assert answer(call("--config", place.config, "session", "list", "--json")) == []
    assert call("--config", place.config, "session", "list").out == "no sessions yet\n"
    assert answer(call("--config", place.config, "ledger", "verify"))["problems"] == []
    assert till.stop() == 0
