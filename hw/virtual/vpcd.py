"""Cards in a virtual PC/SC reader: the card's side of vpcd's protocol (vsmartcard).

Messages are a length of two bytes, big-endian, and a body. A body of one byte is control: 0 power off, 1 power
on, 2 reset, 4 asks for the ATR; everything else is an APDU. vpcd asks for the ATR a few times a second to see
whether the card is still there, and the card leaves by closing the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from functools import reduce
from operator import xor
from typing import Final, Self

from hw.virtual.air import NOTICED_MAX_S, PART_4
from hw.virtual.cards import Left, VirtualCard

_POWER_OFF: Final = 0
_POWER_ON: Final = 1
_RESET: Final = 2
_GET_ATR: Final = 4

#: A look for the card, as it goes over the line.
_LOOK: Final = bytes((0, 1, _GET_ATR))

#: PC/SC part 3, 3.2.2.1.3: Get Data, UID. The reader answers it itself, and so does the virtual one.
_GET_UID: Final = bytes.fromhex("FFCA0000")

#: PC/SC part 3, 3.1.3.2.3: ATR of a storage card; the RID of the PC/SC workgroup, then MIFARE Classic 1K.
_STORAGE: Final = bytes.fromhex("804F0CA000000306030001") + bytes(4)

#: A card's answer of 64 KiB does not fit into vpcd's length.
_MESSAGE_MAX: Final = 0xFFFF

#: pcscd looks for the card every 0.4 s, and notices only then that it has left.
_LOOK_EVERY_S: Final = 0.6
_HANG_UP_MAX_S: Final = 5.0

#: A driver takes the card away when nothing has been asked of it for this long; pcscd notices it in this time.
_QUIET_S: Final = 0.4


class VpcdField:
    """One slot of a virtual reader. `connect` gives a new connection to its vpcd."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._serving: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._asked_at = 0.0

    async def present(self, card: VirtualCard) -> None:
        """Hold `card` to the reader, instead of the one that may be there. Raises HardwareError."""
        await self.remove()
        connection = await asyncio.get_running_loop().run_in_executor(None, self._connect)
        connection.setblocking(False)
        self._asked.clear()
        self._serving = asyncio.create_task(self._serve(connection, card))
        await asyncio.sleep(0)  # so that it has begun, and hangs up, whenever it is ended

    async def remove(self) -> None:
        """Take the card away."""
        if self._serving is not None:
            if self._serving.done():  # torn away, which only vpcd has noticed yet
                await asyncio.sleep(_LOOK_EVERY_S)
            self._serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._serving
            self._serving = None

    async def tap(self, card: VirtualCard, *, timeout_s: float = NOTICED_MAX_S) -> None:
        """Hold the card until the reader has asked its last, then away. Raises TimeoutError: nobody reads."""
        await self.present(card)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                await self._asked.wait()
                while (left_s := self._asked_at + _QUIET_S - loop.time()) > 0:  # noqa: ASYNC110 - quiet is no event
                    await asyncio.sleep(left_s)
        finally:
            await self.remove()
        await asyncio.sleep(_QUIET_S)

    async def close(self) -> None:
        await self.remove()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _serve(self, connection: socket.socket, card: VirtualCard) -> None:
        loop = asyncio.get_running_loop()
        uid = b""
        try:
            while True:
                message = await _receive(loop, connection)
                if message in {bytes((_POWER_ON,)), bytes((_RESET,))}:
                    uid = card.enter()
                elif message == bytes((_GET_ATR,)):
                    await _send(loop, connection, _atr(card))
                elif message != bytes((_POWER_OFF,)):
                    self._asked_at = loop.time()
                    self._asked.set()
                    answer = uid + b"\x90\x00" if message[:4] == _GET_UID else card.apdu(message)
                    if answer is not None:
                        await _send(loop, connection, answer[:_MESSAGE_MAX])
        except (Left, OSError, EOFError):
            return
        finally:
            await _leave(loop, connection)


async def _leave(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
    """Hang up, and wait until pcscd has noticed: a card that comes sooner would be taken for the one that left.

    Where a command, and not the next look, met the closed line, only vpcd knows; pcscd looks a moment later.
    """
    asked = b""
    with contextlib.suppress(OSError, TimeoutError), connection:
        connection.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(_HANG_UP_MAX_S):
            while part := await loop.sock_recv(connection, _MESSAGE_MAX):
                asked += part
    if asked.replace(_LOOK, b""):
        await asyncio.sleep(_LOOK_EVERY_S)


async def _receive(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> bytes:
    (length,) = struct.unpack(">H", await _exactly(loop, connection, 2))
    return await _exactly(loop, connection, length)


async def _exactly(loop: asyncio.AbstractEventLoop, connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        # Before each read, or Nagle's algorithm and delayed acknowledgements take 44 ms an APDU.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        part = await loop.sock_recv(connection, length - len(data))
        if not part:
            raise EOFError
        data += part
    return data


async def _send(loop: asyncio.AbstractEventLoop, connection: socket.socket, body: bytes) -> None:
    await loop.sock_sendall(connection, struct.pack(">H", len(body)) + body)


def _atr(card: VirtualCard) -> bytes:
    """What a contactless reader makes of a card: TS, T0, TD1 (T=0), TD2 (T=1), historical bytes, checksum."""
    historical = b"" if card.sak & PART_4 else _STORAGE
    body = bytes((0x80 | len(historical), 0x80, 0x01)) + historical
    return b"\x3b" + body + bytes((reduce(xor, body),))
