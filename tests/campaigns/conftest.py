"""The whole till in virtual time, as the campaign runs it (scripts/campaigns/till.py)."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import pytest

from edge.domain.view import View

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "campaigns"))


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Stage:
    """A calm trial, with a story told by a test: nothing fails that the test does not break."""

    def __init__(self, trial):
        self.trial = trial
        self.site = trial.site
        self.shown = []

    @property
    def life(self):
        return self.trial.life

    @property
    def controller(self):
        return self.trial.controller(0)

    @property
    def panel(self):
        """What the screen shows, whoever draws it."""
        panel = next(iter(self.life.till._board._panels.values()), None)
        return View(evse_id="E1", label="1", kind="starting_up") if panel is None else panel.view

    async def until(self, true, what, *, within_s=300):
        for _ in range(within_s * 2):
            if true():
                return
            await asyncio.sleep(0.5)
        raise AssertionError(f"{what}: {self.panel.kind} {self.panel.reason} {self.site.problems}")

    def tap_bank_card(self, name="visa"):
        """A bank card is held to the reader, and stays there."""
        from parts.till_acquirer import CardInField

        card = CardInField(self.site.acquirer.bank.card(name), self.life.step)
        self.site.tap_bank_card(card.uid, card)

    async def tidies(self):
        """The till prunes what it may."""
        await self.life.till._books.keeper._tidy()

    async def charges(self, *, gained_wh=20, tap=None):
        """A member taps, or who `tap` says, plugs in, and takes some energy."""
        await self.until(lambda: self.controller and self.panel.kind == "idle", "it does not get ready")
        if tap is None:
            self.site.tap(0)
        else:
            tap()
        await self.until(lambda: self.panel.kind == "plug_in", "the card is not accepted")
        self.site.plug(0, current_a=16, wants_wh=None)
        outlet = self.site.stands[0].outlet
        before = outlet.energy_wh()
        await self.until(lambda: outlet.energy_wh() >= before + gained_wh, "no energy")


@pytest.fixture
def staged(tmp_path):
    """`staged(story)` plays the coroutine `story(stage)`, lets all come to rest, and compares the books."""
    from parts.till_life import CampaignLoop
    from parts.till_site import Layout
    from parts.till_trial import Trial

    def play(story, *, seed=1, **layout):
        async def go():
            trial = Trial(seed, tmp_path, calm=True, layout=Layout(**layout))
            try:
                await trial.play(story(Stage(trial)))
                (trial.invoices,) = trial.site.books.db.execute("SELECT count(*) FROM invoice").fetchone()
            finally:
                await trial.site.close()
            assert trial.site.problems == []
            return trial

        with asyncio.Runner(loop_factory=CampaignLoop) as runner:
            return runner.run(go())

    return play
