"""The worked examples of OCPI mod_tariffs and mod_cdrs, and what OCPP 2.1 says about its tariffs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from edge.domain.pricing import (
    Bill,
    History,
    Interval,
    PricingError,
    Reservation,
    begin,
    compile_tariff,
    extend,
    extend_all,
    rational,
    settle,
)
from edge.domain.tariffs import load_tariff
from edge.errors import TariffError

BERLIN = ZoneInfo("Europe/Berlin")


def component(kind: str, price: str, vat: float | None = None, step: int = 1) -> dict:
    return {"type": kind, "price": price, "step_size": step} | ({} if vat is None else {"vat": vat})


def tariff(*elements: dict, **fields: object) -> dict:
    return {"id": "t", "currency": "EUR", "elements": list(elements), **fields}


def element(*components: dict, **restrictions: object) -> dict:
    return {"price_components": list(components)} | ({"restrictions": restrictions} if restrictions else {})


def bill(document: dict, start: datetime, *parts: tuple, reservation: Reservation | None = None) -> Bill:
    """Parts: (minutes, kWh, state, power_w, current_ma), the last ones may be left out."""
    compiled = compile_tariff(load_tariff(document), time_zone="Europe/Berlin")
    accrual, at = begin(compiled, at=start, reservation=reservation), start.astimezone(UTC)
    for minutes, kwh, *more in parts:
        state, power, current = (*more, *("Charging", None, None)[len(more) :])
        at += timedelta(minutes=minutes)
        accrual = extend(
            compiled,
            accrual,
            Interval(end=at, energy_wh=Fraction(kwh) * 1000, state=state, power_w=power, current_ma=current),
        )
    return settle(compiled, accrual)


def totals(b: Bill) -> tuple[str, str]:
    return tuple(
        str(Decimal(f.numerator) / f.denominator)
        for f in (Fraction(rational(b.before_taxes)), Fraction(rational(b.after_taxes)))
    )


MONDAY = datetime(2026, 11, 23, 9, 30, tzinfo=BERLIN)
START_FEE = component("FLAT", "0.50", 20)
ENERGY = component("ENERGY", "0.25", 10)
FULL = "SuspendedEV"


@pytest.mark.parametrize(
    ("document", "start", "parts", "expected"),
    [
        (tariff(element(ENERGY)), MONDAY, [(60, 20)], ("5", "5.5")),
        (tariff(element(START_FEE, ENERGY)), MONDAY, [(60, 20)], ("5.5", "6.1")),
        (
            tariff(element(ENERGY), min_price={"excl_vat": 0.5, "incl_vat": 0.55}),
            MONDAY,
            [(60, 20)],
            ("5", "5.5"),
        ),
        (
            tariff(element(ENERGY), min_price={"excl_vat": 0.5, "incl_vat": 0.55}),
            MONDAY,
            [(60, 1)],
            ("0.5", "0.55"),
        ),
        (
            tariff(element(START_FEE, ENERGY, component("PARKING_TIME", "2.00", 20, 900))),
            MONDAY,
            [(60, 20), (40, 0, FULL)],
            ("7", "7.9"),
        ),
        (
            tariff(element(START_FEE, ENERGY), max_price={"excl_vat": 10, "incl_vat": 11}),
            MONDAY,
            [(60, 50)],
            ("10", "11"),
        ),
        (
            tariff(element(START_FEE, ENERGY), max_price={"excl_vat": 10, "incl_vat": 11}),
            MONDAY,
            [(60, 30)],
            ("8", "8.85"),
        ),
        (tariff(element(component("TIME", "2.00", 10, 60))), MONDAY, [(150, 20)], ("5", "5.5")),
        (
            tariff(element(component("TIME", "3.00", 10, 60), component("PARKING_TIME", "5.00", 20, 300))),
            MONDAY,
            [(150, 20), (42, 0, FULL)],
            ("11.25", "12.75"),
        ),
        (
            tariff(element(component("FLAT", "0.50", 20), component("ENERGY", "0.25", 10, 100))),
            MONDAY,
            [(60, "20.45")],
            ("5.625", "6.2375"),
        ),
        (tariff(element(component("FLAT", "0.00"))), MONDAY, [(60, 20)], ("0", "0")),
    ],
)
def test_ocpi_tariff_examples(document, start, parts, expected):
    assert totals(bill(document, start, *parts)) == expected


COMPLEX = tariff(
    element(component("FLAT", "2.50", 15)),
    element(component("TIME", "1.00", 20, 900), max_current=32),
    element(
        component("TIME", "2.00", 20, 600),
        min_current=32,
        day_of_week=["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"],
    ),
    element(component("TIME", "1.25", 20, 600), min_current=32, day_of_week=["SATURDAY", "SUNDAY"]),
    element(
        component("PARKING_TIME", "5.00", 10, 300),
        start_time="09:00",
        end_time="18:00",
        day_of_week=["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"],
    ),
    element(
        component("PARKING_TIME", "6.00", 10, 300),
        start_time="10:00",
        end_time="17:00",
        day_of_week=["SATURDAY"],
    ),
)


def test_the_complex_example_on_a_monday_rounds_only_parking():
    b = bill(COMPLEX, MONDAY, (147, 20, "Charging", None, 16_000), (42, 0, FULL))
    assert totals(b) == ("8.7", "9.94")


def test_the_complex_example_on_a_saturday_after_five_parks_free():
    b = bill(
        COMPLEX,
        datetime(2026, 11, 28, 13, 30, tzinfo=BERLIN),
        (114, 20, "Charging", None, 43_000),
        (71, 0, FULL),
    )
    assert totals(b) == ("12.375", "13.975")


def test_energy_steps_round_the_session_total():
    document = tariff(
        element(component("ENERGY", "0.20", step=500), end_time="17:00"),
        element(component("ENERGY", "0.27", step=500)),
    )
    b = bill(document, datetime(2026, 11, 23, 16, tzinfo=BERLIN), (60, "4.3"), (60, "1.1"))
    assert [line.quantity for line in b.lines] == [4300, 1200]


def test_time_steps_round_the_session_total():
    document = tariff(
        element(component("TIME", "5", step=600), end_time="17:00"), element(component("TIME", "7", step=600))
    )
    b = bill(document, datetime(2026, 11, 23, 16, 54, tzinfo=BERLIN), (28, 5))
    assert [line.quantity for line in b.lines] == [360, 1440]


def test_with_parking_only_parking_is_rounded():
    document = tariff(element(component("TIME", "1", step=600), component("PARKING_TIME", "2", step=600)))
    b = bill(document, MONDAY, (21, 5), (16, 0, FULL))
    assert [(line.dimension, line.quantity) for line in b.lines] == [("TIME", 1260), ("PARKING_TIME", 1200)]


def test_only_parking_is_rounded_even_when_charging_comes_last():
    document = tariff(element(component("TIME", "1", step=600), component("PARKING_TIME", "2", step=600)))
    b = bill(document, MONDAY, (16, 0, FULL), (21, 5))
    assert [(line.dimension, line.quantity) for line in b.lines] == [("TIME", 1260), ("PARKING_TIME", 1200)]


def test_parking_without_a_price_leaves_the_step_to_charging_time():
    document = tariff(element(component("TIME", "1", step=600)))
    b = bill(document, MONDAY, (21, 5), (16, 0, FULL))
    assert [(line.dimension, line.quantity) for line in b.lines] == [("TIME", 1800)]


def test_a_step_of_one_rounds_up_to_a_whole_wh_and_none_is_exact():
    assert bill(tariff(element(component("ENERGY", "0.25"))), MONDAY, (60, "0.1152")).lines[0].quantity == 116
    assert (
        bill(tariff(element(component("ENERGY", "0.25", step=0))), MONDAY, (60, "0.1152")).lines[0].quantity
        == "576/5"
    )


SWITCH = tariff(
    element(
        component("TIME", "1.20", step=1800),
        component("PARKING_TIME", "1.00", step=900),
        start_time="00:00",
        end_time="17:00",
    ),
    element(
        component("TIME", "2.40", step=900),
        component("PARKING_TIME", "1.00", step=900),
        start_time="17:00",
        end_time="20:00",
    ),
    element(component("TIME", "2.40", step=900), start_time="20:00", end_time="23:59"),
)


def test_switching_elements_before_parking():
    b = bill(SWITCH, datetime(2026, 11, 23, 16, 55, tzinfo=BERLIN), (10, 2), (2, 0, FULL))
    assert totals(b)[0] == "0.55"


def test_switching_elements_without_parking():
    b = bill(SWITCH, datetime(2026, 11, 23, 16, 35, tzinfo=BERLIN), (35, 5))
    assert totals(b)[0] == "1.3"


def test_parking_that_becomes_free_keeps_the_step_of_the_element_that_priced_it():
    b = bill(SWITCH, datetime(2026, 11, 23, 19, 40, tzinfo=BERLIN), (15, 2), (10, 0, FULL))
    assert [(line.dimension, line.quantity) for line in b.lines] == [("TIME", 900), ("PARKING_TIME", 900)]


FIRST_FREE = tariff(
    element(component("PARKING_TIME", "2.00", step=60), min_duration=3600, max_duration=14400),
    element(component("PARKING_TIME", "3.00", step=60), min_duration=14400),
    element(component("ENERGY", "0.00"), max_kwh=1),
    element(component("ENERGY", "0.20"), min_kwh=1),
)


def test_the_first_kwh_is_free_and_parking_costs_by_session_duration():
    b = bill(FIRST_FREE, MONDAY, (135, 20), (165, 0, FULL))
    assert totals(b)[0] == "10.3"  # 19 kWh at 0.20, 105 min at 2.00 and 60 min at 3.00


def test_power_bands_hold_for_the_power_of_each_period():
    document = tariff(
        element(component("ENERGY", "0.20"), max_power=16),
        element(component("ENERGY", "0.35"), max_power=32),
        element(component("ENERGY", "0.50")),
    )
    b = bill(
        document, MONDAY, (10, 1, "Charging", 6000), (50, 40, "Charging", 48000), (8, "0.5", "Charging", 4000)
    )
    assert totals(b)[0] == "20.3"


def test_power_that_is_not_known_matches_no_band():
    document = tariff(
        element(component("ENERGY", "0.20"), max_power=16), element(component("ENERGY", "0.50"))
    )
    assert [line.unit_price for line in bill(document, MONDAY, (10, 1)).lines] == [Decimal("0.50")]


def test_free_for_half_an_hour():
    document = tariff(
        element(component("ENERGY", "0.00"), max_duration=1800),
        element(component("ENERGY", "0.25"), max_duration=3600),
        element(component("ENERGY", "0.40")),
    )
    assert totals(bill(document, MONDAY, (30, 5), (10, "1.2")))[0] == "0.3"


def reserved(minutes: int, *, expired: bool = False) -> Reservation:
    return Reservation(begin=MONDAY - timedelta(minutes=minutes), end=MONDAY, expired=expired)


@pytest.mark.parametrize(
    ("elements", "minutes", "used", "expired"),
    [
        ([element(component("TIME", "5.00", 20, 60), reservation="RESERVATION")], 15, ("6.75", "7.6"), None),
        (
            [
                element(
                    component("FLAT", "2.00", 20),
                    component("TIME", "5.00", 20, 300),
                    reservation="RESERVATION",
                )
            ],
            13,
            ("8.75", "10"),
            None,
        ),
        (
            [
                element(component("FLAT", "4.00", 20), reservation="RESERVATION_EXPIRES"),
                element(component("TIME", "2.00", 20, 600), reservation="RESERVATION"),
            ],
            22,
            ("6.5", "7.3"),
            (60, "6", "7.2"),
        ),
        (
            [
                element(component("TIME", "6.00", 20, 600), reservation="RESERVATION_EXPIRES"),
                element(component("TIME", "3.00", 20, 600), reservation="RESERVATION"),
            ],
            22,
            ("7", "7.9"),
            (90, "9", "10.8"),
        ),
    ],
)
def test_reservations(elements, minutes, used, expired):
    document = tariff(*elements, element(START_FEE, ENERGY))
    assert totals(bill(document, MONDAY, (60, 20), reservation=reserved(minutes))) == used
    if expired:
        length, *amounts = expired
        assert totals(bill(document, MONDAY, reservation=reserved(length, expired=True))) == tuple(amounts)


def test_no_session_costs_nothing_not_even_the_minimum():
    document = tariff(element(START_FEE, ENERGY), min_price={"excl_vat": 5})
    assert totals(bill(document, MONDAY)) == ("0", "0")


def test_prices_that_include_tax_are_due_as_their_rounded_gross():
    document = tariff(element(component("ENERGY", "0.59", 19)), tax_included="YES")
    b = bill(document, MONDAY, (60, "12.345"))
    assert Fraction(rational(b.after_taxes)) == Fraction("0.59") * Fraction("12.345")
    assert b.invoice.payable_minor == 728
    assert (b.invoice.total_before_taxes_minor, b.invoice.total_after_taxes_minor) == (612, 728)


def test_a_gross_that_no_net_reaches_names_the_cent_of_rounding():
    document = tariff(element(component("FLAT", "0.09", 19)), tax_included="YES")
    b = bill(document, MONDAY, (60, 1))
    assert (b.invoice.total_after_taxes_minor, b.invoice.rounding_minor, b.invoice.payable_minor) == (
        10,
        -1,
        9,
    )


def test_a_tariff_without_applicable_taxes_has_none():
    document = tariff(element(component("ENERGY", "0.59", 19)), tax_included="N/A")
    b = bill(document, MONDAY, (60, 10))
    assert (totals(b), b.lines[0].taxes) == (("5.9", "5.9"), ())


def test_a_limit_on_one_side_keeps_the_share_of_tax():
    document = tariff(element(component("ENERGY", "0.50", 19)), max_price={"excl_vat": 10})
    b = bill(document, MONDAY, (60, 30))
    assert totals(b) == ("10", "11.9")
    assert [(a.reason, a.amount_minor) for a in b.invoice.allowances] == [("maximum price", 500)]


def test_net_and_gross_limits_bind_independently_and_the_invoice_meets_both():
    document = tariff(
        element(component("FLAT", "5.00", 20), component("ENERGY", "0.25", 10)),
        max_price={"excl_vat": 10, "incl_vat": 11},
    )
    b = bill(document, MONDAY, (60, 20))
    assert totals(b) == ("10", "11")
    assert b.invoice.payable_minor == 1100
    assert b.invoice.total_before_taxes_minor == 1000
    assert (
        sum(c.amount_minor for c in b.invoice.charges)
        == sum(a.amount_minor for a in b.invoice.allowances)
        == 500
    )


def test_a_minimum_charges_in_the_category_of_the_tariff():
    document = tariff(
        element(component("ENERGY", "0.25", 10)), min_price={"excl_vat": "0.50", "incl_vat": "0.55"}
    )
    b = bill(document, MONDAY, (60, 0))
    assert [(c.amount_minor, [t.percent for t in c.taxes]) for c in b.invoice.charges] == [
        (50, [Decimal(10)])
    ]
    assert b.invoice.payable_minor == 55


def test_currencies_round_to_their_own_minor_unit():
    yen = tariff(element(component("ENERGY", "58.5", 10)), currency="JPY")
    assert bill(yen, MONDAY, (60, "10.01")).invoice.payable_minor == 586 + 59
    dinar = tariff(element(component("ENERGY", "0.0155")), currency="KWD")
    assert bill(dinar, MONDAY, (60, 1)).invoice.payable_minor == 16


def test_no_hours_are_rounded_on_the_way():
    parts = [(1, 0)] * 125
    assert totals(bill(tariff(element(component("TIME", "1.20"))), MONDAY, *parts))[0] == "2.5"


def test_load_management_counts_as_neither_time_nor_parking_but_the_session_lasts():
    document = tariff(
        element(component("TIME", "6"), component("PARKING_TIME", "6"), max_duration=3600),
        element(component("TIME", "12")),
    )
    b = bill(document, MONDAY, (30, 5), (30, 0, "SuspendedEVSE"), (10, 1))
    assert [(line.unit_price, line.quantity) for line in b.lines] == [(6, 1800), (12, 600)]


OCPP = {
    "tariffId": "o",
    "currency": "USD",
    "energy": {
        "prices": [{"priceKwh": 0.5, "conditions": {"minEnergy": 1000}}, {"priceKwh": 0.1}],
        "taxRates": [{"type": "State", "tax": 10}, {"type": "City", "tax": 5, "stack": 1}],
    },
    "chargingTime": {"prices": [{"priceMinute": 0.02}]},
    "idleTime": {"prices": [{"priceMinute": 0.10, "conditions": {"minIdleTime": 300}}]},
    "fixedFee": {
        "prices": [{"priceFixed": 2, "conditions": {"startTimeOfDay": "22:00", "endTimeOfDay": "06:00"}}]
    },
}


def test_ocpp_prices_stack_taxes_and_give_grace_to_idle_time():
    b = bill(OCPP, MONDAY, (60, 3), (10, 0, FULL))
    assert [(line.dimension, line.unit_price, line.quantity) for line in b.lines] == [
        ("ENERGY", Decimal("0.5"), 2000),
        ("ENERGY", Decimal("0.1"), 1000),
        ("TIME", Decimal("1.2"), 3600),
        ("PARKING_TIME", 6, 300),
    ]
    energy = b.lines[0]
    assert [Fraction(rational(t.amount)) for t in energy.taxes] == [Fraction("0.1"), Fraction("0.055")]
    assert Fraction(rational(energy.after_taxes)) == Fraction("1.155")


def test_ocpp_asks_the_conditions_of_a_fixed_fee_at_the_start_of_the_transaction():
    evening = datetime(2026, 11, 23, 21, tzinfo=BERLIN)
    fees = [
        [line.dimension for line in bill(OCPP, at, (120, 3)).lines].count("FLAT")
        for at in (evening, evening + timedelta(hours=1))
    ]
    assert fees == [0, 1]


@pytest.mark.parametrize(
    ("day", "hours"),
    [(datetime(2026, 3, 28, 20), 7), (datetime(2026, 10, 24, 20), 9), (datetime(2026, 6, 1, 20), 8)],
)
def test_a_night_band_is_as_long_as_the_night(day, hours):
    document = tariff(element(component("TIME", "1"), start_time="22:00", end_time="06:00"))
    assert bill(document, day.replace(tzinfo=BERLIN), (60 * 13, 50)).lines[0].quantity == hours * 3600


def test_an_hour_that_happens_twice_is_in_its_band_twice_and_one_that_does_not_is_never():
    document = tariff(element(component("TIME", "1"), start_time="02:00", end_time="03:00"))
    autumn = bill(document, datetime(2026, 10, 25, 0, tzinfo=BERLIN), (60 * 5, 5))
    spring = bill(document, datetime(2026, 3, 29, 0, tzinfo=BERLIN), (60 * 5, 5))
    assert [line.quantity for line in autumn.lines] == [7200]
    assert spring.lines == ()


def test_a_bound_inside_the_repeated_hour_cuts_in_both_folds():
    document = tariff(element(component("TIME", "1"), start_time="02:30", end_time="12:00"))
    b = bill(document, datetime(2026, 10, 25, 0, tzinfo=BERLIN), (60 * 5, 5))
    assert b.lines[0].quantity == 1800 + 1800 + 3600  # 02:30-03:00, again 02:30-03:00, 03:00-04:00


def test_weekdays_are_those_of_the_current_local_day():
    document = tariff(
        element(component("TIME", "1"), start_time="22:00", end_time="06:00", day_of_week=["FRIDAY"])
    )
    b = bill(document, datetime(2026, 11, 27, 21, tzinfo=BERLIN), (60 * 10, 5))
    assert b.lines[0].quantity == 2 * 3600


def test_a_cut_may_fall_inside_a_wh_and_the_pieces_sum():
    document = tariff(
        element(component("ENERGY", "1", step=0), end_time="10:00"), element(component("ENERGY", "2", step=0))
    )
    b = bill(document, MONDAY, (90, "0.1"))
    assert [line.quantity for line in b.lines] == ["100/3", "200/3"]


def test_energy_after_a_power_cut_is_a_lump_without_time():
    document = tariff(element(component("ENERGY", "0.50"), component("TIME", "60")))
    b = bill(document, MONDAY, (10, 1), (0, 5), (10, 1))
    assert [(line.dimension, line.quantity) for line in b.lines] == [("ENERGY", 7000), ("TIME", 1200)]


def test_a_lump_is_split_at_the_kwh_it_passes():
    document = tariff(element(component("ENERGY", "1"), max_kwh=2), element(component("ENERGY", "2")))
    assert [line.quantity for line in bill(document, MONDAY, (10, 1), (0, 5)).lines] == [2000, 4000]


def test_time_and_energy_do_not_run_backwards():
    compiled = compile_tariff(load_tariff(tariff(element(ENERGY))), time_zone="UTC")
    accrual = begin(compiled, at=datetime(2026, 1, 1, 12, tzinfo=UTC))
    with pytest.raises(PricingError, match="before it begins"):
        extend(compiled, accrual, Interval(end=datetime(2026, 1, 1, 11, tzinfo=UTC), energy_wh=0))
    with pytest.raises(PricingError, match="negative"):
        extend(compiled, accrual, Interval(end=datetime(2026, 1, 1, 13, tzinfo=UTC), energy_wh=-1))


@pytest.mark.parametrize(("ends", "register"), [((2, 1), (1, 2)), ((1, 2), (2, 1)), ((1, 2), (1,))])
def test_a_history_does_not_run_backwards_either(ends, register):
    with pytest.raises(PricingError):
        History(
            end_us=ends,
            register_wh=register,
            state=("Charging",) * 2,
            power_w=(None,) * 2,
            current_ma=(None,) * 2,
        )


def test_a_history_cannot_begin_before_what_is_known():
    compiled = compile_tariff(load_tariff(tariff(element(ENERGY))), time_zone="UTC")
    accrual = begin(compiled, at=datetime(2026, 1, 1, 12, tzinfo=UTC))
    early = History(end_us=(5,), register_wh=(5,), state=("Charging",), power_w=(None,), current_ma=(None,))
    with pytest.raises(PricingError):
        extend_all(compiled, accrual, early)


def test_a_session_lasts_no_longer_than_a_year_with_or_without_rules_by_time():
    start = datetime(2026, 1, 1, 12, tzinfo=UTC)
    for document in (tariff(element(ENERGY)), tariff(element(ENERGY, end_time="17:00"))):
        compiled = compile_tariff(load_tariff(document), time_zone="Europe/Berlin")
        accrual = extend(
            compiled, begin(compiled, at=start), Interval(end=start + timedelta(hours=1), energy_wh=1)
        )
        with pytest.raises(PricingError, match="year"):
            extend(compiled, accrual, Interval(end=start + timedelta(days=367), energy_wh=1))


def test_a_clock_that_was_never_set_still_meters_a_tariff_without_times():
    compiled = compile_tariff(load_tariff(tariff(element(ENERGY))), time_zone="America/Los_Angeles")
    start = datetime(1970, 1, 1, tzinfo=UTC)
    accrual = extend(
        compiled, begin(compiled, at=start), Interval(end=start + timedelta(hours=1), energy_wh=4000)
    )
    assert settle(compiled, accrual).lines[0].quantity == 4000


def test_no_session_begins_before_there_were_computers_to_meter_it():
    compiled = compile_tariff(load_tariff(tariff(element(ENERGY))), time_zone="UTC")
    with pytest.raises(PricingError, match="1969"):
        begin(compiled, at=datetime(1969, 12, 31, tzinfo=UTC))


def test_prices_for_ac_and_dc_need_the_kind_of_the_evse():
    document = {
        "tariffId": "o",
        "currency": "EUR",
        "energy": {"prices": [{"priceKwh": 0.4, "conditions": {"evseKind": "AC"}}, {"priceKwh": 0.6}]},
    }
    with pytest.raises(TariffError, match="AC"):
        compile_tariff(load_tariff(document), time_zone="UTC")
    for kind, price in (("AC", "0.4"), ("DC", "0.6")):
        compiled = compile_tariff(load_tariff(document), time_zone="UTC", evse_kind=kind)
        accrual = extend(
            compiled, begin(compiled, at=MONDAY), Interval(end=MONDAY + timedelta(hours=1), energy_wh=1000)
        )
        assert settle(compiled, accrual).lines[0].unit_price == Decimal(price)
