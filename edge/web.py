"""A small HTTP server for pages on a charger: it gives up clients that stall, and what is no HTTP is no news.

>>> app = Web()
>>> await serve(app, "127.0.0.1", 8081)
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import cast

import microdot.microdot
from microdot import Microdot, Request, Response

from edge import log

#: Connections at once: some streams, and the pictures, scripts and words of pages that load.
CONNECTIONS_MAX = 32
#: A client that has not sent its request, or takes nothing, for this long is cut off.
PATIENCE_S = 10.0

#: What the caller is told once pages can be opened: host and port.
Bound = Callable[[str, int], None]


class Web(Microdot):
    """An application of routes. Requests that cannot be read are answered with 400."""

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


async def serve(app: Web, host: str, port: int, *, bound: Bound | None = None) -> None:
    """Serve until cancelled. Raises OSError when the address cannot be had."""
    microdot.microdot.print_exception = _report  # type: ignore[attr-defined]  # a name it keeps for itself
    lines: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(lines) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        task = asyncio.create_task(_answer(app, reader, writer))
        lines.add(task)
        task.add_done_callback(lines.discard)

    server = await asyncio.start_server(accept, host, port, backlog=CONNECTIONS_MAX)
    try:
        if bound is not None:
            bound(*server.sockets[0].getsockname()[:2])
        await asyncio.get_running_loop().create_future()  # until cancelled
    finally:
        server.close()
        for task in lines:
            task.cancel()
        await asyncio.gather(*lines, return_exceptions=True)


async def _answer(app: Web, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await app.handle_request(reader, cast("asyncio.StreamWriter", _Line(writer)))
    except OSError:
        pass  # the client is gone; it comes back by itself
    finally:
        writer.transport.abort()


def _report(error: BaseException) -> None:
    """What a page of ours could not do, through the log and its scrubber; microdot would print it past both."""
    log.error("web.failed", error=error)


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
