"""The price in words: complete, with tax, in AFIR's order, now and later, in two languages."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from edge.domain.pricing import compile_tariff, quote
from edge.domain.tariffs import load_tariff, price_lines, words
from edge.domain.tariffs.languages import LANGUAGES

BERLIN = ZoneInfo("Europe/Berlin")


def tariff(*elements: dict, **fields: object):
    return load_tariff({"id": "1", "currency": "EUR", "elements": list(elements), **fields})


def element(*components: tuple, **restrictions: object) -> dict:
    shaped = [
        {"type": kind, "price": price, "vat": 19, "step_size": (*step, 1)[0]}
        for kind, price, *step in components
    ]
    return {"price_components": shaped} | ({"restrictions": restrictions} if restrictions else {})


def told(t, hour: int = 12, language: str = "en", day: int = 24):
    at = datetime(2026, 11, day, hour, tzinfo=BERLIN)
    sections = words(t, at=at, time_zone="Europe/Berlin", language=language)
    return [
        (s.heading, [" | ".join(filter(None, (x.label, x.amount, x.note))) for x in s.lines])
        for s in sections
    ]


EVERYTHING = tariff(
    element(("FLAT", "1.00"), ("PARKING_TIME", "6.00")),
    element(("TIME", "0.60")),
    element(("ENERGY", "0.50")),
)


def test_the_order_is_kwh_minute_session_and_other_with_tax():
    assert told(EVERYTHING) == [
        (
            "now",
            [
                "Energy | €0.595/kWh | incl. 19% VAT",
                "Charging time | €0.0119/min | incl. 19% VAT",
                "Parking after charging | €0.119/min | incl. 19% VAT",
                "Per session | €1.19 | incl. 19% VAT",
            ],
        )
    ]


def test_german_has_its_own_decimals_and_words():
    assert told(EVERYTHING, language="de")[0] == (
        "jetzt",
        [
            "Energie | 0,595 €/kWh | inkl. 19 % MwSt.",
            "Ladezeit | 0,0119 €/min | inkl. 19 % MwSt.",
            "Parken nach dem Laden | 0,119 €/min | inkl. 19 % MwSt.",
            "Je Ladevorgang | 1,19 € | inkl. 19 % MwSt.",
        ],
    )


def test_a_language_that_is_not_known_is_english():
    assert told(EVERYTHING, language="xx") == told(EVERYTHING)


NIGHT = tariff(element(("ENERGY", "0.40"), start_time="22:00", end_time="06:00"), element(("ENERGY", "0.50")))


@pytest.mark.parametrize(
    ("hour", "headings"),
    [(12, ["now", "from 22:00", "from Wed 06:00"]), (23, ["now", "from 06:00", "from Wed 22:00"])],
)
def test_prices_by_time_of_day_are_told_now_and_later(hour, headings):
    sections = told(NIGHT, hour)
    assert [heading for heading, _ in sections] == headings
    night, day = "Energy | €0.476/kWh | incl. 19% VAT", "Energy | €0.595/kWh | incl. 19% VAT"
    assert [lines for _, lines in sections][:2] == ([[day], [night]] if hour == 12 else [[night], [day]])


def test_one_list_notes_when_the_next_price_starts():
    at = datetime(2026, 11, 24, 12, tzinfo=BERLIN)
    lines = price_lines(NIGHT, at=at, time_zone="Europe/Berlin", language="de")
    assert [(x.amount, x.note) for x in lines] == [
        ("0,595 €/kWh", "inkl. 19 % MwSt."),
        ("0,476 €/kWh", "ab 22:00, inkl. 19 % MwSt."),
    ]


def test_tiers_grace_and_steps_stand_beside_the_price():
    t = tariff(
        element(("ENERGY", "0.00"), max_kwh=1),
        element(("ENERGY", "0.50", 100)),
        element(("PARKING_TIME", "6.00", 300), min_duration=14400),
        max_price={"excl_vat": 100, "incl_vat": 119},
        min_price={"excl_vat": 1},
    )
    assert told(t)[0][1] == [
        "Energy | free | up to 1 kWh",
        "Energy | €0.595/kWh | in steps of 100 Wh, incl. 19% VAT",
        "Parking after charging | €0.119/min | from 4 h of the session on, in steps of 5 min, incl. 19% VAT",
        "Minimum price | €1.19",
        "Maximum price | €119.00",
    ]


def test_free_charging_says_so():
    assert told(tariff(element(("FLAT", "0.00"))))[0][1] == ["Charging is free | free"]


def test_reservations_come_last():
    t = tariff(element(("FLAT", "2.00"), reservation="RESERVATION"), element(("ENERGY", "0.50")))
    assert told(t)[0][1][-1] == "Reservation fee | €2.38 | incl. 19% VAT"


def test_a_price_per_hour_without_an_exact_price_per_minute_is_told_per_hour():
    assert told(tariff(element(("TIME", "2.00"))))[0][1] == ["Charging time | €2.38/h | incl. 19% VAT"]


@pytest.mark.parametrize("hour", [3, 12, 23])
def test_the_words_are_what_a_quote_costs(hour):
    at = datetime(2026, 11, 24, hour, tzinfo=BERLIN)
    (line, *_), *_ = (s.lines for s in words(NIGHT, at=at, time_zone="Europe/Berlin"))
    bill = quote(compile_tariff(NIGHT, time_zone="Europe/Berlin"), at=at, energy_wh=1_000_000, duration_s=60)
    assert line.amount == f"€{bill.invoice.payable_minor / 100_000:.3f}/kWh"


def test_every_language_has_every_phrase():
    shapes = [
        (set(x.labels), set(x.units), set(x.limits), set(x.steps), len(x.weekdays))
        for x in LANGUAGES.values()
    ]
    assert all(shape == shapes[0] for shape in shapes)
