"""The session as a driver, a meter, a cable and a clock live it, each rule on its own."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest

from edge.domain.energy import MeterIdentity
from edge.domain.ledger import facts
from edge.domain.payment import Authorized, Captured, Declined
from edge.domain.session import effects as fx
from edge.domain.session import events as ev
from edge.domain.session.screen import view
from edge.domain.session.state import (
    AwaitingClock,
    AwaitingPlug,
    Charging,
    EvseState,
    Preparing,
    Resuming,
    Settling,
    Stopping,
)
from edge.domain.session.terms import Rules

OTHER = MeterIdentity(model="M", serial="2")


def state_of(till):
    return type(till.state.session.state) if till.state.session else None


def charging(charger, *args, seconds=400, **kwargs):
    till = charger(*args, **kwargs)
    till.tap()
    till.deliver()
    till.plug()
    till.deliver()
    assert state_of(till) is Charging
    till.wait(seconds)
    return till


def shown(till):
    return view(till.state, till.terms(), till.now(), online=None, notice=None, choosing=False)


def last_invoice(till):
    return till.journal.invoices()[-1]


# --- who may start, and who may stop


def test_a_tap_reserves_before_anything_else_happens(charger):
    till = charger()
    outcome = till.tap()
    assert [type(r) for r in outcome.records] == [
        fx.FreezeTariff,
        facts.SessionOpened,
        facts.PaymentRequested,
    ]
    assert [type(e) for e in outcome.effects] == [fx.Preauthorize]
    assert not till.closed


@pytest.mark.parametrize("trouble", ["unknown", "blocked", "halted", "silent", "fault", "no pilot"])
def test_nothing_is_sold_to_nobody_and_nothing_where_something_is_wrong(charger, trouble):
    till = charger()
    match trouble:
        case "halted":
            till.send(ev.MeterHaltedNow(at=till.now(), reason="jump"))
        case "silent":
            till.pass_time(11)
        case "fault":
            till.pilot_to("E")
        case "no pilot":
            till.state = msgspec.structs.replace(till.state, pilot=None)
    till.tap(member=trouble != "unknown", blocked=trouble == "blocked")
    assert till.state.session is None
    assert till.told
    assert till.verified().sessions == 0


def test_a_strangers_card_changes_nothing_while_somebody_charges(charger):
    till = charging(charger)
    before = till.state
    till.tap("B")
    till.tap("X", member=False)
    assert till.state == before
    assert till.told == ["other_card", "other_card"]


def test_the_same_card_stops_it_but_not_within_the_moment_that_started_it(charger):
    till = charging(charger, seconds=1)
    till.tap()
    assert state_of(till) is Charging
    till.wait(10)
    till.tap()
    assert state_of(till) is Stopping
    till.deliver()
    till.deliver()
    assert last_invoice(till).draft.ended_by == "card"


def test_a_declined_card_leaves_no_hold(charger):
    till = charger()
    till.acquirer.declines = True
    till.tap()
    till.deliver()
    assert till.state.finished.outcome == "declined"
    till.rest()


def test_answers_that_belong_to_no_one_change_nothing(charger):
    till = charging(charger)
    before = till.state
    ref = before.session.payment.ref
    for answer in (
        Authorized(ref="other", hold_minor=5),
        Authorized(ref=ref, hold_minor=5),
        Declined(ref=ref, reason="late"),
        Captured(ref=ref, amount_minor=1),
    ):
        till.send(ev.PaymentAnswered(at=till.now(), answer=answer))
    assert till.state == before


# --- guards before the contactor


def test_a_fault_of_the_cable_while_preparing_gives_the_money_back(charger):
    till = charger()
    till.tap()
    till.deliver()
    till.pilot_to("C")
    till.pilot_to("F")
    till.deliver()
    assert till.energized == 0
    assert till.state.finished.reason == "evse_fault"


def test_a_begin_reading_that_comes_after_the_cable_is_out_energizes_nothing(charger):
    till = charger()
    till.tap()
    till.deliver()
    till.plug()
    till.pilot_to("A")
    till.deliver()
    assert till.energized == 0
    assert state_of(till) is AwaitingPlug


def test_a_hold_that_the_first_seconds_would_use_up_is_given_back(charger):
    till = charger(hold_minor=1)
    till.tap()
    till.plug()
    till.deliver()
    till.deliver()
    till.deliver()
    assert till.energized == 0
    assert till.state.finished.reason == "limit"
    till.rest()


def test_a_price_by_the_hour_is_not_sold_without_the_time(charger):
    till = charger("by the hour", trusted=False, offset_s=-86_400)
    till.tap()
    assert till.state.session is None
    assert till.told == ["not_available"]


def test_a_price_by_the_hour_is_not_begun_after_the_time_was_lost(charger):
    till = charger("by the hour")
    till.tap()
    till.deliver()
    till.crash(new_boot=True, trusted=False)
    till.devices_answer()
    till.plug()
    till.deliver()
    assert till.energized == 0
    till.rest()
    assert till.journal.invoices() == []


def test_a_card_that_has_run_out_starts_nothing_and_is_told_so(charger):
    till = charger()
    till.tap(valid_until=till.now().utc)
    assert till.state.session is None
    assert till.told == ["card_expired"]
    till.tap(valid_until=till.now().utc + timedelta(seconds=1))
    assert till.state.session is not None


@pytest.mark.parametrize("years", [-56, -1, 1, 70])
def test_a_clock_that_nobody_confirms_neither_revives_a_card_nor_ends_it(charger, years):
    """The latest time that has certainly come decides, whatever the wall clock shows."""
    till = charger(trusted=False, offset_s=years * 365 * 86_400)
    till.known_at = till.true_utc() - timedelta(days=3)
    till.tap(valid_until=till.known_at)
    assert till.told == ["card_expired"]
    till.tap(valid_until=till.known_at + timedelta(seconds=1))
    assert till.state.session is not None


def test_where_no_time_is_known_at_all_nobody_is_shut_out(charger):
    till = charger(trusted=False, offset_s=9_000 * 86_400)
    till.tap(valid_until=till.true_utc())
    assert till.state.session is not None


# --- every wait ends


@pytest.mark.parametrize(
    ("moves", "waits", "ends"),
    [
        (("tap",), "Authorizing", "failed"),
        (("tap", "deliver"), "AwaitingPlug", "no_plug"),
        (("tap", "deliver", "plug"), "Preparing", "failed"),
        (("tap", "deliver", "plug", "deliver", "stop"), "Stopping", "no_energy"),
    ],
)
def test_what_nobody_answers_ends_by_itself(charger, moves, waits, ends):
    till = charger()
    for move in moves:
        match move:
            case "tap":
                till.tap()
            case "plug":
                till.plug()
            case "deliver":
                till.deliver()
            case "stop":
                till.send(ev.StopRequested(at=till.now()))
    assert state_of(till).__name__ == waits
    till.pending.clear()
    for _ in range(20):
        till.pass_time(60)
        till.send(ev.Ticked(at=till.now()))
    assert state_of(till) is None
    (session,) = till.state.unsettled
    assert isinstance(session.state, Settling)
    assert session.state.outcome == ends
    till.rest()


def test_the_end_of_a_hold_is_asked_for_until_there_is_an_answer(charger):
    till = charging(charger)
    till.send(ev.StopRequested(at=till.now()))
    till.deliver()
    lost = till.pending.popleft()
    assert isinstance(lost, fx.Capture)
    till.wait(600, deliver=False)
    assert set(till.pending) == {lost}
    till.rest()


def test_a_late_authorization_of_a_session_that_was_given_up_is_reversed(charger):
    till = charger()
    till.tap()
    late = till.pending.popleft()
    till.pass_time(200)
    till.send(ev.Ticked(at=till.now()))
    till.send(ev.PaymentAnswered(at=till.now(), answer=till.acquirer.ask(late)))
    till.rest()
    assert set(till.acquirer.ended.values()) == {0}


# --- the meter


def test_a_silent_meter_opens_the_contactor_and_its_return_closes_it(charger):
    till = charging(charger)
    till.silent = True
    till.wait(15)
    assert not till.closed
    assert state_of(till) is Charging
    till.silent = False
    till.wait(5)
    assert till.closed
    till.rest()
    assert not last_invoice(till).draft.estimated


def test_a_meter_that_stays_silent_ends_the_session_at_its_last_good_value(charger):
    till = charging(charger)
    good_wh = till.state.session.measured.last_wh
    till.silent = True
    till.wait(200)
    assert till.journal.facts(facts.EnergyEnded)[-1].register_wh == good_wh
    assert last_invoice(till).draft.estimated
    assert last_invoice(till).draft.ended_by == "meter_silent"


def test_time_in_which_the_meter_was_silent_is_nobodys_charging_time(charger):
    till = charging(charger, "by the hour", seconds=60)
    before = till.state.session.measured.accrual
    till.silent = True
    till.wait(100)
    till.silent = False
    till.sample()
    accrual = till.state.session.measured.accrual
    assert accrual.ended_us - before.ended_us > 90_000_000
    assert accrual.run.state == "SuspendedEVSE"


@pytest.mark.parametrize("resumed", [False, True])
def test_a_car_that_waits_for_the_station_does_not_park(charger, resumed):
    till = charger("by the hour")
    till.tap()
    till.deliver()
    till.pilot_to("B", limited=True)
    till.deliver()
    if resumed:
        till.crash(off_s=1)
        till.sample()
        till.pilot_to("B", limited=True)
        till.deliver()
    assert state_of(till) is Charging
    till.wait(5)
    assert till.state.session.measured.accrual.run.state == "SuspendedEVSE"
    till.pilot_to("B")
    till.wait(5)
    assert till.state.session.measured.accrual.run.state == "SuspendedEV"


@pytest.mark.parametrize("notices", ["polls", "the end"])
def test_another_meter_in_mid_session_is_never_billed(charger, notices):
    till = charging(charger)
    good_wh = till.state.session.measured.last_wh
    till.identity = MeterIdentity(model="M", serial="another")
    till.register_mwh += 500_000
    if notices == "polls":
        till.sample()
    else:
        till.send(ev.StopRequested(at=till.now()))
    assert not till.closed
    till.deliver()
    ended = till.journal.facts(facts.EnergyEnded)[-1]
    assert (ended.register_wh, ended.estimated) == (good_wh, True)


def test_a_halted_meter_ends_the_session_and_sells_nothing_until_it_reads_again(charger):
    till = charging(charger)
    till.send(ev.MeterHaltedNow(at=till.now(), reason="jump"))
    till.send(ev.MeterHaltedNow(at=till.now(), reason="jump"))
    assert len(till.journal.facts(facts.MeterHalted)) == 1
    till.deliver()
    till.deliver()
    till.pilot_to("A")
    assert shown(till).kind == "paid"
    till.pass_time(61)
    till.send(ev.Ticked(at=till.now()))
    assert shown(till).kind == "out_of_order"
    till.sample()
    assert shown(till).kind == "idle"


def test_a_value_below_the_last_one_is_never_billed(charger):
    till = charging(charger)
    measured = till.state.session.measured
    till.register_mwh -= 5_000
    till.sample()
    assert till.state.session.measured == measured


# --- the limit


def test_charging_stops_before_the_hold_is_used_up(charger):
    till = charging(charger, hold_minor=300, seconds=10)
    for _ in range(4000):
        if state_of(till) is not Charging:
            break
        till.wait(2)
    till.deliver()
    till.deliver()
    draft = last_invoice(till).draft
    assert draft.ended_by == "limit"
    assert 280 <= draft.figures.payable_minor <= 300


def test_an_unknown_power_is_the_most_that_the_meter_can_measure(charger):
    till = charging(charger, hold_minor=300, seconds=1)
    sample = msgspec.structs.replace(till.value(), power_w=None)
    worst_wh = 22_000 * till.rules.tail_s // 3600
    left_wh = int((300 - 35 * 1.19) / (0.049 * 1.19))
    close = sample.energy_wh + left_wh - worst_wh + 5
    till.send(
        ev.MeterAccepted(at=till.now(), value=msgspec.structs.replace(sample, energy_wh=close, power_w=1))
    )
    assert state_of(till) is Charging
    till.send(ev.MeterAccepted(at=till.now(), value=msgspec.structs.replace(sample, energy_wh=close)))
    assert state_of(till) is Stopping


# --- power cuts and restarts


def test_energy_until_the_power_cut_is_billed_by_the_register_and_the_time_in_the_dark_is_not(charger):
    till = charging(charger, seconds=400)
    till.crash(off_s=600, leaks_s=2, new_boot=True)
    assert state_of(till) is Resuming
    assert not till.closed
    till.devices_answer()
    assert state_of(till) is Charging
    assert till.closed
    till.wait(100)
    till.pilot_to("A")
    till.deliver()
    till.deliver()
    draft = last_invoice(till).draft
    assert draft.energy_wh * 1000 == pytest.approx(till.delivered_mwh, abs=1000)
    assert not draft.estimated


@pytest.mark.parametrize("gained_wh", [-1, 60_000])
def test_a_register_that_cannot_be_right_after_a_power_cut_is_not_billed(charger, gained_wh):
    """22 kW for a quarter of an hour and the lease are 6 kWh; nothing explains sixty."""
    till = charging(charger, seconds=400)
    good_wh = till.journal.state().session.measured.last_wh
    till.pass_time(0)
    till.crash(off_s=86_400, new_boot=True)
    till.register_mwh = (good_wh + gained_wh) * 1000
    till.devices_answer()
    till.deliver()
    ended = till.journal.facts(facts.EnergyEnded)[-1]
    assert (ended.register_wh, ended.estimated, ended.reason) == (good_wh, True, "power_cut")


def test_a_register_may_have_gained_no_more_than_the_time_allows(charger):
    """The process was away for twenty seconds: minutes of energy are not believed, seconds are."""
    for gained_wh, believed in ((500, True), (1500, False)):
        till = charging(charger, seconds=60)
        till.send(ev.CheckpointDue(at=till.now()))
        last_wh = till.state.session.measured.last_wh
        till.crash(off_s=20)
        till.register_mwh = (last_wh + gained_wh) * 1000
        till.devices_answer()
        assert (state_of(till) is Charging) == believed


def test_a_session_that_was_interrupted_for_too_long_is_closed_at_the_register(charger):
    till = charging(charger, seconds=400)
    till.crash(off_s=4000, leaks_s=2, new_boot=True)
    till.devices_answer()
    assert state_of(till) is Stopping
    till.deliver()
    till.deliver()
    draft = last_invoice(till).draft
    assert (draft.ended_by, draft.estimated) == ("power_cut", False)
    assert draft.energy_wh * 1000 == pytest.approx(till.delivered_mwh, abs=1000)


def test_a_car_that_left_in_the_dark_ends_its_session(charger):
    till = charging(charger)
    till.pilot = "A"
    till.crash(off_s=60, new_boot=True)
    till.devices_answer()
    assert state_of(till) is Stopping
    till.rest()
    assert len(till.journal.invoices()) == 1


@pytest.mark.parametrize("says_who_it_is", [True, False])
def test_a_meter_that_was_swapped_in_the_dark_ends_the_session_at_the_last_good_value(
    charger, says_who_it_is
):
    """Another serial number; or, of a model that has none to tell, a register that cannot be the old one's."""
    till = charging(charger)
    good_wh = till.journal.state().session.measured.last_wh
    till.crash(off_s=900, new_boot=True)
    if says_who_it_is:
        till.identity = OTHER
        till.register_mwh += 1_000
    else:
        till.register_mwh = 17_000
    till.devices_answer()
    assert state_of(till) is Stopping
    assert not till.closed
    till.deliver()
    till.deliver()
    ended = till.journal.facts(facts.EnergyEnded)[-1]
    assert (ended.register_wh, ended.estimated, ended.reason) == (good_wh, True, "power_cut")


