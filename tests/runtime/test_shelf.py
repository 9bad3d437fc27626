"""What is sold may change at any time; what was sold stays, and nobody buys at a price that was not shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from edge.domain.instant import Instant
from edge.domain.session.terms import Rules
from edge.domain.tariffs import freeze
from edge.runtime.settings import SettingRefused, Settings, changed
from edge.runtime.shelf import BLOCKED, OnSale, PriceTag, Shelf


def tariff(price: float):
    return freeze(
        json.dumps(
            {
                "country_code": "DE",
                "party_id": "X",
                "id": f"T{price}",
                "currency": "EUR",
                "elements": [{"price_components": [{"type": "ENERGY", "price": price, "step_size": 1}]}],
                "last_updated": "2026-01-01T00:00:00Z",
            }
        ).encode()
    )


def on_sale(price: float) -> OnSale:
    return OnSale(tariff=tariff(price), hold_minor=5000, rules=Rules())


def at(seconds: float) -> Instant:
    return Instant(utc=datetime(2026, 6, 1, tzinfo=UTC), boot_id="b", monotonic_ns=int(seconds * 1e9))


def test_the_document_of_an_open_session_outlives_every_change() -> None:
    used = {tariff(0.5).hash}
    shelf = Shelf(on_sale(0.5), documents={}, in_use=lambda: used)
    for n in range(1, 60):
        shelf.put(on_sale(0.5 + n))
    assert shelf.find(tariff(0.5).hash) == tariff(0.5).document
    assert shelf.find(tariff(58.5).hash), "a tap may be on its way into the journal"
    with pytest.raises(KeyError):
        shelf.find(tariff(2.5).hash)


def test_a_price_is_news_until_it_was_drawn_and_could_be_read() -> None:
    tag = PriceTag()
    assert not tag.is_news("old", at(0)), "nobody has seen anything yet"
    tag.drawn("old", at(0))
    assert not tag.is_news("old", at(0.1))
    assert tag.is_news("new", at(1))
    tag.drawn("new", at(2))
    assert tag.is_news("new", at(3.9))
    assert not tag.is_news("new", at(4))
    tag.drawn("new", at(5))
    assert not tag.is_news("new", at(5)), "it is the same price"


def test_a_blocked_evse_says_why() -> None:
    shelf = Shelf(on_sale(0.5), documents={}, in_use=set)
    shelf.blocked = {"E1": "works"}
    assert (shelf.refusal("E1"), shelf.refusal("E2")) == (BLOCKED, None)


OWN = Settings(hold_minor=5000, rules=Rules(plug_timeout_s=120))


def test_settings_are_changed_by_their_names_and_given_back() -> None:
    found = changed(OWN, {"tariff.hold_minor": 700, "session.resume_max_s": 0}, polls_s=[1.0])
    assert (found.hold_minor, found.rules.resume_max_s, found.rules.plug_timeout_s) == (700, 0, 120)
    assert changed(OWN, {"tariff.hold_minor": None, "session.resume_max_s": None}, polls_s=[1.0]) == OWN


@pytest.mark.parametrize(
    "values",
    [
        {"tariff.hold_minor": 0},
        {"tariff.hold_minor": "much"},
        {"session.plug_timeout_s": 1},
        {"session.plug_timeout_s": 1.5},
        {"session.stale_s": 5},
        {"session.nonsense": 1},
        {"session.nonsense": None},
        {"mqtt.brokers": "elsewhere:1883"},
        {"plug_timeout_s": 60},
        {"tariff.hold_minor": 700, "device.name": "x"},
    ],
)
def test_a_setting_that_the_configuration_would_refuse_is_refused_whole(values) -> None:
    with pytest.raises(SettingRefused) as refused:
        changed(OWN, values, polls_s=[3.0])
    assert refused.value.code == "order.setting"
