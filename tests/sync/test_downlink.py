"""Orders: only signed, only ours, only new, each at most once and each answered."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edge.domain.identity import IdToken
from edge.errors import CallError, StoreError
from edge.store.keys import LedgerKey, load_or_make
from edge.sync.contract.orders import (
    BlockEvse,
    Body,
    Configure,
    ListedMember,
    MemberChanges,
    MemberList,
    MemberPart,
    Order,
    PublishTariff,
    RemoteStart,
    RemoteStop,
    Reply,
    read_reply,
    topic_of,
)
from edge.sync.contract.signed import SignatureRefused, open_signed, sign
from edge.sync.contract.topics import Peer
from edge.sync.downlink import SETTINGS, Downlink, Lists
from edge.sync.link import Arrived
from edge.sync.uplink.beside import Beside

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
ME = Peer("s1", "d1")
START = RemoteStart(evse_id="E1", account="A-1", limit_minor=900, currency="EUR", authorization_id="P1")


@pytest.fixture(scope="session")
def key(tmp_path_factory) -> LedgerKey:
    return load_or_make(tmp_path_factory.mktemp("office") / "orders.key")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory) -> LedgerKey:
    return load_or_make(tmp_path_factory.mktemp("stranger") / "orders.key")


class Device:
    """A downlink whose commands are written down instead of carried out."""

    def __init__(self, folder: Path, key: LedgerKey, *, now: datetime | None = NOW) -> None:
        self.done: list[Body] = []
        self.replies: list[Reply] = []
        self.now = now
        self.key = key
        self.fails: Exception | None = None
        self.posted: Any = self._replied
        self.crashes: list[Exception] = []
        self.downlink = Downlink(
            Lists(folder / "lists.db"),
            peer=ME,
            keys=(key.public_hex,),
            now=lambda: self.now,
            execute=self._execute,
            post=self._post,
            connected=lambda: True,
            on_crash=self.crashes.append,
        )

    def _post(self, *given: Any, **how: Any) -> None:
        self.posted(*given, **how)

    def _replied(self, channel: str, payload: bytes, **_: Any) -> None:
        assert channel == "reply"
        self.replies.append(read_reply(payload))

    def _execute(self, body: Body) -> Any:
        if self.fails is not None:
            raise self.fails
        self.done.append(body)
        return {"did": type(body).__name__}

    def order(
        self, order: Order, *, signer: LedgerKey | None = None, topic: str | None = None
    ) -> Reply | None:
        payload = sign(msgspec.json.encode(order), signer or self.key)
        return self.downlink.handle(topic or topic_of(order), payload)


@pytest.fixture
def device(tmp_path, key) -> Iterator[Device]:
    made = Device(tmp_path, key)
    yield made
    made.downlink.lists.close()


def command(version: int, body: Body | None = None, **changes: Any) -> Order:
    given = {
        "stream": "cmd",
        "site": "s1",
        "device": "d1",
        "version": version,
        "issued_at": NOW,
        "order": body or RemoteStop(session_id="S1"),
    }
    return Order(**{**given, **changes})


def for_all(version: int, body: Body, stream: str) -> Order:
    return Order(stream=stream, site="s1", device=None, version=version, issued_at=NOW, order=body)


def token(number: int) -> str:
    return f"{number:064x}"


def card(number: int) -> IdToken:
    return IdToken(kind="uid", value=token(number), key_id="k1")


def members(*numbers: int, **fields: Any) -> tuple[ListedMember, ...]:
    return tuple(
        ListedMember(token=token(n), account=f"A-{n}", limit_minor=100 + n, **fields) for n in numbers
    )


def test_an_order_is_carried_out_and_answered(device) -> None:
    reply = device.order(command(1))
    assert reply == Reply(stream="cmd", version=1, ok=True, result={"did": "RemoteStop"})
    assert device.done == [RemoteStop(session_id="S1")]


def test_a_remote_start_is_carried_out_while_its_driver_waits(device) -> None:
    assert device.order(command(1, START, expires_at=NOW + timedelta(seconds=60))).ok
    assert device.done == [START]


def test_the_same_order_again_gets_the_same_answer_and_changes_nothing(device) -> None:
    first = device.order(command(1))
    assert [device.order(command(1)) for _ in range(3)] == [first] * 3
    assert len(device.done) == 1


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (command(4), "order.old"),
        (command(5, RemoteStop(session_id="another")), "order.old"),
        (command(6, stream="tariff"), "order.foreign"),
        (command(6, expires_at=NOW), "order.expired"),
        (command(6, START), "order.no_expiry"),
        (command(6, expires_at=NOW - timedelta(days=1)), "order.expired"),
    ],
)
def test_what_is_old_or_foreign_or_late_is_refused_by_code(device, order, code) -> None:
    device.order(command(5))
    reply = device.order(order, topic="till/v1/s1/d1/cmd")
    assert (reply.ok, reply.error.code) == (False, code)
    assert reply.error.hint
    assert len(device.done) == 1


def test_an_order_for_somebody_else_gets_no_answer_that_could_be_taken_for_our_own(device) -> None:
    for order in (
        command(6, device="d2"),
        command(6, site="s2"),
        command(6, device="d2", stream="tariff"),
        command(6, site="s2", device=None, stream="tariff", order=PublishTariff(document="{}")),
    ):
        assert device.order(order, topic="till/v1/s1/d1/cmd") is None
    assert device.done == []
    assert device.order(command(6)).ok, "and it counts for no version of ours"


def test_an_order_on_another_topic_is_refused(device) -> None:
    tariff = for_all(1, PublishTariff(document="{}"), "tariff")
    assert device.order(tariff, topic="till/v1/s1/d1/cmd").error.code == "order.foreign"
    assert device.order(tariff).ok


def test_an_order_with_an_end_waits_for_a_trusted_clock(device) -> None:
    device.now = None
    order = command(1, expires_at=NOW + timedelta(hours=1))
    assert device.order(order).error.code == "order.clock"
    device.now = NOW
    assert device.order(order).ok


def test_what_nobody_signed_gets_no_answer(device, stranger) -> None:
    good = sign(msgspec.json.encode(command(1)), device.key)
    head, body, signature = good.split(b".")
    swapped = sign(msgspec.json.encode(command(2)), device.key).split(b".")[1]
    none = msgspec.json.encode({"alg": "none", "kid": device.key.key_id})
    for payload in (
        b"",
        b"..",
        msgspec.json.encode(command(1)),
        b".".join((head, swapped, signature)),
        b".".join((head, body, signature[:-4] + b"AAAA")),
        b".".join((head, body, b"")),
        b".".join((none.hex().encode(), body, b"")),
        good + b"=",
        good + b".",
        b"x" * 2_000_000,
    ):
        assert device.downlink.handle("till/v1/s1/d1/cmd", payload) is None
    assert device.order(command(1), signer=stranger) is None
    assert device.done == []
    assert device.downlink.handle("till/v1/s1/d1/cmd", good).ok


def test_a_signature_covers_every_byte(key) -> None:
    message = sign(b'{"a":1}', key)
    assert open_signed(message, {key.key_id: key.public_hex}) == b'{"a":1}'
    rng = random.Random(1)
    for _ in range(300):
        at = rng.randrange(len(message))
        changed = message[:at] + bytes([message[at] ^ (1 << rng.randrange(7))]) + message[at + 1 :]
        with pytest.raises(SignatureRefused):
            open_signed(changed, {key.key_id: key.public_hex})


def test_signed_nonsense_is_not_obeyed(device) -> None:
    for payload in (
        b"{}",
        b"[]",
        b"null",
        msgspec.json.encode({**msgspec.to_builtins(command(1)), "version": -1}),
    ):
        assert device.downlink.handle("till/v1/s1/d1/cmd", sign(payload, device.key)) is None


def test_what_a_newer_back_office_orders_is_answered_and_changes_nothing(device) -> None:
    """An order is sent again until it is answered."""
    unknown = {**msgspec.to_builtins(command(7)), "order": {"do": "dance"}}

    def sent(**changes: Any) -> Reply | None:
        payload = sign(msgspec.json.encode({**unknown, **changes}), device.key)
        return device.downlink.handle("till/v1/s1/d1/cmd", payload)

    reply = sent()
    assert reply is not None
    assert reply.error is not None
    assert (reply.version, reply.ok, reply.error.code) == (7, False, "order.malformed")
    assert sent(device="d2") is None
    assert device.done == []
    assert device.order(command(7)).ok


def test_orders_that_are_refused_again_and_again_do_not_fill_the_log(device, caplog) -> None:
    """Whoever has seen one on its way may send it for ever."""
    unknown = sign(
        msgspec.json.encode({**msgspec.to_builtins(command(7)), "order": {"do": "dance"}}), device.key
    )
    expired = command(8, expires_at=NOW)
    for _ in range(100):
        assert device.downlink.handle("till/v1/s1/d1/cmd", unknown) is not None
        assert device.order(expired) is not None
    assert len([r for r in caplog.records if "order." in r.getMessage()]) < 40


def test_a_command_that_fails_is_answered_with_its_code_and_not_tried_again(device) -> None:
    device.fails = CallError("no such session", hint="look at the list")
    reply = device.order(command(1))
    assert (reply.ok, reply.error.code, reply.error.hint) == (False, "call.wrong", "look at the list")
    device.fails = None
    assert device.order(command(1)) == reply
    assert device.done == []


def test_a_command_that_a_crash_interrupted_is_not_done_again(tmp_path, key) -> None:
    first = Device(tmp_path, key)
    first.fails = KeyboardInterrupt()  # nothing of the till's own catches it
    with pytest.raises(KeyboardInterrupt):
        first.order(command(1, BlockEvse(evse_id="E1", reason="fire")))
    first.downlink.lists.close()
    second = Device(tmp_path, key)
    reply = second.order(command(1, BlockEvse(evse_id="E1", reason="fire")))
    assert reply.error.code == "order.interrupted"
    assert second.order(command(2)).ok
    second.downlink.lists.close()


def test_a_tariff_that_is_refused_leaves_the_old_one_in_force(tmp_path, device) -> None:
    assert device.order(for_all(1, PublishTariff(document='{"a":1}'), "tariff")).ok
    device.fails = CallError("unlawful")
    assert not device.order(for_all(2, PublishTariff(document='{"a":2}'), "tariff")).ok
    assert device.downlink.lists.document("tariff") == '{"a":1}'
    again = Lists(tmp_path / "lists.db")
    assert again.document("tariff") == '{"a":1}'
    again.close()


def test_a_list_in_parts_is_in_force_when_all_of_it_is_there(device) -> None:
    lists = device.downlink.lists
    assert device.order(for_all(7, MemberList(parts=3), "members")).result == {"missing": True}
    assert "till/v1/s1/members/7/+" in device.downlink.topics()
    device.order(for_all(7, MemberPart(part=3, parts=3, members=members(5)), "members"))
    device.order(for_all(7, MemberPart(part=1, parts=3, members=members(1, 2)), "members"))
    assert lists.find(card(1)) is None
    last = device.order(for_all(7, MemberPart(part=2, parts=3, members=members(3, 4)), "members"))
    assert last.result == {"in_force": True}
    assert [lists.find(card(n)).account for n in range(1, 6)] == [f"A-{n}" for n in range(1, 6)]
    assert lists.find(card(9)) is None
    assert len(device.downlink.topics()) == 6, "many megabytes are not fetched at each connection"
    assert device.order(for_all(7, MemberList(parts=3), "members")).result == {"missing": False}


def test_a_newer_list_replaces_the_older_whole_and_an_older_one_nothing(device) -> None:
    lists = device.downlink.lists
    device.order(for_all(1, MemberPart(part=1, parts=1, members=members(1, 2)), "members"))
    device.order(for_all(3, MemberPart(part=1, parts=1, members=members(2, 3)), "members"))
    assert lists.find(card(1)) is None
    assert lists.find(card(3)).limit_minor == 103
    stale = device.order(for_all(2, MemberPart(part=2, parts=2, members=members(1)), "members"))
    assert stale.error.code == "order.old"


def test_changes_count_on_top_of_the_list_that_they_are_based_on(device) -> None:
    lists = device.downlink.lists
    changes = MemberChanges(base=5, put=(*members(9), *members(2, blocked=True)), remove=(token(1),))
    device.order(for_all(6, changes, "members"))
    assert lists.find(card(9)) is None, "the list is not there yet"
    device.order(for_all(5, MemberPart(part=1, parts=1, members=members(1, 2, 3)), "members"))
    assert lists.find(card(1)) is None
    assert lists.find(card(2)).blocked
    assert lists.find(card(3)).account == "A-3"
    assert lists.find(card(9)).account == "A-9"
    device.order(for_all(7, MemberPart(part=1, parts=1, members=members(1)), "members"))
    assert lists.find(card(9)) is None
    assert lists.find(card(1)) is not None


def test_until_when_a_card_is_valid_arrives_with_it(device) -> None:
    ends = datetime(2027, 1, 1, tzinfo=UTC)
    listed = ListedMember(token=token(4), account="A-4", limit_minor=100, valid_until=ends)
    device.order(for_all(1, MemberPart(part=1, parts=1, members=(listed,)), "members"))
    assert device.downlink.lists.find(card(4)).valid_until == ends


def test_a_blocked_card_of_nobody_is_blocked(device) -> None:
    blocked = ListedMember(token=token(4), blocked=True)
    device.order(for_all(1, MemberPart(part=1, parts=1, members=(blocked,)), "members"))
    assert device.downlink.lists.find(card(4)).blocked


def test_lists_of_another_version_are_fetched_again_and_commands_stay_done(tmp_path, key) -> None:
    before = Device(tmp_path, key)
    before.order(for_all(1, MemberPart(part=1, parts=1, members=members(1)), "members"))
    done = before.order(command(1))
    before.downlink.lists.close()
    with sqlite3.connect(tmp_path / "lists.db") as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("ALTER TABLE member DROP COLUMN blocked")
    after = Device(tmp_path, key)
    assert after.order(command(1)) == done
    assert after.done == []
    assert after.order(for_all(1, MemberList(parts=1), "members")).result == {"missing": True}
    after.order(for_all(1, MemberPart(part=1, parts=1, members=members(1)), "members"))
    assert after.downlink.lists.find(card(1)).account == "A-1"
    after.downlink.lists.close()


def test_a_hundred_thousand_members_are_found_by_index(device) -> None:
    parts = 50
    for part in range(1, parts + 1):
        batch = members(*range(part * 2000, part * 2000 + 2000))
        device.order(for_all(1, MemberPart(part=part, parts=parts, members=batch), "members"))
    lists = device.downlink.lists
    plan = lists._reader.execute(
        "EXPLAIN QUERY PLAN SELECT 0 FROM member WHERE token = ? "
        "AND version = (SELECT version FROM active WHERE name = 'members')",
        (token(1),),
    ).fetchall()
    assert all("SCAN" not in row[3] for row in plan)
    assert lists.find(card(2000)).account == "A-2000"
    assert lists.find(card(101_999)).account == "A-101999"
    assert lists.find(card(1)) is None


def test_orders_reach_a_device_over_a_broker_and_answers_come_back(
    make_till, tmp_path, key, mosquitto, wait
) -> None:
    device = Device(tmp_path, key)
    till = make_till()
    device.posted = lambda channel, payload, **_: till.uplink.post(channel, payload)
    device.downlink.start()
    replies: list[Reply] = []
    office = Client(CallbackAPIVersion.VERSION2, client_id="office")
    office.on_connect = lambda client, *_: client.subscribe("till/v1/+/+/reply", qos=1)
    office.on_message = lambda _c, _d, message: replies.append(read_reply(message.payload))
    office.connect("127.0.0.1", mosquitto.port)
    office.loop_start()
    part = for_all(1, MemberPart(part=1, parts=1, members=members(*range(100))), "members")
    for order in (for_all(1, MemberList(parts=1), "members"), part):
        payload = sign(msgspec.json.encode(order), key)
        office.publish(topic_of(order), payload, qos=1, retain=True).wait_for_publish(20)
    till.connect(mosquitto.address, orders=device.downlink)
    wait(lambda: device.downlink.lists.in_force() == 1, "the list")
    payload = sign(msgspec.json.encode(command(1)), key)
    deadline = time.monotonic() + 60
    while not any(r.stream == "cmd" for r in replies):
        office.publish("till/v1/s1/d1/cmd", payload, qos=1).wait_for_publish(20)
        time.sleep(0.1)
        assert time.monotonic() < deadline
    assert len(device.done) == 1
    till.disconnect()
    device.downlink.stop(20)
    office.disconnect()
    office.loop_stop()


def test_an_answered_command_keeps_its_answer_when_newer_ones_came(device) -> None:
    first = device.order(command(1))
    for version in range(2, 50):
        assert device.order(command(version)).ok
    assert device.order(command(1)) == first, "its answer was lost on the way"
    assert len(device.done) == 49


def test_a_command_that_newer_ones_overtook_is_answered_and_not_carried_out(device) -> None:
    assert device.order(command(2)).ok
    assert device.order(command(1)).error.code == "order.old"
    assert len(device.done) == 1


def test_an_order_that_cannot_be_remembered_waits_for_room_on_the_disk(device, monkeypatch, wait) -> None:
    full = [StoreError("no space")] * 2
    begin = device.downlink.lists.begin

    def begins(slot, seen) -> None:
        if full:
            raise full.pop()
        begin(slot, seen)

    monkeypatch.setattr(device.downlink.lists, "begin", begins)
    monkeypatch.setattr("edge.sync.downlink.service._STORE_RETRY_S", 0.01)
    device.downlink.start()
    order = command(1)
    assert device.downlink.offer(topic_of(order), sign(msgspec.json.encode(order), device.key))
    wait(lambda: device.replies, "the answer")
    assert [reply.ok for reply in device.replies] == [True]
    assert len(device.done) == 1
    device.downlink.stop(20)
    assert device.crashes == []


def test_what_nobody_expected_is_told_to_the_till(tmp_path, key, wait) -> None:
    device = Device(tmp_path, key)
    device.fails = RuntimeError("unforeseen")
    device.downlink.start()
    order = command(1)
    device.downlink.offer(topic_of(order), sign(msgspec.json.encode(order), key))
    wait(lambda: device.crashes, "the crash")
    assert str(device.crashes[0]) == "unforeseen"
    device.downlink.stop(20)


def test_settings_add_up_and_are_kept(device) -> None:
    assert device.order(command(1, Configure(values={"a": 1, "b": 2}))).ok
    assert device.order(command(2, Configure(values={"b": None}))).ok
    assert device.done[-1] == Configure(values={"a": 1, "b": None})
    assert msgspec.json.decode(device.downlink.lists.document(SETTINGS)) == {"a": 1, "b": None}
    device.fails = CallError("out of range")
    assert not device.order(command(3, Configure(values={"a": 9}))).ok
    assert msgspec.json.decode(device.downlink.lists.document(SETTINGS))["a"] == 1


def test_a_flood_of_orders_waits_at_the_broker() -> None:
    took: list[str] = []

    class Taker:
        def topics(self) -> list[str]:
            return []

        def offer(self, topic: str, _payload: bytes) -> bool:
            took.append(topic)
            return True

        def answered(self, payload: bytes) -> None:
            took.append(payload.decode())

    class Wire:
        full = False

        def __init__(self) -> None:
            self.pubacks = 0

        def acknowledge(self, _arrived: Arrived) -> None:
            self.pubacks += 1

    wire, beside = Wire(), Beside(ME, Taker())
    now = 100.0
    for n in range(1500):
        beside.take(wire, Arrived(f"t{n}", b"", n, 1, False))
        beside.pass_on(wire, now)
    assert 1000 < len(took) < 1200
    beside.take(wire, Arrived(ME.topic("authorization"), b"answer", 0, 1, False))
    assert took[-1] == "answer", "who waits at the charger is not held up"
    before = len(took)
    beside.pass_on(wire, now + 1.0)
    assert 10 < len(took) - before < 30
    assert wire.pubacks == len(took)
