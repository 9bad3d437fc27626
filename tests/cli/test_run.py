"""`chargetill run` where something is missing or wrong: one clear line, the right exit code, nothing lost."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from edge import __main__ as entry
from edge.cli import run_till
from edge.cli.root import root
from edge.domain.identity import IdToken
from edge.domain.instant import Instant, Timeline
from edge.domain.payment import Payment
from edge.domain.session.state import AwaitingPlug, EvseState, Session

EVENT = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z (info|warning|error) +[a-z]+\.[a-z_]+( |$)")
LINE = re.compile(r"^[a-z_]+\.[a-z_]+: .+ \(.+\)$")


def refused(call, place, *arguments, code, exit_code):
    """The daemon does not run: one line of the right form, with code, what, where and what to do."""
    done = call("--config", place.config, *arguments, "run")
    assert done.code == exit_code, done.err
    assert done.out == ""
    *events, line = done.err.splitlines()
    assert all(EVENT.match(e) for e in events), (
        done.err
    )  # the contactor could not be opened: nothing answers there
    assert LINE.match(line), line
    assert line.startswith(f"{code}: ")
    return line


def screen(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/state", timeout=20) as answer:
        return json.load(answer)


def shows(port, kind, *, within_s=90):
    """Wait until the screen of the only EVSE shows this; its reason."""
    ends = time.monotonic() + within_s
    while True:
        found = json.dumps(screen(port))
        if f'"kind": "{kind}"' in found or f'"kind":"{kind}"' in found:
            match = re.search(r'"reason": ?"([a-z_]+)"', found)
            return match and match[1]
        assert time.monotonic() < ends, found
        time.sleep(0.2)


def entries(database, kind):
    db = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        (count,) = db.execute(
            "SELECT COUNT(*) FROM entry WHERE type = ?", (f"chargetill.{kind}.v1",)
        ).fetchone()
        return count
    finally:
        db.close()


def test_missing_devices_do_not_stop_the_daemon_and_the_screen_says_so(place, daemon, free_port):
    place.edit("[[evse]]", '[[reader]]\ndriver = "nfc"\npath = "tty:/dev/no-reader:pn532"\n[[evse]]')
    place.edit('label = "1"', 'label = "1"\nstale_s = 3')
    place.add(f'[kiosk]\nport = {free_port}\n[mqtt]\nbrokers = ["127.0.0.1:9"]\n')
    till = daemon(place.config)
    till.says("till.ready")
    till.says("reader.failed")
    till.says("meter.failed")
    assert shows(free_port, "out_of_order") in ("evse_fault", "meter_silent", "evse_failed")
    assert till.stop() == 0
    assert till.lines[-1].endswith("till.stopped")
    assert entries(place.database, "device.stopped") == 1
    assert sum("evse.not_opened" in line for line in till.lines) <= 4  # said once a trouble, not once a try


def test_a_second_daemon_on_the_same_database_leaves_the_first_alone(place, daemon, call):
    till = daemon(place.config)
    till.says("till.ready")
    line = refused(call, place, code="store.busy", exit_code=3)
    assert "till.db is in use by another process" in line
    assert till.process.poll() is None
    assert till.stop() == 0
    assert entries(place.database, "device.booted") == 1


def test_a_port_in_use_for_the_screen(place, call):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place.add(f"[kiosk]\nport = {taken.getsockname()[1]}\n")
        done = call("--config", place.config, "run")
    assert done.code == 3
    said = [line for line in done.err.splitlines() if LINE.match(line)]
    assert len(said) == 1
    assert said[0].startswith("kiosk.not_served: cannot listen on 127.0.0.1:")
    assert "Traceback" not in done.err


def test_a_database_of_another_device_or_key(place, daemon, call):
    till = daemon(place.config)
    till.says("till.ready")
    till.stop()
    place.edit('name = "till-1"', 'name = "till-2"')
    assert "is the ledger of s1/till-1" in refused(call, place, code="ledger.foreign", exit_code=3)
    place.edit('name = "till-2"', 'name = "till-1"')
    (place.folder / "ledger.key").unlink()
    assert "is signed by key" in refused(call, place, code="ledger.key", exit_code=3)


def readable(folder):
    (folder / "ledger.key").write_text("x")
    (folder / "ledger.key").chmod(0o644)


def no_key(folder):
    (folder / "ledger.key").write_text("not a key")
    (folder / "ledger.key").chmod(0o600)


@pytest.mark.parametrize(
    ("spoil", "code", "exit_code", "says"),
    [
        (readable, "ledger.key", 3, "readable by others"),
        (no_key, "ledger.key", 3, "not a private key"),
        (lambda f: (f / "ledger.key").mkdir(), "ledger.key", 3, "ledger.key"),
        (lambda f: (f / "till.db").write_bytes(b"no database, but long enough to be one" * 9), "store.corrupt", 3, "till.db"),
        (lambda f: (f / "till.db").mkdir(), "store.unreadable", 3, "till.db"),
        (lambda f: (f / "operator.key").write_text("0f"), "config.invalid", 2, "operator.key"),
        (lambda f: (f / "operator.key").unlink(), "config.invalid", 2, "operator.key"),
        (lambda f: (f / "operator.key").chmod(0o644), "config.invalid", 2, "readable by others"),
        (lambda f: (f / "tariff.json").write_text("{"), "config.invalid", 2, "tariff.json"),
        (lambda f: (f / "tariff.json").unlink(), "config.invalid", 2, "tariff.json"),
        (lambda f: (f / "members.toml").write_text("[[member]]"), "config.invalid", 2, "members.toml"),
        (lambda f: (f / "members.toml").unlink(), "config.invalid", 2, "members.toml"),
        (lambda f: (f / "config.toml").unlink(), "config.invalid", 2, "config.toml"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(place, call, spoil, code, exit_code, says):
    spoil(place.folder)
    assert says in refused(call, place, code=code, exit_code=exit_code)


def test_a_folder_that_does_not_exist(place, call):
    place.edit('database = "till.db"', 'database = "nowhere/till.db"')
    assert "nowhere/till.db" in refused(call, place, code="store.unreadable", exit_code=3)


def test_a_database_from_the_future(place, call):
    db = sqlite3.connect(place.database)
    db.execute("PRAGMA user_version = 9999")
    db.close()
    refused(call, place, code="store.too_new", exit_code=3)


@pytest.mark.parametrize("arguments", [("--json", "run"), ("run", "--json")])
def test_errors_as_json(place, call, arguments):
    (place.folder / "tariff.json").unlink()
    done = call("--config", place.config, *arguments)
    assert done.code == 2
    assert done.error["code"] == "config.invalid"
    assert set(done.error) == {"code", "message", "hint"}


def test_an_evse_that_left_the_configuration_with_a_session_open_is_not_forgotten(place, daemon, call):
    till = daemon(place.config)
    till.says("till.ready")
    till.stop()
    db = sqlite3.connect(place.database)
    at = Instant(utc=datetime.now(UTC), boot_id="b", monotonic_ns=1)
    session = Session(
        session_id="0" * 32,
        state=AwaitingPlug(since=at),
        opened=at,
        timeline=Timeline(anchor=at),
        tariff_hash="0" * 64,
        tariff_text="",
        token=IdToken(kind="uid", value="0" * 64, key_id="k1"),
        account="A-1001",
        payment=Payment(ref="r", method="account", currency="EUR", requested_minor=1),
        dated=True,
        stop_code="1234",
    )
    state = msgspec.json.encode(EvseState(evse_id="DE*T*9", session=session))
    db.execute("INSERT INTO evse (evse_id, state) VALUES ('DE*T*9', ?)", (state,))
    db.commit()
    db.close()
    line = refused(call, place, code="config.invalid", exit_code=2)
    assert "DE*T*9" in line


def test_help_and_version_are_answers(call):
    assert call("--help").code == 0
    assert "run" in call("--help").out
    assert re.match(r"chargetill, version \d", call("--version").out)


def test_the_daemon_loads_nothing_that_its_configuration_does_not_name():
    """A Pi has little memory: each of these would take 1 to 13 MB for as long as the till runs."""
    in_vain = {
        "babel", "click", "cryptography.hazmat.primitives.serialization", "difflib", "email", "fpdf", "http.client", "importlib.metadata",
        "microdot", "nfc", "pymodbus.client", "pymodbus.server", "segno", "smartcard", "sqlite_utils", "urllib.request",
    }  # fmt: skip
    script = "import sys, edge.__main__, edge.app, edge.cli.run_till, edge.sync.uplink; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120
    )
    assert set(done.stdout.split()) & in_vain == set()


def test_the_service_starts_without_a_reader_of_command_lines_and_with_the_same_words(monkeypatch):
    begun = []
    monkeypatch.setattr(run_till, "run_till", lambda *given: begun.append(given))
    monkeypatch.setitem(sys.modules, "click", None)  # whoever imports it now fails
    for words in ("--config F run", "--config F --db D run", "--db D --config F run"):
        with pytest.raises(SystemExit) as found:
            entry.main(words.split())
        assert found.value.code == 0
    assert begun == [(Path("F"), None), (Path("F"), Path("D")), (Path("F"), Path("D"))]


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("run", "--frobnicate"),
        ("--config",),
        ("session", "show"),
        ("--config", "F", "--db", "run"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_2(call, arguments):
    done = call(*arguments)
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith("call.usage: ")
    assert call(*arguments, "--json").error["code"] == "call.usage"


@pytest.mark.parametrize("arguments", [["run"], ["run", "--json"], ["--config", "F", "run"]])
def test_what_nobody_expected_is_scrubbed_and_ends_with_3(monkeypatch, capfd, arguments):
    def breaks(*_args, **_kwargs):
        raise ValueError("read 5413330089010434 from the card")

    monkeypatch.setattr(root, "main", breaks)
    monkeypatch.setattr(run_till, "run_till", breaks)
    with pytest.raises(SystemExit) as found:
        entry.main(arguments)
    assert found.value.code == 3
    said = capfd.readouterr()
    assert "5413330089010434" not in said.err + said.out
    assert "till.crashed" in said.err.splitlines()[-1]
