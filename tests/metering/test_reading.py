"""What a session may bill, whatever a meter shows. One poll a second at 11 kW moves the register by about 3 Wh."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.metering.reading import (
    NS,
    Accepted,
    Failed,
    Halted,
    Held,
    Limits,
    Sample,
    Stale,
    Suspect,
    again,
    begin,
    confirm,
    end,
    halt,
    judge,
)

LIMITS = Limits(rated_power_w=22_000, rollover_wh=100_000_000)
POWER_W = 11_000
PER_POLL_WH = 3


def sample(second, energy_wh, power_w=POWER_W, resolution_wh=1):
    return Sample(at_ns=second * NS, energy_wh=energy_wh, power_w=power_w, resolution_wh=resolution_wh)


def charging(polls, start_wh=1000, power_w=POWER_W, per_poll_wh=PER_POLL_WH):
    """A session so far: its state, and the time and energy of the last poll."""
    state = begin(LIMITS, sample(0, start_wh, power_w))
    energy_wh = start_wh
    for second in range(1, polls + 1):
        energy_wh = start_wh + second * per_poll_wh
        state, verdict = judge(state, sample(second, energy_wh, power_w))
        assert verdict == Accepted(energy_wh)
    return state, polls, energy_wh


def play(state, events):
    verdicts = []
    for event in events:
        state, verdict = judge(state, event)
        verdicts.append(verdict)
    return state, verdicts


def test_a_plausible_step_is_accepted_also_over_a_gap():
    state, at, energy = charging(5)
    state, verdict = judge(state, sample(at + 3600, energy + 22_000))
    assert verdict == Accepted(energy + 22_000)


@pytest.mark.parametrize("shown", [0, 500, 10_000_000])
def test_a_single_zero_drop_or_spike_bills_nothing_and_leaves_no_mark(shown):
    state, at, energy = charging(5)
    state, (bad, good) = play(state, [sample(at + 1, shown), sample(at + 2, energy + 6)])
    assert isinstance(bad, Suspect)
    assert bad.energy_wh == energy
    assert good == Accepted(energy + 6)


@pytest.mark.parametrize(("shown", "reason"), [(0, "backwards"), (10_000_000, "jump")])
def test_a_reset_or_a_step_that_stays_halts_at_the_last_good_value(shown, reason):
    state, at, energy = charging(5)
    state, verdicts = play(state, [sample(at + i, shown + 3 * i) for i in range(1, 4)])
    assert [type(v) for v in verdicts] == [Suspect, Suspect, Halted]
    assert verdicts[-1] == Halted(energy, reason)
    assert judge(state, sample(at + 5, energy + 15))[1] == Halted(energy, reason)


def test_values_that_disagree_with_everything_halt_after_half_a_minute():
    state, at, energy = charging(5)
    wild = [sample(at + 1 + i, 50_000_000 if i % 2 else 7) for i in range(33)]
    _, verdicts = play(state, wild)
    assert verdicts[-1] == Halted(energy, "suspect_too_long")
    assert all(v.energy_wh == energy for v in verdicts)


def test_jitter_of_one_step_back_is_held():
    state, at, energy = charging(5)
    state, verdicts = play(
        state, [sample(at + 1, energy - 1), sample(at + 2, energy), sample(at + 3, energy + 5)]
    )
    assert verdicts == [Held(energy), Accepted(energy), Accepted(energy + 5)]


def test_a_coarse_float32_register_at_140_mwh_charges_on():
    start = 140_000_000 - 140_000_000 % 16
    state = begin(Limits(rated_power_w=22_000), sample(0, start, resolution_wh=16))
    true_wh = 0.0
    for second in range(1, 3600):
        true_wh += POWER_W / 3600
        shown = start + int(true_wh // 16) * 16
        state, verdict = judge(state, sample(second, shown, resolution_wh=16))
        assert isinstance(verdict, Accepted)
    assert abs(state.energy_wh - start - true_wh) < 16


def test_a_rollover_counts_on():
    state = begin(LIMITS, sample(0, 99_999_990))
    state, verdicts = play(state, [sample(i, 3 * i) for i in range(4, 9)])
    assert [type(v) for v in verdicts[:2]] == [Suspect, Suspect]
    assert verdicts[2] == Accepted(100_000_018)
    assert verdicts[-1] == Accepted(100_000_024)
    assert state.energy_wh == 100_000_024


def test_a_frozen_register_halts_when_the_power_says_otherwise():
    state, at, energy = charging(5)
    verdicts = []
    for second in range(at + 1, at + 60):
        state, verdict = judge(state, sample(second, energy))
        verdicts.append(verdict)
    assert verdicts[-1] == Halted(energy, "standstill")
    assert sum(isinstance(v, Accepted) for v in verdicts) * POWER_W / 3600 <= 51


def test_a_car_that_takes_nothing_is_no_frozen_register():
    state, at, energy = charging(5)
    _, verdicts = play(state, [sample(at + i, energy, power_w=0) for i in range(1, 3600)])
    assert set(verdicts) == {Accepted(energy)}


@pytest.mark.parametrize("per_poll_wh", [1, 7])
def test_energy_that_disagrees_with_the_meters_own_power_halts(per_poll_wh):
    limits = Limits(rated_power_w=69_000)
    state = begin(limits, sample(0, 0))
    for second in range(1, 1000):
        state, verdict = judge(state, sample(second, second * per_poll_wh))
        if isinstance(verdict, Halted):
            break
    assert verdict.reason == "power_mismatch"
    assert verdict.energy_wh <= 1000


def test_a_reversed_current_transformer_halts():
    state = begin(LIMITS, sample(0, 0, power_w=-11_000))
    for second in range(1, 1000):
        state, verdict = judge(state, sample(second, second * 3, power_w=-11_000))
        if isinstance(verdict, Halted):
            break
    assert verdict.reason == "power_mismatch"


def test_a_meter_without_a_power_register_is_judged_by_energy_alone():
    state = begin(LIMITS, sample(0, 0, power_w=None))
    for second in range(1, 2000):
        state, verdict = judge(state, sample(second, 3 * second, power_w=None))
        assert isinstance(verdict, Accepted)


def test_silence_turns_stale_and_the_next_good_value_covers_the_gap():
    state, at, energy = charging(5)
    state, verdicts = play(state, [Failed(at_ns=(at + i) * NS) for i in range(1, 13)])
    assert isinstance(verdicts[0], Suspect)
    assert isinstance(verdicts[-1], Stale)
    assert verdicts[-1].age_s == 12
    state, verdict = judge(state, sample(at + 60, energy + 120))
    assert verdict == Accepted(energy + 120)


def test_power_that_was_not_watched_over_a_gap_says_nothing_about_the_energy():
    state, at, energy = charging(5)
    state, verdict = judge(state, sample(at + 1800, energy, power_w=0))
    assert verdict == Accepted(energy)
    state, verdict = judge(state, sample(at + 3600, energy + 1, power_w=POWER_W))
    assert verdict == Accepted(energy + 1)


def test_wild_values_do_not_keep_a_reading_fresh():
    state, at, _ = charging(5)
    wild = [sample(at + 1 + i, 50_000_000 if i % 2 else 7) for i in range(15)]
    _, verdicts = play(state, wild)
    assert isinstance(verdicts[-1], Stale)


def test_begin_and_end_need_two_reads_that_agree():
    first, second = sample(0, 1000, power_w=0), sample(1, 1000, power_w=0)
    assert confirm(LIMITS, first, second) == second
    assert confirm(LIMITS, first, sample(1, 998)) is None
    assert confirm(LIMITS, first, sample(1, 5000)) is None
    state, at, energy = charging(5)
    assert end(state, sample(at + 1, energy + 1), sample(at + 2, energy + 1)) == (energy + 1, False)
    assert end(state, sample(at + 1, energy + 1), sample(at + 2, energy + 900_000)) == (energy + 1, True)


def test_a_register_that_trembles_at_the_end_is_no_estimate():
    state, at, energy = charging(5)
    assert end(state, sample(at + 1, energy - 1, 0), sample(at + 2, energy - 1, 0)) == (energy, False)


@pytest.mark.parametrize(("one", "two"), [(0, 1), (1, 0), (1, 1)])
def test_a_register_that_trembles_between_two_reads_begins_and_ends_at_the_higher_one(one, two):
    state, at, energy = charging(5)
    first, second = sample(at + 1, energy - one, 0), sample(at + 2, energy - two, 0)
    assert end(state, first, second) == (energy, False)
    assert again(state, first, second).energy_wh == energy
    assert confirm(LIMITS, first, second).energy_wh == max(first.energy_wh, second.energy_wh)


@pytest.mark.parametrize("wrong_wh", [-1000, -300, -15, 300, 5_000_000])
def test_a_begin_has_to_go_on_from_what_the_meter_showed_before_however_well_two_reads_agree(wrong_wh):
    state = begin(LIMITS, sample(0, 1000, power_w=0))
    for second in range(1, 60):
        state, _ = judge(state, sample(second, 1000, power_w=0))
    wrong = sample(60, 1000 + wrong_wh, 0), sample(61, 1000 + wrong_wh, 0)
    assert confirm(LIMITS, *wrong) is not None
    assert again(state, *wrong) is None
    right = sample(60, 1000, 0), sample(61, 1000, 0)
    assert again(state, *right) == right[1]


def test_another_meter_halts_from_outside():
    state, _, energy = charging(5)
    state, verdict = halt(state, "identity")
    assert verdict == Halted(energy, "identity")
    assert judge(state, sample(100, energy))[1] == verdict


POLL = st.one_of(
    st.none(),
    st.integers(0, 100_000_000),
    st.integers(-20, 60).map(lambda moved: ("moved", moved)),
)


@given(st.lists(POLL, max_size=60))
def test_whatever_comes_the_bill_never_falls_and_never_outruns_the_rated_power(polls):
    state = begin(LIMITS, sample(0, 50_000_000, power_w=None))
    billed = state.energy_wh
    for second, poll in enumerate(polls, start=1):
        match poll:
            case None:
                event = Failed(at_ns=second * NS)
            case ("moved", moved):
                event = sample(second, state.good.energy_wh + moved, power_w=None)
            case shown:
                event = sample(second, shown, power_w=None)
        state, verdict = judge(state, event)
        assert verdict.energy_wh == state.energy_wh >= billed
        billed = state.energy_wh
        assert billed - 50_000_000 <= 22_000 * 1.1 * second / 3600 + 2 * second


@settings(max_examples=40)
@given(
    lags_s=st.lists(st.one_of(st.just(0), st.integers(1, 30)), min_size=20, max_size=120),
    per_poll_wh=st.integers(0, 6),
)
def test_readings_that_come_late_bill_nothing_that_has_not_flowed_and_halt_nothing(lags_s, per_poll_wh):
    """A value of some seconds ago under today's time, wherever a line held it back; it says that it is not sure."""
    power_w = 3600 * per_poll_wh
    state, _, energy = charging(40, power_w=power_w, per_poll_wh=per_poll_wh)
    begun = energy - 40 * per_poll_wh
    for second, lag_s in enumerate(lags_s, start=41):
        shown = begun + (second - lag_s) * per_poll_wh
        late = Sample(at_ns=second * NS, energy_wh=shown, power_w=power_w, sure=lag_s == 0)
        state, verdict = judge(state, late)
        assert isinstance(verdict, Accepted | Held)
        assert verdict.energy_wh <= begun + second * per_poll_wh
        assert lag_s or verdict == Accepted(shown)