def test_a_car_that_comes_back_to_a_swapped_meter_begins_at_its_register(charger):
    till = charging(charger)
    till.crash(off_s=900, new_boot=True)
    till.identity, till.register_mwh = OTHER, 17_000
    till.rest()
    till.tap("B")
    till.deliver()
    till.plug()
    till.deliver()
    till.wait(360)
    till.rest()
    assert last_invoice(till).draft.energy_wh == pytest.approx(1100, abs=1)


@pytest.mark.parametrize("when", ["waiting for the plug", "resuming", "resumed"])
def test_a_hold_that_was_lost_in_the_dark_buys_nothing_more(charger, when):
    till = charger()
    till.tap(method="terminal")
    till.deliver()
    if when != "waiting for the plug":
        till.plug()
        till.deliver()
        till.wait(300)
    till.crash(off_s=60, new_boot=True)
    if when == "resumed":
        till.devices_answer()
        assert till.closed
    till.acquirer.expire()
    ref = till.state.session.payment.ref
    till.send(ev.HoldLost(at=till.now(), ref="another"))
    assert state_of(till) in (AwaitingPlug, Resuming, Charging)
    till.send(ev.HoldLost(at=till.now(), ref=ref))
    assert not till.closed
    till.rest()
    if when == "waiting for the plug":
        assert till.journal.invoices() == []
    else:
        assert last_invoice(till).draft.ended_by == "hold_lost"
        assert last_invoice(till).draft.paid.captured_minor == 0


