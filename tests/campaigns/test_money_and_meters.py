"""Bank cards at an acquirer, and meters that sign, through power cuts and lost replies: the books agree afterwards."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from hw.virtual.acquirer_host import Fault
from hw.virtual.meter import Fault as MeterFault


@pytest.mark.parametrize("kind", ["lost_request", "lost_reply", "late_reply", "duplicate_reply", "silent"])
def test_a_bank_card_is_captured_once_whatever_becomes_of_the_answer(staged, kind):
    async def story(stage):
        await stage.charges(tap=stage.tap_bank_card)
        stage.site.acquirer.host.script(Fault(kind, on="0220", seconds=30))
        stage.site.unplug(0)
        await stage.until(lambda: not stage.site.holds(), "the hold stays")

    trial = staged(story, pays="acquirer")
    books = trial.site.acquirer.host.books
    assert trial.invoices == 1
    assert [entry.what for entry in books.entries] == ["hold", "capture"]


@pytest.mark.parametrize("point", ["iso8583 0100", "iso8583 reply", "commit payment.noted", "iso8583 0220"])
def test_a_till_that_dies_while_it_talks_to_the_acquirer_knows_of_every_hold(staged, point):
    from parts.till_points import Fuse

    async def story(stage):
        await stage.until(lambda: stage.controller and stage.panel.kind == "idle", "it does not get ready")
        stage.life.fuse = Fuse(points={point: 1})
        with contextlib.suppress(AssertionError):  # it dies before the hold is there: the driver is told so
            await stage.charges(tap=stage.tap_bank_card)
        stage.site.unplug(0)
        await stage.until(lambda: stage.trial.lives == 2, "it does not die", within_s=60)
        await stage.until(lambda: not stage.site.holds(), "the hold stays", within_s=600)

    trial = staged(story, pays="acquirer")
    assert trial.lives == 2


@pytest.mark.parametrize("model", ["em580", "wm3m4", "bsm"])
@pytest.mark.parametrize("power", ["of the meter", "of the site"])
def test_a_power_cut_in_the_middle_of_a_signed_session_leaves_one_invoice(staged, model, power):
    async def story(stage):
        await stage.charges()
        if power == "of the site":
            stage.trial.next_death = "power of the site"
            stage.life.kill("power cut")
            await stage.until(lambda: stage.trial.lives == 2, "it does not come up")
        else:
            meter = stage.site.stands[0].meter
            meter.cut_power()
            meter.fail(MeterFault.SILENT)
            await asyncio.sleep(5)
            meter.fail(None)
        await asyncio.sleep(60)
        stage.site.unplug(0)

    assert staged(story, meters=(model,)).invoices == 1