def test_a_begin_or_an_end_is_never_what_may_be_late():
    sure, late = sample(0, 1000), Sample(at_ns=NS, energy_wh=1003, power_w=POWER_W, sure=False)
    assert confirm(LIMITS, sure, late) is None
    assert confirm(LIMITS, late, sample(2, 1006)) is None
    assert confirm(LIMITS, sure, sample(2, 1006)) == sample(2, 1006)


def test_readings_that_may_be_late_after_a_spike_halt_nothing():
    state, at, energy = charging(5)
    state, _ = judge(state, sample(at + 1, 10_000_000))
    for second in range(at + 2, at + 60):
        late = Sample(at_ns=second * NS, energy_wh=energy + 3, sure=False)
        state, verdict = judge(state, late)
        assert verdict == Accepted(energy + 3)
    state, verdict = judge(state, Failed(at_ns=(at + 60) * NS))
    assert not isinstance(verdict, Halted)


def test_a_register_that_went_back_is_not_believed_late_for_ever():
    """No reply is as old as that: the register was reset, and what flows now would never be billed."""
    state, at, energy = charging(5)
    late = [Sample(at_ns=(at + i) * NS, energy_wh=energy - 600, sure=False) for i in range(1, 50)]
    _, verdicts = play(state, late)
    assert verdicts[0] == Held(energy)
    assert isinstance(verdicts[-1], Stale)


