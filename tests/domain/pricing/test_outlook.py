"""Looking ahead: quotes, boundaries, how far an amount goes; and what a checkpoint holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.domain.pricing import (
    Interval,
    begin,
    compile_tariff,
    extend,
    next_boundary,
    payable_minor,
    quote,
    rational,
    remaining,
    settle,
)
from edge.domain.pricing.cut import PERIODS_MAX
from edge.domain.tariffs import load_tariff

BERLIN = ZoneInfo("Europe/Berlin")


def compiled(*elements: dict, **fields: object):
    document = {"id": "1", "currency": "EUR", "elements": list(elements), **fields}
    return compile_tariff(load_tariff(document), time_zone="Europe/Berlin")


def element(kind: str, price: str, step: int = 1, **restrictions: object) -> dict:
    component = {"type": kind, "price": price, "vat": 19, "step_size": step}
    return {"price_components": [component]} | ({"restrictions": restrictions} if restrictions else {})


NIGHT = compiled(
    element("ENERGY", "0.40", start_time="22:00", end_time="06:00"),
    element("ENERGY", "0.50"),
    element("PARKING_TIME", "6.00", min_duration=3600),
    element("FLAT", "1.00"),
)


@settings(deadline=None)
@given(st.integers(0, 2 * 365 * 24 * 60), st.integers(1, 60_000), st.integers(1, 600), st.integers(1, 40))
def test_a_quote_is_what_the_session_then_costs(minute, energy_wh, minutes, parts):
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    quoted = quote(NIGHT, at=at, energy_wh=energy_wh * parts, duration_s=minutes * parts * 60)
    accrual = begin(NIGHT, at=at)
    for i in range(1, parts + 1):
        accrual = extend(
            NIGHT, accrual, Interval(end=at + timedelta(minutes=minutes * i), energy_wh=energy_wh)
        )
    assert settle(NIGHT, accrual) == quoted
    assert payable_minor(NIGHT, accrual) == quoted.invoice.payable_minor


@pytest.mark.parametrize(
    ("at", "boundary"),
    [
        (datetime(2026, 11, 24, 12), datetime(2026, 11, 24, 22)),
        (datetime(2026, 11, 24, 22), datetime(2026, 11, 25, 6)),
        (datetime(2026, 3, 28, 23), datetime(2026, 3, 29, 6)),
        (datetime(2026, 10, 24, 23), datetime(2026, 10, 25, 6)),
    ],
)
def test_the_next_boundary_is_the_next_change_of_the_wall_clocks_choice(at, boundary):
    assert next_boundary(NIGHT, at.replace(tzinfo=BERLIN)) == boundary.replace(tzinfo=BERLIN)


def test_a_price_without_times_has_no_boundary():
    assert (
        next_boundary(compiled(element("ENERGY", "0.50", min_kwh=5)), datetime(2026, 11, 24, tzinfo=UTC))
        is None
    )


def test_a_weekday_may_be_a_week_away():
    monday = compiled(element("ENERGY", "0.50", day_of_week=["MONDAY"]))
    at = datetime(2026, 11, 24, 12, tzinfo=BERLIN)
    assert next_boundary(monday, at) == datetime(2026, 11, 30, tzinfo=BERLIN)


def test_an_amount_that_is_never_reached_has_no_end():
    capped = compiled(element("ENERGY", "0.50"), max_price={"excl_vat": 10, "incl_vat": 11.9})
    accrual = begin(capped, at=datetime(2026, 11, 24, 12, tzinfo=UTC))
    left = remaining(capped, accrual, amount_minor=1190, power_w=11_000)
    assert (left.energy_wh, left.seconds) == (None, None)
    left = remaining(capped, accrual, amount_minor=1189, power_w=11_000)
    assert left.energy_wh is not None


def test_parking_uses_up_an_amount_without_energy():
    accrual = begin(NIGHT, at=datetime(2026, 11, 24, 12, tzinfo=UTC))
    left = remaining(NIGHT, accrual, amount_minor=119 + 714, power_w=0, state="SuspendedEV")
    assert left.energy_wh is None
    assert (
        left.seconds == 2 * 3600 + 2
    )  # free for an hour, then 7.14 an hour; half a cent more is not owed yet


def test_a_checkpoint_stays_small_however_often_the_car_pauses():
    at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    accrual = begin(NIGHT, at=at)
    for i in range(1, 1001):
        state = "Charging" if i % 2 else "SuspendedEV"
        wh = 100 if i % 2 else 0
        accrual = extend(
            NIGHT, accrual, Interval(end=at + timedelta(seconds=10 * i), energy_wh=wh, state=state)
        )
    assert len(accrual.periods) <= PERIODS_MAX
    assert len(msgspec.json.encode(accrual)) < 8_000
    bill = settle(NIGHT, accrual)
    assert sum(rational(p.energy_wh) for p in bill.periods) == 50_000
    assert (
        sum(rational(p.charging_s) for p in bill.periods)
        == sum(rational(p.parking_s) for p in bill.periods)
        == 5000
    )
    assert [rational(line.quantity) for line in bill.lines if line.dimension == "PARKING_TIME"] == [3200]


def test_equal_neighbours_are_one_period():
    at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    accrual = begin(NIGHT, at=at)
    for i in range(1, 100):
        accrual = extend(NIGHT, accrual, Interval(end=at + timedelta(minutes=i), energy_wh=100))
    assert len(settle(NIGHT, accrual).periods) == 1


@settings(deadline=None)
@given(st.integers(0, 24 * 60), st.integers(0, 4000), st.integers(1, 20_000))
def test_looking_ahead_for_a_while_sees_what_lies_in_it(minute, amount_minor, within_s):
    at = datetime(2026, 11, 24, tzinfo=UTC) + timedelta(minutes=minute)
    accrual = extend(NIGHT, begin(NIGHT, at=at), Interval(end=at + timedelta(minutes=20), energy_wh=3000))
    far = remaining(NIGHT, accrual, amount_minor=amount_minor, power_w=11_000)
    near = remaining(NIGHT, accrual, amount_minor=amount_minor, power_w=11_000, within_s=within_s)
    assert near == far if far.seconds < within_s else near.seconds is None
