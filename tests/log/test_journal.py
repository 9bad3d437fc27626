"""What journald is told, read as its protocol says."""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import journal, log


def read(datagram):
    """An entry by its protocol: `NAME=value`, or the name, a length and as many bytes."""
    found = {}
    while datagram:
        head, _, rest = datagram.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", rest[:8])
            value, end, datagram = rest[8 : 8 + size], rest[8 + size : 9 + size], rest[9 + size :]
            assert end == b"\n"
        else:
            datagram = rest
        found[name.decode()] = value.decode()
    return found


@given(st.text(), st.dictionaries(st.text("abc_é -", min_size=1, max_size=80), st.text(), max_size=4))
def test_every_entry_can_be_read_again(message, fields):
    found = read(journal.entry(message, logging.INFO, "a.b", fields))
    assert found["MESSAGE"] == message.encode(errors="replace").decode()
    assert found["PRIORITY"] == "6"
    assert all(len(name) <= 64 and name.replace("_", "A").isalnum() and name.isupper() for name in found)


@pytest.fixture
def journald(tmp_path, monkeypatch):
    """A socket that takes entries, standard error that leads there, and what arrived."""
    path = tmp_path / "socket"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(path))
    listening.settimeout(10)
    monkeypatch.setattr(journal, "SOCKET", path)
    monkeypatch.setattr(journal.Journal.__init__, "__defaults__", (path,))
    handlers, hooks = logging.getLogger().handlers[:], (sys.excepthook, threading.excepthook)
    with (tmp_path / "stderr").open("w+") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        found = os.fstat(stderr.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        log.setup("journald")
        yield listening, stderr
    logging.getLogger().handlers[:] = handlers
    sys.excepthook, threading.excepthook = hooks
    listening.close()


def test_fields_are_fields(journald):
    listening, stderr = journald
    log.event(
        "session.ended", session_id="abc", energy_wh=1222, invoice=None, note="two\nlines", password="x"
    )
    found = read(listening.recv(65536))
    assert found["CHARGETILL_EVENT"] == "session.ended"
    assert found["CHARGETILL_SESSION_ID"] == "abc"
    assert found["CHARGETILL_ENERGY_WH"] == "1222"
    assert found["CHARGETILL_NOTE"] == "two\nlines"
    assert found["CHARGETILL_PASSWORD"] == "****"
    assert "CHARGETILL_INVOICE" not in found
    assert found["MESSAGE"].startswith("session.ended session_id=abc")
    assert found["PRIORITY"] == "6"
    log.error("till.broke", error=ValueError("boom"))
    assert read(listening.recv(65536))["PRIORITY"] == "3"
    stderr.seek(0)
    assert stderr.read() == ""


def test_no_card_number_reaches_the_journal(journald):
    listening, _ = journald
    card = "4111111111111111"
    log.event("pay", note=f"card {card}", nested={"a": [card]})
    logging.getLogger("somebody.else").warning("answer %s", card)
    for _ in range(2):
        assert card.encode() not in listening.recv(65536)


def test_where_the_journal_takes_nothing_standard_error_does(journald):
    listening, stderr = journald
    listening.close()
    log.event("till.ready", device="d")
    stderr.seek(0)
    assert stderr.read() == "<6>till.ready device=d\n"


def test_elsewhere_lines_go_to_standard_error(monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    assert not journal.is_ours()
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    assert not journal.is_ours()
