"""The way of the journal to the back office, over real brokers, through everything that breaks."""

from __future__ import annotations

import shutil
import sqlite3
import time
from pathlib import Path

import msgspec
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edge.backoffice.verify import verify
from edge.sync.contract.messages import EvseHealth, StateFields
from edge.sync.uplink import service
from hw.virtual.broker import Mosquitto

from .conftest import now


def test_what_the_journal_holds_is_booked_in_order_and_acknowledged(
    till, broker, back_office, wait, books
) -> None:
    office = back_office(broker.address)
    till.write(300)
    till.connect(broker.address)
    wait(lambda: till.uplink.status().waiting == 0 and till.uplink.status().connected, "acknowledgement")
    till.write()
    wait(lambda: till.uplink.status().acknowledged == till.written, "the live entry")
    (device,) = office.stats().devices
    (epoch,) = device.epochs
    assert (epoch.upto, epoch.entries, epoch.head) == (302, 302, till.store.head.hash)
    assert verify(books).problems == ()


def test_an_hour_without_a_broker_loses_nothing(till, broker, back_office, wait, books) -> None:
    broker.stop()
    till.connect(broker.address)
    for _ in range(20):
        till.write(50)
    assert not till.uplink.status().connected
    assert till.uplink.status().trouble
    broker.restart()
    back_office(broker.address)
    wait(lambda: till.uplink.status().acknowledged == 1001, "catching up")
    assert verify(books).problems == ()


def test_a_broker_that_is_killed_forgets_everything_and_nothing_is_lost(
    till, broker, back_office, wait, books, count_booked
) -> None:
    back_office(broker.address)
    till.connect(broker.address)
    for _ in range(3):
        till.write(500)
        broker.kill()
        till.write(100)
        broker.restart()
    wait(lambda: count_booked(books) == till.written, "convergence")
    wait(lambda: till.uplink.status().waiting == 0, "acknowledgement")
    assert verify(books).problems == ()


def test_entries_sent_while_no_receiver_listens_come_again_as_soon_as_one_does(
    make_till, broker, back_office, wait
) -> None:
    till = make_till(resend_s=60, resend_max_s=60)
    till.write(200)
    till.connect(broker.address)
    wait(lambda: till.uplink.status().connected)
    time.sleep(0.2)  # long enough that what was sent is lost at the broker
    began = time.monotonic()
    back_office(broker.address)
    wait(lambda: till.uplink.status().waiting == 0, "the retained state's answer")
    assert time.monotonic() - began < 45, "the resend timer of 60 s must not be what helped"


def test_a_receiver_that_is_killed_goes_on_where_its_commit_was(
    till, mosquitto, start_process, wait, books, count_booked
) -> None:
    till.connect(mosquitto.address)
    office = start_process(books, mosquitto.address)
    office.ready()
    till.write(2000)
    wait(lambda: count_booked(books) > 1, "the first commit")
    office.kill()
    till.write(100)
    office = start_process(books, mosquitto.address)
    wait(lambda: till.uplink.status().acknowledged == 2101, "convergence")
    assert office.stop() == 0
    assert verify(books).problems == ()
    assert count_booked(books) == 2101


def test_a_till_that_starts_again_sends_from_its_watermark(till, mosquitto, back_office, wait, books) -> None:
    office = back_office(mosquitto.address)
    till.connect(mosquitto.address)
    till.write(100)
    wait(lambda: till.uplink.status().waiting == 0)
    till.disconnect()
    with sqlite3.connect(till.database) as db:
        assert db.execute("SELECT upto FROM watermark").fetchone() == (101,)
    till.write(10)
    till.connect(mosquitto.address)
    wait(lambda: till.uplink.status().acknowledged == 111)
    assert office.stats().entries == 111


def test_stopping_sends_what_still_waits(till, mosquitto, back_office, count_booked, wait, books) -> None:
    back_office(mosquitto.address)
    till.connect(mosquitto.address)
    wait(lambda: till.uplink.status().connected)
    till.write(500)
    till.disconnect()
    assert count_booked(books) == 501


def test_a_restored_back_office_gets_everything_again(
    till, mosquitto, back_office, wait, tmp_path: Path, count_booked
) -> None:
    office = back_office(mosquitto.address)
    till.write(50)
    till.connect(mosquitto.address)
    wait(lambda: till.uplink.status().acknowledged == 51)
    office.close()
    backup = tmp_path / "backup.db"
    shutil.copy(tmp_path / "books.db", backup)
    second = back_office(mosquitto.address)
    till.write(50)
    wait(lambda: till.uplink.status().acknowledged == 101)
    second.close()
    back_office(mosquitto.address, database=backup)
    wait(lambda: count_booked(backup) == 101, "the restored back office")
    wait(lambda: till.uplink.status().waiting == 0)
    assert till.rolled_back == []
    assert verify(backup).problems == ()


