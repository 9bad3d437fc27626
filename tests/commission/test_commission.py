"""The whole test on virtual hardware: a car, a card, a wallbox whose watchdog works, and one whose does not."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import threading
import time
from pathlib import Path

import pytest
from pypdf import PdfReader

from edge.commission import run
from edge.inventory import load, make_clock
from hw.virtual.clock import VirtualClock
from hw.virtual.world import World

SPEED = 25


class Bench:
    """The virtual world on a thread of its own, and a configuration that names it."""

    def __init__(self, place):
        base_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        clock = VirtualClock(speed=SPEED, base_ns=base_ns)
        self.world = self.do(World.start(clock, meter_link=place.folder / "meter0"))
        place.edit('port = "tcp://127.0.0.1:9"', f'port = "{place.folder}/meter0"\ngap_ms = 5')
        place.edit('port = "tcp://127.0.0.2:9"', f'port = "{self.world.wallbox_port}"\nunit = 2')
        place.edit(
            "[[evse]]",
            f'[[reader]]\ndriver = "nfc"\npath = "{self.world.reader["path"]}"\nvirtual = true\n[[evse]]',
        )
        place.add(f"[lab]\nvirtual = true\nspeed = {SPEED}\nbase_ns = {base_ns}\n")
        self.place = place

    def do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def hear(self, text):
        """What a person does who reads this."""
        if "plug the car in" in text:
            self.do(self._plug())

    def hold_card(self):
        """As long as it takes; where the test ends sooner, nobody asks for it any more."""
        with contextlib.suppress(TimeoutError, concurrent.futures.CancelledError, OSError):
            self.do(self.world.tap("card A"))

    async def _plug(self):
        self.world.plug(power_w=11_000, wants_wh=None)

    async def forget_watchdog(self):
        """The wallbox takes what it is told, and does not act on it when nobody talks any more."""
        wallbox = self.world.wallbox

        def watch():
            wallbox._effective_da = wallbox._holdings[261]

        wallbox._watch = watch
        wallbox._hold = lambda: wallbox.outlet.limit(wallbox._effective_da, until_ns=None, then_tenths_a=0)

    def charge(self):
        config = load(self.place.config)
        return asyncio.run(run.charge(config.evses[0], make_clock(config), self.hear, wanted_wh=100))

    def close(self):
        self.do(self.world.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)


@pytest.fixture
def bench(place):
    made = Bench(place)
    yield made
    made.close()


def test_a_right_installation_passes_every_check_and_ends_open(bench):
    charged = bench.charge()
    assert {f.result for f in charged.findings} == {"ok"}, charged.findings
    checks = [f.what for f in charged.findings]
    assert "unit of the energy register" in checks
    assert "phase order and direction" in checks
    assert "failsafe (device)" in checks
    assert charged.energy_wh >= 100
    assert charged.identity.serial
    assert bench.world.wallbox._holdings[261] == 0, "no current is permitted any more"


def test_a_charge_point_that_goes_on_without_us_fails(bench, monkeypatch):
    monkeypatch.setattr(run, "_LAPSE_SLACK_S", 3.0)
    bench.do(bench.forget_watchdog())
    findings = {f.what: f for f in bench.charge().findings}
    assert findings["failsafe (device)"].result == "fail"
    assert "still charging" in findings["failsafe (device)"].found
    assert "do not use it" in findings["failsafe (device)"].todo
    assert bench.world.wallbox._holdings[261] == 0


def test_nobody_plugs_in(bench, monkeypatch):
    monkeypatch.setattr(run, "_PERSON_S", 2.0)
    monkeypatch.setattr(bench, "hear", lambda _text: None)
    charged = bench.charge()
    assert [(f.what, f.result) for f in charged.findings] == [("no car was plugged in", "fail")]


def test_the_command_writes_its_report_as_html_and_pdf(bench, call):
    bench.do(bench._plug())
    threading.Thread(target=bench.hold_card, daemon=True).start()
    out = bench.place.folder / "report"
    done = call(
        "--config", bench.place.config, "commission", "--out", out, "--installer", "J. Doe <j@x>", "--json"
    )
    answer = json.loads(done.out)
    assert done.code == 0, (answer, done.err)
    assert answer["passed"] is True
    page, paper = answer["files"]
    text = Path(page).read_text()
    for expected in ("Commissioning report", "J. Doe &lt;j@x&gt;", "DE*T*1", "20240001", "passed", "<svg"):
        assert expected in text
    printed = "".join(p.extract_text() for p in PdfReader(paper).pages)
    assert "J. Doe <j@x>" in printed
    assert "failsafe (device)" in printed
    assert "04A1B2C3D4E5F6" not in text + printed + done.out, "the test card's number is not kept"


def test_beside_a_till_that_runs_it_refuses(place, daemon, call):
    till = daemon(place.config)
    till.says("till.ready")
    done = call("--config", place.config, "commission", "--json")
    assert done.code == 3
    assert done.error["code"] == "commission.till_runs"
