"""Serves the page, the state as JSON, and the live stream, on loopback unless told otherwise."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from html import escape
from string import Template

import msgspec
from microdot import Microdot, Request, Response

from edge.errors import TillError
from edge.kiosk.actions import Action, Actions, Answer, Choose, Stop, Tries, host_name, same_origin
from edge.kiosk.board import Board
from edge.kiosk.options import STATIC, KioskOptions

#: Screens at once: the panel, an installer's phone, the demo's browser, and each of them while it reconnects.
CLIENTS_MAX = 8
#: Connections at once, those of pictures and scripts included.
CONNECTIONS_MAX = 32
#: A screen gets at most two updates a second: nobody reads faster, and a Pi draws slowly.
UPDATE_S = 0.5
#: A quiet stream beats, so that a page knows a hung till from a quiet one (it waits for three).
BEAT_S = 4.0
#: A client that has not sent its request, or takes nothing, for this long is cut off.
PATIENCE_S = 10.0

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

#: What the daemon is told once the screen can be opened: host and port.
Bound = Callable[[str, int], None]


class KioskNotServed(TillError):
    """The address of the driver's screen cannot be had."""

    code = "kiosk.not_served"
    hint = "another program has this port, or no interface this address: change host or port in [kiosk]"


async def serve(
    board: Board, options: KioskOptions, *, actions: Actions | None = None, bound: Bound | None = None
) -> None:
    """Serve the driver's screen until cancelled. Raises KioskNotServed when the address cannot be bound.

    `bound(host, port)` is called once the page can be opened. Without `actions` the page has nothing to press
    but its languages.
    """
    app = _app(board, options, actions)
    lines: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(lines) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        task = asyncio.create_task(_answer(app, reader, writer))
        lines.add(task)
        task.add_done_callback(lines.discard)

    try:
        server = await asyncio.start_server(accept, options.host, options.port, backlog=CONNECTIONS_MAX)
    except OSError as e:
        where = f"{options.host}:{options.port}"
        raise KioskNotServed(f"cannot listen on {where}: {e.strerror or e}") from e
    try:
        if bound is not None:
            host, port = server.sockets[0].getsockname()[:2]
            bound(host, port)
        await asyncio.get_running_loop().create_future()  # until cancelled
    finally:
        server.close()
        for task in lines:
            task.cancel()
        await asyncio.gather(*lines, return_exceptions=True)


async def _answer(app: Microdot, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await app.handle_request(reader, _Line(writer))  # type: ignore[no-untyped-call]
    except OSError:
        pass  # the client is gone; it comes back by itself
    finally:
        writer.transport.abort()


ame = host_name(request.headers.get("Host", ""))
        return None if _is_ours(name, options.host) else _text("this till has another name", 421)

    @app.get("/events")
    async def events(_request: Request) -> Response:
        if board.watchers >= CLIENTS_MAX:
            return _text("too many screens", 503)
        return Response(_stream(board, version), headers={**_HEADERS, "Content-Type": "text/event-stream"})

    @app.get("/state")
    async def state(_request: Request) -> Response:
        return _json(board.snapshot())

    @app.post("/actions")
    async def act(request: Request) -> Response:
        if actions is None:
            return _text("nothing to press here", 404)
        headers = request.headers
        if not same_origin(origin=headers.get("Origin"), host=headers.get("Host")):
            return _text("only from the till's own page", 403)
        try:
            action = msgspec.json.decode(request.body, type=Action)
        except msgspec.DecodeError:
            return _text("not an action", 400)
        if action.evse_id not in board:
            return _text("no such EVSE", 404)
        return _json(msgspec.json.encode({"answer": await _perform(action, actions, tries)}))

    @app.get("/")
    async def page(request: Request) -> Response:
        return await static(request, "index.html")

    @app.get("/static/<path:name>")
    async def static(_request: Request, name: str) -> Response:
        if (file := files.get(name)) is None:
            return _text("no such file", 404)
        content_type, content = file
        return Response(content, headers={**_HEADERS, "Content-Type": content_type})

    return app


async def _perform(action: Action, actions: Actions, tries: Tries) -> Answer | str:
    now_s = asyncio.get_running_loop().time()
    match action:
        case Choose(evse_id=evse_id):
            return await actions.choose(evse_id)
        case Stop(evse_id=evse_id, code=code):
            if tries.spent(evse_id, now_s):
                return "too_many_tries"
            answer = await actions.stop(evse_id, code)
            if answer == "wrong_code":
                tries.wrong(evse_id, now_s)
            return answer


async def _stream(board: Board, version: str) -> AsyncIterator[bytes]:
    """The whole state on connecting and after each change, with a beat while nothing changes.

    The page's version comes first: a page of the daemon before an upgrade loads itself again.
    """
    with board.watch() as changed:
        yield f"retry: 1000\nevent: page\ndata: {version}\n\n".encode()
        while True:
            changed.clear()
            yield b"event: state\ndata: " + board.snapshot() + b"\n\n"
            await asyncio.sleep(UPDATE_S)
            while not await _set_within(changed.wait(), BEAT_S):
                yield b"event: beat\ndata: 1\n\n"


async def _set_within(event: Awaitable[object], seconds: float) -> bool:
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


_Files = dict[str, tuple[str, bytes]]


def _files(options: KioskOptions, *, has_actions: bool) -> tuple[str, _Files]:
    """The page's version, and everything below /static, read once: name -> (content type, content)."""
    files = {
        path.relative_to(STATIC).as_posix(): (_content_type(path.name), path.read_bytes())
        for path in sorted(STATIC.rglob("*"))
        if path.is_file()
    }
    settings: dict[str, object] = {
        "languages": {code: msgspec.json.decode(files[f"words/{code}.json"][1]) for code in options.languages},
        "theme": options.theme,
        "reader": options.reader,
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


def _text(text: str, status: int) -> Response:
    return Response(text, status, {**_HEADERS, "Content-Type": "text/plain; charset=UTF-8"})


def _json(encoded: bytes) -> Response:
    return Response(encoded, headers={**_HEADERS, "Content-Type": "application/json"})
