"""`chargetill backoffice` and `chargetill sync`, as scripts call them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_an_option_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "backoffice.toml"
    config.write_text('db = "x"\nbrokers = ["127.0.0.1:1883"]\nspeed = 9\n')
    done = call("backoffice", "run", "--config", config)
    assert done.returncode == 2
    assert "speed" in done.stderr
