"""`chargetill backoffice` and `chargetill sync`, as scripts call them."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.backoffice.arrival import Message
from edge.backoffice.books import Books
from edge.domain.instant import Instant
from edge.domain.ledger.envelope import Head, wrap
from edge.domain.ledger.facts import PaymentRequested
from edge.sync.contract.topics import Peer
from hw.virtual.broker import EmbeddedBroker


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Empty books, made as people make them."""
    broker = EmbeddedBroker.start()
    file = tmp_path / "books.db"
    config = tmp_path / "backoffice.toml"
    config.write_text(f'db = "{file}"\nbrokers = ["{broker.address}"]\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "backoffice", "run", "--config", str(config)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    broker.stop()
    return file


def test_empty_books_have_figures_and_no_problems(database) -> None:
    stats = json.loads(call("backoffice", "stats", "--db", database, "--json").stdout)
    assert stats == {
        "devices": [],
        "entries": 0,
        "sessions": 0,
        "invoices": 0,
        "totals": [],
        "quarantined": 0,
    }
    verified = call("--json", "backoffice", "verify", "--db", database)
    assert verified.returncode == 0
    assert json.loads(verified.stdout)["problems"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (("run",), "config.invalid", 2),
        (("run", "--db", "/tmp/x.db", "--broker", "no port"), "config.invalid", 2),
        (("run", "--config", "/nowhere/backoffice.toml"), "config.invalid", 2),
        (("stats",), "call.database", 2),
        (("stats", "--db", "/nowhere/books.db"), "store.unreadable", 3),
        (("run", "--db", "/nowhere/books.db", "--broker", "127.0.0.1:1"), "store.unreadable", 3),
        (("frobnicate",), "call.usage", 2),
    ],
)
def test_a_wrong_call_says_what_to_do(arguments, code, exit_code) -> None:
    done = call("backoffice", *arguments, "--json")
    assert done.returncode == exit_code
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["code"] == code
    assert error["hint"]
    assert done.stdout == ""


