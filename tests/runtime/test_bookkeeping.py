"""The till's books as the rest of the till sees them: whether it may sell, and what is forgotten."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from edge import inventory
from edge.bookkeeping import Bookkeeping, SessionUnknown
from edge.domain.identity import IdToken
from edge.domain.session.state import EvseState, Finished, LastSession
from edge.store.keys import load_or_make
from edge.store.privacy import Erased, ErasureUnclear
from edge.store.store import Owner, Store
from edge.sync.contract.orders import Erase
from edge.sync.uplink import RolledBack


@pytest.fixture
def books(place):
    config = inventory.load(place.config)
    clock = inventory.make_clock(config)
    owner = Owner(site=config.device.site, device=config.device.name)
    opened = []

    def make():
        for before in opened:
            before.close()
        store = Store.open(
            config.database, key=load_or_make(config.key), owner=owner, prefix="CT", now=clock.now()
        )
        opened.append(store)
        return Bookkeeping(config, store, clock), store

    yield make
    opened[-1].close()


def told(store):
    return RolledBack(
        epoch=store.head.epoch, reason="ahead", held=store.head.seq, acknowledged=99, head="ab" * 32
    )


def test_a_rolled_back_till_sells_nothing_also_after_a_restart_until_a_new_epoch(books):
    till, store = books()
    assert till.refusal() is None
    till.rolled_back(told(store))
    assert till.refusal() == "ledger_rolled_back"
    till, store = books()
    assert till.refusal() == "ledger_rolled_back"
    till.rolled_back(told(store))
    till.open(())
    asyncio.run(till.keeper.handlers()["ledger.new_epoch"]({}))
    assert till.refusal() is None


def test_news_of_an_epoch_that_is_over_stops_nobody(books):
    till, store = books()
    old = told(store)
    asyncio.run(till.keeper.handlers()["ledger.new_epoch"]({}))
    till.rolled_back(old)
    store.submit(lambda _tx: None).result(60)
    assert till.refusal() is None
    till, _ = books()
    assert till.refusal() is None


def test_who_was_erased_is_not_remembered_in_memory(books):
    till, _ = books()
    finished = Finished(
        session_id="s-1", at=inventory.SystemClock(trust="always").now(), outcome="free", reason="card"
    )
    last = LastSession(token=IdToken(kind="uid", value="t-1", key_id="k"), finished=finished)
    mine = SimpleNamespace(state=EvseState(evse_id="E1", last=last))
    other = SimpleNamespace(
        state=EvseState(
            evse_id="E2",
            last=LastSession(token=IdToken(kind="uid", value="t-2", key_id="k"), finished=finished),
        )
    )
    till.open((mine, other))
    till.forget(Erased(sessions=(), open_sessions=(), counters=0, buyers=0, tokens=("t-1",)))
    assert mine.state.last is None
    assert other.state.last is not None


def test_only_a_running_session_can_be_stopped(books):
    till, _ = books()
    till.open(())
    with pytest.raises(SessionUnknown):
        asyncio.run(till._handlers["session.stop"]({"session_id": "s-1"}))


def test_an_erasure_that_is_ordered_reaches_the_lists_and_answers_in_counts(books):
    till, _ = books()
    asked = []

    def forget(tokens, account):
        asked.append((tokens, account))
        return 3

    till.open((), forget_members=forget)
    done = asyncio.run(till.erased(Erase(account="A-1")))
    assert done == {"sessions": 0, "open_sessions": 0, "counters": 0, "buyers": 0, "members": 3}
    assert asked == [((), "A-1")]
    with pytest.raises(ErasureUnclear):
        asyncio.run(till.erased(Erase(account="A-1", token="ab" * 32)))