@pytest.mark.parametrize("when", ["waiting for the plug", "resuming", "resumed"])
def test_a_permission_from_afar_that_ended_in_the_dark_ends_the_session_when_the_word_arrives(charger, when):
    till = charger()
    till.start_remotely()
    if when != "waiting for the plug":
        till.plug()
        till.deliver()
        till.wait(120)
    till.crash(off_s=60, new_boot=True)
    if when == "resumed":
        till.devices_answer()
        assert till.closed
    till.send(ev.StopRequested(at=till.now(), reason="remote"))
    assert not till.closed
    till.rest()
    assert len(till.journal.invoices()) == (when != "waiting for the plug")


@pytest.mark.parametrize("when", ["tap", "authorized", "charging", "stopping", "settling"])
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("new_boot", [False, True])
def test_a_crash_at_any_point_ends_in_one_invoice_or_in_none(charger, when, lost, new_boot):
    till = charger()
    till.tap()
    if when != "tap":
        till.deliver()
    if when not in ("tap", "authorized"):
        till.plug()
        till.deliver()
        till.wait(300)
    if when in ("stopping", "settling"):
        till.send(ev.StopRequested(at=till.now()))
    if when == "settling":
        till.deliver()
    for _ in range(3):
        till.crash(off_s=5, new_boot=new_boot, loses_answers=lost)
    till.rest()
    assert len(till.journal.invoices()) == (0 if when in ("tap", "authorized") else 1)