def test_a_database_of_somebody_else_is_named_as_such(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    sqlite3.connect(file).execute("CREATE TABLE t (a)").connection.commit()
    for what in ("stats", "verify", "export"):
        done = call("backoffice", what, "--db", file, "--json")
        assert done.returncode == 3
        assert json.loads(done.stderr)["error"]["code"] == "backoffice.no_books"


def test_an_option_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "backoffice.toml"
    config.write_text('db = "x"\nbrokers = ["127.0.0.1:1883"]\nspeed = 9\n')
    done = call("backoffice", "run", "--config", config)
    assert done.returncode == 2
    assert "speed" in done.stderr


def test_entries_leave_as_they_came_and_tables_as_json_or_csv(database, tmp_path: Path) -> None:
    entry = wrap(
        PaymentRequested(
            session_id="=1+1", payment_ref="P1", method="account", amount_minor=500, currency="EUR"
        ),
        head=Head(epoch="E1"),
        at=Instant(utc=datetime(2026, 6, 1, tzinfo=UTC), boot_id="b", monotonic_ns=1),
        source="/till/s1/d1",
        key_id="0" * 16,
    )
    books = Books(database)
    books.book([Message(peer=Peer("s1", "d1"), payload=entry.raw)], datetime.now(UTC))
    books.close()
    assert call("backoffice", "export", "--db", database).stdout == entry.raw.decode() + "\n"
    payments = call("backoffice", "export", "--db", database, "--table", "payments").stdout
    assert json.loads(payments)["requested_minor"] == 500
    assert call("backoffice", "export", "--db", database, "--table", "settlements").stdout == ""
    out = tmp_path / "payments.csv"
    call("backoffice", "export", "--db", database, "--table", "payments", "--format", "csv", "--out", out)
    heading, row = out.read_text().splitlines()
    assert heading.startswith("site,device,payment_ref,session_id")
    assert row.startswith("s1,d1,P1,'=1+1"), "a spreadsheet must not calculate"


def test_a_broker_is_set_up_and_a_device_let_in(tmp_path: Path) -> None:
    folder = tmp_path / "access"
    made = json.loads(call("backoffice", "access", folder, "--host", "localhost", "--json").stdout)
    assert made["devices"] == 0
    given = json.loads(
        call("backoffice", "device", "enroll", "s1", "d1", "--access", folder, "--json").stdout
    )
    assert Path(given["key"]).stat().st_mode & 0o077 == 0
    assert "user s1.d1" in (folder / "acl").read_text()
    refused = call("backoffice", "device", "enroll", "s/1", "d1", "--access", folder, "--json")
    assert refused.returncode == 2
    assert json.loads(refused.stderr)["error"]["code"] == "sync.name"


TOKEN = "ab" * 32


def test_a_device_is_ordered_and_the_order_waits_for_an_answer(database) -> None:
    ordered = json.loads(
        call("backoffice", "device", "stop", "s1", "d1", "S1", "--db", database, "--json").stdout
    )
    assert ordered == {"site": "s1", "device": "d1", "stream": "cmd", "version": 1}
    (order,) = json.loads(
        call("backoffice", "device", "orders", "s1", "d1", "--db", database, "--json").stdout
    )
    assert order["order"] == {"do": "remote_stop", "session_id": "S1"}
    assert order["reply"] is None
    key = call("backoffice", "device", "orders-key", "--db", database).stdout.strip()
    assert len(bytes.fromhex(key)) == 32


def test_members_are_added_blocked_and_listed(database, tmp_path: Path) -> None:
    where = ("--site", "s1", "--db", database, "--json")
    add = ("backoffice", "member", "add", "--token", TOKEN, "--account", "A-1", "--limit-minor", "6000")
    assert json.loads(call(*add, *where).stdout)["version"] == 1
    assert call("backoffice", "member", "block", "--token", TOKEN, *where).returncode == 0
    (listed,) = json.loads(call("backoffice", "member", "list", *where).stdout)
    assert (listed["account"], listed["limit_minor"], listed["blocked"]) == ("A-1", 6000, True)
    many = tmp_path / "many.ndjson"
    many.write_text("\n".join(json.dumps({"token": f"{n:064x}", "account": f"A-{n}"}) for n in range(5)))
    assert json.loads(call("backoffice", "member", "import", many, *where).stdout)["members"] == 5
    many.write_bytes(b'\xef\xbb\xbf{"token": "%s", "account": "A-1"}\r\n\r\n' % (b"0" * 64))
    assert json.loads(call("backoffice", "member", "import", many, *where).stdout)["members"] == 1
    many.write_text('{"token": "short"}\n')
    refused = call("backoffice", "member", "import", many, *where)
    assert refused.returncode == 2
    assert "line 1" in json.loads(refused.stderr)["error"]["message"]
    assert call("backoffice", "member", "remove", "--token", "cd" * 32, *where).returncode == 2
    assert call(*add, "--currency", "XXX", *where).returncode == 2
    short = call(*add, "--token", "short", *where)
    assert "64 hex digits" in json.loads(short.stderr)["error"]["message"]


def test_only_a_tariff_that_can_be_read_is_published(database, tmp_path: Path) -> None:
    file = tmp_path / "tariff.json"
    file.write_text('{"nonsense": 1}')
    refused = call("backoffice", "tariff", "publish", file, "--site", "s1", "--db", database, "--json")
    assert refused.returncode == 2
    assert json.loads(refused.stderr)["error"]["code"].startswith("tariff")


def test_a_reader_that_goes_away_is_no_error(database) -> None:
    script = f"(sleep 0.2; exec {sys.executable} -m edge backoffice export --db '{database}') | true"
    line = ["bash", "-c", f"{script}; exit ${{PIPESTATUS[0]}}"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", ["web", "receipts"])
def test_an_address_that_is_none_and_books_that_are_not_there_are_said_at_once(
    database, tmp_path: Path, page
) -> None:
    for listen in ("nonsense", "127.0.0.1:70000"):
        done = call("backoffice", page, "--db", database, "--listen", listen)
        assert (done.returncode, done.stdout, done.stderr[:11]) == (2, "", "call.usage:")
    done = call("backoffice", page, "--db", tmp_path / "none.db", "--listen", "127.0.0.1:0")
    assert (done.returncode, done.stdout, done.stderr[:17]) == (3, "", "store.unreadable:")


def test_the_page_says_where_it_is(database) -> None:
    command = [sys.executable, "-m", "edge", "backoffice", "web", "--db", str(database)]
    with subprocess.Popen([*command, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as page:
        try:
            url = page.stdout.readline().strip()
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert b"quarantined" in answer.read()
        finally:
            page.send_signal(signal.SIGINT)
        assert page.wait(60) == 0
