"""A price that needs the time, while the time is not known: the fallback is shown, sold and named, or nothing is."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

from edge.documents.formats import format_named, render
from edge.documents.sale import Sale as Document
from edge.domain.identity import Member
from edge.domain.instant import Instant
from edge.domain.invoice import Place, Seller
from edge.domain.ledger.facts import SessionOpened
from edge.domain.plan import freeze_plan
from edge.domain.session.state import open_sessions
from edge.domain.session.terms import Rules
from edge.domain.tariffs import freeze
from edge.runtime.offers import Offers, Sale
from edge.runtime.plans import PlanBook
from edge.runtime.shelf import OnSale, Shelf
from edge.store.reading import Reading
from hw.virtual.clock import VirtualClock
from tests.runtime.test_controller import TOKEN, Rig

NIGHT = {"start_time": "22:00", "end_time": "06:00"}


def tariff(*prices, restrictions=None):
    elements = [
        {"price_components": [{"type": "ENERGY", "price": price, "vat": 19, "step_size": 1}]}
        for price in prices
    ]
    if restrictions is not None:
        elements[0]["restrictions"] = restrictions
    document = {
        "country_code": "DE", "party_id": "X", "id": str(prices), "currency": "EUR", "elements": elements,
        "last_updated": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    return freeze(json.dumps(document).encode())


TIMED, PLAIN, FALLBACK = tariff(0.29, 0.49, restrictions=NIGHT), tariff(0.5), tariff(0.59)


def at(seconds=0.0):
    return Instant(
        utc=datetime(2026, 6, 1, tzinfo=UTC) + timedelta(seconds=seconds),
        boot_id="b",
        monotonic_ns=int(seconds * 1e9),
    )


def offers(sold=TIMED, fallback=FALLBACK, plans=()):
    place = Place(evse_id="E", label="1", address="A", time_zone="Europe/Berlin")
    seller = Seller(name="S", address="A", country="DE", tax_id="T")
    sale = Sale(place=place, seller=seller, rated_power_w=22_000, evse_kind="AC", languages=("en",))
    shelf = Shelf(
        OnSale(tariff=sold, hold_minor=5000, rules=Rules(), fallback=fallback), documents={}, in_use=set
    )
    return Offers(sale, shelf, PlanBook(plans, {}, {}), refusal=lambda: None)


def sold(of, *, trusted, member=None):
    terms = of.on_sale(member, now=at(), clock_trusted=trusted)
    return terms.tariff_hash, terms.fallback, terms.refusal


def test_the_fallback_stands_in_only_while_the_price_needs_a_time_that_is_not_known():
    assert sold(offers(), trusted=True) == (TIMED.hash, False, None)
    assert sold(offers(), trusted=False) == (FALLBACK.hash, True, None)
    assert sold(offers(sold=PLAIN), trusted=False) == (PLAIN.hash, False, None)
    assert sold(offers(fallback=None), trusted=False) == (TIMED.hash, False, "clock_untrusted")


def test_a_member_s_plan_goes_with_the_fallback_unless_the_plan_needs_the_time_itself():
    member = Member(account="A", token=TOKEN.value, limit_minor=5000, currency="EUR")
    for plan, found in (
        ({"percent_off": {"ENERGY": 10}}, (FALLBACK.hash, True, None)),
        ({"included": {"energy_wh": 5000}}, (TIMED.hash, False, "clock_untrusted")),
        ({"valid_until": "2027-01-01T00:00:00Z"}, (TIMED.hash, False, "clock_untrusted")),
    ):
        of = offers(plans=(freeze_plan({"id": "gold", "accounts": ["A"], **plan}),))
        assert sold(of, trusted=False, member=member) == found


def test_whoever_taps_when_the_clock_is_set_reads_the_usual_price_first():
    of = offers()
    of.drawn(at(0), clock_trusted=False)
    assert not of.is_news(at(1), clock_trusted=False)
    assert of.is_news(at(10), clock_trusted=True), "the screen still shows the other price"
    of.drawn(at(10), clock_trusted=True)
    assert of.is_news(at(11.9), clock_trusted=True)
    assert not of.is_news(at(12), clock_trusted=True)


def test_a_session_at_the_fallback_price_keeps_it_and_its_invoice_says_why(tmp_path, monkeypatch):
    known = []  # the time, once somebody has set the clock
    monkeypatch.setattr(VirtualClock, "trusted", lambda _: bool(known))

    async def story():
        rig = Rig(tmp_path)
        # forty times as fast: a busy machine gets the longest of all patience
        rules = Rules(
            show_end_s=10, silence_max_s=3600, stale_s=60, answer_timeout_s=600, prepare_timeout_s=300
        )
        rig.shelf.on_sale = OnSale(tariff=TIMED, hold_minor=5000, rules=rules, fallback=FALLBACK)
        rig.task = asyncio.create_task(rig.controller.run())
        try:
            await rig.charge()
            assert (rig.screen.view.fallback, rig.screen.view.price["en"][0].amount) == (True, "€0.7021/kWh")
            await rig.until(lambda: rig.evse.wh() > 50, "nothing flows")
            known.append(True)
            rig.evse.pilot = "A"
            await rig.until(lambda: rig.controller.state.last is not None, "the session does not end")
            await rig.until(lambda: not open_sessions(rig.controller.state), "no invoice")
            await rig.until(rig.shows("idle"), "not idle again")
            assert not rig.screen.view.fallback, "the usual price is on sale again"
        finally:
            rig.task.cancel()
            await asyncio.wait({rig.task})
            rig.store.close()

    asyncio.run(story())
    with Reading(tmp_path / "t.db") as db:
        (invoice,) = db.invoices()
        opened, _ = db.settled(invoice.draft.session_id)
    assert isinstance(opened, SessionOpened)
    assert (opened.tariff_hash, opened.fallback) == (FALLBACK.hash, True)
    priced = invoice.draft.tariff
    assert (priced.hash, priced.fallback, invoice.draft.dated) == (FALLBACK.hash, True, True)
    for form, told in (("html", "clock was not set"), ("receipt-58", b"%PDF"), ("ubl", "clock was not set")):
        document = render(format_named(form), Document(invoice=invoice), language="en")
        assert (told if isinstance(told, bytes) else told.encode()) in document
    assert json.loads(render(format_named("json"), Document(invoice=invoice), language="en"))["tariff"] == {
        "hash": FALLBACK.hash, "text": priced.text, "fallback": True,
    }  # fmt: skip