# --- the clock


def test_times_of_an_untrusted_clock_are_corrected_before_the_invoice(charger):
    till = charger(trusted=False, offset_s=-1_700_000_000)
    till.tap()
    till.deliver()
    till.plug()
    till.deliver()
    began = till.true_utc()
    till.wait(600)
    till.pilot_to("A")
    ended = till.true_utc()
    till.deliver()
    till.deliver()
    assert state_of(till) is None
    assert isinstance(till.state.unsettled[0].state, AwaitingClock)
    assert till.journal.invoices() == []
    assert shown(till).kind == "paid"
    assert shown(till).pending
    till.wait(30)
    till.trust()
    till.wait(1)
    assert not shown(till).pending
    assert shown(till).invoice_number == last_invoice(till).number
    draft = last_invoice(till).draft
    assert draft.dated
    assert abs(draft.begin - began) < timedelta(seconds=1)
    assert abs(draft.end - ended) < timedelta(seconds=1)
    assert abs(last_invoice(till).issued_at - till.true_utc()) < timedelta(seconds=1)


def test_a_clock_found_right_while_the_process_was_down_dates_the_session_at_the_start(charger):
    till = charging(charger, trusted=False, offset_s=-1_700_000_000)
    began = till.true_utc() - timedelta(seconds=400)
    till.trusted = True
    till.crash(off_s=10)
    till.rest()
    draft = last_invoice(till).draft
    assert draft.dated
    assert abs(draft.begin - began) < timedelta(seconds=1)


