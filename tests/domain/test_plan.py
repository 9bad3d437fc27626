"""Memberships: discounts, included units with a carried counter, day passes, free charging."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.domain.plan import (
    Plan,
    PlanBalance,
    PlanError,
    balance_on,
    cancel_grant,
    correct,
    grant_of,
    load_plan,
    member_tariff,
    plan_lines,
    reserve,
    settle_grant,
)
from edge.domain.pricing import Interval, begin, compile_tariff, extend, payable_minor, rational, settle
from edge.domain.tariffs import load_tariff

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = date(2026, 11, 24)
DOCUMENT = {
    "id": "1",
    "currency": "EUR",
    "min_price": {"excl_vat": "0.10", "incl_vat": "0.119"},
    "elements": [
        {
            "price_components": [
                {"type": "ENERGY", "price": "0.50", "vat": 19, "step_size": 1},
                {"type": "TIME", "price": "1.20", "vat": 19, "step_size": 60},
                {"type": "FLAT", "price": "1.00", "vat": 19},
            ]
        }
    ],
}


def charged(
    plan: Plan,
    *,
    energy_wh: int = 20_000,
    minutes: int = 60,
    balance: PlanBalance | None = None,
    parts: int = 1,
):
    compiled = compile_tariff(load_tariff(DOCUMENT), time_zone="Europe/Berlin", plan=plan)
    grant, left = reserve(plan, balance, at=AT, local_day=DAY)
    accrual = begin(compiled, at=AT, grant=grant)
    for i in range(1, parts + 1):
        span = timedelta(minutes=minutes) * i / parts
        accrual = extend(compiled, accrual, Interval(end=AT + span, energy_wh=Fraction(energy_wh, parts)))
    bill = settle(compiled, accrual)
    assert payable_minor(compiled, accrual) == bill.invoice.payable_minor
    after = settle_grant(
        plan,
        left,
        grant,
        used_energy_wh=ceil(rational(bill.used_energy_wh)),
        used_time_s=ceil(rational(bill.used_time_s)),
    )
    return bill, after


def lines(bill):
    return [(line.dimension, line.unit_price, line.quantity) for line in bill.lines]


def test_a_percentage_comes_off_the_unit_price_of_its_dimension():
    bill, _ = charged(Plan(id="p", name="Gold", percent_off={"ENERGY": Decimal(10), "FLAT": Decimal(100)}))
    assert lines(bill) == [
        ("ENERGY", Decimal("0.45"), 20_000),
        ("TIME", Decimal("1.2"), 3600),
        ("FLAT", 0, 1),
    ]
    assert bill.plan == "Gold"


def test_free_charging_costs_nothing_at_all():
    bill, _ = charged(Plan(id="p", free=True))
    assert bill.invoice.payable_minor == 0


def test_a_plan_may_bring_its_own_tariff():
    own = {**DOCUMENT, "elements": [{"price_components": [{"type": "ENERGY", "price": "0.29"}]}]}
    bill, _ = charged(load_plan({"id": "p", "tariff": own}))
    assert lines(bill) == [("ENERGY", Decimal("0.29"), 20_000)]


def test_included_units_are_used_first_and_stand_on_lines_of_their_own():
    bill, after = charged(Plan(id="p", included_energy_wh=15_000, included_time_s=600))
    assert lines(bill) == [
        ("ENERGY", 0, 15_000),
        ("ENERGY", Decimal("0.50"), 5_000),
        ("TIME", 0, 600),
        ("TIME", Decimal("1.20"), 3_000),
        ("FLAT", 1, 1),
    ]
    assert [line.included for line in bill.lines] == [True, False, True, False, False]
    assert (after.energy_wh, after.time_s, after.reserved_energy_wh, after.reserved_time_s) == (0, 0, 0, 0)


def test_what_a_session_does_not_use_comes_back():
    bill, after = charged(Plan(id="p", included_energy_wh=50_000))
    assert bill.used_energy_wh == 20_000
    assert after == PlanBalance(period="2026-11", energy_wh=30_000)


def test_a_step_is_covered_by_included_units_while_they_last():
    plan = Plan(id="p", included_time_s=7200)
    bill, after = charged(plan, minutes=30, energy_wh=0)
    assert bill.used_time_s == 1800
    odd, _ = charged(plan, minutes=1, energy_wh=0, parts=1)
    assert odd.used_time_s == 60
    assert after.time_s == 5400


@settings(deadline=None)
@given(
    st.integers(0, 30_000),
    st.integers(0, 30_000),
    st.integers(0, 240),
    st.integers(0, 20_000),
    st.integers(1, 5),
)
def test_units_are_neither_lost_nor_used_twice(included_wh, energy_wh, minutes, included_s, parts):
    plan = Plan(id="p", included_energy_wh=included_wh, included_time_s=included_s)
    minutes = max(1, minutes)
    bill, after = charged(plan, energy_wh=energy_wh, minutes=minutes, parts=parts)
    assert after.energy_wh + ceil(rational(bill.used_energy_wh)) == included_wh
    assert after.time_s + ceil(rational(bill.used_time_s)) == included_s
    total = sum(rational(line.quantity) for line in bill.lines if line.dimension == "ENERGY")
    assert total == energy_wh
    paid = sum(
        rational(line.quantity) for line in bill.lines if line.dimension == "ENERGY" and not line.included
    )
    assert paid == max(0, energy_wh - included_wh)


def test_two_sessions_at_once_never_share_a_unit():
    plan = Plan(id="p", included_energy_wh=10_000)
    first, balance = reserve(plan, None, at=AT, local_day=DAY)
    second, balance = reserve(plan, balance, at=AT, local_day=DAY)
    assert (first.energy_wh, second.energy_wh) == (10_000, 0)
    balance = settle_grant(plan, balance, second, used_energy_wh=0, used_time_s=0)
    balance = settle_grant(plan, balance, first, used_energy_wh=4_000, used_time_s=0)
    assert balance == PlanBalance(period="2026-11", energy_wh=6_000)


def test_a_new_billing_period_starts_with_everything_and_forgets_what_was_reserved():
    plan = Plan(id="p", included_energy_wh=10_000)
    grant, balance = reserve(plan, None, at=AT, local_day=DAY)
    december = balance_on(plan, balance, date(2026, 12, 1))
    assert december == PlanBalance(period="2026-12", energy_wh=10_000)
    assert settle_grant(plan, december, grant, used_energy_wh=0, used_time_s=0) == december


def test_a_year_is_a_billing_period_too():
    plan = Plan(id="p", period="YEAR", included_energy_wh=10_000)
    _, balance = reserve(plan, None, at=AT, local_day=DAY)
    assert balance_on(plan, balance, date(2026, 12, 31)) == balance
    assert balance_on(plan, balance, date(2027, 1, 1)).energy_wh == 10_000


def test_a_correction_touches_later_sessions_only():
    plan = Plan(id="p", included_energy_wh=10_000)
    running, balance = reserve(plan, None, at=AT, local_day=DAY)
    corrected = correct(balance, period="2026-11", energy_wh=12_000, time_s=0)
    assert (running.energy_wh, corrected.energy_wh) == (10_000, 2_000)
    assert correct(balance, period="2026-10", energy_wh=1, time_s=1) == balance


PASS = {"id": "p", "free": True, "day_pass": {"price": "12.00", "vat": 19, "duration_s": 86_400}}


def test_the_first_session_of_a_day_pass_pays_it_and_the_others_do_not():
    plan = load_plan(PASS)
    first, balance = charged(plan)
    again, _ = charged(plan, balance=balance)
    late = msgspec.structs.replace(balance, pass_until=AT)
    anew, _ = charged(plan, balance=late)
    assert [b.invoice.payable_minor for b in (first, again, anew)] == [1428, 0, 1428]


def test_a_session_that_never_charged_gives_the_pass_back():
    plan = load_plan(PASS)
    grant, balance = reserve(plan, None, at=AT, local_day=DAY)
    assert cancel_grant(plan, balance, grant).pass_until is None
    compiled = compile_tariff(load_tariff(DOCUMENT), time_zone="UTC", plan=plan)
    assert payable_minor(compiled, begin(compiled, at=AT, grant=grant)) == 0


def test_a_plan_is_for_accounts_or_groups_and_for_a_time():
    plan = Plan(id="p", accounts=("a",), groups=("staff",), valid_from=AT, valid_until=AT + timedelta(days=1))
    assert plan.holds(account="a", group="")
    assert plan.holds(account="b", group="staff")
    assert not plan.holds(account="b", group="")
    assert [plan.valid_at(AT + timedelta(days=d)) for d in (-1, 0, 1)] == [False, True, False]


def test_a_balance_without_a_period_is_one_of_the_sessions_period():
    plan = load_plan({"id": "p", "included": {"energy_wh": 9000}, "balance": {"energy_wh": 700}})
    assert grant_of(plan, at=AT, local_day=DAY).energy_wh == 700
    stale = load_plan(
        {"id": "p", "included": {"energy_wh": 9000}, "balance": {"period": "2026-10", "energy_wh": 700}}
    )
    assert grant_of(stale, at=AT, local_day=DAY).energy_wh == 9000


def test_a_plan_goes_through_json_and_keeps_its_tariff():
    plan = load_plan({"id": "p", "tariff": DOCUMENT, "percent_off": {"ENERGY": "12.5"}, "groups": ["staff"]})
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([], "object"),
        ({}, "plan.id"),
        ({"id": "p", "percentOff": {}}, "plan.percentOff"),
        ({"id": "p", "percent_off": {"ENERGY": 101}}, "plan.percent_off.ENERGY"),
        ({"id": "p", "period": "WEEK"}, "plan.period"),
        ({"id": "p", "included": {"kwh": 5}}, "plan.included.kwh"),
        ({"id": "p", "day_pass": {"price": 1}}, "plan.day_pass.duration_s"),
        ({"id": "p", "tariff": {"id": "1"}}, "plan.tariff.currency"),
        ({"id": "p", "included": {"energy_wh": -1}}, "plan.included.energy_wh"),
        ({"id": "p", "free": "yes"}, "plan.free"),
        ({"id": "p", "accounts": [1]}, "plan.accounts[0]"),
    ],
)
def test_mistakes_are_refused_with_their_place(value, place):
    with pytest.raises(PlanError, match=place.replace("[", r"\[")):
        load_plan(value)


def test_the_member_reads_what_is_left():
    plan = Plan(id="p", name="Gold", included_energy_wh=50_000, included_time_s=7200)
    (line,) = plan_lines(
        plan,
        PlanBalance(period="2026-11", energy_wh=12_500, time_s=3600),
        tariff=load_tariff(DOCUMENT),
        language="de",
    )
    assert (line.label, line.amount, line.note) == (
        "Mitgliedschaft",
        "Gold",
        "12,5 kWh inklusive, 1 h inklusive",
    )
    (line,) = plan_lines(load_plan(PASS), None, tariff=load_tariff(DOCUMENT))
    assert line.note == "day pass €14.28, valid 24 h"


def test_without_a_plan_the_tariff_is_the_chargers():
    tariff = load_tariff(DOCUMENT)
    assert member_tariff(tariff, None) is tariff
    assert member_tariff(tariff, Plan(id="p")) is tariff


def test_a_day_pass_in_another_currency_cannot_stand_on_the_bill():
    plan = load_plan({**PASS, "currency": "CHF"})
    with pytest.raises(PlanError, match="CHF"):
        compile_tariff(load_tariff(DOCUMENT), time_zone="UTC", plan=plan)
