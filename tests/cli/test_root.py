"""The options that every command shares, before the command's name or behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import click
import pytest

from edge.backoffice.books import Books
from edge.cli.root import root


def commands(group, path=()):
    """Every command that does something, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


EVERY = dict(commands(root))


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_takes_the_shared_options_itself_and_explains_itself(words, call):
    names = list(chain.from_iterable(p.opts for p in EVERY[words].params))
    assert {"--config", "--db", "--json"} <= set(names)
    assert len(names) == len(set(names))
    done = call(*words, "-h")
    assert (done.code, done.err) == (0, "")
    assert "--json" in done.out
    assert [p.name for p in EVERY[words].params if isinstance(p, click.Option) and not p.help] == []


def test_an_option_behind_the_command_means_the_same_and_wins(call, sold, tmp_path):
    before = call("--db", sold, "ledger", "stats", "--json")
    assert json.loads(before.out)["sessions"] == 4
    assert call("ledger", "stats", "--json", "--db", sold).out == before.out
    assert call("ledger", "--db", sold, "--json", "stats").out == before.out
    assert call("--db", tmp_path / "none.db", "ledger", "stats", "--db", sold, "--json").out == before.out
    config = tmp_path / "config.toml"
    config.write_text(f'[device]\ndatabase = "{sold}"\n')
    assert call("ledger", "stats", "--config", config, "--json").out == before.out
    done = call("run", "--config", tmp_path / "none.toml", "--json")
    assert (done.code, done.error["code"]) == (2, "config.invalid")


def test_the_daemon_keeps_its_journal_where_db_says(call, place, tmp_path):
    elsewhere = tmp_path / "none" / "till.db"
    done = call("run", "--config", place.config, "--db", elsewhere, "--json")
    assert done.code == 3
    *_events, last = done.err.splitlines()  # the contactor could not be opened either: nothing answers there
    assert str(elsewhere) in json.loads(last)["error"]["message"]


@pytest.mark.parametrize("words", [(), ("ledger",), ("backoffice", "device")], ids=" ".join)
def test_a_missing_word_is_one_line_that_names_the_help(call, words):
    done = call(*words)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("call.usage: ")
    assert f"`{' '.join(('chargetill', *words))} --help`" in line