def test_a_new_boot_without_the_time_waits_for_it_and_then_resumes(charger):
    till = charging(charger)
    till.crash(off_s=600, new_boot=True, trusted=False)
    till.offset_s = -1_700_000_000
    till.devices_answer()
    assert state_of(till) is Resuming
    till.trust()
    assert state_of(till) is Charging
    till.rest()
    draft = last_invoice(till).draft
    assert timedelta(seconds=990) < draft.end - draft.begin < timedelta(seconds=1100)


def test_time_that_nobody_knows_is_not_claimed(charger):
    """The clock does not come back: the session ends where its last commit left it, however wrong the clock is."""
    till = charging(charger, seconds=400)
    last = till.journal.state().session.measured.accrual.ended_at
    till.offset_s = 40_000_000
    till.crash(off_s=600, new_boot=True, trusted=False)
    till.devices_answer()
    for _ in range(12):
        till.wait(15)
    till.trust()
    till.rest()
    draft = last_invoice(till).draft
    assert draft.end == last


def test_what_began_in_a_boot_whose_clock_was_never_right_is_not_dated(charger):
    till = charging(charger, trusted=False, offset_s=-1_700_000_000)
    till.crash(off_s=60, new_boot=True, trusted=True)
    till.devices_answer()
    till.rest()
    draft = last_invoice(till).draft
    assert not draft.dated
    assert draft.end - draft.begin < timedelta(hours=1)


