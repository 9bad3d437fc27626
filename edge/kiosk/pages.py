"""What can be asked of the driver's screen: the page, its files, the state, the live stream, the actions."""

from __future__ import annotations

import asyncio
import ipaddress
import mimetypes
from collections.abc import AsyncIterator, Awaitable
from hashlib import sha256
from html import escape
from string import Template
from typing import Any

import msgspec
from microdot import Microdot, Request, Response

from edge.kiosk.actions import Action, Actions, Answer, Choose, Stop, Tries, host_name, same_origin
from edge.kiosk.board import Board
from edge.kiosk.options import STATIC, KioskOptions

#: Screens at once: the panel, an installer's phone, the demo's browser, and each of them while it reconnects.
CLIENTS_MAX = 8
#: A screen gets at most two updates a second: nobody reads faster, and a Pi draws slowly.
UPDATE_S = 0.5
#: A quiet stream beats, so that a page knows a hung till from a quiet one (it waits for three).
BEAT_S = 4.0

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_Files = dict[str, tuple[str, bytes]]


class Pages:
    """The routes: `Pages(board, options, actions).register(app)`. `reader`: one stands beside the screen."""

    def __init__(
        self, board: Board, options: KioskOptions, actions: Actions | None, *, reader: bool = True
    ) -> None:
        self._board = board
        self._host = options.host
        self._actions = actions
        self._tries = Tries()
        self._version, self._files = _read_files(options, has_actions=actions is not None, has_reader=reader)

    def register(self, app: Microdot) -> None:
        app.before_request(self._only_by_address)
        app.get("/")(self._page)
        app.get("/static/<path:name>")(self._static)
        app.get("/state")(self._state)
        app.get("/events")(self._events)
        app.post("/actions")(self._act)

    async def _only_by_address(self, request: Request) -> Response | None:
        name = host_name(request.headers.get("Host", ""))
        return None if _is_ours(name, self._host) else _text("this till has another name", 421)

    async def _page(self, request: Request) -> Response:
        return await self._static(request, "index.html")

    async def _static(self, _request: Request, name: str) -> Response:
        if (file := self._files.get(name)) is None:
            return _text("no such file", 404)
        content_type, content = file
        return _response(content, content_type)

    async def _state(self, _request: Request) -> Response:
        return _response(self._board.snapshot(), "application/json")

    async def _events(self, _request: Request) -> Response:
        if self._board.watchers >= CLIENTS_MAX:
            return _text("too many screens", 503)
        return _response(self._stream(), "text/event-stream")

    async def _stream(self) -> AsyncIterator[bytes]:
        """The whole state on connecting and after each change, with a beat while nothing changes.

        The page's version comes first: a page of the daemon before an upgrade loads itself again.
        """
        with self._board.watch() as changed:
            yield f"retry: 1000\nevent: page\ndata: {self._version}\n\n".encode()
            while True:
                changed.clear()
                yield b"event: state\ndata: " + self._board.snapshot() + b"\n\n"
                await asyncio.sleep(UPDATE_S)
                while not await _within(BEAT_S, changed.wait()):
                    yield b"event: beat\ndata: 1\n\n"

    async def _act(self, request: Request) -> Response:
        if self._actions is None:
            return _text("nothing to press here", 404)
        headers = request.headers
        if not same_origin(origin=headers.get("Origin"), host=headers.get("Host")):
            return _text("only from the till's own page", 403)
        try:
            action = msgspec.json.decode(request.body or b"", type=Action)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _text("not an action", 400)
        if action.evse_id not in self._board:
            return _text("no such EVSE", 404)
        answer = await self._perform(action, self._actions)
        return _response(msgspec.json.encode({"answer": answer}), "application/json")

    async def _perform(self, action: Action, actions: Actions) -> Answer:
        now_s = asyncio.get_running_loop().time()
        match action:
            case Choose(evse_id=evse_id):
                return await actions.choose(evse_id)
            case Stop(evse_id=evse_id, code=code):
                if self._tries.spent(evse_id, now_s):
                    return "too_many_tries"
                answer = await actions.stop(evse_id, code)
                if answer == "wrong_code":
                    self._tries.wrong(evse_id, now_s)
                return answer


async def _within(seconds: float, event: Awaitable[object]) -> bool:
    """True when `event` happened, False when the time was over first."""
    try:
        async with asyncio.timeout(seconds):
            await event
    except TimeoutError:
        return False
    return True


def _is_ours(name: str, host: str) -> bool:
    """Only our name or a bare address: a page elsewhere whose name was rebound to us reads nothing."""
    if name in ("localhost", host):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _read_files(options: KioskOptions, *, has_actions: bool, has_reader: bool) -> tuple[str, _Files]:
    """The page's version, and everything below /static, read once: name -> (content type, content)."""
    files = {
        path.relative_to(STATIC).as_posix(): (_content_type(path.name), path.read_bytes())
        for path in sorted(STATIC.rglob("*"))
        if path.is_file()
    }
    settings: dict[str, object] = {
        "languages": {
            lang: msgspec.json.decode(files[f"words/{lang}.json"][1]) for lang in options.languages
        },
        "theme": options.theme,
        "reader": options.reader if has_reader else None,
        "terminal": options.terminal or options.reader,
        "support": options.support,
        "actions": has_actions,
    }
    everything = b"".join(content for _, content in files.values()) + msgspec.json.encode(settings)
    settings["version"] = version = sha256(everything).hexdigest()[:16]
    content_type, index = files["index.html"]
    page = Template(index.decode()).substitute(
        language=options.languages[0],
        theme=options.theme,
        settings=escape(msgspec.json.encode(settings).decode()),
    )
    files["index.html"] = (content_type, page.encode())
    return version, files


def _content_type(name: str) -> str:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{kind}; charset=UTF-8" if kind.startswith("text/") else kind


def _response(body: bytes | AsyncIterator[bytes], content_type: str, status: int = 200) -> Response:
    streamed: Any = body  # microdot's own types do not know of bodies that are iterated
    return Response(streamed, status, {**_HEADERS, "Content-Type": content_type})


def _text(text: str, status: int) -> Response:
    return _response(text.encode(), "text/plain; charset=UTF-8", status)
