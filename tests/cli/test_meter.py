"""`chargetill meter` as others script it."""

import asyncio
import json
import threading
import time
from datetime import UTC, datetime

import pytest
import serial

from edge.__main__ import main
from edge.cli.meter import meter as meter_commands
from edge.domain.energy import MeterIdentity, MeterValue
from edge.domain.instant import Instant
from hw.meters import bsm, profile, wm3m4
from hw.virtual.meter import Fault, VirtualMeter
from hw.virtual.modbus_server import Refusal, Registers, RtuServer, TcpServer
from hw.virtual.outlet import Outlet
from hw.virtual.signed_meters import VirtualBsm, VirtualWm3m4

PATIENT_S = "9"  # for a reply that comes at once, on a machine that has much to do


class World:
    """A virtual meter served from a thread of its own, as a meter is from a line of its own."""

    def __init__(self, transport, unit=None):
        self.meter = unit or VirtualMeter(
            profile.load("eastron_sdm630"), Outlet(time.monotonic_ns), offset_wh=1_234_569
        )
        self.server = transport({1: self.meter})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self):
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result()
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def call(capsys, *args):
    """Exit code, lines of stdout, stderr."""
    code = 0
    try:
        main(list(args))
    except SystemExit as e:
        code = e.code or 0
    out, err = capsys.readouterr()
    return code, out.splitlines(), err


def read(address, *more):
    return ("meter", "read", "--profile", "eastron_sdm630", "--port", address, "--timeout", PATIENT_S, *more)


@pytest.mark.parametrize("transport", [RtuServer, TcpServer])
def test_read_prints_a_line_per_poll(capsys, transport):
    with World(transport) as world:
        code, lines, _ = call(capsys, *read(world.server.address, "--count", "3", "--interval", "0.01"))
    assert code == 0
    assert len(lines) == 3
    for line in map(json.loads, lines):
        at = line.pop("at")
        assert at.endswith("+00:00")
        assert line == {
            "energy_wh": 1_234_569,
            "power_w": 0,
            "current_a": [0, 0, 0],
            "voltage_v": [230, 230, 230],
            "serial": "20240001",
        }


@pytest.mark.parametrize(("model", "unit"), [("wm3m4", VirtualWm3m4), ("bsm", VirtualBsm)])
def test_a_meter_that_signs_is_read_by_its_name(capsys, model, unit):
    served = unit(energy_wh=lambda: 1_234_560, power_w=lambda: 11_040, now=lambda: datetime.now(UTC))
    with World(TcpServer, unit=served) as world:
        code, lines, _ = call(
            capsys, "meter", "read", "--profile", model, "--port", world.server.address, "--unit", "1"
        )
    line = json.loads(lines[0])
    assert (code, line["energy_wh"], line["power_w"]) == (0, 1_234_560, 11_040)
    assert line["serial"] in {"33220001", "001BZR1520240001"}


def test_a_failed_poll_is_an_error_in_its_line_and_exit_1(capsys):
    with World(TcpServer) as world:
        world.meter.fail(Fault.NAN)
        code, lines, err = call(capsys, *read(world.server.address, "--count", "2", "--interval", "0"))
        absent = call(capsys, *read(world.server.address, "--unit", "9", "--timeout", "0.1"))
    assert code == 1
    assert err == ""
    assert [json.loads(line)["error"]["code"] for line in lines] == ["meter.invalid"] * 2
    assert absent[0] == 1
    error = json.loads(absent[1][0])["error"]
    assert error["code"] == "meter.silent"
    assert set(error) == {"code", "message", "hint"}


def test_a_port_that_does_not_open_is_an_error_that_names_the_cause(capsys, tmp_path):
    (tmp_path / "file").touch()
    with World(RtuServer) as world, serial.Serial(world.server.address, exclusive=True):
        for port, cause in [
            (str(tmp_path / "none"), "check that the adapter is plugged in"),
            (str(tmp_path / "file"), "this is no serial device"),
            (world.server.address, "another program has this port open"),
        ]:
            code, lines, _ = call(capsys, *read(port))
            error = json.loads(lines[0])["error"]
            assert code == 1
            assert error["code"] == "meter.unreachable"
            assert error["hint"].startswith(cause)


class Refusing:
    """A unit that answers everything with one exception."""

    def __init__(self, exception):
        self.exception = exception

    def read(self, function, address, count):
        raise Refusal(self.exception)


