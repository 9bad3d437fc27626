"""Money that goes back and contacts that weld, in the whole till: the books agree, and the comparison would notice."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest

from edge.domain import refund as refunds
from edge.runtime.credits import Refunds
from edge.store.connection import open_reader
from hw.virtual.acquirer_host import Fault


async def sold(stage, tap=None):
    """A session, paid; the number of its invoice, which the back office has."""
    await stage.charges(tap=tap)
    stage.site.unplug(0)
    await stage.until(lambda: stage.panel.kind == "paid", "nothing is paid")
    numbers = stage.site.books.db
    await stage.until(lambda: numbers.execute("SELECT 1 FROM invoice").fetchone(), "the invoice stays away")
    return numbers.execute("SELECT number FROM invoice").fetchone()[0]


async def taken_back(stage, number):
    await stage.life.till._credits.ordered({"number": number, "reason": "taken back"})


def refund(trial):
    with closing(open_reader(trial.site.folder / "books.db")) as db:
        (row,) = db.execute("SELECT status, amount_minor FROM refund").fetchall()
    return row


@pytest.mark.parametrize("kind", ["lost_request", "lost_reply", "late_reply", "duplicate_reply", "silent"])
def test_money_goes_back_once_whatever_becomes_of_the_answer(staged, kind):
    async def story(stage):
        number = await sold(stage, stage.tap_bank_card)
        stage.site.acquirer.host.script(Fault(kind, on="0200", seconds=30))
        await taken_back(stage, number)

    trial = staged(story, pays="acquirer")
    status, amount_minor = refund(trial)
    assert (status, trial.site.acquirer.host.books.refunded_minor) == ("refunded", amount_minor)


@pytest.mark.parametrize(
    "point", ["commit refund.requested", "iso8583 0200", "iso8583 reply", "commit refund.done"]
)
def test_a_till_that_dies_while_it_gives_money_back_gives_it_back_once(staged, point):
    from parts.till_points import Fuse

    async def story(stage):
        number = await sold(stage, stage.tap_bank_card)
        stage.life.fuse = Fuse(points={point: 1})
        stage.life.start(taken_back(stage, number))
        await stage.until(lambda: stage.trial.lives == 2, "it does not die")

    trial = staged(story, pays="acquirer")
    status, amount_minor = refund(trial)
    assert (status, trial.site.acquirer.host.books.refunded_minor) == ("refunded", amount_minor)


def test_a_refund_that_nobody_was_asked_for_is_noticed(staged, monkeypatch):
    async def lies(_self, refund, **_):
        return refunds.answered(
            refund,
            refunds.Refunded(
                ref=refund.payment_ref, refund_ref=refund.refund_ref, amount_minor=refund.amount_minor
            ),
        )

    monkeypatch.setattr(Refunds, "_tried", lies)

    async def story(stage):
        await taken_back(stage, await sold(stage, stage.tap_bank_card))

    with pytest.raises(AssertionError, match=r"I2: payment .*: the acquirer gave back 0"):
        staged(story, pays="acquirer")


async def welded_in_a_session(stage):
    """The driver ends it with the card, and the car draws on."""
    await stage.charges()
    stage.site.weld(stage.site.stands[0])
    stage.site.tap(0)
    await stage.until(lambda: stage.panel.kind == "out_of_order", "nobody notices that the car draws on")
    assert stage.panel.reason == "contactor_welded"


def test_behind_a_welded_contactor_nothing_is_sold_until_the_operator_says_so(staged):
    async def story(stage):
        await welded_in_a_session(stage)
        stage.life.kill("power cut")
        await stage.until(lambda: stage.trial.lives == 2 and stage.controller, "it does not come up")
        for card in (0, 1):
            stage.site.tap(card)
            await asyncio.sleep(20)
            assert stage.panel.kind == "out_of_order", "also after a restart"
        stage.site.replace_contactor(stage.site.stands[0])
        stage.site.unplug(0)
        await stage.until(
            lambda: stage.panel.kind == "idle", "the operator's word does not count", within_s=900
        )
        await stage.charges()

    assert staged(story).invoices == 2


def test_what_is_sold_behind_a_welded_contactor_is_noticed(staged, monkeypatch):
    async def story(stage):
        await welded_in_a_session(stage)
        monkeypatch.setattr("edge.domain.session.contactor._refused", lambda done, _at, _terms: done)
        monkeypatch.setattr("edge.domain.session.opening.out_of_order", lambda *_: None)
        stage.site.unplug(0)
        await asyncio.sleep(20)
        stage.site.tap(1)
        await asyncio.sleep(20)
        stage.site.replace_contactor(stage.site.stands[0])

    with pytest.raises(AssertionError, match=r"I1: session .* begins behind a welded contactor"):
        staged(story)
