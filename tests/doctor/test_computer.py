"""What the doctor says of the computer, the files, the broker, and a till that runs."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from edge.backoffice.access import Authority
from edge.doctor import broker, files, host
from edge.doctor.examine import examine
from edge.doctor.machine import Account, Machine
from edge.domain.instant import Instant
from edge.domain.ledger.facts import DeviceStopped
from edge.inventory import load
from edge.runtime.clock import KernelTime
from edge.store.boots import note_trusted
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store
from edge.sync.contract.topics import peer
from edge.sync.options import TlsOptions, UplinkOptions
from hw.virtual.broker import Mosquitto

ROOT = Account(name="root", uid=0, gids=frozenset({0}))
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def results(found):
    return [f.result for f in found]


def test_without_a_configuration_it_says_how_to_get_one(tmp_path, call):
    done = call("--config", tmp_path / "none.toml", "doctor", "--json")
    assert done.code == 1
    first = json.loads(done.out)["checks"][0]
    assert first["result"] == "fail"
    assert "chargetill provision" in first["todo"]


def test_every_mistake_of_the_configuration_is_a_line(place):
    place.edit('country = "DE"', "")
    place.edit("hold_minor = 6000", "hold_minor = 0")
    found = [f for f in examine(place.config) if f.what == "configuration"]
    assert results(found) == ["fail", "fail"]


def test_where_nobody_can_pay_it_says_so_and_a_terminal_is_somewhere_to_tap(place):
    (found,) = [f for f in examine(place.config) if f.what == "readers"]
    assert (found.result, "[[terminal]]" in found.todo) == ("warn", True)
    place.edit("[[evse]]", '[[terminal]]\ndriver = "zvt"\nport = "tcp://127.0.0.1:9"\n[[evse]]')
    assert not [f for f in examine(place.config) if f.what == "readers"]


@pytest.mark.parametrize("wrong", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)])
def test_a_wrong_time_is_named(place, wrong):
    (finding,) = host.clock(load(place.config), Machine(), now=wrong)
    assert finding.result == "fail"
    assert "wrong time" in finding.found
    assert "NTP" in finding.todo


def test_a_clock_behind_the_journal_is_wrong(place, daemon):
    till = daemon(place.config)
    till.says("till.ready")
    till.stop()
    (finding,) = host.clock(load(place.config), Machine(), now=datetime.now(UTC) - timedelta(hours=3))
    assert finding.result == "fail"
    assert "the journal ends at" in finding.found


def test_a_boot_that_woke_up_in_another_year_makes_no_right_clock_a_wrong_one(place):
    config = load(place.config)
    at = Instant(utc=NOW - timedelta(hours=1), boot_id="a", monotonic_ns=1)
    store = Store.open(
        config.database,
        key=load_or_make(config.key),
        owner=Owner(site="s1", device="till-1"),
        prefix="CT",
        now=at,
    )
    store.submit(lambda tx: note_trusted(tx, source="ntp", error_ms=1, at=at)).result()
    ahead = Instant(utc=NOW + timedelta(days=900), boot_id="b", monotonic_ns=1)
    store.submit(lambda tx: tx.append(DeviceStopped(reason="x"), ahead)).result()
    store.close()
    assert results(host.clock(config, Machine(), now=NOW)) == ["ok"]
    assert results(host.clock(config, Machine(), now=NOW - timedelta(hours=2))) == ["fail"]


def test_a_clock_that_nobody_synchronized_sells_and_waits_with_invoices(place, computer, monkeypatch):
    place.edit('trust = "always"', 'trust = "ntp"')
    nobody = KernelTime(synchronized=False, error_us=16_000_000)
    monkeypatch.setattr("edge.runtime.clock.kernel_time", lambda: nobody)
    (finding,) = host.clock(load(place.config), Machine(computer), now=NOW)
    assert finding.result == "warn"
    assert "invoices wait" in finding.found


def test_a_price_that_needs_the_time_wants_another_one_for_when_it_is_not_known(place, computer):
    place.edit('trust = "always"', 'trust = "ntp"')
    usual = json.loads((place.folder / "tariff.json").read_text())
    usual["elements"][0]["restrictions"] = {"start_time": "22:00", "end_time": "06:00"}
    (place.folder / "timed.json").write_text(json.dumps(usual))
    place.edit('file = "tariff.json"', 'file = "timed.json"')
    warned = [
        f for f in host.clock(load(place.config), Machine(computer), now=NOW) if f.what == "clock and tariff"
    ]
    assert [f.result for f in warned] == ["warn"]
    place.edit('file = "timed.json"', 'file = "timed.json"\nfallback_file = "tariff.json"')
    assert all(
        f.what != "clock and tariff" for f in host.clock(load(place.config), Machine(computer), now=NOW)
    )


def test_a_disk_without_room(place, monkeypatch):
    import collections

    usage = collections.namedtuple("usage", "total used free")  # noqa: PYI024
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**9, 10**9, 1_000_000))
    found = list(host.disk(load(place.config), ROOT))
    assert results(found) == ["fail", "ok"]
    assert "stops selling" in found[0].todo


def test_a_folder_that_the_service_may_not_write(place):
    stranger = Account(name="chargetill", uid=64999, gids=frozenset({64999}))
    (finding,) = host.disk(load(place.config), stranger)
    assert finding.result == "fail"
    assert "chargetill may not write here" in finding.found


def test_a_damaged_database_is_named(place, daemon):
    till = daemon(place.config)
    till.says("till.ready")
    till.stop()
    assert results(files.database(load(place.config), ROOT)) == ["ok"]
    raw = bytearray(place.database.read_bytes())
    raw[4096 * 3 : 4096 * 12] = bytes(4096 * 9)
    place.database.write_bytes(raw)
    assert results(files.database(load(place.config), ROOT)) == ["fail"]


def test_a_database_that_left_write_ahead_logging(place, daemon):
    till = daemon(place.config)
    till.says("till.ready")
    till.stop()
    db = sqlite3.connect(place.database)
    db.execute("PRAGMA journal_mode = DELETE")
    db.close()
    (finding,) = files.database(load(place.config), ROOT)
    assert finding.result == "fail"
    assert "journal mode delete" in finding.found


def test_keys_that_others_may_read(place):
    (place.folder / "operator.key").chmod(0o644)
    found = {f.what.split()[0]: f for f in files.keys(load(place.config), ROOT, NOW)}
    assert found["operator's"].result == "fail"
    assert "chmod 600" in found["operator's"].todo


def test_under_voltage(computer):
    throttled = computer / host._THROTTLED
    throttled.parent.mkdir(parents=True)
    for bits, result in (("0x0", "ok"), ("0x50000", "warn"), ("0x50005", "fail")):
        throttled.write_text(bits + "\n")
        assert results(host.power(Machine(computer))) == [result]


def test_kernel_modules_and_programs_that_take_devices(place, computer):
    place.edit("[[evse]]", '[[reader]]\ndriver = "nfc"\npath = "usb"\n[[evse]]')
    place.edit('port = "tcp://127.0.0.1:9"', 'port = "/dev/ttyUSB0"')
    (computer / "proc/modules").write_text("pn533_usb 20480 0 - Live 0x0\npn533 1 1 pn533_usb, Live 0x0\n")
    for pid, name in ((10, "ModemManager"), (11, "pcscd")):
        (computer / f"proc/{pid}").mkdir()
        (computer / f"proc/{pid}/comm").write_text(name + "\n")
    found = {f.what: f for f in host.services(load(place.config), Machine(computer))}
    assert found["kernel modules"].result == "fail"
    assert "rmmod pn533 pn533_usb" in found["kernel modules"].todo
    assert found["serial adapters"].result == "warn"
    assert found["pcscd"].result == "warn"


def test_pcscd_and_its_polkit_rule(place, computer):
    place.edit("[[evse]]", '[[reader]]\ndriver = "pcsc"\n[[evse]]')
    policy = computer / "usr/share/polkit-1/actions/org.debian.pcsc-lite.policy"
    policy.parent.mkdir(parents=True)
    policy.touch()
    assert [f.what for f in host.services(load(place.config), Machine(computer))] == ["pcscd", "polkit"]
    (computer / "run/pcscd").mkdir()
    (computer / "run/pcscd/pcscd.comm").touch()
    (computer / "etc/polkit-1/rules.d").mkdir(parents=True)
    (computer / "etc/polkit-1/rules.d/50-chargetill-pcscd.rules").touch()
    assert list(host.services(load(place.config), Machine(computer))) == []


def test_beside_a_till_that_runs_its_devices_are_left_to_it(charger, daemon, free_port):
    """A busy line is a fact with a reason, and the till is asked for its state."""
    charger.add(f"[kiosk]\nport = {free_port}\n")
    till = daemon(charger.config)
    till.says("evse.in_order")
    found = list(examine(charger.config))
    (runs,) = [f for f in found if f.what == "till"]
    (evse,) = [f for f in found if f.what == "EVSE DE*T*1"]
    assert runs.result == "ok"
    assert f"runs ({till.process.pid})" in runs.found
    assert (evse.result, evse.found) == ("ok", "idle")
    assert not [f for f in found if f.what.startswith(("meter", "charge point"))]
    assert till.process.poll() is None


def test_what_a_running_till_says_of_a_broken_evse(place, daemon, free_port):
    place.edit('label = "1"', 'label = "1"\nstale_s = 3')
    place.add(f"[kiosk]\nport = {free_port}\n")
    till = daemon(place.config)
    till.says("evse.out_of_order")
    (evse,) = [f for f in examine(place.config) if f.what.startswith("EVSE")]
    assert evse.result == "fail"
    assert "out of order" in evse.found
    assert "systemctl stop chargetill" in evse.todo


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    authority = Authority.open(tmp_path_factory.mktemp("access"))
    authority.issue_broker(("localhost", "127.0.0.1"))
    authority.issue_device(peer("s1", "till-1"))
    return authority


def tls(authority, name="device-s1.till-1"):
    folder = authority.folder
    return TlsOptions(
        ca=str(folder / "ca.pem"), cert=str(folder / f"{name}.pem"), key=str(folder / f"{name}.key")
    )


@pytest.fixture(scope="module")
def guarded(authority):
    """The system's mosquitto with the access rules that the back office writes."""
    found = Mosquitto.start()
    found.stop()
    conf = authority.write_mosquitto(found.port, address="127.0.0.1")
    found.lines = tuple(conf.read_text().splitlines())
    found.restart()
    yield found
    found.stop()