def test_a_clock_that_is_stepped_moves_no_period_of_a_session(charger):
    till = charging(charger, trusted=False, offset_s=5)
    before = till.state.session.measured.accrual.ended_at
    till.offset_s = 90_000
    till.wait(10)
    assert till.state.session.measured.accrual.ended_at - before == timedelta(seconds=10)


# --- the screen


@pytest.mark.parametrize(("missing", "reason"), [("meter", "meter_silent"), ("charge point", "evse_failed")])
def test_a_device_that_never_answers_is_starting_up_at_first_and_then_out_of_order(charger, missing, reason):
    till = charger()
    till.crash(new_boot=True)
    if missing == "meter":
        till.send(ev.PilotChanged(at=till.now(), pilot="A", limited=False))
    else:
        till.sample()
    assert shown(till).kind == "starting_up"
    till.pass_time(31)
    if missing == "charge point":
        till.sample()
    assert (shown(till).kind, shown(till).reason) == ("out_of_order", reason)
    till.devices_answer()
    assert shown(till).kind == "idle"


def test_the_live_price_the_total_and_the_invoice_are_one_figure(charger):
    till = charging(charger, seconds=777)
    live = shown(till).cost_minor
    till.send(ev.StopRequested(at=till.now()))
    till.deliver()
    assert shown(till).cost_minor == live
    till.deliver()
    assert last_invoice(till).draft.figures.payable_minor == live
    assert shown(till).cost_minor == live


def test_a_state_that_is_read_back_is_the_state_that_was_kept(charger):
    till = charging(charger)
    kept = till.journal.state()
    assert isinstance(kept.session.state, Preparing | Charging)
    assert kept == msgspec.json.decode(msgspec.json.encode(kept), type=EvseState)
    assert isinstance(kept.session.opened.utc, datetime)


