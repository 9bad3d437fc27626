"""A minute's worth of the campaign, and the proof that it notices what it is there for."""

from __future__ import annotations

import pytest

#: For each protection a trial that breaks a promise without it; edge/README.md has the table.
WITHOUT = {"intent": 1000005}

#: Some of the trials that a change has broken before, or that are good at breaking things.
TRIALS = range(2_000_000, 2_000_024)


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
