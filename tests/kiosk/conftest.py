"""A real till's screen on a free port, and a real browser to look at it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from edge.domain.view import View
from edge.kiosk import Actions, Board, KioskOptions, pages
from edge.kiosk.server import serve

CHROMIUM = Path("/usr/bin/chromium")
#: Generous: a slow machine that runs other tests beside this one.
PATIENCE_S = 30.0


class Till:
    """Serves one board from an event loop of its own, as the daemon does."""

    def __init__(self, options: KioskOptions, actions: Actions | None, *, has_reader: bool = True) -> None:
        self.board = Board()
        self._loop = asyncio.new_event_loop()
        self._bound: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(options, actions, has_reader), daemon=True)
        self._thread.start()
        self.port = self._bound.result(PATIENCE_S)
        self.url = f"http://127.0.0.1:{self.port}"

    def _run(self, options: KioskOptions, actions: Actions | None, has_reader: bool) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(
            serve(
                self.board,
                options,
                actions=actions,
                reader=has_reader,
                bound=lambda _, port: self._bound.set_result(port),
            )
        )
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except Exception as e:  # noqa: BLE001 - it belongs to whoever waits for the port
            self._bound.set_exception(e)
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def call(self, do: Callable[[], object]) -> object:
        """The result of `do()` on the till's loop."""
        done: Future[object] = Future()
        self._loop.call_soon_threadsafe(lambda: done.set_result(do()))
        return done.result(PATIENCE_S)

    def show(self, *views: View) -> None:
        for view in views:
            self.call(lambda view=view: self.board.show(view))

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(PATIENCE_S)


@pytest.fixture
def start_till() -> Iterator[Callable[..., Till]]:
    """`start_till(actions=.., has_reader=.., port=0, ..options)` serves a board until the test is over."""
    tills: list[Till] = []

    def start(actions: Actions | None = None, *, has_reader: bool = True, **options: object) -> Till:
        tills.append(Till(KioskOptions(**{"port": 0, **options}), actions, has_reader=has_reader))
        return tills[-1]

    yield start
    for till in tills:
        till.stop()


@pytest.fixture
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates as fast as they come, for tests that do not measure the pace."""
    monkeypatch.setattr(pages, "UPDATE_S", 0.01)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Open for one module: playwright keeps a loop running, beside which no other test can run its own."""
    if not CHROMIUM.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"the driver's screen is not tested: {CHROMIUM} is missing (apt install chromium)"
        )
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def guarded(browser: Browser) -> Iterator[Callable[[], Page]]:
    """Opens pages on a 7 inch panel of 800x480, none of which may make a mistake or ask anybody but the till."""
    contexts: list[BrowserContext] = []
    mistakes: list[str] = []

    def open_page() -> Page:
        contexts.append(browser.new_context(viewport={"width": 800, "height": 480}, reduced_motion="reduce"))
        contexts[-1].set_default_timeout(PATIENCE_S * 1000)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.on("request", lambda request: _ours(request.url) or mistakes.append(f"asked {request.url}"))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert mistakes == []


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """One guarded page."""
    with guarded(browser) as open_page:
        yield open_page()


def _ours(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "data:"))
