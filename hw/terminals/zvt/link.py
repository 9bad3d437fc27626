"""Packets to and from the terminal, over TCP or a serial line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Protocol

from hw.bus.errors import LineDown
from hw.bus.line import Line, LineOptions, open_line
from hw.terminals.zvt.errors import TerminalError, TerminalUnreachable
from hw.terminals.zvt.packet import (
    ACK,
    NAK,
    Acknowledged,
    Fault,
    Framing,
    Packet,
    Piece,
    RawFraming,
    SerialFraming,
    block,
    encode,
)

#: Packets that may wait for us. A terminal sends one and waits for its answer; so many at once are no terminal.
WAITING_MAX: Final = 64

#: A block that comes wrong is asked for again so often; then the line is unusable.
REPEATS_MAX: Final = 3

#: How long a serial receiver may take to acknowledge a block (ZVT serial transport, T3).
BLOCK_S: Final = 5.0


class Dial(Protocol):
    """How a connection is made: hw.bus.line.open_line, or a cable that a test holds in its hands."""

    async def __call__(
        self, options: LineOptions, *, received: Callable[[bytes], None], lost: Callable[[str], None]
    ) -> Line: ...


class LinkLost(TerminalError):
    """The connection ended. `sent` is False only where nothing can have reached the terminal."""

    code = "terminal.lost"

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class Link:
    """An open connection.

    >>> link = await Link.open(LineOptions(port="tcp://192.0.2.7:22000"))
    >>> await link.send(Packet(0x0501))
    >>> await link.receive(timeout_s=5.0)
    <80 00 0 bytes>
    """

    def __init__(self, *, serial: bool, block_s: float = BLOCK_S) -> None:
        self._serial = serial
        self._block_s = block_s
        self._framing: Framing = SerialFraming() if serial else RawFraming()
        self._line: Line | None = None
        self._waiting: asyncio.Queue[Packet | LinkLost] = asyncio.Queue(WAITING_MAX + 1)
        self._acknowledged: asyncio.Future[bool] | None = None
        self._sending = asyncio.Lock()  # one block at a time waits to be acknowledged
        self._why: str | None = None

    @classmethod
    async def open(cls, options: LineOptions, *, block_s: float = BLOCK_S, dial: Dial = open_line) -> Link:
        """Raises TerminalUnreachable."""
        link = cls(serial=not options.is_tcp, block_s=block_s)
        try:
            link._line = await dial(options, received=link._received, lost=link._lost)
        except LineDown as e:
            raise TerminalUnreachable(e.message) from e
        return link

    @property
    def alive(self) -> bool:
        """False once closed or lost."""
        return self._line is not None and self._why is None

    async def send(self, packet: Packet) -> None:
        """Send a packet; on a serial line also have it acknowledged. Raises LinkLost.

        A block is repeated only where the terminal says that it did not take it; silence repeats nothing.
        """
        data = encode(packet)
        if not self._serial:
            self._write(data)
            return
        async with self._sending:
            await self._send_block(block(data))

    async def _send_block(self, data: bytes) -> None:
        for _ in range(REPEATS_MAX):
            self._acknowledged = asyncio.get_running_loop().create_future()
            self._write(data)
            try:
                async with asyncio.timeout(self._block_s):
                    if await self._acknowledged:
                        return
            except TimeoutError:
                self._lost("the terminal does not acknowledge what it gets")
                raise LinkLost("the terminal does not acknowledge what it gets") from None
            finally:
                self._acknowledged = None
        self._lost("the terminal cannot read what it gets")
        raise LinkLost("the terminal cannot read what it gets", sent=False)

    async def receive(self, *, timeout_s: float) -> Packet:
        """The next packet. Raises TimeoutError, LinkLost."""
        async with asyncio.timeout(timeout_s):
            packet = await self._waiting.get()
        if isinstance(packet, LinkLost):
            self._waiting.put_nowait(packet)  # whoever asks again hears it again
            raise packet
        return packet

    def waiting(self) -> list[Packet]:
        """Takes what came while nobody listened."""
        packets: list[Packet] = []
        while not self._waiting.empty():
            packet = self._waiting.get_nowait()
            if isinstance(packet, LinkLost):
                self._waiting.put_nowait(packet)
                break
            packets.append(packet)
        return packets

    def abandon(self) -> None:
        """Ask the terminal to end what it does, and close without waiting for the answer."""
        data = encode(Packet(0x06B0))
        with contextlib.suppress(LinkLost):
            self._write(block(data) if self._serial else data)
        self.close()

    def close(self) -> None:
        """End the connection; whoever waits for a packet hears of it."""
        self._lost("the till has closed the connection")

    def _write(self, data: bytes) -> None:
        if self._line is None or self._why is not None:
            raise LinkLost(self._why or "the connection is closed", sent=False)
        try:
            self._line.write(data)
        except LineDown as e:
            raise LinkLost(e.message, sent=False) from e

    def _received(self, data: bytes) -> None:
        for piece in self._framing.feed(data):
            self._take(piece)

    def _take(self, piece: Piece) -> None:
        match piece:
            case Packet():
                if self._serial:
                    self._answer(ACK)
                if self._why is None and self._waiting.qsize() >= WAITING_MAX:
                    self._lost("the terminal sends without waiting for answers")
                elif self._why is None:
                    self._waiting.put_nowait(piece)
            case Fault():
                self._answer(NAK)
            case Acknowledged(good=good):
                if self._acknowledged is not None and not self._acknowledged.done():
                    self._acknowledged.set_result(good)

    def _answer(self, byte: int) -> None:
        """A single byte of the serial transport; a line that is gone says so by itself."""
        if self._line is not None and self._why is None:
            try:
                self._line.write(bytes((byte,)))
            except LineDown as e:
                self._lost(e.message)

    def _lost(self, why: str) -> None:
        if self._why is not None:
            return
        self._why = why
        self._waiting.put_nowait(LinkLost(why))
        if self._acknowledged is not None and not self._acknowledged.done():
            self._acknowledged.set_exception(LinkLost(why))
        line, self._line = self._line, None
        if line is not None:
            line.close()
