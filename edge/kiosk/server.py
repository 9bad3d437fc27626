"""Listens for screens, on loopback unless told otherwise, and gives up those that stall."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import cast

import microdot.microdot
from microdot import Microdot, Request, Response

from edge import log
from edge.errors import TillError
from edge.kiosk.actions import Actions
from edge.kiosk.board import Board
from edge.kiosk.options import KioskOptions
from edge.kiosk.pages import Pages

#: Connections at once: eight streams, and the pictures, scripts and words of pages that load.
CONNECTIONS_MAX = 32
#: A client that has not sent its request, or takes nothing, for this long is cut off.
PATIENCE_S = 10.0

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
    microdot.microdot.print_exception = _report  # type: ignore[attr-defined]  # a name it keeps for itself
    app = _Web()
    Pages(board, options, actions).register(app)
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
        await app.handle_request(reader, cast("asyncio.StreamWriter", _Line(writer)))
    except OSError:
        pass  # the client is gone; it comes back by itself
    finally:
        writer.transport.abort()


def _report(error: BaseException) -> None:
    """What a page of ours could not do, through the log and its scrubber; microdot would print it past both."""
    log.error("kiosk.failed", error=error)


class _Web(Microdot):
    async def handle_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request. What is no HTTP gets a 400 and is no news: anyone may send that."""
        try:
            request = await Request.create(self, reader, writer, writer.get_extra_info("peername"))
        except (ValueError, IndexError, EOFError):
            request = None
        response = await self.dispatch_request(request)  # type: ignore[arg-type]  # None is its own word for it
        if response != Response.already_handled:
            await response.write(writer)
        await cast("_Line", writer).aclose()


class _Line:
    """A connection as microdot writes to it, which gives up a client that stalls."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._cut_off = asyncio.get_running_loop().call_later(PATIENCE_S, writer.transport.abort)

    def get_extra_info(self, name: str) -> object:
        return self._writer.get_extra_info(name)

    async def awrite(self, data: bytes) -> None:
        self._cut_off.cancel()
        self._writer.write(data)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._writer.drain()
        except TimeoutError as e:
            raise ConnectionResetError(errno.ECONNRESET, "the client takes nothing") from e

    async def aclose(self) -> None:
        self._cut_off.cancel()
        self._writer.close()
        async with asyncio.timeout(PATIENCE_S):
            await self._writer.wait_closed()