@pytest.mark.parametrize(
    ("days", "result", "says"),
    [(400, "ok", "valid until"), (10, "warn", "expires in"), (-1, "fail", "expired")],
)
def test_the_dates_of_certificates(authority, days, result, says):
    path = authority.issue_device(peer("s9", f"d{abs(days)}"), days=days)
    options = TlsOptions(
        ca=str(authority.folder / "ca.pem"), cert=str(path), key=str(path.with_suffix(".key"))
    )
    ca, certificate, key = files.certificates(options, ROOT, datetime.now(UTC))
    assert (ca.result, key.result) == ("ok", "ok")
    assert certificate.result == result
    assert says in certificate.found


def test_a_key_that_waits_for_its_certificate(authority, tmp_path):
    issued = authority.issue_device(peer("s9", "waits"), days=400)
    options = TlsOptions(
        ca=str(authority.folder / "ca.pem"),
        cert=str(tmp_path / "none.pem"),
        key=str(issued.with_suffix(".key")),
    )
    _ca, certificate, key = files.certificates(options, ROOT, datetime.now(UTC))
    assert (certificate.result, key.result) == ("fail", "ok")
    assert "no certificate" in key.found


def test_a_clock_that_is_behind_makes_certificates_look_new(authority):
    found = list(files.certificates(tls(authority), ROOT, datetime(2020, 1, 1, tzinfo=UTC)))
    assert results(found)[:2] == ["fail", "fail"]
    assert "set the time first" in found[0].todo


