"""Whatever the wall clock does, energy, durations and their order come from the meter and from monotonic time."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.pricing import rational

BERLIN = ZoneInfo("Europe/Berlin")

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


def charged(charger, jumps, *, tariff, restarts):
    """A session of four parts of 300 s; between them the clock jumps, and the process may be restarted."""
    till = charger(tariff)
    till.tap()
    till.deliver()
    till.plug()
    till.deliver()
    for part, jump in enumerate((*jumps, *(0,) * (4 - len(jumps)))):
        till.wait(300)
        stepped(till, jump)
        if part in restarts:
            till.crash(off_s=20)
            till.devices_answer()
    till.pilot_to("A")
    till.deliver()
    till.deliver()
    return till


@given(
    jumps=st.lists(JUMPS, max_size=4),
    tariff=st.sampled_from(("flat and energy", "by the hour")),
    restarts=st.sets(st.integers(0, 3), max_size=2),
)
@settings(max_examples=25, deadline=None)
def test_jumps_change_neither_energy_nor_durations_nor_order(charger, jumps, tariff, restarts):
    plain = charged(charger, (), tariff=tariff, restarts=restarts)
    till = charged(charger, jumps, tariff=tariff, restarts=restarts)
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


@given(jumps=st.lists(JUMPS, min_size=4, max_size=4))
@settings(max_examples=15, deadline=None)
def test_jumps_while_money_and_cable_are_waited_for_move_no_deadline(charger, jumps):
    till = charger()
    till.tap()
    for wait_s, jump in zip((60, 60, 120, 30), jumps, strict=True):
        stepped(till, jump)
        till.wait(wait_s)
    assert till.state.session is not None, "270 s of the 300 s have passed"
    till.wait(40)
    assert till.state.session is None
    assert till.told == []
    assert [f.outcome for f in till.journal.facts(facts.SessionEnded)] == ["no_plug"]


@pytest.mark.parametrize(
    ("evening", "hours", "night_h", "offsets"),
    [
        (datetime(2026, 3, 28, 20, tzinfo=BERLIN), 10, 7, (1, 2)),
        (datetime(2026, 10, 24, 20, tzinfo=BERLIN), 12, 9, (2, 1)),
        (datetime(2026, 12, 31, 20, tzinfo=BERLIN), 11, 8, (1, 1)),
    ],
)
def test_a_night_is_as_long_as_it_is(charger, evening, hours, night_h, offsets):
    """From 20:00 to 07:00: time is what passed, and energy is split by the hours that the night really had."""
    till = charger("by the hour")
    till.pass_time((evening - till.true_utc()).total_seconds())
    till.sample()
    till.tap()
    till.deliver()
    till.plug(power_w=4_000)
    till.deliver()
    till.wait(hours * 3600)
    till.pilot_to("A")
    till.deliver()
    till.deliver()
    (invoice,) = till.journal.invoices()
    draft = invoice.draft
    assert draft.end - draft.begin == timedelta(hours=hours)
    local = [at.astimezone(BERLIN).utcoffset() for at in (draft.begin, draft.end)]
    assert local == [timedelta(hours=h) for h in offsets]
    sold = {(line.dimension, str(line.unit_price)): line.quantity for line in draft.figures.lines}
    assert sold["TIME", "3"] == hours * 3600
    night_wh, day_wh = (rational(sold["ENERGY", price]) for price in ("0.29", "0.59"))
    assert night_wh + day_wh == draft.energy_wh
    assert abs(night_wh - night_h * 4_000) < 1, (
        "a reading that is rounded lies on the line between two others"
    )
    assert till.verified().problems == ()


@pytest.mark.parametrize("days", [-9_000, -31, 3_000])
def test_money_that_is_waited_for_is_given_up_after_30_days_and_not_after_a_wrong_clock(charger, days):
    """The wait began in a boot that never knew the time; the next one does."""
    till = charger(trusted=False, offset_s=days * 86_400)
    till.tap(method="terminal")
    till.deliver()
    till.plug()
    till.deliver()
    till.wait(400)
    till.acquirer.mode = "lost before"
    till.pilot_to("A")
    till.deliver()
    till.deliver()
    till.wait(60)
    till.crash(off_s=60, new_boot=True, trusted=True)
    till.devices_answer()
    till.wait(29 * 86_400)
    assert till.journal.facts(facts.PaymentExpired) == []
    if days > 0:
        till.wait(2 * 86_400)
        assert len(till.journal.facts(facts.PaymentExpired)) == 1
    else:
        till.acquirer.mode = "fine"
        till.wait(7_200)
        assert len(till.journal.invoices()) == 1


def test_a_wait_that_began_at_a_known_time_is_counted_over_restarts(charger):
    till = charger(trusted=False, offset_s=-9_000 * 86_400)
    till.tap(method="terminal")
    till.deliver()
    till.plug()
    till.deliver()
    till.wait(400)
    till.trust()
    till.acquirer.mode = "lost before"
    till.pilot_to("A")
    till.deliver()
    till.deliver()
    till.crash(off_s=29 * 86_400, new_boot=True)
    till.devices_answer()
    till.wait(7_200)
    assert till.journal.facts(facts.PaymentExpired) == []
    till.crash(off_s=86_400, new_boot=True)
    till.devices_answer()
    till.wait(7_200)
    assert len(till.journal.facts(facts.PaymentExpired)) == 1


@pytest.mark.parametrize("waits_for", ["Authorizing", "Stopping", "Settling"])
@pytest.mark.parametrize("days", [-400, 400])
def test_a_clock_that_is_wrong_after_a_power_cut_keeps_no_evse_waiting(charger, waits_for, days):
    """Nobody answers any more, and every wait ends in its own time all the same."""
    till = charger()
    till.tap(method="terminal")
    if waits_for != "Authorizing":
        till.deliver()
        till.plug()
        till.deliver()
        till.wait(400)
        till.pilot_to("A")
    if waits_for == "Settling":
        till.deliver(1)
    assert type(till.state.session.state).__name__ == waits_for
    till.trusted = False
    till.offset_s = days * 86_400
    till.crash(off_s=60, new_boot=True)
    till.devices_answer()
    till.wait(5, deliver=False)
    assert till.state.session is not None, "not at once: it was asked for only now"
    for _ in range(4):
        till.wait(60, deliver=False)
    assert till.state.session is None
    till.rest()
