"""Whatever the wall clock does, energy, durations and their order come from the meter and from monotonic time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.domain.instant import Instant
from edge.domain.ledger import facts

#: Jumps in seconds: leap seconds, the nights in which summer time begins and ends, hours, years; to both sides.
JUMPS = st.sampled_from((1, 59, 3_600, 7_200, 86_400, 400 * 86_400, 9_000 * 86_400)).flatmap(
    lambda seconds: st.sampled_from((seconds, -seconds))
)


def stepped(till, seconds):
    """From now on the wall clock shows another time; nobody tells the till."""
    now = till.now

    def shifted():
        at = now()
        return Instant(
            utc=at.utc + timedelta(seconds=seconds), boot_id=at.boot_id, monotonic_ns=at.monotonic_ns
        )

    till.now = shifted


def charged(charger, jumps, *, tariff="flat and energy"):
    """A session of four parts of 300 s; the clock jumps between them."""
    till = charger(tariff)
    till.tap()
    till.deliver()
    till.plug()
    till.deliver()
    for jump in (*jumps, *(0,) * (4 - len(jumps))):
        till.wait(300)
        stepped(till, jump)
    till.pilot_to("A")
    till.deliver()
    till.deliver()
    return till


@given(jumps=st.lists(JUMPS, max_size=4))
@settings(max_examples=40, deadline=None)
def test_jumps_change_neither_energy_nor_durations_nor_order(charger, jumps):
    plain, till = charged(charger, ()), charged(charger, jumps)
    for fact in (facts.EnergyBegan, facts.EnergyEnded, facts.SessionSettled):
        (before,), (after,) = plain.journal.facts(fact), till.journal.facts(fact)
        for name in ("register_wh", "energy_wh", "ended_at", "began_at", "payable_minor", "accrual", "bill"):
            assert getattr(after, name, None) == getattr(before, name, None)
    numbers = [(e.epoch, e.seq) for e in till.journal.entries()]
    assert numbers == sorted(numbers)
    assert till.verified().problems == ()


@pytest.mark.parametrize("years", [-20, -2, 2, 20])
def test_a_clock_that_was_set_by_years_while_the_till_was_off_ends_the_session_at_its_register(
    charger, years
):
    till = charger()
    till.tap()
    till.deliver()
    till.plug()
    till.deliver()
    till.wait(300)
    till.crash(off_s=20, new_boot=True)
    stepped(till, years * 365 * 86_400)
    till.crash(off_s=20, new_boot=True)
    till.devices_answer()
    till.rest()
    (ended,) = till.journal.facts(facts.EnergyEnded)
    assert ended.energy_wh == till.delivered_mwh // 1000
    assert len(till.journal.invoices()) == 1