def test_a_key_of_another_certificate(authority):
    other = authority.issue_device(peer("s9", "other")).with_suffix(".key")
    options = TlsOptions(cert=tls(authority).cert, key=str(other))
    *_, key = files.certificates(options, ROOT, datetime.now(UTC))
    assert key.result == "fail"
    assert "not the key of" in key.found


def steps(address, options):
    return list(broker.broker(address, options, peer("s1", "till-1"), datetime.now(UTC)))


def test_a_broker_nobody_knows(monkeypatch):
    (finding,) = steps("no-such-host.invalid:8883", UplinkOptions(brokers=("x:1",)))
    assert finding.result == "fail"
    assert "DNS" in finding.todo


def test_a_broker_that_is_off(free_port):
    (finding,) = steps(f"127.0.0.1:{free_port}", UplinkOptions(brokers=("x:1",)))
    assert finding.result == "fail"
    assert "running" in finding.todo


def test_a_broker_that_knows_this_device(guarded, authority):
    options = UplinkOptions(brokers=(guarded.address,), tls=tls(authority))
    found = steps(guarded.address, options)
    assert results(found) == ["ok", "ok", "ok"], found
    assert "logged in with MQTT 5" in found[1].found
    assert "may write till/v1/s1/till-1/tx" in found[2].found


def test_a_device_that_the_access_rules_do_not_know(guarded, authority):
    authority.issue_device(peer("s1", "newcomer"))  # has a certificate; mosquitto was not told
    options = UplinkOptions(brokers=(guarded.address,), tls=tls(authority, "device-s1.newcomer"))
    found = steps(guarded.address, options)
    assert results(found) == ["ok", "ok", "fail"], found
    assert "Not authorized" in found[2].found
    assert "backoffice device enroll" in found[2].todo


def test_a_broker_whose_certificate_we_do_not_trust(guarded, authority, tmp_path):
    stranger = Authority.open(tmp_path / "other")
    options = UplinkOptions(
        brokers=(guarded.address,),
        tls=TlsOptions(ca=str(stranger.folder / "ca.pem"), cert=tls(authority).cert, key=tls(authority).key),
    )
    found = steps(guarded.address, options)
    assert results(found) == ["ok", "fail"], found
    assert "[mqtt.tls]" in found[1].todo


def test_a_program_that_is_no_broker():
    import http.server
    import threading

    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = steps(f"127.0.0.1:{server.server_port}", UplinkOptions(brokers=("x:1",)))
    server.shutdown()
    server.server_close()
    assert results(found) == ["fail"]