def test_a_till_that_comes_back_with_an_old_disk_is_told_so(
    make_till, mosquitto, back_office, wait, tmp_path: Path
) -> None:
    till = make_till()
    back_office(mosquitto.address)
    till.write(20)
    till.store.close()
    shutil.copytree(tmp_path / "till", tmp_path / "old")
    till.open()
    till.write(30)
    till.connect(mosquitto.address)
    wait(lambda: till.uplink.status().acknowledged == 51)
    till.disconnect()
    old = make_till("old")
    old.connect(mosquitto.address)
    wait(lambda: old.rolled_back, "the news")
    (found,) = old.rolled_back
    assert (found.reason, found.held, found.acknowledged) == ("ahead", 21, 51)
    assert old.uplink.status().rolled_back


def test_a_till_that_sold_on_with_an_old_disk_is_told_so(
    make_till, mosquitto, back_office, wait, tmp_path: Path
) -> None:
    till = make_till()
    office = back_office(mosquitto.address)
    till.write(20)
    till.store.close()
    shutil.copytree(tmp_path / "till", tmp_path / "old")
    till.open()
    till.write(5)
    till.connect(mosquitto.address)
    wait(lambda: till.uplink.status().acknowledged == 26)
    till.disconnect()
    old = make_till("old")
    old.write(30)
    old.connect(mosquitto.address)
    wait(lambda: old.rolled_back, "the news")
    assert old.rolled_back[0].reason == "diverged"
    assert office.stats().devices[0].epochs[0].upto == 26, "what was booked stays"


def test_after_a_roll_back_a_new_epoch_goes_on_and_the_old_one_is_settled(
    make_till, mosquitto, back_office, wait, tmp_path: Path
) -> None:
    till = make_till()
    office = back_office(mosquitto.address)
    till.write(20)
    till.store.close()
    shutil.copytree(tmp_path / "till", tmp_path / "old")
    till.open()
    till.write(30)
    till.connect(mosquitto.address)
    wait(lambda: till.uplink.status().acknowledged == 51)
    till.disconnect()
    old = make_till("old")
    old.connect(mosquitto.address)
    wait(lambda: old.rolled_back, "the news")
    old.new_epoch()
    old.write(5)
    wait(lambda: old.uplink.status().waiting == 0, "both epochs")
    (device,) = office.stats().devices
    assert [e.upto for e in device.epochs] == [51, 6]
    assert device.quarantined == 0


