"""Answers `GET /metrics`, and nothing else: a page of figures needs no web framework."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from edge import log
from edge.errors import StoreError, TillError
from edge.metrics.exposition import CONTENT_TYPE, exposition
from edge.metrics.measure import Sources, families
from edge.metrics.options import MetricsOptions
from edge.sync.options import host_port

#: One scraper, and a person who looks.
CONNECTIONS_MAX = 4
#: A request has some 200 bytes and comes at once.
_REQUEST_MAX = 8_192
_PATIENCE_S = 10.0


class MetricsNotServed(TillError):
    """The address of the metrics cannot be had."""

    code = "metrics.not_served"
    hint = "another program has this port: change `listen` in [metrics]"


async def serve(
    options: MetricsOptions, sources: Sources, *, bound: Callable[[str, int], None] | None = None
) -> None:
    """Until cancelled. `bound(host, port)` is called once it listens. Raises MetricsNotServed."""
    lines: set[asyncio.Task[None]] = set()
    turn = asyncio.Lock()  # one measurement at a time, however many ask

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(lines) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        task = asyncio.create_task(_answer(reader, writer, sources, turn))
        lines.add(task)
        task.add_done_callback(lines.discard)

    host, port = host_port(options.listen)
    try:
        server = await asyncio.start_server(accept, host, port, limit=_REQUEST_MAX, backlog=CONNECTIONS_MAX)
    except OSError as e:
        raise MetricsNotServed(f"cannot listen on {options.listen}: {e.strerror or e}") from e
    try:
        if bound is not None:
            bound(*server.sockets[0].getsockname()[:2])
        await asyncio.get_running_loop().create_future()  # until cancelled
    finally:
        server.close()
        for task in lines:
            task.cancel()
        await asyncio.gather(*lines, return_exceptions=True)


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sources: Sources, turn: asyncio.Lock
) -> None:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            status, kind, body = await _page(head, sources, turn)
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
            )
            writer.write(b"" if head.startswith(b"HEAD ") else body)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # the client is gone, or was never one
    finally:
        with contextlib.suppress(OSError):
            writer.transport.abort()


async def _page(head: bytes, sources: Sources, turn: asyncio.Lock) -> tuple[str, str, bytes]:
    """Status, content type and body."""
    method, _, rest = head.split(b"\r\n", 1)[0].partition(b" ")
    path = rest.split(b" ", 1)[0].partition(b"?")[0]
    if path != b"/metrics":
        return "404 Not Found", "text/plain", b"/metrics\n"
    if method not in {b"GET", b"HEAD"}:
        return "405 Method Not Allowed", "text/plain", b"GET /metrics\n"
    try:
        async with turn:
            body = await asyncio.to_thread(lambda: exposition(families(sources)))
    except (StoreError, OSError) as e:
        log.warning("metrics.failed", error=e)
        return "503 Service Unavailable", "text/plain", b"the database does not answer\n"
    return "200 OK", CONTENT_TYPE, body
