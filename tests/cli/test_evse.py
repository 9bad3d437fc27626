"""`chargetill evse release` goes through the daemon's own door, and nowhere else."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from msgspec.structs import replace

from edge.domain.instant import Instant
from edge.domain.session.state import EvseState, Opened, Welded
from edge.runtime.control import ControlServer, socket_of
from edge.runtime.release import handlers

NOW = Instant(utc=None, boot_id="b", monotonic_ns=10**12)
LONG_AGO = Instant(utc=None, boot_id="b", monotonic_ns=0)


class Controller:
    evse_id = "E1"

    def __init__(self, *, quiet):
        self.posted = []
        self.state = EvseState(
            evse_id="E1",
            meter_seen=NOW,
            opened=Opened(at=LONG_AGO, quiet=LONG_AGO if quiet else None),
            welded=Welded(since=LONG_AGO, evidence="power", register_wh=1),
        )

    async def post(self, event):
        self.posted.append(event)
        self.state = replace(self.state, welded=None)


class Clock:
    def now(self):
        return NOW


def released(tmp_path, controller, *words):
    """The command's exit code and what it printed, beside a daemon with this controller."""
    database = tmp_path / "till.db"
    command = [sys.executable, "-m", "edge", "--json", "--db", str(database), "evse", "release", *words]

    async def beside():
        async with ControlServer(socket_of(database), handlers([controller], Clock())):
            return await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, check=False
            )

    done = asyncio.run(beside())
    return done.returncode, json.loads(done.stdout or done.stderr)


@pytest.mark.parametrize(
    ("quiet", "evse", "code", "said"),
    [
        (True, "E1", 0, {"evse_id": "E1", "result": "released"}),
        (False, "E1", 1, "evse.not_released"),
        (True, "E2", 1, "call.not_found"),
    ],
)
def test_an_operator_releases_what_has_come_to_rest(tmp_path, quiet, evse, code, said):
    controller = Controller(quiet=quiet)
    found = released(tmp_path, controller, evse)
    assert found[0] == code
    assert (found[1] if code == 0 else found[1]["error"]["code"]) == said
    assert len(controller.posted) == (code == 0)
