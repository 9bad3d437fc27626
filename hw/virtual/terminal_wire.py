"""The lower end of a virtual payment terminal: packets over a connection, whole, in fragments or merged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Literal

from hw.bus.errors import LineDown
from hw.terminals.zvt.packet import ACK, NAK, Fault, Packet, RawFraming, SerialFraming, block, encode

Shape = Literal["whole", "fragments", "merged"]

#: How long the till may take to answer a packet (ZVT T3).
ANSWER_S: Final = 5.0

#: What a till may send unasked before it is cut off.
_WAITING_MAX: Final = 64


class Gone(Exception):
    """The till is not there any more, or the terminal has hung up."""


class Wire:
    """One connection with a till. `shape`: how packets become writes."""

    def __init__(self, write: Callable[[bytes], None], hang_up: Callable[[], None], *, serial: bool) -> None:
        self._write = write
        self._hang_up = hang_up
        self._serial = serial
        self._framing = SerialFraming() if serial else RawFraming()
        self._packets: asyncio.Queue[Packet | None] = asyncio.Queue(_WAITING_MAX + 1)
        self._held = b""
        self.shape: Shape = "whole"
        self.open = True

    def feed(self, data: bytes) -> None:
        """Bytes came from the till."""
        for piece in self._framing.feed(data):
            if isinstance(piece, Packet):
                if self._serial:
                    self._write(bytes((ACK,)))
                if self._packets.qsize() < _WAITING_MAX:
                    self._packets.put_nowait(piece)
            elif isinstance(piece, Fault) and self._serial:
                self._write(bytes((NAK,)))

    def ended(self) -> None:
        """The till has hung up."""
        if self.open:
            self.open = False
            self._packets.put_nowait(None)

    def hang_up(self) -> None:
        """The terminal hangs up."""
        if self.open:
            self._held = b""
            self.ended()
            self._hang_up()

    async def receive(self, within_s: float | None = None) -> Packet:
        """The next packet. Raises Gone, TimeoutError."""
        async with asyncio.timeout(within_s):
            packet = await self._packets.get()
        if packet is None:
            self._packets.put_nowait(None)
            raise Gone
        return packet

    async def send(self, packet: Packet, *, more: bool = False) -> None:
        """Send a packet; with `more` a merging terminal keeps it for one write with the next."""
        if not self.open:
            raise Gone
        data = encode(packet)
        data = self._held + (block(data) if self._serial else data)
        self._held = b""
        if self.shape == "merged" and more:
            self._held = data
        elif self.shape == "fragments":
            for byte in data:
                self._write(bytes((byte,)))
                await asyncio.sleep(0)
        else:
            self._write(data)


class Cable:
    """Both ends of a connection within the process; implements hw.bus.line.Line for the till's end."""

    def __init__(self, received: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        self._received = received
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._cut = False
        self.wire: Wire | None = None

    def write(self, data: bytes) -> None:
        """From the till. Raises LineDown."""
        if self.wire is None or not self.wire.open:
            raise LineDown("cannot send: the terminal has hung up")
        if not self._cut:
            self._loop.call_soon(self.wire.feed, data)

    def close(self) -> None:
        """The till hangs up, or goes without a word."""
        if self.wire is not None:
            self._loop.call_soon(self.wire.ended)
        self._cut = True

    def cut(self) -> None:
        """From now on nothing arrives on either side: the till has lost power."""
        self._cut = True

    def deliver(self, data: bytes) -> None:
        """From the terminal."""
        self._loop.call_soon(self._arrive, data)

    def unplug(self) -> None:
        """The terminal hangs up."""
        self._loop.call_soon(self._gone)

    def _arrive(self, data: bytes) -> None:
        if not self._cut:
            self._received(data)

    def _gone(self) -> None:
        if not self._cut:
            self._cut = True
            self._lost("closed by the other side")
