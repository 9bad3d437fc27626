"""The page in a real browser: what it says, what can be touched, and how it lives with the till."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

import edge
from edge.domain.money import from_minor
from edge.domain.view import Notice, PriceLine
from edge.kiosk import Answer
from tests.kiosk.conftest import CHROMIUM
from tests.kiosk.states import FAULTS, LANDSCAPE, PORTRAIT, REAL_PRICE, STATES, metered, paid, view

pytestmark = pytest.mark.usefixtures("swift")
expect.set_options(timeout=30_000)


def open_page(page: Page, till: Any, query: str = "") -> None:
    page.goto(till.url + "/" + query)
    expect(page.locator("article:not(.moment)")).to_be_visible()


def text(page: Page) -> str:
    return page.locator("#stage").inner_text().replace("\u00a0", " ")


def language(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name)


@pytest.mark.parametrize(("theme", "ground"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(5, 13, 22)")])
def test_a_theme_can_be_set_for_good(start_till: Any, page: Page, theme: str, ground: str) -> None:
    till = start_till(theme=theme)
    till.show(view())
    page.emulate_media(color_scheme="light" if theme == "dark" else "dark")
    open_page(page, till)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground


@pytest.mark.parametrize("reader", ["left", "right", "above", "below"])
def test_an_arrow_points_to_the_reader(start_till: Any, page: Page, reader: str) -> None:
    till = start_till(reader=reader)
    till.show(view())
    open_page(page, till)
    assert page.evaluate(FAULTS) == []
    card, arrow = page.locator(".pictures .picture").first, page.locator(".pictures .arrow")
    a, b = card.bounding_box(), arrow.bounding_box()
    assert a is not None
    assert b is not None
    turned = page.evaluate("getComputedStyle(document.querySelector('.arrow')).rotate")
    assert {
        "left": b["x"] < a["x"] and turned == "180deg",
        "right": b["x"] > a["x"] and turned == "none",
        "above": b["y"] < a["y"] and turned == "-90deg",
        "below": b["y"] > a["y"] and turned == "90deg",
    }[reader]


def test_the_price_comes_first_complete_with_tax_and_hold(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(view())
    open_page(page, till)
    language(page, "Deutsch").click()
    expect(page.locator(".amount")).to_have_text("0,49 €/kWh")
    for said in ("inkl. 19 % MwSt.", "0,10 €/min", "ab 4 h, höchstens 12,00 €", "1,00 €", "50,00 €"):
        assert said in text(page)
    sizes = page.evaluate(
        "[...document.querySelectorAll('#stage *')].map((e) => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('.amount')).fontSize)") == max(
        sizes
    )


@pytest.mark.parametrize(
    ("minor", "currency", "exponent"),
    [
        (705, "EUR", 2),
        (5, "EUR", 2),
        (0, "EUR", 2),
        (9_007_199_254_740_991, "EUR", 2),
        (1_005, "KWD", 3),
        (1_234, "JPY", 0),
    ],
)
def test_amounts_are_exact_in_every_currency(
    start_till: Any, page: Page, minor: int, currency: str, exponent: int
) -> None:
    till = start_till(languages=("de",))
    till.show(metered(cost_minor=minor, currency=currency, exponent=exponent))
    open_page(page, till)
    shown = page.locator(".figure dd").first.inner_text()
    digits = "".join(c for c in shown if c.isdigit() or c == ",").replace(",", ".")
    assert Decimal(digits) == from_minor(minor, currency)
    assert len(digits.partition(".")[2]) == exponent


def test_a_tax_that_every_line_names_is_said_once_for_all_of_them(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(view(price=REAL_PRICE))
    open_page(page, till)
    assert text(page).count("19%") == 1
    assert "All prices incl. 19% VAT" in text(page)
    assert "from 4 h of the session on, in steps of 1 min\n" in text(page)


def test_a_price_that_fills_the_panel_is_set_denser_and_still_complete(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(view(price=REAL_PRICE))
    open_page(page, till)
    for width, height in (LANDSCAPE, PORTRAIT):
        page.set_viewport_size({"width": width, "height": height})
        expect(page.locator(".offer")).to_be_visible()
        for said in ("€0.490042", "€5.99998/h", "€0.999957", "€50.00"):
            box = page.get_by_text(said).locator("visible=true").first.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= height
    till.show(view())
    expect(page.locator(".dense")).to_have_count(0)


def test_figures_are_written_as_the_language_writes_them(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(metered())
    open_page(page, till)
    for said in ("€7.05", "12.345 kWh", "1:06:20", "11.0 kW now"):
        assert said in text(page)
    language(page, "Deutsch").click()
    for said in ("7,05 €", "12,345 kWh", "1:06:20", "jetzt 11,0 kW"):
        assert said in text(page)


def test_what_is_unknown_is_said_and_never_drawn_as_zero(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(*(metered(seconds=s, power_w=w) for s, w in ((0, 5_000), (10, None), (20, 5_000))))
    till.show(metered(energy_wh=None, cost_minor=None, power_w=None, seconds=None))
    open_page(page, till)
    assert text(page).count("not known yet") == 3
    assert "0.000" not in text(page)
    assert (page.locator(".curve .line").get_attribute("d") or "").count("M") == 2


def test_charging_is_live(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(metered(seconds=0))
    open_page(page, till)
    before = page.locator(".curve .line").get_attribute("d")
    till.show(metered(seconds=60, energy_wh=12_529, cost_minor=714))
    expect(page.locator(".figures")).to_contain_text("€7.14")
    expect(page.locator(".figures")).to_contain_text("12.529")
    assert page.locator(".curve .line").get_attribute("d") != before


def test_the_countdown_goes_on_between_two_views(start_till: Any, page: Page) -> None:
    page.clock.install()
    till = start_till()
    till.show(view("plug_in", seconds_left=90))
    open_page(page, till)
    expect(page.locator(".clock")).to_contain_text(re.compile(r"1:[0-3]\d"))
    page.clock.run_for(31_000)
    expect(page.locator(".clock")).to_contain_text(re.compile(r"0:[0-5]\d"))


def test_the_receipt_is_a_code_to_scan_or_said_to_come_later(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(paid())
    open_page(page, till)
    code = page.get_by_role("img", name="Scan for your receipt")
    expect(code).to_be_visible()
    assert page.evaluate("document.querySelector('.qr').naturalWidth") > 0
    assert "Paid by card. Of €50.00 reserved, €42.95 are released" in text(page)
    till.show(paid(online=False))
    expect(page.locator(".receipt")).to_contain_text("available once the charger is online")
    expect(code).to_be_visible()
    till.show(paid(receipt_url=None))
    expect(code).to_have_count(0)
    assert "under this number" in text(page)
    assert "CT-7Q2M-000042" in text(page)


def test_the_chosen_language_lasts_for_the_session_and_not_for_the_next_driver(
    start_till: Any, page: Page
) -> None:
    till = start_till()
    till.show(view())
    open_page(page, till)
    language(page, "Deutsch").click()
    for state in (view("authorizing"), metered(), paid()):
        till.show(state)
        expect(page.locator(f".single.{state.kind}")).to_be_visible()
        assert page.evaluate("document.documentElement.lang") == "de"
    till.show(view())
    expect(page.locator(".single.idle")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "en"


def test_a_driver_who_only_looked_leaves_no_language_behind(start_till: Any, page: Page) -> None:
    page.clock.install()
    till = start_till()
    till.show(view())
    open_page(page, till)
    language(page, "Deutsch").click()
    page.clock.run_for(30_000)
    expect(page.locator("h1")).to_have_text("Bereit")
    page.clock.run_for(32_000)
    expect(page.locator("h1")).to_have_text("Ready")


def test_a_driver_who_is_told_why_a_card_failed_reads_it_in_the_chosen_language(
    start_till: Any, page: Page
) -> None:
    page.clock.install()
    till = start_till()
    till.show(view())
    open_page(page, till)
    page.clock.run_for(61_000)
    language(page, "Deutsch").click()
    till.show(view("authorizing"))
    expect(page.locator(".single.authorizing")).to_be_visible()
    till.show(view(notice=Notice(code="declined", serial=1)))
    expect(page.get_by_role("alert")).to_contain_text("Ihre Karte wurde abgelehnt")
    page.clock.run_for(5_000)
    expect(page.get_by_role("alert")).to_contain_text("Ihre Karte wurde abgelehnt")
    expect(page.locator("h1")).to_have_text("Bereit")


def test_a_shared_display_forgets_a_language_while_others_still_charge(start_till: Any, page: Page) -> None:
    page.clock.install()
    till = start_till()
    till.show(*STATES["two"])
    open_page(page, till)
    language(page, "Deutsch").click()
    expect(page.locator("h1")).to_have_text("Karte ans Terminal oder an den Leser")
    page.clock.run_for(62_000)
    expect(page.locator("h1")).to_have_text("Card to the terminal or reader")


def test_nothing_of_the_last_driver_stays_in_the_page(start_till: Any, page: Page) -> None:
    till = start_till(Actions())
    till.show(metered(stop_code="4711", stoppable=True))
    open_page(page, till)
    till.show(paid())
    expect(page.locator(".single.paid")).to_be_visible()
    till.show(view())
    expect(page.locator(".single.idle")).to_be_visible()
    left = page.content()
    for private in ("4711", "CT-7Q2M", "7.05", "12.345", "data:image/svg", "M0.0"):
        assert private not in left
    assert page.get_by_role("status").inner_text() == "Ready. Hold your card or phone here"
    heard = page.evaluate("fetch('/state').then((reply) => reply.text())")
    for private in ("4711", "CT-7Q2M", "pay.example", "data:image", "12345"):
        assert private not in heard
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


def test_the_page_says_one_moment_while_the_till_is_away_and_comes_back_by_itself(
    start_till: Any, page: Page
) -> None:
    till = start_till()
    till.show(metered())
    open_page(page, till)
    till.stop()
    expect(page.locator(".moment h1")).to_have_text("One moment")
    assert "7.05" not in page.content()
    again = start_till(port=till.port)
    again.show(view())
    expect(page.locator(".single.idle")).to_be_visible()


def test_a_till_with_another_page_makes_the_page_load_itself_again(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(view())
    open_page(page, till)
    till.stop()
    again = start_till(port=till.port, languages=("de", "en"))
    again.show(view())
    expect(page.locator("h1")).to_have_text("Bereit")


def test_a_stream_that_falls_silent_is_given_up(start_till: Any, page: Page) -> None:
    page.clock.install()
    till = start_till()
    till.show(view())
    open_page(page, till)
    page.route("**/events", lambda route: route.abort())
    page.clock.run_for(13_000)
    expect(page.locator(".moment")).to_be_visible()


def test_a_notice_is_over_when_its_driver_goes_on(start_till: Any, page: Page) -> None:
    till = start_till()
    notice = Notice(code="card_unknown", serial=1)
    till.show(view(notice=notice))
    open_page(page, till)
    expect(page.get_by_role("alert")).to_contain_text("not known")
    till.show(view("authorizing", notice=notice))
    expect(page.locator(".single.authorizing")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_notice_for_every_evse_names_none_of_them(start_till: Any, page: Page) -> None:
    till = start_till()
    notice = Notice(code="busy", serial=1)
    till.show(view(notice=notice), view(evse_id="E2", label="B", notice=notice))
    open_page(page, till)
    expect(page.get_by_role("alert")).to_have_text("One moment, then hold your card again")


def test_a_notice_passes_and_is_not_shown_twice(start_till: Any, page: Page) -> None:
    page.clock.install()
    till = start_till()
    till.show(view(notice=Notice(code="card_unknown", serial=7)))
    open_page(page, till)
    banner = page.get_by_role("alert")
    expect(banner).to_contain_text("not known here")
    page.clock.run_for(9_500)
    expect(banner).to_be_empty()
    till.show(view(vehicle_connected=True, notice=Notice(code="card_unknown", serial=7)))
    expect(page.locator(".head")).to_contain_text("The cable is in")
    expect(banner).to_be_empty()
    till.show(view(notice=Notice(code="from_a_newer_till", serial=8)))
    expect(banner).to_contain_text("Please try again")


def test_a_screen_reader_hears_each_change_once_and_no_ticking(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(view())
    open_page(page, till)
    status = page.get_by_role("status")
    expect(status).to_have_text("Ready. Hold your card or phone here")
    page.evaluate(
        "new MutationObserver((m) => (window.heard = (window.heard ?? 0) + m.length))"
        ".observe(document.getElementById('announcer'), {childList: true, characterData: true, subtree: true})"
    )
    for seconds in range(5):
        till.show(metered(seconds=seconds, energy_wh=seconds))
        expect(page.locator(".figures")).to_contain_text(f"0.00{seconds} kWh")
    expect(status).to_contain_text("Charging. To stop")
    assert page.evaluate("window.heard") == 1


def test_markup_in_a_view_is_only_text(start_till: Any, page: Page) -> None:
    till = start_till()
    evil = "<img src=x onerror=alert(1)>"
    till.show(paid(label=evil, invoice_number=evil, receipt_url=None))
    open_page(page, till)
    assert evil in text(page)
    assert page.locator("img").count() == 0


def test_several_evses_share_one_price_and_a_touch_opens_one_of_them(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(*STATES["four"])
    open_page(page, till)
    assert text(page).count("€0.49/kWh") == 1
    assert page.locator(".row").count() == 4
    page.get_by_role("button", name="Out of order").click()
    expect(page.locator("h1")).to_have_text("Out of order")
    page.get_by_role("button", name="Back").click()
    expect(page.locator(".row")).to_have_count(4)


def test_an_opened_evse_closes_when_nobody_touches_it(start_till: Any, page: Page) -> None:
    page.clock.install()
    till = start_till()
    till.show(*STATES["two"])
    open_page(page, till)
    page.get_by_role("button", name="€7.05").click()
    expect(page.locator(".single.charging")).to_be_visible()
    page.clock.run_for(62_000)
    expect(page.locator(".overview")).to_be_visible()


def test_different_prices_stand_beside_their_labels(start_till: Any, page: Page) -> None:
    dear = {"en": (PriceLine(label="Energy", amount="€0.79/kWh"),)}
    till = start_till()
    till.show(view(), view(evse_id="E2", label="B", price=dear))
    open_page(page, till)
    groups = page.locator(".group")
    expect(groups).to_have_count(2)
    assert [(g.locator(".labels").inner_text(), g.locator(".amount").inner_text()) for g in groups.all()] == [
        ("A", "€0.49/kWh"),
        ("B", "€0.79/kWh"),
    ]


def test_a_display_can_be_given_some_of_the_evses(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(*STATES["four"])
    open_page(page, till, "?evse=E3")
    expect(page.locator(".single.plug_in .badge")).to_have_text("Charging point C")


class Actions:
    """Accepts one code and remembers which EVSE was chosen."""

    def __init__(self) -> None:
        self.chosen: list[str] = []

    async def stop(self, evse_id: str, code: str) -> Answer:
        return "done" if (evse_id, code) == ("E1", "4711") else "wrong_code"

    async def choose(self, evse_id: str) -> Answer:
        self.chosen.append(evse_id)
        return "done"


def test_a_driver_stops_on_the_screen_with_the_code(start_till: Any, page: Page) -> None:
    till = start_till(Actions())
    till.show(metered(stoppable=True))
    open_page(page, till)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    for width, height in (LANDSCAPE, PORTRAIT):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate(FAULTS) == []
    for digit in "1234":
        page.get_by_role("button", name=digit).click()
    assert "1234" not in page.locator(".typed").inner_text()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".message")).to_have_text("That is not the code")
    page.keyboard.type("4711")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".single.charging")).to_be_visible()


def test_a_keypad_does_not_outlive_its_session(start_till: Any, page: Page) -> None:
    till = start_till(Actions())
    till.show(metered(stoppable=True))
    open_page(page, till)
    page.get_by_role("button", name="Stop").click()
    page.keyboard.type("47")
    till.show(paid())
    expect(page.locator(".single.paid")).to_be_visible()


def test_there_is_no_stop_button_where_nobody_would_hear_it(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(metered(stoppable=True))
    open_page(page, till)
    assert page.get_by_role("button", name="Stop").count() == 0


def test_a_driver_whose_tap_waits_chooses_an_evse(start_till: Any, page: Page) -> None:
    actions = Actions()
    till = start_till(actions)
    till.show(view(choosing=True), view(evse_id="E2", label="B", choosing=True))
    open_page(page, till)
    assert "Touch where you want to charge" in text(page)
    with page.expect_response("**/actions"):
        page.get_by_role("button", name="B").click()
    assert actions.chosen == ["E2"]
    expect(page.locator(".overview")).to_be_visible()


def test_a_session_is_stopped_with_a_keyboard_alone(start_till: Any, page: Page) -> None:
    till = start_till(Actions())
    till.show(metered(stoppable=True), view(evse_id="E2", label="B"))
    open_page(page, till)
    focused = page.locator(":focus-visible")
    page.keyboard.press("Tab")
    expect(focused).to_have_text("Deutsch")
    page.keyboard.press("Enter")
    expect(focused).to_have_text("English")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Lädt")
    expect(focused).to_have_text("Beenden")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Stopp-Code eingeben")
    expect(focused).to_have_text("1")
    page.keyboard.type("9999")
    for _ in range(11):
        page.keyboard.press("Tab")
    expect(focused).to_have_text("Beenden")
    page.keyboard.press("Enter")
    expect(page.locator(".message")).to_have_text("Der Code stimmt nicht")
    expect(focused).to_have_text("Beenden")
    page.keyboard.type("4711")
    page.keyboard.press("Enter")
    expect(page.locator(".single.charging")).to_be_visible()
    expect(focused).to_have_text("Beenden")
    page.keyboard.press("Escape")
    expect(page.locator(".overview")).to_be_visible()
    expect(focused).to_contain_text("Lädt")


def test_an_evse_is_chosen_with_a_keyboard_alone(start_till: Any, page: Page) -> None:
    actions = Actions()
    till = start_till(actions)
    till.show(view(choosing=True), view(evse_id="E2", label="B", choosing=True))
    open_page(page, till)
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.locator(":focus-visible")).to_contain_text("Charge here")
    with page.expect_response("**/actions"):
        page.keyboard.press("Enter")
    assert actions.chosen == ["E2"]


def test_the_focus_is_seen_and_survives_what_the_till_says(start_till: Any, page: Page) -> None:
    till = start_till(Actions())
    till.show(view())
    open_page(page, till)
    page.keyboard.press("Tab")
    focused = page.locator(":focus-visible")
    assert float(focused.evaluate("(e) => parseFloat(getComputedStyle(e).outlineWidth)")) >= 4
    till.show(view(vehicle_connected=True))
    expect(page.locator(".head")).to_contain_text("The cable is in")
    expect(focused).to_have_text("Deutsch")
    till.show(metered(stoppable=True))
    expect(focused).to_have_text("Stop")


def test_a_price_that_no_panel_has_room_for_is_scrolled_by_keyboard(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(*STATES["long price"])
    open_page(page, till)
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("End")
    last = page.get_by_text("€1.00").last
    expect(last).to_be_in_viewport(ratio=1)


def test_where_a_card_is_held_depends_on_what_stands_there_and_works(start_till: Any, page: Page) -> None:
    till = start_till(reader="left", terminal="below")
    till.show(view(terminal=True))
    open_page(page, till)
    assert page.locator(".place").all_inner_texts() == [
        "Terminal: bank card or phone",
        "Reader: charging card",
    ]
    assert page.locator(".pictures").evaluate_all("(all) => all.map((e) => e.className)") == [
        "pictures below",
        "pictures left",
    ]
    till.show(view())
    expect(page.locator(".action")).to_have_count(1)
    expect(page.locator(".action")).to_have_text("Hold your card or phone here")
    till.show(view(offered_hold_minor=None))
    expect(page.locator(".action")).to_have_text("Hold your charging card here")
    expect(page.locator(".hold")).to_have_count(0)


def test_without_a_reader_cards_are_for_the_terminal(start_till: Any, page: Page) -> None:
    till = start_till(has_reader=False)
    till.show(view(terminal=True))
    open_page(page, till)
    expect(page.locator(".action")).to_have_text("Hold your card or phone to the terminal")
    till.show(view("ended", reason="card_declined", terminal=True, notice=Notice(code="declined", serial=1)))
    expect(page.locator(".why")).to_have_text("Your bank declined the card")
    expect(page.locator(".action")).to_have_text("Try another card")
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_payment_that_is_being_confirmed_is_not_called_paid(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(paid(pending=True, invoice_number=None))
    open_page(page, till)
    said = text(page)
    assert "Your payment is being confirmed. You can drive on" in said
    assert "Paid" not in said
    assert "released" not in said
    till.show(view("ended", reason="in_doubt", pending=True))
    expect(page.locator(".explain")).to_contain_text("What was reserved on your card is being released")


def test_a_hold_that_is_too_small_is_not_called_used_up(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(view("ended", reason="limit"))
    open_page(page, till)
    expect(page.locator(".why")).to_contain_text("too small")


def test_a_screen_reader_hears_of_the_evse_that_changed_and_of_no_other(start_till: Any, page: Page) -> None:
    till = start_till()
    till.show(*STATES["two"])
    open_page(page, till)
    till.show(view("authorizing"))
    expect(page.get_by_role("status")).to_have_text("Charging point A: Checking your card. Please wait")


def test_the_page_lives_in_the_kiosk_s_own_browser(start_till: Any, page: Page, tmp_path: Path) -> None:
    """With the switches of the unit's command line, as far as they are not about its display."""
    unit = (Path(edge.__file__).parent.parent / "systemd" / "chargetill-kiosk.service").read_text()
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    switches = re.findall(r"--[\w-]+(?:=[^\s'\"]+)?", command)
    assert {"--kiosk", "--incognito"} <= set(switches)
    own = [s for s in switches if not s.startswith(("--ozone-platform", "--user-data-dir"))]
    till = start_till(Actions())
    till.show(metered(stoppable=True))
    browser = page.context.browser
    assert browser is not None
    kiosk = browser.browser_type.launch_persistent_context(
        tmp_path, executable_path=CHROMIUM, args=["--no-sandbox", *own], viewport=None
    )
    try:
        panel = kiosk.pages[0]
        mistakes: list[str] = []
        panel.on("pageerror", lambda error: mistakes.append(str(error)))
        panel.goto(till.url)
        panel.get_by_role("button", name="Stop").click()
        panel.keyboard.type("4711")
        panel.get_by_role("button", name="Stop").click()
        expect(panel.locator(".single.charging")).to_be_visible()
        till.stop()
        expect(panel.locator(".moment")).to_be_visible()
        again = start_till(port=till.port)
        again.show(view())
        expect(panel.locator(".single.idle")).to_be_visible()
        assert mistakes == []
    finally:
        kiosk.close()


def test_going_back_in_the_browser_brings_no_driver_back(start_till: Any, page: Page) -> None:
    till = start_till(Actions())
    till.show(paid())
    open_page(page, till)
    assert page.evaluate("history.length") <= 2  # the blank page before and this one
    page.goto(till.url + "/static/index.html")
    till.show(view())
    page.go_back()
    expect(page.locator(".single.idle")).to_be_visible()
    assert page.evaluate("performance.getEntriesByType('navigation')[0].type") == "back_forward"
    for private in ("CT-7Q2M", "7.05", "12.345", "data:image/svg"):
        assert private not in page.content()
