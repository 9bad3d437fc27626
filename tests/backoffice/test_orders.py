"""What the back office orders reaches its device, is answered once, and is sent until it is."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from edge.backoffice.options import BackofficeOptions
from edge.backoffice.orders import Orders
from edge.backoffice.outgoing import Outgoing
from edge.backoffice.receiver import Receiver
from edge.backoffice.schema import open_books
from edge.domain.buyer import Buyer, BuyerRecord
from edge.domain.instant import Instant
from edge.store.store import Owner, Store
from edge.sync.contract.messages import StateFields
from edge.sync.contract.orders import (
    ORDER_BYTES_MAX,
    ListedMember,
    PublishTariff,
    RemoteStop,
    Reply,
    read_order,
)
from edge.sync.contract.signed import open_signed
from edge.sync.contract.topics import Peer
from edge.sync.downlink import Downlink, Lists
from edge.sync.options import UplinkOptions
from edge.sync.uplink import Uplink
from hw.virtual.broker import Mosquitto

D1 = Peer("s1", "d1")
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def orders(database, key) -> Iterator[Orders]:
    made = Orders(database, key)
    yield made
    made.close()


def member(number: int, **fields) -> ListedMember:
    return ListedMember(token=f"{number:064x}", account=f"A-{number}", limit_minor=1000, **fields)


def outgoing(database) -> Outgoing:
    return Outgoing(open_books(database))


def opened(payload: bytes, key):
    return read_order(open_signed(payload, {key.key_id: key.public_hex}))


def test_commands_are_numbered_per_device_and_wait_for_an_answer(orders, database, key) -> None:
    assert orders.command(D1, RemoteStop(session_id="S1")) == 1
    assert orders.command(D1, RemoteStop(session_id="S2")) == 2
    assert orders.command(Peer("s1", "d2"), RemoteStop(session_id="S3")) == 1
    view = outgoing(database)
    waiting = view.waiting(NOW, limit=10)
    assert [w.topic for w in waiting] == ["till/v1/s1/d1/cmd"] * 2 + ["till/v1/s1/d2/cmd"]
    assert opened(waiting[1].payload, key).order == RemoteStop(session_id="S2")
    view.answered(D1, Reply(stream="cmd", version=2, ok=True), NOW)
    view.answered(D1, Reply(stream="cmd", version=2, ok=False), NOW)
    assert len(view.waiting(NOW, limit=10)) == 2
    newest, oldest = orders.status(D1)
    assert newest.reply.ok, "the first answer counts"
    assert oldest.reply is None


def test_an_expired_command_is_not_sent(orders, database) -> None:
    orders.command(D1, RemoteStop(session_id="S1"), good_for_s=60)
    view = outgoing(database)
    assert len(view.waiting(datetime.now(UTC), limit=10)) == 1
    assert view.waiting(datetime(2999, 1, 1, tzinfo=UTC), limit=10) == []


def test_only_the_newest_document_of_a_topic_is_kept(orders, database, key) -> None:
    for n in range(3):
        orders.publish("s1", PublishTariff(document=f'{{"n":{n}}}'))
    orders.publish("s2", PublishTariff(document="{}"))
    kept = outgoing(database).retained(0, limit=10)
    assert [k.topic for k in kept] == ["till/v1/s1/tariff", "till/v1/s2/tariff"]
    order = opened(kept[0].payload, key)
    assert (order.version, order.order.document) == (3, '{"n":2}')


def test_members_go_out_whole_once_and_then_as_changes(orders, database, key) -> None:
    orders.put_members("s1", [member(n) for n in range(4500)])
    assert orders.publish_members("s1") == 1
    topics = [k.topic for k in outgoing(database).retained(0, limit=10)]
    assert topics == [f"till/v1/s1/members/1/{n}" for n in (1, 2, 3)] + ["till/v1/s1/members/list"]
    orders.put_members("s1", [member(7, blocked=True), member(9000)])
    assert orders.remove_members("s1", [f"{8:064x}", f"{8:064x}", "ff"]) == 1
    assert orders.publish_members("s1") == 2
    changes = opened(outgoing(database).retained(0, limit=10)[-1].payload, key).order
    assert changes.base == 1
    assert {m.account for m in changes.put} == {"A-7", "A-9000"}
    assert changes.remove == (f"{8:064x}",)
    assert len(orders.members("s1")) == 4500


def test_members_that_are_named_on_invoices_fit_into_their_messages_too(orders, database) -> None:
    buyer = Buyer(name="n" * 100, address="a" * 150, country="DE")
    record = BuyerRecord(buyer=buyer, salt="ab" * 16)
    orders.put_members("s1", [member(n, buyer=record) for n in range(4000)])
    orders.publish_members("s1")
    orders.put_members("s1", [member(n, buyer=record, blocked=True) for n in range(1900)])
    orders.publish_members("s1")
    for document in outgoing(database).retained(0, limit=100):
        assert len(document.payload) <= ORDER_BYTES_MAX, document.topic


def test_a_new_full_list_clears_the_old_one_at_the_broker(orders, database) -> None:
    orders.put_members("s1", [member(n) for n in range(100)])
    orders.publish_members("s1")
    orders.put_members("s1", [member(n) for n in range(3000)])
    orders.publish_members("s1")
    kept = {k.topic: bool(k.payload) for k in outgoing(database).retained(0, limit=100)}
    assert kept == {
        "till/v1/s1/members/1/1": False,
        "till/v1/s1/members/2/1": True,
        "till/v1/s1/members/2/2": True,
        "till/v1/s1/members/list": True,
    }
    orders.publish_members("s1", whole=True)
    kept = {k.topic: bool(k.payload) for k in outgoing(database).retained(0, limit=100)}
    emptied = {topic for topic, there in kept.items() if not there}
    assert emptied == {f"till/v1/s1/members/{p}" for p in ("1/1", "2/1", "2/2")}, (
        "a broker that was away has both"
    )


def test_orders_go_all_the_way_and_survive_a_broker_that_forgets(
    tmp_path: Path, orders, database, key
) -> None:
    broker = Mosquitto.start()
    ready = threading.Event()
    receiver = Receiver(
        BackofficeOptions(db=str(database), brokers=(broker.address,), retry_s=0.1, retry_max_s=0.5),
        on_ready=ready.set,
    )
    thread = threading.Thread(target=receiver.run, daemon=True)
    thread.start()
    assert ready.wait(60)
    orders.put_members("s1", [member(n) for n in range(5000)])
    orders.publish_members("s1")
    orders.publish("s1", PublishTariff(document='{"id":"T1"}'))
    stopped: list[object] = []
    with _device(tmp_path, key, broker, stopped.append) as downlink:
        _eventually(lambda: downlink.lists.in_force() == 1)
        orders.command(D1, RemoteStop(session_id="S1"))
        _eventually(lambda: orders.status(D1)[0].reply is not None)
        broker.kill()
        broker.restart()
        orders.command(D1, RemoteStop(session_id="S2"))
        orders.put_members("s1", [member(1, blocked=True)])
        orders.publish_members("s1")
        _eventually(lambda: orders.status(D1)[0].reply is not None)
        _eventually(lambda: downlink.lists._active("changes")[1] == 1)
    assert [s.reply.ok for s in orders.status(D1)] == [True, True]
    assert stopped.count(RemoteStop(session_id="S1")) == 1
    assert stopped.count(PublishTariff(document='{"id":"T1"}')) == 1
    rows = open_books(database).execute("SELECT stream, version, ok FROM answer ORDER BY 1, 2").fetchall()
    assert ("tariff", 1, 1) in rows
    assert json.loads(msgspec.json.encode(orders.status(D1)[0].order))["do"] == "remote_stop"
    receiver.stop()
    thread.join(60)
    broker.stop()


def _eventually(condition: Callable[[], object]) -> None:
    for _ in range(6000):
        if condition():
            return
        threading.Event().wait(0.01)
    pytest.fail("it did not happen within 60 s")


class _device:  # noqa: N801  (used as a context)
    """A till that only listens."""

    def __init__(self, folder: Path, key, broker: Mosquitto, done: Callable[[object], None]) -> None:
        now = Instant(utc=NOW, boot_id="b", monotonic_ns=1)
        self._store = Store.open(
            folder / "till.db", key=key, owner=Owner(site="s1", device="d1"), prefix="CT", now=now
        )
        self._downlink = Downlink(
            Lists(folder / "lists.db"),
            peer=D1,
            keys=(key.public_hex,),
            now=lambda: NOW,
            execute=done,
            post=lambda channel, payload, **_: self._uplink.post(channel, payload),
            connected=lambda: self._uplink.status().connected,
            on_crash=lambda e: pytest.fail(str(e)),
        )
        self._uplink = Uplink(
            UplinkOptions(brokers=(broker.address,), retry_s=0.1, retry_max_s=0.5),
            database=folder / "till.db",
            store=self._store,
            peer=D1,
            now=lambda: now,
            state=lambda: StateFields(version="1", boot_id="b", clock_trusted=True),
            on_rolled_back=lambda _: None,
            orders=self._downlink,
        )

    def __enter__(self) -> Downlink:
        self._downlink.start()
        self._uplink.start()
        return self._downlink

    def __exit__(self, *_: object) -> None:
        self._uplink.stop(5)
        self._downlink.stop(20)
        self._store.close()


def test_orders_for_devices_that_are_away_take_nobody_elses_turn(orders, database) -> None:
    db = open_books(database)
    db.execute(
        "INSERT INTO device (site, device, first_seen_at, online) VALUES ('s1', 'away', '', 0), ('s1', 'd1', '', 1)"
    )
    for name in ("away", "away", "d1", "new"):
        orders.command(Peer("s1", name), RemoteStop(session_id="S"))
    found = Outgoing(db).waiting(datetime.now(UTC), limit=3)
    assert [w.topic.split("/")[3] for w in found] == ["d1", "new", "away"]
    db.close()
