"""The demo as a stranger starts it: real processes, real protocols, and all books compared at the end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest

from edge.cli.demo import story
from edge.cli.demo.programs import Program
from hw.virtual.world import MeterKind


def demo(tmp_path, *args, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "edge", "demo", "--folder", str(tmp_path / "demo"), *args],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def play(tmp_path, text):
    file = tmp_path / "story.toml"
    file.write_text(text)
    return json.loads(demo(tmp_path, "--story", str(file), "--json").stdout)


def test_the_built_in_story_ends_with_books_that_agree(tmp_path):
    said = demo(tmp_path, "--once").stdout

    assert said.count("Invoice CT-") == 5
    assert "the terminal's books are the till's" in said
    assert "0 problems" in said
    assert said.rstrip().endswith("all books agree")


def test_a_power_cut_loses_nothing_and_bills_nothing_twice(tmp_path):
    held = play(
        tmp_path,
        """
        name = "Power cut while charging: nothing lost, nothing billed twice"
        tariff = "0.49/kWh, VAT 19 %"
        speed = 60
        when = [
          { at_s = 0, tap = "card A" },
          { at_s = 20, plug = "car that takes 11 kW" },
          { at_s = 400, cut_power_for_s = 180 },
          { at_s = 1000, unplug = true },
        ]
        [then]
        sessions = 1
        energy = "meter end minus meter begin"
        invoices = 1
        back_office = "has the same invoice"
        ledger = "verifies"
        """,
    )

    assert held["agree"]
    [invoice] = held["till"]["invoices"]
    assert invoice["energy_wh"] == invoice["meter"]["end_wh"] - invoice["meter"]["begin_wh"]
    assert abs(invoice["energy_wh"] - held["meter"]["delivered_wh"]) <= 2
    assert invoice["ended_by"] == "unplugged"
    assert held["back_office"]["invoices"] == held["till"]["invoices"]


def test_a_killed_daemon_bills_what_flowed_until_its_lease_ran_out(tmp_path):
    held = play(
        tmp_path,
        """
        name = "The daemon dies; the charge point opens by itself; the session goes on afterwards"
        tariff = "0.49/kWh, 0.05/min, VAT 19 %"
        when = [
          { at_s = 0, plug = "car that takes 11 kW" },
          { at_s = 20, tap = "card A" },
          { at_s = 300, kill_daemon_for_s = 120 },
          { at_s = 600, tap = "card A" },
          { at_s = 660, unplug = true },
        ]
        [then]
        sessions = 1
        invoices = 1
        """,
    )

    assert held["agree"]
    [invoice] = held["till"]["invoices"]
    assert abs(invoice["energy_wh"] - held["meter"]["delivered_wh"]) <= 2
    assert invoice["ended_by"] == "card"


def test_an_offline_session_arrives_when_the_broker_is_back(tmp_path):
    held = play(
        tmp_path,
        """
        name = "Offline from tap to invoice"
        tariff = "0.49/kWh, VAT 19 %"
        when = [
          { at_s = 0, cut_network_for_s = 600 },
          { at_s = 10, tap = "card B" },
          { at_s = 30, plug = "car that takes 3.7 kW" },
          { at_s = 400, unplug = true },
        ]
        [then]
        sessions = 1
        invoices = 1
        """,
    )

    assert held["agree"]
    assert held["back_office"]["invoices"] == held["till"]["invoices"]


def test_nobody_plugs_in_and_the_hold_goes_back(tmp_path):
    held = play(
        tmp_path,
        """
        name = "A member taps and walks away"
        when = [{ at_s = 0, tap = "card A" }, { at_s = 200, tap = "card C" }]
        [then]
        sessions = 1
        invoices = 0
        """,
    )

    assert held["agree"]
    [session] = held["till"]["sessions"]
    assert (session["outcome"], session["payment_status"]) == ("no_plug", "reversed")


def test_included_units_of_a_plan_last_over_several_sessions_and_a_power_cut(tmp_path):
    held = play(
        tmp_path,
        """
        name = "A member with 300 Wh a month included"
        tariff = "1.00/kWh, 0.35/session, VAT 19 %"
        plan = { id = "M1", name = "300 Wh a month", included = { energy_wh = 300 } }
        when = [
          { at_s = 0, plug = "car that takes 11 kW and wants 0.2 kWh" },
          { at_s = 20, tap = "card A" },
          { at_s = 220, unplug = true },
          { at_s = 240, stop_daemon_for_s = 60 },
          { at_s = 320, plug = "car that takes 11 kW and wants 0.5 kWh" },
          { at_s = 340, tap = "card A" },
          { at_s = 500, cut_power_for_s = 60 },
          { at_s = 640, unplug = true },
          { at_s = 660, plug = "car that takes 11 kW" },
          { at_s = 680, tap = "card B" },
          { at_s = 800, unplug = true },
        ]
        [then]
        sessions = 3
        invoices = 3
        """,
    )

    assert held["agree"]
    first, second, stranger_to_the_plan = held["till"]["invoices"]
    assert (first["plan"]["text"], first["payable"]) == ("300 Wh a month", 0.35)
    over_wh = first["energy_wh"] + second["energy_wh"] - 300
    assert over_wh > 0
    assert sum(
        line["quantity"] for line in second["lines"] if line["dimension"] == "ENERGY" and line["included"]
    ) == (300 - first["energy_wh"])
    assert second["payable"] == pytest.approx(0.35 + over_wh / 1000, abs=0.011)
    assert stranger_to_the_plan["plan"] is None
    assert stranger_to_the_plan["payable"] > 0.35


def test_a_card_that_proves_itself_starts_and_stops_its_session(tmp_path):
    held = play(
        tmp_path,
        """
        name = "A card that proves itself, twice"
        speed = 60
        when = [
          { at_s = 0, plug = "car that takes 11 kW" },
          { at_s = 20, tap = "sun card" },
          { at_s = 200, tap = "sun card" },
          { at_s = 240, unplug = true },
        ]
        [then]
        sessions = 1
        invoices = 1
        """,
    )

    assert held["agree"]
    [invoice] = held["till"]["invoices"]
    assert (invoice["account"], invoice["ended_by"]) == ("A-1004", "card")


@pytest.mark.parametrize("meter", ["em580", "wm3m4", "bsm"])
def test_a_meter_that_signs_proves_the_energy_of_the_invoice(tmp_path, meter):
    held = play(
        tmp_path,
        f"""
        name = "A meter that signs, and a daemon that is killed in mid-session"
        meter = "{meter}"
        speed = 60
        when = [
          {{ at_s = 0, plug = "car that takes 11 kW" }},
          {{ at_s = 20, tap = "card A" }},
          {{ at_s = 300, kill_daemon_for_s = 60 }},
          {{ at_s = 600, unplug = true }},
        ]
        [then]
        sessions = 1
        invoices = 1
        """,
    )

    assert held["agree"]
    [invoice] = held["till"]["invoices"]
    assert invoice["meter"]["signed"]
    assert not invoice["estimated"]


def test_what_a_meter_can_sign_no_more_is_not_sold(tmp_path):
    held = play(
        tmp_path,
        """
        name = "An EM580 closes its record in a power cut, so the session ends there"
        meter = "em580"
        speed = 60
        when = [
          { at_s = 0, tap = "card A" },
          { at_s = 20, plug = "car that takes 11 kW" },
          { at_s = 400, cut_power_for_s = 120 },
          { at_s = 900, unplug = true },
        ]
        [then]
        sessions = 1
        invoices = 1
        """,
    )

    assert held["agree"]
    [invoice] = held["till"]["invoices"]
    assert (invoice["ended_by"], invoice["meter"]["signed"]) == ("power_cut", True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("when = [", "story.toml"),
        ('name = "x"\nwhen = [{ at_s = 0 }]', "exactly one thing"),
        ('name = "x"\nwhen = [{ at_s = 0, tapp = "card A" }]', "did you mean `tap`"),
        ('name = "x"\nwhen = [{ at_s = 0, tap = "card Z" }]', "when[0].tap"),
        ('name = "x"\nwhen = []\ntariff = "cheap"', "cheap"),
        ('name = "x"\nwhen = [{ at_s = 0, plug = "a big car" }]', "11 kW"),
    ],
)
def test_a_story_that_cannot_be_played_says_where_and_why(tmp_path, text, says):
    story = tmp_path / "story.toml"
    story.write_text(text)

    done = demo(tmp_path, "--story", str(story), code=2)

    assert done.stderr.startswith("story.invalid: ")
    assert says in done.stderr
    assert not (tmp_path / "demo").exists()


def test_the_story_of_the_readme_can_be_read_and_every_scene_is_in_it(tmp_path):
    readme = (Path(story.__file__).parent / "README.md").read_text()
    file = tmp_path / "story.toml"
    file.write_text(readme.split("```toml\n")[1].split("```")[0])
    assert story.load(file).then.invoices == 1
    for name in (*story.Story.__struct_fields__, *story.Scene.__struct_fields__, *get_args(MeterKind)):
        assert f"`{name}`" in readme, name
    assert "README.md" in story.StoryInvalid.hint


def test_in_the_laboratory_bank_cards_pay_at_the_plain_reader(tmp_path):
    held = play(
        tmp_path,
        """
        name = "A test bank's card and phone, and a power cut"
        tariff = "0.49/kWh, VAT 19 %"
        speed = 60
        when = [
          { at_s = 10, tap = "lab mastercard" },
          { at_s = 60, plug = "car that takes 11 kW" },
          { at_s = 300, tap = "lab mastercard" },
          { at_s = 400, unplug = true },
          { at_s = 500, tap = "lab phone" },
          { at_s = 550, plug = "car that takes 11 kW and wants 0.5 kWh" },
          { at_s = 750, cut_power_for_s = 60 },
          { at_s = 1300, unplug = true },
        ]
        [then]
        sessions = 2
        invoices = 2
        """,
    )
    assert [i["paid"]["method"] for i in held["till"]["invoices"]] == ["card", "card"]
    assert held["till"]["invoices"][0]["ended_by"] == "card"
    wire = b"".join(f.read_bytes() for f in (tmp_path / "demo").glob("*.db*"))
    wire += b"".join(f.read_bytes() for f in (tmp_path / "demo").glob("*.log"))
    numbers = re.findall(rb"(?<![0-9])(?:222[0-9]|4[0-9]{3}|5[1-5][0-9]{2})[0-9]{12}(?![0-9])", wire)
    assert [n for n in numbers if _luhn(n)] == [], "a card number is at rest"


def _luhn(number):
    digits = [int(chr(d)) for d in reversed(number)]
    return sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)) % 10 == 0


def test_a_key_at_the_terminal_is_for_the_demo_which_stops_the_others_in_their_order(tmp_path):
    """Ctrl-C goes to a whole group of processes: a back office that it ended would not have what the till sends."""

    async def group():
        arguments = ["backoffice", "run", "--db", str(tmp_path / "books.db"), "--broker", "127.0.0.1:1"]
        program = Program("the back office", arguments, tmp_path / "log")
        await program.start(until="backoffice.disconnected")
        try:
            return os.getpgid(program._process.pid)
        finally:
            await program.stop()

    assert asyncio.run(group()) != os.getpgid(0)


def everything_of(folder):
    """Processes that were told of this folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in file.read_bytes():
                found.append(int(file.parent.name))
        except OSError:  # it has just ended
            continue
    return found


