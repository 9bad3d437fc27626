"""A contactor that does not open is found by what the meter shows, and nobody pays for what it lets through."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.domain.energy import MeterValue
from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.session import effects as fx
from edge.domain.session import events as ev
from edge.domain.session import flow
from edge.domain.session.contactor import not_released
from edge.domain.session.opening import out_of_order
from edge.domain.session.screen import view
from edge.domain.session.state import AwaitingPlug, Charging, Opened, Stopping

LEAST_CAR_W = 1380  # 6 A on one phase
NOW = Instant(utc=None, boot_id="b", monotonic_ns=0)


def reason(till):
    return out_of_order(till.state, till.terms(), till.now())


def seconds(till, count):
    """Second by second, as a meter is polled."""
    for _ in range(count):
        till.wait(1)


def stopped(charger, *, power_w=11_000, welded=True):
    """A session that the driver ended; the contactor said that it opened."""
    till = charger()
    till.tap()
    till.deliver()
    till.plug(power_w=power_w)
    till.deliver()
    till.wait(600)
    till.welded = welded
    till.tap()
    till.send(ev.ContactorOpened(at=till.now()))
    till.deliver()
    till.deliver()
    return till


def found(till):
    return [fact.evidence for fact in till.journal.facts(facts.ContactorWelded)]


def test_a_car_that_draws_on_after_its_session_puts_the_evse_out_of_order(charger):
    till = stopped(charger)
    billed_wh = till.journal.invoices()[-1].draft.energy_wh
    assert billed_wh == pytest.approx(11_000 / 6, abs=2)
    seconds(till, 40)
    assert len(found(till)) == 1
    assert reason(till) == "contactor_welded"
    screen = view(till.state, till.terms(), till.now(), online=None, notice=None, choosing=False)
    till.wait(300)
    screen = view(till.state, till.terms(), till.now(), online=None, notice=None, choosing=False)
    assert (screen.kind, screen.reason) == ("out_of_order", "contactor_welded")
    till.tap("B")
    assert till.state.session is None
    assert till.told[-1] == "not_available"
    assert [i.draft.energy_wh for i in till.journal.invoices()] == [billed_wh]


def test_only_an_operator_releases_it_and_only_while_nothing_flows(charger):
    till = stopped(charger)
    seconds(till, 60)
    till.send(ev.ContactorReleased(at=till.now()))
    assert reason(till) == "contactor_welded"
    till.welded = False
    seconds(till, 30)
    assert "nothing flows" in not_released(till.state, till.now())
    till.silent = True
    till.wait(120)
    assert "does not answer" in not_released(till.state, till.now())
    till.silent = False
    seconds(till, flow.SHOWN_S)
    till.wait(120)
    assert not_released(till.state, till.now()) is None
    till.send(ev.ContactorReleased(at=till.now()))
    (released,) = till.journal.facts(facts.ContactorReleased)
    assert 0 < released.leaked_wh < 11_000 * 60 / 3600
    assert reason(till) is None
    till.wait(600)
    assert len(found(till)) == 1

    till.pilot_to("A")
    till.tap("B")
    till.deliver()
    till.plug()
    till.deliver()
    till.wait(360)
    till.tap("B")
    till.deliver()
    till.deliver()
    assert till.journal.invoices()[-1].draft.energy_wh == pytest.approx(1100, abs=2)


def test_a_restart_forgets_nothing_of_it(charger):
    till = stopped(charger)
    seconds(till, 60)
    till.welded = False
    till.crash()
    till.wait(30)
    assert reason(till) == "contactor_welded"
    assert len(found(till)) == 1


def test_a_restart_beside_a_car_that_draws_on_finds_it(charger):
    till = stopped(charger)
    till.crash()
    seconds(till, 100)
    assert len(found(till)) == 1


def test_a_car_that_takes_its_time_to_stop_is_none(charger):
    till = stopped(charger)
    seconds(till, flow.RAMP_S - 1)
    till.welded = False
    till.wait(600)
    assert found(till) == []
    assert reason(till) is None


def test_an_opening_that_nobody_confirmed_is_given_the_lease(charger):
    till = charger()
    till.plug()
    till.welded = True
    seconds(till, flow.LEASE_MAX_S)
    assert found(till) == []
    seconds(till, 40)
    assert len(found(till)) == 1


def test_what_a_charge_point_says_of_itself_counts_at_once_and_gives_back_what_is_held(charger):
    till = charger()
    till.tap()
    till.deliver()
    assert isinstance(till.state.session.state, AwaitingPlug)
    till.send(ev.ContactorSeen(at=till.now(), welded=True))
    till.deliver()
    assert found(till) == ["charge_point"]
    assert till.state.finished.reason == "contactor_welded"
    till.wait(240)
    assert "charge point says" in not_released(till.state, till.now())
    till.send(ev.ContactorSeen(at=till.now(), welded=False))
    till.send(ev.ContactorReleased(at=till.now()))
    assert reason(till) is None


def test_a_running_session_ends_where_its_charge_point_says_so(charger):
    till = charger()
    till.tap()
    till.deliver()
    till.plug()
    till.deliver()
    till.wait(60)
    assert isinstance(till.state.session.state, Charging)
    outcome = till.send(ev.ContactorSeen(at=till.now(), welded=True))
    assert isinstance(till.state.session.state, Stopping)
    assert fx.OpenContactor() in outcome.effects
    till.deliver()
    till.deliver()
    assert till.journal.invoices()[-1].draft.ended_by == "contactor_welded"


def test_a_late_end_reading_of_a_car_that_draws_on_bills_the_last_good_value(charger):
    till = charger()
    till.tap()
    till.deliver()
    till.plug()
    till.deliver()
    till.wait(600)
    before_wh = till.state.session.measured.last_wh - till.state.session.measured.begin_wh
    till.welded = True
    till.tap()
    till.send(ev.ContactorOpened(at=till.now()))
    till.pass_time(45)
    till.deliver()
    till.deliver()
    draft = till.journal.invoices()[-1].draft
    assert draft.energy_wh == before_wh
    assert draft.estimated


def readings(power_w, resolution_wh, *, says_power, minutes, since_s=flow.RAMP_S):
    """What a meter shows in each second after the contactor opened."""
    for second in range(since_s, 60 * minutes):
        wh = power_w * second // 3600
        yield MeterValue(
            at=msgspec.structs.replace(NOW, monotonic_ns=second * 10**9),
            energy_wh=wh - wh % resolution_wh,
            resolution_wh=resolution_wh,
            power_w=power_w if says_power else None,
        )


def first_evidence(values, own_power_w=0):
    opened = Opened(at=NOW, done=NOW)
    for value in values:
        opened = flow.read(opened, value, rated_power_w=22_000, own_power_w=own_power_w)
        if (kind := flow.evidence(opened, value.at)) is not None:
            return kind, value.at.monotonic_ns // 10**9
    return None


@given(
    power_w=st.integers(LEAST_CAR_W, 20_000),
    own_power_w=st.sampled_from((0, 600, 2000)),
    resolution_wh=st.integers(1, 100),
    says_power=st.booleans(),
)
def test_every_car_is_found_by_every_meter(power_w, own_power_w, resolution_wh, says_power):
    drawn_w = power_w + own_power_w
    kind, second = first_evidence(
        readings(drawn_w, resolution_wh, says_power=says_power, minutes=25), own_power_w
    )
    shown_s = 3600 * (3 * resolution_wh + 11) // power_w
    assert second <= flow.RAMP_S + (min(shown_s, flow.SHOWN_S) if says_power else shown_s) + 2
    assert says_power or kind == "energy"


@given(
    power_w=st.integers(0, 150),
    own_power_w=st.sampled_from((0, 600, 2000)),
    resolution_wh=st.sampled_from((1, 2, 10, 16, 100)),
    says_power=st.booleans(),
)
def test_no_standby_of_a_charger_ever_adds_up_to_a_car(power_w, own_power_w, resolution_wh, says_power):
    shown = readings(power_w + own_power_w, resolution_wh, says_power=says_power, minutes=60)
    assert first_evidence(shown, own_power_w) is None


def test_another_meter_and_a_repaired_register_are_no_flow(charger):
    till = charger()
    till.wait(100)
    till.register_mwh += 900_000_000
    till.wait(100)
    till.identity = msgspec.structs.replace(till.identity, serial="2")
    till.register_mwh += 40_000
    till.wait(100)
    assert found(till) == []


@pytest.mark.parametrize("sure", [True, False])
def test_a_power_that_may_be_an_old_one_shows_no_flow(sure):
    value = MeterValue(at=NOW, energy_wh=1000, power_w=11_000, current_ma=(16_000,) * 3, flow_sure=sure)
    assert flow.flows(value) == sure