def test_the_rules_of_the_house_are_bounded():
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"plug_timeout_s": 0}, Rules)


# --- the hold


def test_a_total_above_the_hold_is_given_away_as_an_allowance(charger):
    cost = shown(charging(charger, seconds=60)).cost_minor
    hold = cost + 3
    till = charging(charger, seconds=60, hold_minor=hold, rules=Rules(tail_s=0))
    till.silent = True
    till.pass_time(100)  # nobody reads the meter, and more flows than was held for
    till.tap()
    till.silent = False
    till.deliver()
    till.deliver()
    invoice = last_invoice(till).draft
    assert (invoice.figures.payable_minor, invoice.paid.captured_minor) == (hold, hold)
    assert {a.reason for a in invoice.figures.allowances} == {"amount held"}
    assert till.journal.facts(facts.SessionSettled)[-1].payable_minor == hold


# --- after the session


def paid(charger):
    till = charging(charger)
    till.tap()
    till.deliver()
    till.deliver()
    assert shown(till).kind == "paid"
    return till


def test_the_total_stays_when_the_driver_unplugs_at_once(charger):
    till = paid(charger)
    till.pilot_to("A")
    assert shown(till).kind == "paid"
    till.wait(61)
    assert shown(till).kind == "idle"


def test_the_same_card_at_an_idle_charger_sees_its_receipt_before_it_starts_anew(charger):
    till = paid(charger)
    till.pilot_to("A")
    till.wait(90)
    till.tap()
    assert shown(till).kind == "paid"
    assert shown(till).invoice_number == last_invoice(till).number
    till.tap()  # the reader bounces
    assert till.state.session is None
    till.wait(10)
    till.tap()
    assert state_of(till) is not None


def test_a_card_whose_car_is_plugged_in_anew_charges_at_once(charger):
    till = paid(charger)
    till.pilot_to("A")
    till.wait(30)
    till.pilot_to("C")
    till.tap()
    assert state_of(till) is not None


def test_another_card_never_sees_the_receipt(charger):
    till = paid(charger)
    till.pilot_to("A")
    till.wait(90)
    till.tap("B")
    assert shown(till).kind == "authorizing"


def test_an_old_receipt_is_not_shown_any_more(charger):
    till = paid(charger)
    till.pilot_to("A")
    till.wait(301)
    till.tap()
    assert state_of(till) is not None


def test_the_code_is_shown_at_the_start_and_not_to_who_passes_by(charger):
    till = charger()
    till.tap()
    till.deliver()
    assert shown(till).stop_code == "1234"
    till.plug()
    till.deliver()
    assert shown(till).stop_code == "1234"
    till.wait(61)
    assert (shown(till).stop_code, shown(till).stoppable) == (None, True)


def test_a_stop_on_the_screen_is_named_on_the_invoice(charger):
    till = charging(charger)
    till.send(ev.StopRequested(at=till.now(), reason="screen"))
    till.deliver()
    till.deliver()
    assert last_invoice(till).draft.ended_by == "screen"


def test_a_session_at_a_coarse_register_that_has_not_stepped_yet_goes_on_after_a_power_cut(charger):
    till = charger()

    def coarse():
        fine = value()
        return msgspec.structs.replace(fine, energy_wh=fine.energy_wh // 1000 * 1000, resolution_wh=1000)

    value, till.value = till.value, coarse
    till.tap()
    till.deliver()
    till.plug()
    till.deliver()
    till.wait(60)
    till.crash(off_s=30, new_boot=True)
    till.devices_answer()
    assert isinstance(till.state.session.state, Charging)
    till.deliver()
    till.wait(600)
    till.tap()
    till.deliver()
    till.deliver()
    draft = till.journal.invoices()[-1].draft
    assert draft.energy_wh == draft.meter.end_wh - draft.meter.begin_wh == 2000
    assert not draft.estimated
