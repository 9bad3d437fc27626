"""The whole till on a computer that wakes up without the time, with a price that needs it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from edge.domain.ledger.boots import Boots
from edge.domain.ledger.envelope import open_envelope, read_fact
from tests.campaigns.conftest import Stage

NIGHT = {"start_time": "22:00", "end_time": "06:00"}


def with_fallback(folder):
    """The place's own tariff stands in for one that costs less at night."""
    plain = json.loads((folder / "tariff.json").read_text())
    (folder / "any_time.json").write_text(json.dumps(plain))
    (component,) = plain["elements"][0]["price_components"]
    cheap = {"price_components": [{**component, "price": 0.1}], "restrictions": NIGHT}
    (folder / "tariff.json").write_text(json.dumps({**plain, "elements": [cheap, *plain["elements"]]}))
    config = folder / "config.toml"
    config.write_text(
        config.read_text().replace(
            'file = "tariff.json"', 'file = "tariff.json"\nfallback_file = "any_time.json"'
        )
    )


@pytest.mark.parametrize("off_by", [timedelta(days=-9_000), timedelta(hours=9)])
def test_a_driver_charges_at_the_fallback_price_and_every_time_is_known_in_the_end(tmp_path, off_by):
    from parts.till_life import CampaignLoop
    from parts.till_site import ORIGIN
    from parts.till_trial import Trial

    async def story(stage):
        await stage.until(lambda: stage.controller and stage.panel.kind == "idle", "it does not get ready")
        assert stage.panel.fallback
        await stage.charges()
        assert not stage.site.clock.trusted()
        await stage.until(stage.site.clock.trusted, "nobody sets the clock", within_s=900)
        assert stage.panel.fallback, "the session keeps the price that it began with"
        stage.site.unplug(0)
        await stage.until(lambda: stage.panel.kind == "idle", "it does not get free")
        assert not stage.panel.fallback

    async def go():
        trial = Trial(1, tmp_path, calm=True)
        with_fallback(tmp_path)
        trial.site.boot(skew=off_by, trusted_s=600)
        began = ORIGIN + timedelta(microseconds=trial.site.clock._booted_ns // 1000)
        try:
            await trial.play(story(Stage(trial)))
            books = trial.site.books.db
            raws = [bytes(r) for (r,) in books.execute("SELECT raw FROM entry ORDER BY seq")]
            (invoice,) = (json.loads(d) for (d,) in books.execute("SELECT document FROM invoice"))
        finally:
            await trial.site.close()
        assert trial.site.problems == []
        return began, raws, invoice["draft"]

    with asyncio.Runner(loop_factory=CampaignLoop) as runner:
        began, raws, draft = runner.run(go())
    assert (draft["dated"], draft["tariff"]["fallback"]) == (True, True)
    boots, envelopes = Boots(), [open_envelope(raw) for raw in raws]
    for envelope in envelopes:
        boots.add(envelope, read_fact(envelope))
    for envelope in envelopes:
        true = began + timedelta(microseconds=int(envelope.monotonicns) // 1000)
        written = boots.written(envelope)
        assert written.not_before == written.not_after
        assert abs(written.not_before - true) < timedelta(milliseconds=1)
    assert abs(envelopes[0].time - began) > timedelta(hours=8), "and it shows what the wall clock showed"
