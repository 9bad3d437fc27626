"""What keeps the ledger within its bounds while the till runs, and what people order of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from edge.domain.ledger import facts
from edge.runtime.keeper import DecommissionOrder, Keeper, NotAcknowledged, RefundsOpen, Rules, SessionsOpen
from edge.store.privacy import Erasure
from edge.store.pruning import Retention
from edge.store.store import Owner
from tests.store.conftest import Till

OWNER = Owner(site="s", device="d")


class Shop:
    """The rest of the till."""

    def __init__(self, *, sends=True):
        self.sessions = ()
        self.reasons = []
        self.forgotten = []
        self._sends = sends

    def open_sessions(self):
        return self.sessions

    def pause(self, reason):
        self.reasons.append(reason)

    async def end_sessions(self):
        self.ended = True
        self.sessions = ()

    def sends(self):
        return self._sends

    def forget(self, erased):
        self.forgotten.append(erased)

    def forget_members(self, tokens, account):
        self.members = (tokens, account)
        return len(tokens)


class Clock:
    def __init__(self, till):
        self.till = till
        self.ahead = timedelta(0)
        self.right = True

    def now(self):
        at = self.till.now()
        return type(at)(utc=at.utc + self.ahead, boot_id=at.boot_id, monotonic_ns=at.monotonic_ns)

    def trusted(self):
        return self.right

    async def sleep(self, seconds):
        await asyncio.sleep(0.01)


@pytest.fixture
def world(tmp_path):
    till = Till(tmp_path)
    for card in "ABA":
        till.sell(card)
    shop, clock = Shop(), Clock(till)
    rules = Rules(retention=Retention(keep_days=10, entries_max=1000), documents_days=100, token_days=30)
    yield till, shop, clock, Keeper(till.store, clock, rules, OWNER, shop)
    till.store.close()


def tokens(till):
    return till.store._connection.execute("SELECT COUNT(*) FROM personal").fetchone()[0]


def test_time_alone_makes_entries_tokens_and_documents_go(world):
    till, _, clock, keeper = world
    till.acknowledge()

    async def story():
        assert await keeper.prune() == 0
        clock.ahead = timedelta(days=11)
        assert await keeper.prune() > 0
        assert (await keeper.expire(), tokens(till)) == (0, 3)
        clock.ahead = timedelta(days=31)
        assert (await keeper.expire(), tokens(till)) == (3, 0)
        clock.ahead = timedelta(days=101)
        assert await keeper.expire() > 0

    asyncio.run(story())
    assert till.verified().problems == ()
    assert len(till.charger.journal.invoices()) <= 1


def test_nothing_goes_by_a_clock_that_nobody_trusts(world):
    till, _, clock, keeper = world
    till.acknowledge(days_ago=500)
    clock.ahead, clock.right = timedelta(days=10_000), False
    rows = till.rows()

    async def story():
        running = asyncio.ensure_future(keeper.run())
        await asyncio.sleep(0.2)
        running.cancel()

    asyncio.run(story())
    assert (till.rows(), tokens(till)) == (rows, 3)


def test_a_broken_ledger_is_complained_about_once_and_the_rest_goes_on(world, caplog):
    till, _, _, keeper = world
    till.acknowledge(days_ago=500)
    till.commit(lambda tx: tx.connection.execute("UPDATE entry SET hash = ? WHERE seq = 4", ("0" * 64,)))

    async def story():
        running = asyncio.ensure_future(keeper.run())
        await asyncio.sleep(0.5)
        running.cancel()

    asyncio.run(story())
    said = [r for r in caplog.records if "not_pruned" in r.getMessage()]
    assert len(said) == 1


def test_an_erasure_reaches_what_is_in_memory(world):
    till, shop, _, keeper = world
    (token,) = till.store._connection.execute("SELECT token FROM personal LIMIT 1").fetchone()
    erased = asyncio.run(keeper.erase(Erasure(token=token)))
    (forgotten,) = shop.forgotten
    assert forgotten.tokens == erased.tokens == (token,)
    assert (shop.members, erased.members) == (((token,), None), 1)


def test_a_till_with_open_sessions_is_not_decommissioned_and_sells_on(world):
    till, shop, _, keeper = world
    shop.sessions = ("s-1",)
    with pytest.raises(SessionsOpen, match="s-1"):
        asyncio.run(keeper.decommission(DecommissionOrder(reason="r", within_s=0)))
    assert shop.reasons == ["decommissioned", None]
    assert till.store.closed is None


def test_running_sessions_are_waited_for_or_ended(world):
    till, shop, _, keeper = world
    till.acknowledge()
    shop.sessions = ("s-1",)

    async def story():
        waiting = asyncio.ensure_future(
            keeper.decommission(DecommissionOrder(reason="r", within_s=60, unacknowledged=True))
        )
        await asyncio.sleep(0.05)
        assert till.store.closed is None
        shop.sessions = ()
        while till.store.closed is None:  # noqa: ASYNC110  (the store says it to nobody)
            await asyncio.sleep(0.02)
        waiting.cancel()

    asyncio.run(story())
    assert not hasattr(shop, "ended")


def test_sessions_are_ended_when_that_is_asked_for(world):
    _, shop, _, keeper = world
    shop.sessions = ("s-1",)
    order = DecommissionOrder(reason="r", within_s=0, stop_sessions=True, unacknowledged=True)
    done = asyncio.run(keeper.decommission(order))
    assert (shop.ended, done["acknowledged"]) == (True, False)


REFUND = (
    "INSERT INTO refund (refund_ref, payment_ref, session_id, method, amount_minor, currency, status) "
    "VALUES ('CN-1', 'p', 's', 'card', 100, 'EUR', ?)"
)


def test_a_refund_on_its_way_is_named_and_one_that_is_due_is_told(world):
    till, _, _, keeper = world
    till.commit(lambda tx: tx.connection.execute(REFUND, ("requested",)))
    order = DecommissionOrder(reason="r", within_s=0, unacknowledged=True)
    with pytest.raises(RefundsOpen, match="CN-1"):
        asyncio.run(keeper.decommission(order))
    assert till.store.closed is None
    till.commit(lambda tx: tx.connection.execute("UPDATE refund SET status = 'due'"))
    assert asyncio.run(keeper.decommission(order))["refunds_due"] == ["CN-1"]


def test_what_a_terminal_has_not_handed_in_is_told(world):
    till, _, _, keeper = world
    order = DecommissionOrder(reason="r", within_s=0, unacknowledged=True)

    def pays(tx):
        tx.connection.execute("UPDATE payment SET method = 'terminal'")
        (ends,) = tx.connection.execute("SELECT MIN(ended_at) FROM session").fetchone()
        tx.connection.execute("INSERT INTO terminal_day (terminal, ended_at) VALUES (0, ?)", (ends,))

    till.commit(pays)
    assert asyncio.run(keeper.decommission(order))["captures_not_handed_in"] == 2
    till.commit(lambda tx: tx.connection.execute("UPDATE terminal_day SET ended_at = '9999'"))
    assert asyncio.run(keeper.decommission(order))["captures_not_handed_in"] == 0


def test_the_last_word_is_said_once_however_often_it_is_asked_for(world):
    till, _, _, keeper = world
    order = DecommissionOrder(reason="r", within_s=0, unacknowledged=True)
    first = asyncio.run(keeper.decommission(order))
    till.commit(lambda tx: tx.append(facts.DeviceStopped(reason="asked"), till.now()))
    assert asyncio.run(keeper.decommission(order))["acknowledged"] is False
    till.acknowledge(upto=first["entries"])  # what a till says when it stops is not waited for
    assert asyncio.run(keeper.decommission(order))["acknowledged"] is True
    kinds = [e.type for e in till.export()[1]]
    assert kinds.count(facts.DeviceDecommissioned.TYPE) == 1


def test_decommissioning_waits_for_the_back_office_up_to_its_deadline(world):
    till, _, _, keeper = world
    with pytest.raises(NotAcknowledged):
        asyncio.run(keeper.decommission(DecommissionOrder(reason="r", within_s=0.05)))
    assert till.store.closed is None

    async def story():
        waiting = asyncio.ensure_future(keeper.decommission(DecommissionOrder(reason="r", within_s=60)))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(till.acknowledge)
        while till.store.closed is None:  # noqa: ASYNC110  (the store says it to nobody)
            await asyncio.sleep(0.02)
        await asyncio.to_thread(till.acknowledge)
        return await waiting

    done = asyncio.run(story())
    assert done["acknowledged"] is True
    assert till.store.closed == "decommissioned"
    kinds = [e.type for e in till.export()[1]]
    assert kinds[-2:] == [facts.DeviceDecommissioned.TYPE, facts.LedgerCheckpoint.TYPE]


def test_what_was_rolled_back_is_written_down_without_waiting(world):
    till, _, _, keeper = world
    head = till.store.head
    found = facts.LedgerRolledBack(
        epoch=head.epoch, reason="ahead", held=head.seq, acknowledged=head.seq + 1, head="ab" * 32
    )
    keeper.rolled_back(found)
    till.commit(lambda _tx: None)
    assert till.store.closed == "ledger_rolled_back"
    asyncio.run(keeper.handlers()["ledger.new_epoch"]({}))
    assert till.store.closed is None
    assert till.verified().problems == ()