@pytest.mark.parametrize(
    ("exception", "error", "cause"),
    [
        (1, "meter.refused", "the unit does not know this register"),
        (4, "meter.refused", "the unit reports a failure of its own"),
        (6, "meter.silent", "poll less often"),
        (11, "meter.silent", "check A/B wires"),
    ],
)
def test_what_a_unit_refuses_names_the_cause(capsys, exception, error, cause):
    with World(TcpServer, unit=Refusing(exception)) as world:
        code, lines, _ = call(capsys, *read(world.server.address))
    told = json.loads(lines[0])["error"]
    assert (code, told["code"]) == (1, error)
    assert told["hint"].startswith(cause)


@pytest.mark.parametrize("profile_name", ["sunspec", "carlo_gavazzi_em24_rs485"])
def test_a_unit_that_is_silent_is_called_silent_each_time(capsys, profile_name):
    """Also where the request cannot be repeated at once, because a late reply may still come."""
    with World(TcpServer) as world:
        where = ("--port", world.server.address, "--unit", "9", "--timeout", "0.05")
        more = ("--count", "2", "--interval", "0") if profile_name != "sunspec" else ()
        _, lines, _ = call(capsys, "meter", "read", "--profile", profile_name, *where, *more)
    assert {json.loads(line)["error"]["code"] for line in lines} == {"meter.silent"}


def test_bytes_that_are_no_reply_name_the_baud_rate(capsys):
    with World(lambda _: Garbling()) as world:
        _, lines, _ = call(capsys, *read(world.server.address))
    assert "baud rate" in json.loads(lines[0])["error"]["hint"]


class Scripted:
    """A meter on a line that loses replies: what it said, and whether that is sure to be new."""

    def __init__(self, *readings):
        self._readings = iter(readings)

    async def read(self):
        energy_wh, sure = next(self._readings)
        at = Instant(utc=datetime.now(UTC), boot_id="test", monotonic_ns=time.monotonic_ns())
        return MeterValue(at=at, energy_wh=energy_wh, sure=sure)

    async def identify(self):
        return MeterIdentity(model="scripted")


@pytest.mark.parametrize(
    ("readings", "shown"),
    [
        ([(100, True)], 100),
        ([(90, False), (100, True)], 100),
        ([(90, False), (100, False)], 100),
        ([(100, False), (100, False)], 100),
        ([(100, False), (90, False)], "meter.unsure"),
    ],
)
def test_no_old_energy_is_shown_under_a_new_time(capsys, monkeypatch, readings, shown):
    monkeypatch.setattr("hw.registry.create_meter", lambda *_, **__: Scripted(*readings))
    code, lines, _ = call(capsys, *read("/dev/meter0"))
    line = json.loads(lines[0])
    assert (code, line.get("energy_wh") or line["error"]["code"]) == (int(shown == "meter.unsure"), shown)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--profile", "nothing"),
        ("--port", "meter0"),
        ("--unit", "0"),
        ("--unit", "248"),
        ("--parity", "X"),
        ("--timeout", "0"),
        ("--count", "0"),
        ("--baudrate", "1"),
        ("--interval", "nan"),
    ],
)
def test_a_wrong_call_is_exit_2_and_one_line(capsys, wrong):
    code, lines, err = call(capsys, *read("/dev/meter0", *wrong))
    assert code == 2
    assert lines == []
    assert len(err.splitlines()) == 1


def test_list_names_every_profile(capsys):
    code, lines, _ = call(capsys, "meter", "list", "--json")
    assert code == 0
    (rows,) = map(json.loads, lines)
    assert {row["profile"] for row in rows} == {*profile.names(), "sunspec", "bsm", "wm3m4"}
    code, lines, _ = call(capsys, "meter", "list")
    assert any("Eastron SDM630" in line for line in lines)


@pytest.mark.parametrize("transport", [RtuServer, TcpServer])
def test_scan_finds_the_unit_and_names_its_profile_first(capsys, transport):
    with World(transport) as world:
        where = ("meter", "scan", "--port", world.server.address, "--baudrate", "9600")
        code, lines, _ = call(
            capsys, *where, "--units", "1", "--parity", "N", "--timeout", PATIENT_S, "--json"
        )
        none = call(capsys, *where, "--units", "7-9", "--parity", "E", "--timeout", "0.1")
    assert code == 0
    (found,) = map(json.loads, lines)
    assert found["unit"] == 1
    assert found["profiles"][0] == "eastron_sdm630"
    assert none[:2] == (1, [])
    assert none[2].startswith(f"meter.nothing_found: {world.server.address}: no unit answers (")