def stepping(power_w, *, rated_power_w, seconds, start_wh=0, every_s=1, from_s=0, register_wh=1):
    """A session at a meter whose register is renewed only so often, or steps so coarsely: where it came to."""
    state, verdict = None, None
    for second in range(from_s, from_s + seconds):
        renewed = max(from_s, second - second % every_s)
        shown_wh = start_wh + power_w * (renewed - from_s) // 3600
        shown = sample(second, shown_wh - shown_wh % register_wh, power_w, resolution_wh=register_wh)
        if state is None:
            state = begin(Limits(rated_power_w=rated_power_w), shown)
            continue
        state, verdict = judge(state, shown)
        if isinstance(verdict, Halted):
            break
    return state, verdict


@settings(max_examples=40)
@given(
    power_w=st.integers(1_380, 10_000),
    every_s=st.integers(1, 15),
    from_s=st.integers(0, 15),
    rated_power_w=st.sampled_from((10_350, 22_000, 69_000)),
)
def test_a_register_that_is_renewed_only_every_some_seconds_charges_on(
    power_w, every_s, from_s, rated_power_w
):
    state, verdict = stepping(
        power_w, rated_power_w=rated_power_w, seconds=300, every_s=every_s, from_s=from_s
    )
    assert not isinstance(verdict, Halted)
    assert power_w * (299 - 2 * every_s) // 3600 <= state.energy_wh <= power_w * 300 // 3600


