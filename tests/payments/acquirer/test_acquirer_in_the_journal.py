"""The link on the till's own store: numbers survive the till, and card data never gets in."""

from __future__ import annotations

import asyncio

from edge.domain.ledger import facts
from edge.domain.payment import Authorized, Captured, Declined, InDoubt, Refunded
from edge.runtime.journal import StoredPayments
from edge.store.keys import load_or_make
from edge.store.reading import Reading
from edge.store.store import Owner, Store
from hw.virtual.acquirer_host import Fault

from .conftest import PAN, TOKEN, World, card


class Till(World):
    """A world whose journal is a database in `folder`, opened anew at each restart."""

    def __init__(self, folder):
        self.folder = folder
        self.store = None
        super().__init__()

    def restart(self):
        self.close()
        self.store = Store.open(
            self.folder / "till.db",
            key=load_or_make(self.folder / "key"),
            owner=Owner(site="s", device="d"),
            prefix="CT",
            now=self.time.now(),
        )
        self.journal = StoredPayments(self.store, self.time)
        super().restart()

    def close(self):
        if self.store is not None:
            self.store.close()

    def add(self, fact):
        return self.store.submit(lambda tx: tx.append(fact, self.time.now())).result(60)

    def begin(self, ref, amount_minor=5000):
        self.add(
            facts.PaymentRequested(
                session_id="s1", payment_ref=ref, method="card", amount_minor=amount_minor, currency="EUR"
            )
        )
        self.pay.offer(ref, card())

    async def preauthorize(self, ref="r", amount_minor=5000, **_):
        return await self.pay.preauthorize(ref, amount_minor=amount_minor, currency="EUR", token=TOKEN)


def test_a_hold_is_ended_by_the_next_life_of_the_till(tmp_path):
    till = Till(tmp_path)

    async def scenario():
        till.begin("r")
        assert await till.preauthorize() == Authorized(ref="r", hold_minor=5000)
        till.add(facts.PaymentAuthorized(session_id="s1", payment_ref="r", hold_minor=5000))
        till.restart()
        assert await till.preauthorize() == Authorized(ref="r", hold_minor=5000)
        assert await till.capture(1000) == Captured(ref="r", amount_minor=1000)
        till.add(facts.CaptureRequested(session_id="s1", payment_ref="r", amount_minor=1000))
        till.restart()
        assert await till.capture(1000) == Captured(ref="r", amount_minor=1000)
        till.add(facts.PaymentCaptured(session_id="s1", payment_ref="r", amount_minor=1000))
        till.host.script(*[Fault("silent", on="0200")] * 3)
        assert await till.refund(10) == InDoubt(ref="r", why="no_answer")
        till.restart()
        assert await till.refund(10) == Refunded(ref="r", refund_ref="r1", amount_minor=10)

    asyncio.run(scenario())
    till.close()
    assert [e.what for e in till.books.entries] == ["hold", "capture", "refund"]
    with Reading(tmp_path / "till.db") as db:
        noted = [entry for entry in db.entries() if entry.type == facts.PaymentNoted.TYPE]
    assert len(noted) == 5
    for file in tmp_path.iterdir():
        data = file.read_bytes()
        for spelled in (PAN.encode(), bytes.fromhex(PAN), PAN.encode().hex().encode()):
            assert spelled not in data, file.name


def test_a_request_that_the_last_life_never_heard_of_again_is_taken_back(tmp_path):
    till = Till(tmp_path)
    till.host.script(Fault("silent"), *[Fault("silent", on="0420")] * 3)

    async def scenario():
        till.begin("r")
        assert await till.preauthorize() == InDoubt(ref="r", why="no_answer")
        till.restart()
        assert await till.preauthorize() == Declined(ref="r", reason="no_answer")

    asyncio.run(scenario())
    till.close()
    assert [h.state for h in till.books.holds()] == ["reversed"]
