"""The file of the lists is deleted, or breaks, between two runs: it is sent again, and nothing older is obeyed."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from edge.store.connection import StoreCorrupt
from edge.store.kept import Kept
from edge.store.keys import load_or_make
from edge.sync.contract.orders import (
    Configure,
    MemberChanges,
    MemberList,
    MemberPart,
    Order,
    PublishTariff,
    RemoteStop,
    topic_of,
)
from edge.sync.contract.signed import sign
from edge.sync.contract.topics import Peer
from edge.sync.downlink import SETTINGS, Downlink, open_lists
from tests.store.conftest import Till
from tests.sync.test_downlink import NOW, card, command, for_all, members, token

ME = Peer("s1", "d1")


class Device:
    """A till's database with its lists beside it; each `boot` is another run."""

    def __init__(self, folder):
        self.till = Till(folder)
        self.path = folder / "till.lists.db"
        self.key = load_or_make(folder / "orders.key")
        self.done = []
        self.downlink = None
        self.boot()

    def boot(self, *keys):
        if self.downlink is not None:
            self.lists.close()
        self.lists = open_lists(self.path, Kept(self.till.store))
        self.downlink = Downlink(
            self.lists,
            peer=ME,
            keys=[k.public_hex for k in keys or (self.key,)],
            now=lambda: NOW,
            execute=self.done.append,
            post=lambda *_, **__: None,
            connected=lambda: True,
            on_crash=lambda _e: None,
        )

    def order(self, order: Order, *, key=None):
        return self.downlink.handle(topic_of(order), sign(msgspec.json.encode(order), key or self.key))

    def close(self):
        self.lists.close()
        self.till.store.close()


@pytest.fixture
def device(tmp_path):
    made = Device(tmp_path)
    yield made
    made.close()


def deleted(path):
    path.unlink()