@settings(max_examples=30)
@given(
    power_w=st.integers(1_380, 22_000),
    register_wh=st.sampled_from((1, 2, 10, 16, 100, 1000)),
    start_wh=st.integers(0, 1000),
)
def test_no_step_of_a_register_contradicts_its_power(power_w, register_wh, start_wh):
    _, verdict = stepping(
        power_w, rated_power_w=69_000, seconds=3000, start_wh=start_wh, register_wh=register_wh
    )
    assert isinstance(verdict, Accepted)


def test_what_a_register_has_to_make_up_for_is_what_its_own_power_says():
    state = begin(Limits(rated_power_w=10_350), sample(0, 1000, power_w=7_360))
    for second in range(1, 15):
        state, _ = judge(state, sample(second, 1000, power_w=7_360))
    assert isinstance(judge(state, sample(15, 1030, power_w=7_360))[1], Accepted)
    assert isinstance(judge(state, sample(15, 1060, power_w=7_360))[1], Suspect)
    idle = begin(Limits(rated_power_w=10_350), sample(0, 1000, power_w=0))
    for second in range(1, 15):
        idle, _ = judge(idle, sample(second, 1000, power_w=0))
    assert isinstance(judge(idle, sample(15, 1030, power_w=0))[1], Suspect)


@pytest.mark.parametrize("factor", [0.2, 0.5, 2, 4])
@pytest.mark.parametrize("register_wh", [1, 16, 100, 1000])
def test_another_transformer_is_found_by_coarse_registers_too(factor, register_wh):
    state = begin(Limits(rated_power_w=69_000), sample(0, 0, resolution_wh=register_wh))
    for second in range(1, 20_000):
        shown_wh = int(POWER_W * factor * second / 3600) // register_wh * register_wh
        state, verdict = judge(state, sample(second, shown_wh, resolution_wh=register_wh))
        if isinstance(verdict, Halted):
            break
    assert verdict.reason in ("power_mismatch", "standstill")
    assert state.energy_wh <= max(1000, 40 * register_wh)


@pytest.mark.parametrize("power_w", [3, 30])
def test_a_power_that_no_meter_has_to_count_is_no_standstill_of_a_night(power_w):
    state = begin(Limits(rated_power_w=69_000), sample(0, 1000, power_w=power_w))
    for second in range(1, 4 * 24 * 3600, 9):
        state, verdict = judge(state, sample(second, 1000, power_w=power_w))
        assert verdict == Accepted(1000)
    state, verdict = judge(state, sample(second + 9, 1001, power_w=power_w))
    assert verdict == Accepted(1001)