def eventually(is_so, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def logged(file, text):
    return file.exists() and text in file.read_text()


@pytest.fixture
def started(tmp_path):
    """`started(*args)` is a demo in a folder of its own; whatever is left of it afterwards is killed."""
    made = []

    def start(*args):
        words = [sys.executable, "-m", "edge", "demo", "--folder", str(tmp_path / "demo"), *args]
        pipe = subprocess.PIPE
        made.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True))
        return made[-1], tmp_path / "demo"

    yield start
    for pid in everything_of(tmp_path / "demo"):
        os.kill(pid, signal.SIGKILL)
    for process in made:
        process.communicate(timeout=60)


def test_who_presses_twice_leaves_nothing_behind(started):
    process, folder = started("--once")
    eventually(lambda: logged(folder / "till.log", "evse.in_order"))
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)  # the second one is heard as another one, while the till stops
    process.send_signal(signal.SIGTERM)
    said, complaint = process.communicate(timeout=60)

    assert process.returncode != 0, said
    assert "stopped before it was done" in complaint
    assert "Traceback" not in complaint
    assert everything_of(folder) == []


def test_a_terminal_that_closes_while_the_demo_by_hand_starts_leaves_nothing_behind(started):
    process, folder = started()
    eventually(lambda: logged(folder / "backoffice.log", "backoffice."))
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)

    assert process.returncode > 0, "it ended itself"
    assert everything_of(folder) == []


