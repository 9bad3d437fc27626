"""I2 on both sides, whatever breaks: `scripts/faults payments` runs the same thousands of times more."""

from __future__ import annotations

import pytest

from edge.domain.terminal import OpenReceipts

from .conftest import campaign

#: Seeds of one test: enough to meet each fault and every kind of crash several times, little enough for every commit.
BATCH = 25


@pytest.mark.parametrize("batch", range(8))
def test_the_terminals_books_equal_our_answers_after_any_trouble(batch):
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        trial, _ = campaign.run(seed)
        assert trial.problems == (), f"seed {seed}"


@pytest.mark.parametrize("seed", [1, 4])
def test_the_till_may_die_at_any_step(seed):
    calm, steps = campaign.run(seed, crash_at=(), calm=True)
    assert calm.problems == ()
    assert steps > 50
    for step in range(1, steps + 1):
        trial, _ = campaign.run(seed, crash_at=(step,), calm=True)
        assert trial.problems == (), f"step {step}"
        assert trial.crashes == 1


def test_a_campaign_that_finds_nothing_could_find_something(monkeypatch):
    monkeypatch.setattr("edge.payments.desk.holds.Holds.settled", _always)
    monkeypatch.setattr("hw.terminals.zvt.driver.ZvtTerminal._open_receipts", _nothing)
    assert any(campaign.run(seed)[0].problems for seed in range(7_000_000, 7_000_005))


async def _always(_holds) -> bool:
    return True


async def _nothing(driver):
    driver._reconciled = True
    return OpenReceipts(numbers=(), complete=True)
