"""A small HTTP server for pages on a charger: no client can hold it up, and what is no HTTP is no news.

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
#: A request's first line and headers: browsers send one or two thousand bytes. More would only fill the memory.
HEAD_MAX_BYTES = 16_384

#: What the caller is told once pages can be opened: host and port.
Bound = Callable[[str, int], None]


class Web(Microdot):
    """An application of routes. Requests that cannot be read are answered with 400."""

    async def handle_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request. What is no HTTP gets a 400 and is no news: anyone may send that."""
        try:
            head = cast("asyncio.StreamReader", _Head(reader))
            request = await Request.create(self, head, writer, writer.get_extra_info("peername"))
        except (ValueError, IndexError, EOFError):
            request = None
        cast("_Line", writer).asked()
        response = await self.dispatch_request(request)  # type: ignore[arg-type]  # None is its own word for it
        if response != Response.already_handled:
            await response.write(writer)
        await cast("_Line", writer).aclose()


async def serve(app: Web, host: str, port: int, *, bound: Bound | None = None) -> None:
    """Serve until cancelled. Raises OSError when the address cannot be had.

    With all connections taken, a new one takes the place of the one that has kept its request back for longest.
    """
    microdot.microdot.print_exception = _report  # type: ignore[attr-defined]  # a name it keeps for itself
    lines: dict[asyncio.Task[None], _Line] = {}

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(lines) >= CONNECTIONS_MAX:
            idle = next((task for task, line in lines.items() if not line.answering), None)
            if idle is None:
                writer.transport.abort()
                return
            idle.cancel()
            lines.pop(idle).cut()
        line = _Line(writer)
        task = asyncio.create_task(_answer(app, reader, line))
        lines[task] = line
        task.add_done_callback(lambda done: lines.pop(done, None))

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


async def _answer(app: Web, reader: asyncio.StreamReader, line: _Line) -> None:
    try:
        await app.handle_request(reader, cast("asyncio.StreamWriter", line))
    except OSError:
        pass  # the client is gone; it comes back by itself
    finally:
        line.cut()


def _report(error: BaseException) -> None:
    """What a page of ours could not do, through the log and its scrubber; microdot would print it past both."""
    log.error("web.failed", error=error)


class _Head:
    """A connection as microdot reads a request from it. Raises ValueError where the head of one does not end."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._left = HEAD_MAX_BYTES

    async def readline(self) -> bytes:
        line = await self._reader.readline()
        self._left -= len(line)
        if self._left < 0:
            raise ValueError("the head of a request is too long")
        return line

    async def readexactly(self, size: int) -> bytes:
        return await self._reader.readexactly(size)


class _Line:
    """A connection as microdot writes to it, which gives up a client that stalls. What the answer takes to make is no
    stalling of the client's.

    `answering` is True from the first byte of the answer on: until then others may come first.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.answering = False
        self._cut_off = asyncio.get_running_loop().call_later(PATIENCE_S, writer.transport.abort)

    def asked(self) -> None:
        """The request is here."""
        self._cut_off.cancel()

    def get_extra_info(self, name: str) -> object:
        return self._writer.get_extra_info(name)

    def cut(self) -> None:
        self._cut_off.cancel()
        self._writer.transport.abort()

    async def awrite(self, data: bytes) -> None:
        self.answering = True
        self._writer.write(data)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._writer.drain()
        except TimeoutError as e:
            raise ConnectionResetError(errno.ECONNRESET, "the client takes nothing") from e

    async def aclose(self) -> None:
        self._writer.close()
        async with asyncio.timeout(PATIENCE_S):
            await self._writer.wait_closed()
