"""What the doctor says of meters, charge points and their lines: the cause, by name, and what to do."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from edge.doctor import devices, line
from edge.doctor.examine import examine
from edge.doctor.machine import Machine
from hw.virtual.meter import Fault
from hw.virtual.modbus_server import RtuServer


def about(found, what):
    """The findings on one thing."""
    return [f for f in found if f.what.startswith(what)]


def look(place, what, computer=None):
    (finding,) = about(examine(place.config, machine=Machine(computer) if computer else None), what)
    return finding


def move_meter(place, port, more=""):
    place.edit(f'port = "{place.meter_at}"', f'port = "{port}"\n{more}')


def test_devices_that_answer_are_well(charger):
    found = list(examine(charger.config))
    meter, point = about(found, "meter")[0], about(found, "charge point")[0]
    assert (meter.result, point.result) == ("ok", "ok")
    assert "serial 20240001" in meter.found
    assert "4711.000 kWh" in meter.found
    assert "230/230/230 V" in meter.found
    assert "state A" in point.found
    assert "lease by device" in point.found


def test_looking_changes_no_register_of_the_charge_point(charger, wallbox):
    before = dict(wallbox._holdings)
    look(charger, "charge point")
    assert wallbox._holdings == before


def test_a_wrong_baud_rate_is_named_with_the_right_one(charger, lines, meter, paced, monkeypatch):
    port = lines.serve(paced({1: meter}, 19200))
    monkeypatch.setattr(line, "_UNITS", (1,))
    move_meter(charger, port, "baudrate = 9600\ntimeout_s = 0.3")
    finding = look(charger, "meter")
    assert finding.result == "fail"
    assert "set baudrate = 19200" in finding.todo


def test_a_wrong_unit_is_named_with_the_right_one(charger, lines, meter):
    port = lines.serve(RtuServer({7: meter}))
    move_meter(charger, port, "timeout_s = 0.3")
    assert "set unit = 7" in look(charger, "meter").todo


def test_a_wrong_port_is_named_with_the_right_one(charger, lines, meter, silent_line, computer, monkeypatch):
    port = lines.serve(RtuServer({1: meter}))
    (computer / "dev/ttyUSB1").symlink_to(port)
    move_meter(charger, silent_line, "timeout_s = 0.3")
    monkeypatch.setattr(line, "BAUDRATES", (9600,))
    monkeypatch.setattr(line, "_UNITS", (1,))
    finding = look(charger, "meter", computer)
    assert finding.result == "fail"
    assert f'set port = "{computer}/dev/ttyUSB1"' in finding.todo


def test_silence_everywhere_means_swapped_wires(charger, silent_line, computer, monkeypatch):
    move_meter(charger, silent_line, "timeout_s = 0.1")
    monkeypatch.setattr(line, "_TIMEOUT_S", 0.01)
    finding = look(charger, "meter", computer)
    assert finding.result == "fail"
    assert "silence" in finding.found
    assert "swap the wires A and B" in finding.todo


def test_a_port_that_is_not_there_is_named_with_those_that_are(charger, lines, meter, computer):
    port = lines.serve(RtuServer({1: meter}))
    (computer / "dev/ttyUSB0").symlink_to(port)
    move_meter(charger, "/dev/ttyNONE9")
    found = list(examine(charger.config, machine=Machine(computer)))
    (finding,) = about(found, "port")
    assert finding.result == "fail"
    assert f"{computer}/dev/ttyUSB0" in finding.todo
    assert "cannot be opened" in about(found, "meter")[0].found


def test_no_rights_on_a_port(monkeypatch, tmp_path):
    port = tmp_path / "ttyUSB0"
    port.touch(mode=0o600)
    stranger = devices.Account(name="nobody", uid=65534, gids=frozenset({65534}))
    (finding,) = devices._serial(str(port), Machine(), stranger)
    assert finding.result == "fail"
    assert finding.found == "no rights: nobody may not open it"


def test_rights_come_with_the_group(tmp_path):
    port = Path("/tmp") / f"port-{os.getpid()}-{tmp_path.name}"
    port.touch()
    try:
        port.chmod(0o660)
        member = devices.Account(name="m", uid=65533, gids=frozenset({port.stat().st_gid}))
        stranger = devices.Account(name="s", uid=65533, gids=frozenset({65533}))
        assert list(devices._serial(str(port), Machine(), member)) == []
        assert [f.result for f in devices._serial(str(port), Machine(), stranger)] == ["fail"]
    finally:
        port.unlink()


@pytest.mark.parametrize(
    ("fault", "says"), [(Fault.NAN, "energy"), (Fault.SILENT, "no unit behind it answers")]
)
def test_a_meter_that_gives_nonsense_or_nothing(charger, meter, fault, says, monkeypatch):
    monkeypatch.setattr(line, "_TIMEOUT_S", 0.02)
    charger.edit('profile = "eastron_sdm630"', 'profile = "eastron_sdm630"\ntimeout_s = 0.2')
    meter.fail(fault)
    finding = look(charger, "meter")
    assert finding.result == "fail"
    assert says in finding.found
    assert finding.todo


def test_a_wrong_profile_is_named_with_one_that_fits(charger):
    charger.edit('profile = "eastron_sdm630"', 'profile = "abb_b23"\ntimeout_s = 0.3')
    finding = look(charger, "meter")
    assert finding.result == "fail"
    assert 'set profile = "eastron_sdm' in finding.todo


def test_a_port_in_use_names_who_holds_it(charger, lines, meter, computer):
    """Another program has locked the line: it is named with its number."""
    port = lines.serve(RtuServer({1: meter}))
    found = Path(port).stat()
    inode = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    (computer / "proc/4711").mkdir()
    (computer / "proc/4711/comm").write_text("ModemManager\n")
    (computer / "proc/locks").write_text(f"1: FLOCK  ADVISORY  WRITE 4711 {inode} 0 EOF\n")
    move_meter(charger, port)
    finding = look(charger, "meter", computer)
    assert finding.result == "fail"
    assert "in use by ModemManager (4711)" in finding.found


def test_a_contactor_that_is_closed_without_a_till_is_an_alarm(charger, wallbox, outlet):
    from hw.virtual.outlet import Car

    outlet.plug(Car(current_a=16, phases=3, wants_wh=None))
    wallbox.write(6, 257, [0])
    wallbox.write(6, 261, [160])
    finding = look(charger, "charge point")
    assert finding.result == "fail"
    assert "CLOSED" in finding.found


def test_a_reader_that_is_not_there(charger):
    charger.edit("[[evse]]", '[[reader]]\ndriver = "nfc"\npath = "tty:/dev/no-reader:pn532"\n[[evse]]')
    finding = look(charger, "reader (")
    assert finding.result == "fail"
    assert finding.todo


def test_json_says_the_same_in_one_object(charger, call):
    done = call("--config", charger.config, "doctor", "--json")
    answer = json.loads(done.out)
    assert done.code == 0, answer
    assert answer["ok"] is True
    assert all(set(c) == {"what", "result", "found", "todo"} for c in answer["checks"])
    assert {c["result"] for c in answer["checks"]} <= {"ok", "warn"}
    text = call("--config", charger.config, "doctor")
    assert text.code == 0
    assert text.out.count("\nok ") + text.out.startswith("ok") == sum(
        c["result"] == "ok" for c in answer["checks"]
    )


@pytest.fixture
def terminal(lines):
    """A payment terminal on the network: its address."""
    from hw.virtual.terminal import VirtualTerminal

    made = asyncio.run_coroutine_threadsafe(VirtualTerminal.start(), lines._loop).result(30)
    asyncio.run_coroutine_threadsafe(made.__aenter__(), lines._loop).result(30)
    yield made.address
    asyncio.run_coroutine_threadsafe(made.__aexit__(None, None, None), lines._loop).result(30)


def test_a_payment_terminal_that_is_ready(charger, terminal):
    charger.edit("[[evse]]", f'[[terminal]]\ndriver = "zvt"\nport = "{terminal}"\n[[evse]]')
    finding = look(charger, "payment terminal")
    assert finding.result == "ok", finding


def test_a_payment_terminal_that_is_off(charger, free_port):
    port = f"tcp://127.0.0.1:{free_port}"
    charger.edit("[[evse]]", f'[[terminal]]\ndriver = "zvt"\nport = "{port}"\n[[evse]]')
    finding = look(charger, "payment terminal")
    assert finding.result == "fail"
    assert finding.todo
