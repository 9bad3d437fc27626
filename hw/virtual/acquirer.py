"""A card acquirer's host made of software, on a real socket: TCP or TLS, a length of two bytes before each message.

async with await VirtualAcquirer.start() as acquirer:
    acquirer.host.script(Fault("lost_reply", on="0100"))
    ...
    assert acquirer.host.books.open == ()
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Final, Self

from hw.virtual.acquirer_host import Act, HangUp, Host, Later, Say, Session
from hw.virtual.acquirer_wire import FRAME_MAX

_LOOPBACK: Final = "127.0.0.1"


class VirtualAcquirer:
    """Any number of connections to one host. `cut` ends them all, `deaf` makes it take none."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.port = 0
        #: connections that there have been
        self.connections = 0
        self.deaf = False
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.StreamWriter] = set()
        self._acting: set[asyncio.Task[None]] = set()

    @classmethod
    async def start(
        cls, host: Host | None = None, *, port: int = 0, context: ssl.SSLContext | None = None
    ) -> Self:
        """Listen on `port` of 127.0.0.1 (0: any free one, then `acquirer.port` says which)."""
        acquirer = cls(host or Host())
        acquirer._server = await asyncio.start_server(acquirer._serve, _LOOPBACK, port, ssl=context)
        acquirer.port = acquirer._server.sockets[0].getsockname()[1]
        return acquirer

    def cut(self) -> None:
        """End every connection at once."""
        for writer in tuple(self._lines):
            writer.transport.abort()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in tuple(self._acting):
            task.cancel()
        await asyncio.gather(*self._acting, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        session = Session()
        self._lines.add(writer)
        # asyncio's streams report a cancelled handler as a crash; at the end of a test it is none
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            while not self.deaf:
                length = int.from_bytes(await reader.readexactly(2), "big")
                if not 0 < length <= FRAME_MAX:
                    break
                data = await reader.readexactly(length)
                for act in self.host.receive(data, session):
                    await self._carry_out(act, session, writer)
        self._lines.discard(writer)
        writer.transport.abort()

    async def _carry_out(self, act: Act, session: Session, writer: asyncio.StreamWriter) -> None:
        """One act; what comes late comes whatever is said in between."""
        match act:
            case HangUp():
                raise EOFError
            case Say(data=data, after_s=after_s) if not after_s:
                await _say(writer, data)
            case Say() | Later():
                task = asyncio.create_task(self._late(act, session, writer))
                self._acting.add(task)
                task.add_done_callback(self._acting.discard)

    async def _late(self, act: Say | Later, session: Session, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(act.after_s)
        data = act.data if isinstance(act, Say) else self.host.process(act.message, session)
        with contextlib.suppress(OSError):
            await _say(writer, data)


async def _say(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(len(data).to_bytes(2, "big") + data)
    await writer.drain()