def test_every_command_is_there_without_the_parts_that_are_optional():
    """A back office wants no reader, a till no test bank: a command that is never called must not want its parts."""
    program = """
import sys
for part in ("babel", "fpdf", "smartcard", "nfc", "iotcore", "pyemv", "gpiozero", "lgpio", "ecdsa"):
    sys.modules[part] = None
from edge.cli.root import root
for name in root.list_commands(None):
    root.get_command(None, name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def in_shell(script, *words):
    """The command as a shell calls it: `"$@"` in the script."""
    line = ["bash", "-c", script, "bash", sys.executable, "-m", "edge", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, env=buffered())


def buffered():
    """The environment of a shell: a stream keeps what is written to it until somebody flushes it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def to_nobody(*words, stdin="", stream="stdout"):
    """The command with a reader that went away before it began."""
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writer}
    try:
        return subprocess.run(
            [sys.executable, "-m", "edge", *map(str, words)],
            **streams,
            input=stdin,
            text=True,
            timeout=60,
            check=False,
            env=buffered(),
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize("words", [("ledger", "export"), ("session", "list")], ids=" ".join)
def test_a_reader_that_goes_away_has_what_he_wanted(words, sold):
    done = in_shell('"$@" | head -c 10; test ${PIPESTATUS[0]} = 0', "--db", sold, *words)
    assert (done.returncode, done.stderr, len(done.stdout)) == (0, "", 10)
    gone = in_shell('(sleep 0.2; exec "$@") | true; test ${PIPESTATUS[0]} = 0', "--db", sold, *words)
    assert (gone.returncode, gone.stderr) == (0, "")


def test_the_answer_is_no_also_when_nobody_reads_why(tmp_path):
    file = tmp_path / "export.ndjson"
    file.write_text("no entry\n")
    done = in_shell(
        '(sleep 0.2; exec "$@") | true; exit ${PIPESTATUS[0]}', "ledger", "verify", "--file", file
    )
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("script", "words", "code"),
    [
        ('"$@" <&-', ("zvt", "decode"), 0),
        ('"$@" <&-', ("emv", "decode", "-"), 2),
        ('"$@" >&-', ("ledger", "export"), 0),
        ('"$@" <&- >&- 2>&-', ("invoice", "list"), 0),
    ],
)
def test_closed_standard_streams_are_empty_and_nobodys(script, words, code, sold):
    done = in_shell(script, "--db", sold, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.count("\n") == (code == 2)


def test_the_back_offices_commands_explain_their_own_database(call):
    assert "the back office's database" in call("backoffice", "device", "list", "--help").out
    assert "the till's database" not in call("backoffice", "account", "--help").out


def test_a_full_disk_behind_the_output_is_said_in_one_line():
    call = [sys.executable, "-m", "edge", "--json", "emv", "decode", "6F00"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, json.loads(done.stderr)["error"]["code"]) == (3, "output.no_space")


@pytest.mark.parametrize(
    "words", [["invoice", "show"], ["invoice", "export", "--all", "--format"]], ids=" ".join
)
def test_an_argument_that_is_no_text_is_a_wrong_call(words, sold):
    call = [sys.executable, "-m", "edge", "--json", "--db", str(sold), *words, b"\xe9"]
    done = subprocess.run(call, capture_output=True, check=False)
    assert (done.returncode, json.loads(done.stderr)["error"]["code"].split(".")[0]) == (2, "call")


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        (("price",), "[]\n{}\n"),
        (("zvt", "decode", "--hex"), "no hex\n"),
        (("ocmf", "verify", "none.ocmf"), ""),
        (("--db", "{sold}", "invoice", "export", "--all", "--format", "safe-xml", "--out", "{folder}"), ""),
    ],
    ids=lambda words: " ".join(words[:2]) if isinstance(words, tuple) else "",
)
def test_lines_that_nobody_reads_do_not_turn_a_no_into_a_yes(words, stdin, sold, tmp_path):
    words = [w.format(sold=sold, folder=tmp_path / "out") for w in words]
    stream = "stderr" if "export" in words else "stdout"
    done = to_nobody(*words, stdin=stdin, stream=stream)
    assert (done.returncode, done.stdout or "", done.stderr or "") == (1, "", "")


def test_a_stream_without_an_end_ends_with_its_reader():
    done = in_shell('yes "{}" | "$@" | head -1 >&2; exit ${PIPESTATUS[1]}', "price")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_the_doctor_goes_on_to_the_verdict(place):
    place.edit('port = "tcp://127.0.0.1:9"', 'port = "/dev/no-meter"')
    done = to_nobody("--config", place.config, "doctor")
    assert (done.returncode, done.stderr) == (1, "")


def test_an_installation_is_tested_to_the_end_whoever_stops_reading(place):
    place.edit('port = "tcp://127.0.0.1:9"', 'port = "/dev/no-meter"')
    for stream in ("stdout", "stderr"):
        out = place.folder / stream
        done = to_nobody("--config", place.config, "commission", "--no-card", "--out", out, stream=stream)
        assert done.returncode == 1
        assert list(out.glob("*.html"))


def test_questions_that_nobody_reads_are_not_answered(tmp_path):
    words = ["--config", tmp_path / "config.toml", "provision", "--state", tmp_path / "var"]
    done = to_nobody(*words, stdin="north\n")
    assert (done.returncode, done.stderr.split(":")[0]) == (3, "provision.unread")


@pytest.mark.parametrize("words", [("none",), ("--json", "none")], ids=" ".join)
def test_a_wrong_call_is_one_also_when_nobody_reads_why(words):
    assert to_nobody(*words, stream="stderr").returncode == 2


def test_a_small_export_is_written_or_it_says_that_it_is_not(sold, tmp_path):
    books = tmp_path / "books.db"
    Books(books).close()
    table = ("backoffice", "export", "--table", "sessions", "--format", "csv", "--db", books)
    for words in (("--db", sold, "ledger", "export", "--format", "csv"), table):
        done = to_nobody(*words)
        assert (done.returncode, done.stderr) == (0, "")
        full = in_shell('"$@" > /dev/full', *words)
        assert (full.returncode, full.stderr.count("\n")) == (3, 1)
