"""A minute's worth of the campaign, and the proof that it notices what it is there for."""

from __future__ import annotations

import asyncio

import pytest

#: For each protection a trial that breaks a promise without it; edge/README.md has the table.
WITHOUT = {
    "fsync": 1_000_002,
    "intent": 1_000_004,
    "lease": 1_000_197,
    "quarantine": 4_000_034,
    "ack": 5_000_080,
}

#: Some trials, and those that found something: a live price above what is held; a terminal that comes back twice.
TRIALS = [*range(2_000_000, 2_000_012), 1_000_179, 1_000_185, 5_000_594]


@pytest.mark.parametrize("seed", TRIALS)
def test_no_promise_breaks(seed):
    from parts.till_trial import run

    assert run(seed).problems == ()


@pytest.mark.parametrize(("protection", "seed"), WITHOUT.items())
def test_each_protection_is_missed_by_a_trial_that_passes_with_it(protection, seed):
    from parts.till_trial import run

    assert run(seed).problems == ()
    assert run(seed, protection).problems != ()


def test_a_seed_gives_the_same_trial_again():
    from parts.till_trial import run

    assert run(2_000_001) == run(2_000_001)


@pytest.mark.parametrize("protection", [None, "quarantine"])
def test_a_gateway_that_keeps_replies_back_is_believed_only_without_the_quarantine(staged, protection):
    from parts.till_protections import without
    from parts.till_site import METER_LINE

    async def story(stage):
        await stage.charges()
        stage.site.line_faults.append((METER_LINE, "late", 1e9))
        with without(protection):
            await asyncio.sleep(900)
        stage.site.line_faults.clear()
        await asyncio.sleep(15)

    if protection is None:
        staged(story)
    else:
        with pytest.raises(AssertionError, match="I7"):
            staged(story)


@pytest.mark.parametrize("protection", [None, "ack"])
def test_a_till_that_was_cut_off_for_days_loses_entries_only_where_it_takes_silence_for_an_answer(
    staged, protection
):
    from parts.till_protections import without

    async def story(stage):
        stage.site.broker_up = False
        await stage.charges()
        stage.site.unplug(0)
        await stage.until(lambda: stage.panel.kind == "paid", "nothing is paid")
        with without(protection):
            for _ in range(2):
                stage.site.leap(2.5 * 86_400)
                await stage.tidies()
                await asyncio.sleep(5)
        stage.site.broker_up = True

    if protection is None:
        staged(story)
    else:
        with pytest.raises(AssertionError, match=r"I5|rolled back|no rest"):
            staged(story)


@pytest.mark.parametrize("protection", [None, "lease"])
def test_beside_a_till_without_power_a_car_charges_on_only_without_the_lease(staged, protection):
    from parts.till_protections import without

    async def story(stage):
        with without(protection):
            await stage.charges()
            stage.trial.next_death = "power of the till"
            stage.life.kill("power cut")
            await stage.until(lambda: stage.trial.lives == 2, "it does not come up")
        await asyncio.sleep(30)

    if protection is None:
        staged(story)
    else:
        with pytest.raises(AssertionError, match="I1"):
            staged(story)
