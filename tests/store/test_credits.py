"""Taking an invoice back: one commit, its own series without gaps, never twice, and the money follows once."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime

import msgspec
import pytest
from msgspec.structs import replace

from edge.domain.buyer import Buyer, BuyerRecord
from edge.domain.credit import CreditRefused
from edge.domain.instant import Instant
from edge.domain.ledger.checks import Checker
from edge.domain.ledger.facts import LedgerRolledBack
from edge.domain.payment import Declined, InDoubt, Refunded
from edge.errors import HardwareError
from edge.runtime.credits import CreditDesk, Refunds, TimeUnknown, credit
from edge.store.credits import CreditOrder, InvoiceUnknown, take_back
from edge.store.reading import Reading
from edge.sync.contract.orders import Credit

ACME = BuyerRecord(
    buyer=Buyer(name="Acme GmbH", address="Hof 2, 20095 Hamburg", country="DE", vat_id="DE222222222"),
    salt="ab" * 16,
)


class Clock:
    def __init__(self, till, *, trusted=True):
        self._till, self._trusted = till, trusted
        self.slept = []

    def now(self):
        return self._till.now()

    def trusted(self):
        return self._trusted

    async def sleep(self, seconds):
        self.slept.append(seconds)
        await asyncio.sleep(0)


class Bank:
    """A way to pay that gives money back; `answers` are what it says, in order, then yes."""

    def __init__(self, *answers):
        self.answers = deque(answers)
        self.asked = []

    async def refund(self, ref, *, refund_ref, amount_minor, currency):
        self.asked.append((ref, refund_ref, amount_minor, currency))
        answer = self.answers.popleft() if self.answers else "yes"
        match answer:
            case "yes":
                return Refunded(ref=ref, refund_ref=refund_ref, amount_minor=amount_minor)
            case "no":
                return Declined(ref=ref, reason="refused")
            case "lost":
                return InDoubt(ref=ref, why="lost")
            case "other":
                return Refunded(ref=ref, refund_ref=refund_ref, amount_minor=amount_minor + 1)
            case _:
                raise HardwareError("not there")

    async def preauthorize(self, ref, *, amount_minor, currency, token): ...
    async def capture(self, ref, *, amount_minor, currency): ...
    async def reverse(self, ref): ...


@pytest.fixture
def sold(till):
    made = till()
    made.sell("A")
    made.sell("B")
    return made


def numbers(till):
    with Reading(till.file) as db:
        return [i.number for i in db.invoices()]


def order(till, at=0, **more):
    return CreditOrder(number=numbers(till)[at], reason="Charged by mistake", **more)


def take(till, wanted):
    return till.commit(lambda tx: take_back(tx, wanted, till.now()))


def payable(till, at=0):
    with Reading(till.file) as db:
        return list(db.invoices())[at].draft.figures.payable_minor


def test_a_credit_note_has_the_next_number_of_its_own_series(sold):
    first = take(sold, order(sold)).credit_note
    second = take(sold, order(sold, 1)).credit_note
    epoch = sold.store.head.epoch
    assert (first.number, second.number) == (f"CT-CN-{epoch}-000001", f"CT-CN-{epoch}-000002")
    assert first.draft.figures == replace(first.draft.figures, payable_minor=payable(sold))
    assert (first.corrects.full, first.corrects.whole) == (True, True)
    sold.sell("C")
    assert numbers(sold)[-1].endswith("-000003"), "the series of invoices knows nothing of credit notes"
    assert sold.verified().problems == ()


def test_what_is_gone_cannot_be_taken_back_again(sold):
    take(sold, order(sold, amount="0.10"))
    with pytest.raises(CreditRefused, match="at most"):
        take(sold, order(sold, amount="999.00"))
    rest = take(sold, order(sold)).credit_note
    assert rest.draft.figures.payable_minor == payable(sold) - 10
    for amount in (None, "0.01"):
        with pytest.raises(CreditRefused, match="nothing is left"):
            take(sold, order(sold, amount=amount))
    with pytest.raises(CreditRefused, match="credit note itself"):
        take(sold, CreditOrder(number=rest.number, reason="again"))
    with pytest.raises(InvoiceUnknown):
        take(sold, CreditOrder(number="CT-NOWHERE-000001", reason="again"))
    sold.restart()
    with pytest.raises(CreditRefused):
        take(sold, order(sold))
    assert sold.verified().problems == ()
    with Reading(sold.file) as db:
        assert [n.draft.figures.payable_minor for n in db.credits_of(numbers(sold)[0])] == [
            10, payable(sold) - 10]  # fmt: skip
        stats = db.stats()
    assert (stats["invoices"], stats["credit_notes"]) == (2, 2)
    assert stats["totals"][0]["payable_minor"] == payable(sold, 1)


def test_a_failure_at_any_step_of_the_commit_leaves_nothing(sold):
    class Broken(Exception):
        pass

    before = sold.store.head
    for step in range(1, 5):

        def dies(tx, step=step):
            append, left = tx.append, [step]

            def counted(*given):
                left[0] -= 1
                if not left[0]:
                    raise Broken
                return append(*given)

            tx.append = counted
            take_back(tx, order(sold), sold.now())
            raise Broken

        with pytest.raises(Broken):
            sold.commit(dies)
    assert sold.store.head == before
    assert take(sold, order(sold)).credit_note.sequence == 1, "no number was lost"
    assert sold.verified().problems == ()


def test_a_new_invoice_takes_the_place_of_one_that_is_taken_back_whole(sold):
    done = take(sold, order(sold, reissue=True, buyer=ACME))
    assert done.refund is None, "the money stays"
    assert done.invoice.replaces == numbers(sold)[0]
    assert done.invoice.draft.buyer == ACME.commitment
    with Reading(sold.file) as db:
        assert db.buyer(done.invoice.draft.buyer) == ACME.buyer
        assert db.buyer(None) is None
        raw = b"".join(e.raw for e in db.entries())
    assert b"Acme" not in raw, "the buyer stands beside the chain (I6)"
    assert b"DE222222222" not in raw
    again = take(sold, CreditOrder(number=done.invoice.number, reason="and back"))
    assert again.credit_note.corrects.replaces == numbers(sold)[0]
    assert sold.verified().problems == ()
    with pytest.raises(CreditRefused, match="whole invoice"):
        take(sold, order(sold, 1, reissue=True, amount="0.10"))
    take(sold, order(sold, 1, amount="0.10"))
    with pytest.raises(CreditRefused, match="whole invoice"):
        take(sold, order(sold, 1, reissue=True))


def test_numbers_begin_anew_with_each_year_of_issue(till):
    till = till(prefix="CT-{year}")
    till.sell("A")
    old = numbers(till)[0]
    boot = till.now()
    turn = datetime(2026, 12, 31, 23, 0, tzinfo=UTC)  # midnight in Berlin
    for utc in (turn.replace(hour=22, minute=59, second=59), turn):
        at = Instant(utc=utc, boot_id=boot.boot_id, monotonic_ns=boot.monotonic_ns)
        till.commit(lambda tx, at=at: take_back(tx, CreditOrder(number=old, reason="r", amount="0.01"), at))
    epoch = till.store.head.epoch
    assert numbers(till) == [
        f"CT-2026-{epoch}-000001", f"CT-2026-CN-{epoch}-000001", f"CT-2027-CN-{epoch}-000001"]  # fmt: skip
    assert till.verified().problems == ()


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        (["yes"], "refunded"),
        (["no"], "declined"),
        (["lost", "gone", "lost", "yes"], "refunded"),
        (["other"], "due"),
    ],
)
def test_the_money_goes_back_once_and_every_refund_ends(sold, answers, status):
    bank = Bank(*answers)
    clock = Clock(sold)

    async def story():
        refunds = Refunds(sold.store, {"account": bank}, clock)
        desk = CreditDesk(sold.store, clock, refunds)
        told = await desk.ordered({"number": numbers(sold)[0], "reason": "Charged by mistake"})
        assert told["refund"] == "requested"
        task = asyncio.create_task(refunds.run())
        async with asyncio.timeout(60):
            while refund_states(sold) != [status]:  # noqa: ASYNC110  (the state is in the database)
                await asyncio.sleep(0.01)
        task.cancel()
        return told

    told = asyncio.run(story())
    assert {(ref, amount) for _, ref, amount, _ in bank.asked} == {(told["credit_note"], payable(sold))}
    assert len(bank.asked) == len(answers), "the same request until it is answered, then never again"
    assert sold.verified().problems == ()


def refund_states(till):
    with Reading(till.file) as db:
        return [r["status"] for r in db.refunds()]


def test_after_a_restart_an_open_refund_is_asked_for_again_under_its_reference(sold):
    take(sold, order(sold))
    clock = Clock(sold)
    first, second = Bank("lost"), Bank()
    assert asyncio.run(Refunds(sold.store, {"account": first}, clock).settle(final=True)) == 1
    sold.restart()
    assert asyncio.run(Refunds(sold.store, {"account": second}, clock).settle(final=True)) == 0
    assert first.asked == second.asked
    assert refund_states(sold) == ["refunded"]


def test_a_way_to_pay_that_gives_nothing_back_leaves_it_to_the_operator(sold):
    take(sold, order(sold))
    clock = Clock(sold)
    assert asyncio.run(Refunds(sold.store, {}, clock).settle(final=False)) == 1, "its device may come back"
    assert asyncio.run(Refunds(sold.store, {}, clock).settle(final=True)) == 0
    assert refund_states(sold) == ["due"]

    class NoRefunds:
        async def preauthorize(self): ...
        async def capture(self): ...
        async def reverse(self): ...

    take(sold, order(sold, 1))
    asyncio.run(Refunds(sold.store, {"account": NoRefunds()}, clock).settle(final=True))
    assert refund_states(sold) == ["due", "due"]
    assert sold.verified().problems == ()


def test_without_a_trusted_time_nothing_is_dated(sold):
    with pytest.raises(TimeUnknown):
        asyncio.run(credit(sold.store, Clock(sold, trusted=False), order(sold)))


def test_the_back_office_orders_what_is_left(sold):
    clock = Clock(sold)
    desk = CreditDesk(sold.store, clock, Refunds(sold.store, {}, clock))
    body = Credit(invoice_number=numbers(sold)[0], reason="Card 5413330089600044 was charged")
    told = asyncio.run(desk.from_office(body))
    assert told["full"]
    with Reading(sold.file) as db:
        [note] = db.credits_of(numbers(sold)[0])
    assert "5413330089600044" not in note.corrects.reason


def test_a_ledger_with_a_forged_credit_note_is_found_out(sold):
    note = take(sold, order(sold, amount="0.10")).credit_note
    forged = replace(note, draft=replace(note.draft, figures=replace(note.draft.figures, payable_minor=11)))
    with Reading(sold.file) as db:
        documents = [(n, msgspec.json.encode(forged) if n == note.number else d) for n, d in db.documents()]
        checker = Checker()
        for entry in db.entries():
            checker.add(entry)
    checker.copies(documents)
    assert any("is not as the journal sealed it" in p for p in checker.report().problems)


def test_credits_beyond_an_invoice_are_found_in_the_chain(sold):
    """Somebody with the key writes a credit note for more than is left."""
    note = take(sold, order(sold)).credit_note
    corrects = replace(note.corrects, whole=True)
    sold.commit(lambda tx: (tx.seal_credit(note.draft, corrects, sold.now()), tx.sign(sold.now())))
    assert any("takes back too much" in p for p in sold.verified().problems)


def test_a_ledger_that_was_rolled_back_draws_no_numbers(sold):
    held = sold.store.head
    found = LedgerRolledBack(
        epoch=held.epoch, reason="ahead", held=held.seq, acknowledged=99_999, head="0" * 64
    )
    sold.store.roll_back(found, sold.now()).result(60)
    with pytest.raises(CreditRefused, match="closed"):
        take(sold, order(sold))
    sold.store.open_epoch("new_epoch", sold.now()).result(60)
    note = take(sold, order(sold)).credit_note
    assert note.series.endswith(sold.store.head.epoch)
    assert note.sequence == 1
    assert sold.verified().problems == ()