def test_a_demo_that_is_killed_takes_with_it_what_it_started(tmp_path):
    """And where nobody is left to read what they say, they stop all the same."""
    books = tmp_path / "books.db"
    code = f"""
import asyncio, pathlib
from edge.cli.demo.programs import Program
async def play():
    words = ["backoffice", "run", "--db", {str(books)!r}, "--broker", "127.0.0.1:1"]
    await Program("it", words, pathlib.Path({str(tmp_path / "log")!r})).start(until="backoffice.disconnected")
    print("ready", flush=True)
    await asyncio.sleep(600)
asyncio.run(play())
"""
    demo = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert demo.stdout.readline() == b"ready\n"
    assert len(everything_of(books)) == 2
    demo.kill()
    demo.communicate()
    eventually(lambda: everything_of(books) == [])


@pytest.mark.parametrize("ignored", [True, False])
def test_a_logout_ends_no_demo_that_nohup_started(ignored):
    code = """
import asyncio, os, signal
from edge.cli.demo.signals import EndSignals
async def play():
    EndSignals()
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.sleep(0.2)
try:
    asyncio.run(play())
except asyncio.CancelledError:
    print("ended")
"""
    done = subprocess.run(
        ["nohup", sys.executable, "-c", code] if ignored else [sys.executable, "-c", code],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )
    assert done.stdout == (b"" if ignored else b"ended\n")
