"""The demo's buttons: a page of its own on loopback, apart from the driver's screen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from html import escape

from microdot import Microdot, Request

from edge.cli.demo.stage import Stage, free_port
from edge.errors import StoreError
from edge.store.reading import Reading

Act = Callable[[str], Awaitable[str | None]]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Chargetill demo: the virtual charger</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; font: 18px/1.5 system-ui, sans-serif; }}
body {{ max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; }}
.actions {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .6rem; }}
button {{ font: inherit; padding: .8rem; border-radius: .6rem; border: 1px solid; cursor: pointer; }}
pre {{ overflow-x: auto; padding: 1rem; border: 1px solid; border-radius: .6rem; min-height: 6rem; }}
</style></head><body>
<h1>The virtual charger</h1>
<p>What a driver, a car and bad luck can do. The <a href="{screen}" target="_blank">driver's screen</a>
shows what the driver sees.</p>
<div class="actions">{buttons}</div>
<h2>The till's books</h2>
<pre id="books" aria-live="polite"></pre>
<p id="said" role="status"></p>
<script>
const say = text => document.getElementById('said').textContent = text;
for (const b of document.querySelectorAll('button')) b.onclick = async () => {{
  const answer = await fetch('/act/' + b.dataset.name, {{ method: 'POST', headers: {{ 'X-Demo': '1' }} }});
  say(await answer.text());
}};
const look = async () => {{
  try {{ document.getElementById('books').textContent = await (await fetch('/books')).text(); }}
  catch {{ say('the demo has ended'); }}
}};
setInterval(look, 1000); look();
</script></body></html>"""


@asynccontextmanager
async def serve_control(stage: Stage, *, act: Act, actions: dict[str, str]) -> AsyncIterator[str]:
    """Serve the buttons; gives the page's address."""
    app = Microdot()

    async def page(_request: Request) -> tuple[str, int, dict[str, str]]:
        buttons = "".join(
            f'<button data-name="{escape(name)}">{escape(text)}</button>' for name, text in actions.items()
        )
        body = _PAGE.format(screen=escape(stage.screen), buttons=buttons)
        return body, 200, {"Content-Type": "text/html; charset=utf-8"}

    async def press(request: Request, name: str) -> tuple[str, int]:
        # a header of our own: a page from elsewhere cannot send it without asking first
        if request.headers.get("X-Demo") != "1":
            return "not from this page", 403
        return await act(name) or actions.get(name, ""), 200

    async def books(_request: Request) -> str:
        return await asyncio.to_thread(_books, stage)

    app.get("/")(page)
    app.post("/act/<name>")(press)
    app.get("/books")(books)
    port = free_port(preferred=8081)
    serving = asyncio.create_task(app.start_server("127.0.0.1", port))
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        app.shutdown()
        await serving


def _books(stage: Stage) -> str:
    try:
        with Reading(stage.database) as db:
            stats = db.stats()
            invoices = [f"{i.number}  {i.draft.figures.payable_minor / 100:.2f}" for i in db.invoices()]
    except StoreError as e:
        return str(e)
    meter = (
        f"meter shows {stage.world.register_wh / 1000:.3f} kWh; network {_up(stage.proxy.is_open)}, "
        f"till {_up(stage.till.running)}"
    )
    epochs = [f"journal: {e['last']} entries, {e['acknowledged']} acknowledged" for e in stats["epochs"]]
    return "\n".join(
        [
            meter,
            *epochs,
            f"sessions {stats['sessions']} ({stats['open_sessions']} open)",
            *invoices,
        ]
    )


def _up(up: bool) -> str:
    return "up" if up else "down"
