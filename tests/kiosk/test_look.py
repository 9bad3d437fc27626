"""Every state in a real browser, as it is seen and as it is read out: all panels, both languages, day and night."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, get_args

import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect

from edge.domain.session.state import StopReason
from edge.domain.view import Notice, View
from edge.kiosk import Answer, KioskOptions, pages
from edge.kiosk.options import STATIC
from tests.kiosk.conftest import PATIENCE_S, Till, guarded
from tests.kiosk.states import FAULTS, LANDSCAPE, PORTRAIT, STATES, metered, paid, view

#: 7 to 15 inch, both ways up; a browser that shows everything at 200 % has half the pixels of the style sheet.
PANELS = (LANDSCAPE, PORTRAIT, (1024, 600), (1280, 800), (1920, 1080), (1080, 1920), (400, 240))
#: One price of so many lines that no panel has room for it: it can be scrolled, and nothing else may.
SCROLLS = {"long price"}
TABLES = ("notices", "reasons")
AXE = str(files("axe_playwright_python") / "axe.min.js")
#: Contrast is held to 7:1 by our own eyes (faults.js); everything else that axe knows, advice included.
AUDIT = """async () => (await axe.run(document, {rules: {"color-contrast": {enabled: false}}}))
  .violations.map(({id, impact, nodes}) => `${id} (${impact}): ${nodes.map(({html}) => html.slice(0, 120))}`)"""
HEARD = """const Stream = EventSource;
window.EventSource = class extends Stream {
  addEventListener(type, hears) {
    super.addEventListener(type, (event) => { hears(event); if (type === "state") window.heard = event.data; });
  }
};"""


class Nobody:
    async def stop(self, evse_id: str, code: str) -> Answer:
        return "wrong_code"

    async def choose(self, evse_id: str) -> Answer:
        return "done"


@dataclass(frozen=True)
class Display:
    """One till and the page that shows it; what is shown replaces what was."""

    till: Till
    page: Page

    def show(self, *views: View) -> None:
        self.till.show(*views)
        drawn = self.till.board.snapshot().decode()
        self.page.wait_for_function("(drawn) => window.heard === drawn", arg=drawn, polling=10)

    def turn(self, size: tuple[int, int]) -> None:
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        self.drawn()

    def at(self, time: Literal["light", "dark"]) -> None:
        self.page.emulate_media(color_scheme=time)
        self.drawn()

    def drawn(self) -> None:
        """A frame has been drawn since: the page hears of its size just before."""
        self.page.evaluate(
            "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
        )

    def read_in(self, name: str) -> None:
        if (button := self.page.get_by_role("button", name=name)).count():
            button.click()
            expect(button).to_have_count(0)


@pytest.fixture(scope="module")
def display(browser: Browser) -> Iterator[Callable[[int], Display]]:
    """`display(2)` is the one with two EVSEs; made once, since a browser takes its time."""
    made: dict[int, Display] = {}
    patch = pytest.MonkeyPatch()
    patch.setattr(pages, "UPDATE_S", 0.01)
    with guarded(browser) as page_of:

        def of(evses: int) -> Display:
            if evses not in made:
                till = Till(KioskOptions(port=0, support="+49 30 1234567"), Nobody())
                page = page_of()
                page.add_init_script(path=AXE)
                page.add_init_script(HEARD)
                made[evses] = Display(till, page)
                page.goto(till.url)
            return made[evses]

        yield of
    for shown in made.values():
        shown.till.stop()
    patch.undo()


def faults(shown: Display, state: str) -> list[str]:
    found: list[str] = shown.page.evaluate(FAULTS)
    return [fault for fault in found if state not in SCROLLS or "more than fits" not in fault]


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_readable_on_every_panel_by_day_and_night(
    display: Callable[[int], Display], state: str
) -> None:
    shown = display(len(STATES[state]))
    shown.turn(LANDSCAPE)
    shown.show(*STATES[state])
    found: dict[str, list[str]] = {}
    for name, panels in (("English", PANELS[:2]), ("Deutsch", PANELS)):
        shown.read_in(name)
        for panel in panels:
            shown.turn(panel)
            found[f"{name} {panel}"] = faults(shown, state)
        shown.at("dark")
        found[f"{name} at night"] = faults(shown, state)
        shown.at("light")
    shown.read_in("English")
    assert {where: what for where, what in found.items() if what} == {}


@pytest.mark.parametrize("state", STATES)
def test_an_audit_of_accessibility_finds_nothing(display: Callable[[int], Display], state: str) -> None:
    shown = display(len(STATES[state]))
    shown.turn(LANDSCAPE)
    shown.show(*STATES[state])
    assert shown.page.evaluate(AUDIT) == []


def test_the_code_pad_is_readable_on_every_panel_and_passes_the_audit(
    display: Callable[[int], Display],
) -> None:
    shown = display(1)
    shown.turn(LANDSCAPE)
    shown.show(metered(stoppable=True, label="Bay 12"))
    for name in ("Deutsch", "English"):
        shown.read_in(name)
        shown.page.locator("button.stop").click()
        shown.page.keyboard.type("1234")
        shown.page.locator("button.stop").click()
        expect(shown.page.locator(".message")).not_to_be_empty()
        assert shown.page.evaluate(AUDIT) == []
        for panel in PANELS:
            shown.turn(panel)
            assert shown.page.evaluate(FAULTS) == [], (name, panel)
        shown.turn(LANDSCAPE)
        shown.page.locator("button.back").click()


def test_states_are_told_apart_without_any_color(display: Callable[[int], Display]) -> None:
    """Each has a heading of its own and a picture of its own kind; no color says what these do not."""
    shown = display(1)
    shown.turn(LANDSCAPE)
    seen: dict[str, str] = {}
    for kind, one in {
        "idle": view(),
        "plug_in": view("plug_in", seconds_left=9),
        "charging": metered(),
        "suspended": metered("suspended", by="ev"),
        "stopping": metered("stopping"),
        "paid": paid(),
        "ended": view("ended", reason="no_plug"),
        "out_of_order": view("out_of_order", reason="evse_fault"),
    }.items():
        shown.show(one)
        expect(shown.page.locator(f".single.{kind}")).to_be_visible()
        heading = shown.page.locator("h1").inner_text()
        seen[heading] = shown.page.locator(".head .state").inner_html()
    assert len(seen) == len(set(seen.values())) == 8


def test_a_price_that_stands_in_for_another_says_why_until_it_is_over(
    display: Callable[[int], Display],
) -> None:
    shown = display(1)
    shown.turn(LANDSCAPE)
    reason = shown.page.get_by_text("Clock not set: this price applies")
    for one in (view(fallback=True), view("plug_in", seconds_left=9, fallback=True)):
        shown.show(one)
        expect(reason).to_be_visible()
    shown.show(view())
    expect(reason).to_have_count(0)


def test_whoever_wants_no_motion_sees_none(display: Callable[[int], Display]) -> None:
    shown = display(1)
    shown.show(view())
    arrow = "getComputedStyle(document.querySelector('.arrow')).animationName"
    try:
        shown.page.emulate_media(reduced_motion="no-preference")
        assert shown.page.evaluate(arrow) == "point"
    finally:
        shown.page.emulate_media(reduced_motion="reduce")
    assert shown.page.evaluate(arrow) == "none"
    assert shown.page.evaluate("document.getAnimations().length") == 0


def test_only_one_language_is_spoken_and_what_is_another_s_says_so(
    display: Callable[[int], Display],
) -> None:
    shown: Any = display(1)
    shown.turn(LANDSCAPE)
    price = {"en": view().price["en"]}
    shown.show(view(price=price))
    shown.read_in("Deutsch")
    assert shown.page.evaluate("document.documentElement.lang") == "de"
    assert shown.page.title() == "Ladebildschirm"
    expect(shown.page.get_by_role("button", name="English")).to_have_attribute("lang", "en")
    expect(shown.page.locator(".offer .label")).to_have_attribute("lang", "en")
    shown.show(view())
    expect(shown.page.locator(".offer .label")).not_to_have_attribute("lang", "en", timeout=PATIENCE_S * 1000)
    shown.read_in("English")


@pytest.mark.parametrize("name", ["English", "Deutsch"])
def test_the_longest_words_fit_wherever_they_may_stand(display: Callable[[int], Display], name: str) -> None:
    """What fits the smallest panel fits the larger ones, which show the same design scaled."""
    words = msgspec.json.decode((STATIC / "words" / f"{name[:2].lower()}.json").read_bytes())
    notices, reasons = (sorted(words[table], key=lambda code: -len(words[table][code])) for table in TABLES)
    stops = [reason for reason in reasons if reason in get_args(StopReason)]
    views = [view(terminal=True, notice=Notice(code=c, serial=100 + n)) for n, c in enumerate(notices[:5])]
    views += [view("ended", reason=reason, terminal=True, pending=True) for reason in reasons[:5]]
    views += [view("out_of_order", reason=reason) for reason in reasons[:2]]
    views += [paid(reason=reason, online=False) for reason in stops[:3]]
    shown = display(1)
    shown.turn(LANDSCAPE)
    shown.show(view())
    shown.read_in(name)
    for one in views:
        shown.show(one)
        shown.read_in(name)
        for panel in (LANDSCAPE, PORTRAIT):
            shown.turn(panel)
            assert shown.page.evaluate(FAULTS) == [], (one.kind, one.reason, one.notice)
        shown.turn(LANDSCAPE)
    shown.read_in("English")
