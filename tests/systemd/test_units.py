"""The units as systemd itself reads them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"


@pytest.fixture
def unit(tmp_path):
    """The service with a program that exists here; systemd-analyze looks for it."""
    assert shutil.which("systemd-analyze"), "systemd is not installed (apt-get install systemd)"
    text = (UNITS / "chargetill.service").read_text()
    path = tmp_path / "chargetill.service"
    path.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", text))
    return path


def test_the_service_exposes_at_most_two_out_of_ten(unit):
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_service_has_no_line_that_systemd_does_not_know(unit):
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )

    about_us = [line for line in done.stderr.splitlines() if str(unit) in line]
    assert about_us == []


def test_it_is_restarted_for_ever_and_watched():
    lines = (UNITS / "chargetill.service").read_text().splitlines()

    assert "StartLimitIntervalSec=0" in lines
    assert "Restart=always" in lines
    assert "WatchdogSec=10" in lines
    assert not any(line.startswith(("Requires=network", "After=network-online")) for line in lines)