def test_an_access_rule_that_refuses_our_entries_is_named(make_till, wait, tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite till/v1/s1/d1/state\ntopic read till/v1/s1/d1/ack\n")
    broker = Mosquitto.start()
    broker.stop()
    broker.lines = (*broker.lines, f"acl_file {rules}")
    broker.restart()
    till = make_till()
    till.write(5)
    till.connect(broker.address)
    wait(lambda: "Not authorized" in (till.uplink.status().trouble or ""), "the refusal")
    assert till.uplink.status().waiting == 6
    broker.stop()


def test_the_next_broker_takes_over_within_seconds(till, back_office, wait, books, count_booked) -> None:
    first, second = Mosquitto.start(), Mosquitto.start()
    back_office(first.address, second.address)
    till.connect(first.address, second.address)
    till.write(10)
    wait(lambda: till.uplink.status().acknowledged == 11)
    first.kill()
    till.write(10)
    wait(lambda: till.uplink.status().acknowledged == 21, "the other broker")
    assert till.uplink.status().broker == second.address
    assert count_booked(books) == 21
    second.stop()


def test_a_broker_that_hangs_is_left_for_the_next_and_its_last_will_is_no_news(
    till, back_office, wait
) -> None:
    first, second = Mosquitto.start(), Mosquitto.start()
    office = back_office(first.address, second.address)
    till.connect(first.address, second.address)
    till.write(10)
    wait(lambda: till.uplink.status().acknowledged == 11)
    first.freeze()
    till.write(10)
    wait(lambda: till.uplink.status().acknowledged == 21, "the other broker")
    first.thaw()
    wills: list[tuple[bool, dict]] = []
    listener = _listen(first.address, "till/v1/s1/d1/state", wills)
    wait(lambda: wills and not wills[-1][1]["online"], "the last will")
    till.write()
    wait(lambda: till.uplink.status().acknowledged == 22)
    assert office.stats().devices[0].online
    listener.loop_stop()
    first.stop()
    second.stop()


def test_a_broker_that_no_back_office_listens_to_is_left_for_the_next(
    make_till, back_office, wait, monkeypatch
) -> None:
    monkeypatch.setattr(service, "UNHEARD_S", 0.3)
    deaf, heard = Mosquitto.start(), Mosquitto.start()
    back_office(heard.address)
    till = make_till()
    till.write(10)
    till.connect(deaf.address, heard.address)
    wait(lambda: till.uplink.status().acknowledged == 11, "the other broker")
    assert till.uplink.status().broker == heard.address
    till.disconnect()
    deaf.stop()
    heard.stop()


def test_the_retained_state_tells_health_and_the_will_tells_the_end(
    till, mosquitto, back_office, wait
) -> None:
    heard: list[tuple[bool, dict]] = []
    back_office(mosquitto.address)
    till.write(3)
    till.connect(mosquitto.address)
    wait(lambda: till.uplink.status().acknowledged == 4)
    listener = _listen(mosquitto.address, "till/v1/s1/d1/state", heard)
    wait(lambda: heard, "the retained state")
    retained, state = heard[0]
    assert retained
    assert state["online"] is True
    assert state["health"]["clock_trusted"] is True
    assert state["position"]["epoch"] == till.store.head.epoch
    till.disconnect()
    wait(lambda: heard[-1][1]["online"] is False, "the goodbye")
    assert heard[-1][1]["reason"] == "stopped"
    listener.loop_stop()


def test_a_meter_that_is_read_once_more_is_no_news_and_a_fault_is(till, mosquitto, wait, monkeypatch) -> None:
    monkeypatch.setattr(service, "_LOOK_S", 0.02)
    heard: list[tuple[bool, dict]] = []
    kinds, asked = ["available"], []

    def state() -> StateFields:
        asked.append(now().utc)
        evse = EvseHealth(evse_id="E1", kind=kinds[-1], meter_read_at=asked[-1])
        return StateFields(version="1", boot_id="b", clock_trusted=True, evses=(evse,))

    listener = _listen(mosquitto.address, "till/v1/s1/d1/state", heard)
    till.connect(mosquitto.address, state=state)
    wait(lambda: heard and len(asked) > 30, "many readings")
    assert len(heard) <= 2, "one, and what was retained while the listener subscribed"
    kinds.append("faulted")
    wait(lambda: heard[-1][1]["health"]["evses"][0]["kind"] == "faulted", "the fault")
    listener.loop_stop()


def test_nonsense_on_the_acknowledgement_topic_changes_nothing(till, mosquitto, back_office, wait) -> None:
    till.connect(mosquitto.address)
    wait(lambda: till.uplink.status().connected)
    liar = Client(CallbackAPIVersion.VERSION2)
    liar.connect("127.0.0.1", mosquitto.port)
    liar.loop_start()
    epoch = till.store.head.epoch
    for payload in (
        b"",
        b"{",
        b"\xff" * 100,
        b"[" * 100_000,
        msgspec.json.encode({"epoch": "UNKNOWN", "upto": 5, "head": "0" * 64}),
        msgspec.json.encode({"epoch": epoch, "upto": -1, "head": "0" * 64}),
        msgspec.json.encode({"epoch": epoch, "upto": 1, "head": "zz"}),
    ):
        liar.publish("till/v1/s1/d1/ack", payload, qos=1).wait_for_publish(10)
    back_office(mosquitto.address)
    till.write(10)
    wait(lambda: till.uplink.status().acknowledged == 11)
    assert till.rolled_back == []
    liar.loop_stop()


def test_a_commit_never_waits_for_mqtt(till, mosquitto, wait) -> None:
    till.connect(mosquitto.address)
    wait(lambda: till.uplink.status().connected)
    mosquitto.freeze()
    before = till.written
    for _ in range(200):
        till.write()
    assert till.written == before + 200
    mosquitto.thaw()


def _listen(address: str, topic: str, heard: list) -> Client:
    listener = Client(CallbackAPIVersion.VERSION2)
    listener.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
    listener.on_message = lambda _c, _d, m: heard.append((m.retain, msgspec.json.decode(m.payload)))
    host, _, port = address.partition(":")
    listener.connect(host, int(port))
    listener.loop_start()
    return listener


def test_a_device_that_sends_nonsense_holds_up_nobody(till, mosquitto, back_office, wait, books) -> None:
    office = back_office(mosquitto.address)
    vandal = Client(CallbackAPIVersion.VERSION2)
    vandal.connect("127.0.0.1", mosquitto.port)
    vandal.loop_start()
    for channel in ("tx", "state", "reply"):
        for payload in (
            b"",
            b"\x00" * 2_000_000,
            b"\n" * 100_000,
            b'{"epoch":"E","seq":"1","prevhash":"' + b"0" * 64 + b'"}',
            b"[" * 200_000,
            b'{"online":true,"at":"never"}',
        ):
            vandal.publish(f"till/v1/s9/vandal/{channel}", payload, qos=1, retain=channel == "state")
    till.write(50)
    till.connect(mosquitto.address)
    wait(lambda: till.uplink.status().acknowledged == 51)
    wait(lambda: office.stats().quarantined >= 3, "what the vandal sent")
    vandal.disconnect()
    vandal.loop_stop()
    assert next(d for d in office.stats().devices if d.device == "d1").quarantined == 0