def torn(path):
    """Its second half is noise."""
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 :] = random.Random(7).randbytes(len(raw) - len(raw) // 2)
    path.write_bytes(bytes(raw))


def headless(path):
    path.write_bytes(b"no database, but long enough to be one" * 9)


def listed(version, *numbers):
    return for_all(version, MemberPart(part=1, parts=1, members=members(*numbers)), "members")


LIST, CHANGES = (
    for_all(5, MemberList(parts=1), "members"),
    MemberChanges(base=5, put=members(2, blocked=True)),
)


def full(device):
    device.order(LIST)
    device.order(listed(5, 1, 2, 3))
    device.order(for_all(6, CHANGES, "members"))
    device.order(for_all(3, PublishTariff(document='{"a":3}'), "tariff"))
    device.order(command(8, Configure(values={"a": 1})))
    device.lists.keep("blocked", '{"E1":"works"}')
    device.done.clear()


@pytest.mark.parametrize("harm", [deleted, torn, headless])
def test_after_a_loss_nothing_older_is_obeyed_and_what_was_ordered_still_counts(device, harm, caplog):
    full(device)
    device.lists.close()
    harm(device.path)
    device.downlink = None
    device.boot()
    assert any("order.lists_lost" in r.getMessage() for r in caplog.records)
    lists = device.lists
    assert lists.document("blocked") == '{"E1":"works"}'
    assert lists.document("tariff") == '{"a":3}'
    assert msgspec.json.decode(lists.document(SETTINGS)) == {"a": 1}
    for old in (
        command(7, RemoteStop(session_id="S1")),
        for_all(2, PublishTariff(document='{"a":2}'), "tariff"),
        listed(4, 1, 2),
        for_all(4, MemberList(parts=1), "members"),
        for_all(5, MemberChanges(base=4), "members"),
    ):
        assert device.order(old).error.code == "order.old"
    assert device.order(command(8, Configure(values={"a": 1}))).error.code == "order.interrupted"
    assert device.done == []
    assert device.order(command(9)).ok


def test_what_an_older_version_kept_in_the_lists_alone_is_lost_with_them_no_more(device):
    full(device)
    kept = Kept(device.till.store)
    for name in ("cmd", "tariff", "members/list", "members/changes"):
        kept.put(f"order:{name}", None)
    for name in ("changes", "document:blocked", "document:tariff", f"document:{SETTINGS}"):
        kept.put(name, None)
    device.lists._db.execute("DELETE FROM active WHERE name LIKE 'turn:%'")
    device.boot()  # this version, for the first time
    device.lists.close()
    deleted(device.path)
    device.downlink = None
    device.boot()
    assert device.lists.document("blocked") == '{"E1":"works"}'
    assert msgspec.json.decode(device.lists.document(SETTINGS)) == {"a": 1}
    assert device.order(command(7, RemoteStop(session_id="S1"))).error.code == "order.old"
    device.order(listed(5, 1, 2, 3))
    assert device.lists.find(card(2)) is None, "it was blocked since, and this list does not say so"


@pytest.mark.parametrize("harm", [deleted, torn])
def test_the_lists_are_fetched_again_and_count_only_with_their_changes(device, harm):
    full(device)
    device.lists.close()
    harm(device.path)
    device.downlink = None
    device.boot()
    assert device.lists.find(card(1)) is None, "nobody is known: upstream is asked"
    assert device.order(LIST).result == {"missing": True}
    assert "till/v1/s1/members/5/+" in device.downlink.topics()
    assert device.order(listed(5, 1, 2, 3)).result == {"in_force": True}
    assert device.lists.find(card(2)) is None, "it was blocked since, and this list does not say so"
    device.order(for_all(6, CHANGES, "members"))
    assert device.lists.find(card(2)).blocked
    assert device.lists.find(card(1)).account == "A-1"
    assert device.order(for_all(3, PublishTariff(document='{"a":3}'), "tariff")).ok


def test_a_newer_list_needs_no_older_changes(device):
    full(device)
    device.lists.close()
    deleted(device.path)
    device.downlink = None
    device.boot()
    device.order(listed(9, 1))
    assert device.lists.find(card(1)).account == "A-1"


def test_a_file_that_breaks_under_a_running_till_is_laid_aside_at_once(device):
    full(device)
    device.lists._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    torn(device.path)
    device.lists._reader.execute("PRAGMA cache_size = 0")
    device.lists._reader.execute("PRAGMA shrink_memory")

    def goes_on():
        for n in range(4):
            device.lists.find(card(n))
            device.lists._db.execute("PRAGMA shrink_memory")
            device.order(listed(20 + n, *range(500)))

    with pytest.raises(StoreCorrupt):
        goes_on()
    assert not device.path.exists()
    assert device.path.with_name("till.lists.db.broken").exists()
    device.boot()
    assert device.order(LIST).result == {"missing": True}


def test_the_newer_of_two_memories_counts_also_after_a_restored_backup(device):
    full(device)
    before = Kept(device.till.store).get("document:blocked")
    device.lists.keep("blocked", "{}")
    Kept(device.till.store).put("document:blocked", before)  # an older till.db came back
    Kept(device.till.store).put("order:cmd", "2 ab")
    device.boot()
    assert device.lists.document("blocked") == "{}"
    assert device.order(command(8, RemoteStop(session_id="S1"))).error.code == "order.old"


def test_another_back_office_counts_anew_and_one_that_changes_its_key_goes_on(device, tmp_path):
    full(device)
    second, third = load_or_make(tmp_path / "2.key"), load_or_make(tmp_path / "3.key")
    device.boot(device.key, second)
    assert device.order(command(8), key=second).error.code == "order.old"
    device.boot(second)
    assert device.order(command(7), key=second).error.code == "order.old"
    assert device.lists.find(card(1)) is not None
    device.boot(third)
    assert device.lists.find(card(1)) is None
    assert device.lists.document("blocked") == '{"E1":"works"}'
    assert device.order(command(1), key=third).ok
    assert device.order(command(9), key=device.key) is None, "nobody obeys the old one any more"


@pytest.mark.parametrize("wanted", [((token(2),), None), ((), "A-2")])
def test_who_is_erased_is_in_no_list_and_does_not_come_back_with_what_is_on_its_way(device, wanted):
    lists = device.lists
    device.order(listed(5, 1, 2, 3))
    device.order(for_all(6, MemberChanges(base=5, put=members(2, blocked=True)), "members"))
    device.order(for_all(9, MemberPart(part=1, parts=2, members=members(1)), "members"))
    assert lists.erase(*wanted) == 1
    assert lists.erase(*wanted) == 0
    raw = b"".join(f.read_bytes() for f in device.path.parent.glob("till.lists.db*"))
    assert token(2).encode() not in raw
    assert b"A-2" not in raw
    assert lists.find(card(2)) is None
    assert lists.find(card(3)).account == "A-3"
    device.order(for_all(9, MemberPart(part=2, parts=2, members=members(2, 3)), "members"))
    assert lists.in_force() == 9
    assert lists.find(card(2)) is None
    device.order(listed(12, 2))
    assert lists.find(card(2)).account == "A-2", "who becomes a member again is one"


def test_somebody_is_erased_while_lists_come_in(device):
    """From the thread of the orders and from another one, on one connection."""

    def load():
        for version in range(1, 60):
            device.lists.load(version, MemberPart(part=1, parts=1, members=members(1, 2)))

    with ThreadPoolExecutor(1) as other:
        loading = other.submit(load)
        while not loading.done():
            device.lists.erase((token(7),), None)
        loading.result()
    assert device.lists.in_force() == 59


def test_a_list_that_broke_and_lies_aside_goes_with_the_first_who_is_erased(device):
    full(device)
    device.lists.close()
    torn(device.path)
    device.downlink = None
    device.boot()
    aside = device.path.with_name("till.lists.db.broken")
    assert aside.exists()
    device.lists.erase((token(2),), None)
    assert not aside.exists()
