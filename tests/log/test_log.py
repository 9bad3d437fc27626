"""The lines of the log, in each form, and what may never be in them."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys

import pytest

from edge import log
from edge.errors import CardLost

VISA = "4111111111111111"
TRUNCATED = "411111******1111"


@pytest.fixture
def lines():
    root, ours = logging.getLogger(), logging.getLogger("chargetill")
    before = (root.handlers[:], root.level, ours.level, sys.excepthook)
    stream = io.StringIO()

    def setup(form: log.Format = "plain", level: log.Level = "info") -> io.StringIO:
        log.setup(form, level, stream=stream)
        return stream

    yield setup
    root.handlers[:], sys.excepthook = before[0], before[3]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.captureWarnings(capture=False)


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    """The error as whoever catches it has it: with its trace and its cause."""
    try:
        raise error from cause
    except type(error) as e:
        return e


def test_an_event_is_a_line_with_its_fields(lines):
    out = lines()
    log.event("session.ended", session_id="s-1", energy_wh=12345, meter=None)
    at, level, *words = out.getvalue().split()
    assert at.endswith("Z")
    assert [level, *words] == ["info", "session.ended", "session_id=s-1", "energy_wh=12345", "meter=null"]


def test_json_has_the_fields_beside_time_level_and_event(lines):
    out = lines("json")
    log.warning("reader.gone", error=CardLost("the card left"), retry_s=5)
    line = json.loads(out.getvalue())
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "warning",
        "event": "reader.gone",
        "error": "card.lost: the card left (hold your card a little longer)",
        "retry_s": 5,
    }


def test_journald_gets_its_priority_on_every_line(lines):
    out = lines("journald")
    log.error("till.broke", error=raised(ValueError("boom")))
    assert out.getvalue().startswith("<3>till.broke")
    assert all(line.startswith("<3>") for line in out.getvalue().splitlines())


@pytest.mark.parametrize("form", ["plain", "json", "journald"])
def test_no_card_number_reaches_the_log_on_any_way(lines, form):
    out = lines(form, "debug")
    log.event("pay", note=f"card {VISA}", number=int(VISA), nested={"a": [VISA]}, raw=bytes.fromhex(VISA))
    log.debug(f"{VISA} is not a name", x=object())
    log.error(
        "pay.failed", error=raised(ValueError(f"bad {VISA}"), RuntimeError(bytes.fromhex("5a08" + VISA)))
    )
    logging.getLogger("somebody.else").warning("answer %r", bytes.fromhex("5A08" + VISA))
    text = out.getvalue()
    assert VISA not in text
    assert "\\x11\\x11" not in text
    assert TRUNCATED in text


@pytest.mark.parametrize("name", ["uid", "card_uid", "pan", "password", "hmac_key", "PIN", "track2"])
def test_a_field_with_a_secret_name_is_never_printed(lines, name):
    out = lines()
    log.event("x", **{name: "04A1B2C3D4E5F6"})
    assert "04A1" not in out.getvalue()


def test_quantities_with_the_digits_of_a_card_stay(lines):
    out = lines()
    log.event("x", monotonic_ns=int(VISA), energy_wh=int(VISA))
    assert out.getvalue().count(VISA) == 2


def test_a_value_cannot_pose_as_another_field_or_line(lines):
    out = lines()
    log.event("x", name='a b=c\nerror "forged"')
    assert out.getvalue().count("\n") == 1
    assert r'name="a b=c\nerror \"forged\""' in out.getvalue()


def test_lines_and_values_are_bounded(lines):
    out = lines("json")
    log.event("x", text="y" * 100_000)
    log.event("x", **{f"field{i}": "y" * 1000 for i in range(20)})
    first, second = out.getvalue().splitlines()
    assert len(json.loads(first)["text"]) == log.VALUE_MAX
    assert json.loads(second)["cut"] is True


def test_an_exception_that_nobody_caught_is_scrubbed(tmp_path):
    story = (
        "from edge import log; import threading; log.setup('plain')\n"
        f"def fail(): raise RuntimeError('card {VISA}')\n"
        "t = threading.Thread(target=fail); t.start(); t.join()\nfail()\n"
    )
    done = subprocess.run([sys.executable, "-c", story], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert VISA not in done.stderr
    assert done.stderr.count("till.crashed") == 2


def test_debug_is_silent_unless_asked_for(lines):
    out = lines()
    log.debug("detail")
    assert out.getvalue() == ""