def test_scan_names_the_meters_that_sign(capsys):
    iskra = VirtualWm3m4(energy_wh=lambda: 1_234_560, power_w=lambda: 11_040, now=lambda: datetime.now(UTC))
    for unit, names in [
        (iskra, ["wm3m4"]),
        (sunspec_device(model=b"BSM-WS36A-H01-1311"), ["bsm", "sunspec"]),
    ]:
        with World(TcpServer, unit=unit) as world:
            where = (
                "meter",
                "scan",
                "--port",
                world.server.address,
                "--units",
                "1",
                "--json",
                "--timeout",
                PATIENT_S,
            )
            _, lines, _ = call(capsys, *where)
        assert json.loads(lines[0])["profiles"] == names


def test_scan_names_a_new_meter_that_has_counted_nothing(capsys):
    new = VirtualMeter(profile.load("abb_b23"), Outlet(time.monotonic_ns))
    with World(TcpServer, unit=new) as world:
        where = (
            "meter",
            "scan",
            "--port",
            world.server.address,
            "--units",
            "1",
            "--json",
            "--timeout",
            PATIENT_S,
        )
        _, lines, _ = call(capsys, *where)
    assert json.loads(lines[0])["profiles"] == ["abb_b23"]


class Garbling:
    """A server for something else than Modbus."""

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader, writer):
        while await reader.read(100):
            writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        writer.close()

    async def stop(self):
        self._server.close()


def test_scan_says_when_what_answers_is_no_meter(capsys):
    with World(lambda _: Garbling()) as world:
        where = ("meter", "scan", "--port", world.server.address, "--units", "1-2", "--timeout", "0.1")
        code, lines, err = call(capsys, *where)
        as_json = call(capsys, *where, "--json")
    assert (code, lines) == (1, [])
    assert err.startswith("meter.nothing_found: something answers, but not as a meter: ")
    error = json.loads(as_json[2])["error"]
    assert set(error) == {"code", "message", "hint"}
    assert "--timeout" in error["hint"]  # what comes too late is no reply to the unit that is asked by then


@pytest.mark.parametrize(
    "unit",
    [wm3m4.Options(port="/dev/meter0").unit, bsm.Options(port="/dev/meter0").unit, 126],
    ids=["wm3m4", "bsm", "pac2200"],
)
def test_scan_looks_where_a_new_meter_is(unit):
    (default,) = (
        option.default for option in meter_commands.commands["scan"].params if option.name == "units"
    )
    parts = [part.partition("-") for part in default.split(",")]
    assert any(int(first) <= unit <= int(last or first) for first, _, last in parts)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "x"])
def test_scan_refuses_what_is_no_timeout(capsys, seconds):
    code, lines, err = call(capsys, "meter", "scan", "--port", "/dev/meter0", "--timeout", seconds)
    assert (code, lines, len(err.splitlines())) == (2, [], 1)


@pytest.mark.parametrize("units", ["0-3", "1-248", "x", "3-1"])
def test_scan_refuses_what_are_no_unit_ids(capsys, units):
    code, lines, err = call(capsys, "meter", "scan", "--port", "/dev/meter0", "--units", units)
    assert code == 2
    assert lines == []
    assert len(err.splitlines()) == 1


def sunspec_device(model=b""):
    """The least that is a SunSpec meter: the marker, model 203, who it is, and the end of the chain."""
    data = [0] * 105
    data[6:9], data[16], data[45] = [230, 231, 232], 4000, 1234
    text = b"".join(part.ljust(32, b"\0") for part in (b"BAUER Electronic", model, b"", b"SN 1", b""))
    common = [int.from_bytes(text[i : i + 2], "big") for i in range(0, 132, 2)]
    chain = [0x5375, 0x6E53, 203, len(data), *data, 1, len(common), *common, 0xFFFF, 0]
    return Registers(holdings={40000 + i: word for i, word in enumerate(chain)})


def test_a_meter_that_describes_itself_is_read_and_found(capsys):
    with World(TcpServer, sunspec_device()) as world:
        address = world.server.address
        code, lines, _ = call(capsys, "meter", "read", "--profile", "sunspec", "--port", address)
        _, found, _ = call(
            capsys, "meter", "scan", "--port", address, "--units", "1", "--json", "--timeout", PATIENT_S
        )
    assert code == 0
    assert json.loads(lines[0])["energy_wh"] == 1234
    assert json.loads(lines[0])["voltage_v"] == [230, 231, 232]
    assert json.loads(found[0])["profiles"] == ["sunspec"]
