"""The line below a bus: a serial port or a TCP connection that hands bytes up and says when it is lost."""

from __future__ import annotations

import asyncio
import os
import re
import select
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Protocol

import msgspec
import serial
from msgspec import Meta

from edge.errors import CallError
from hw.bus.errors import LineDown

CONNECT_TIMEOUT_S = 2.0  # a host on the charger's own network answers in milliseconds
BITS_PER_CHARACTER = 11  # start, 8 data, parity or second stop, stop (MODBUS over Serial Line V1.02, 2.5.1)
_TCP = re.compile(r"tcp://(\[[0-9A-Fa-f:]+\]|[^:/\s]+):(\d{1,5})")
_READ_MAX = 4096  # more than any frame and its echo; the rest comes with the next call

Parity = Literal["N", "E", "O"]
Baudrate = Annotated[int, Meta(ge=300, le=1_000_000)]
Port = Annotated[str, Meta(pattern=r"^(/.+|tcp://(\[[0-9A-Fa-f:]+\]|[^:/\s]+):\d{1,5})$", max_length=255)]


class LineOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to reach a line. `port` is a serial device (`/dev/meter0`) or `tcp://host:port`."""

    port: Port
    baudrate: Baudrate = 9600
    parity: Parity = "N"
    stopbits: Literal[1, 2] = 1

    @property
    def is_tcp(self) -> bool:
        return self.port.startswith("tcp://")

    def wire_s(self, characters: int) -> float:
        """How long so many characters take on the wire; nothing that counts over TCP."""
        return 0.0 if self.is_tcp else characters * BITS_PER_CHARACTER / self.baudrate


class Line(Protocol):
    """An open line."""

    def write(self, data: bytes) -> None:
        """Send at once. Raises LineDown."""
        ...

    def drain(self) -> None:
        """Hand up bytes that lie unread in the kernel, before the next request goes out."""
        ...

    def close(self) -> None: ...


async def open_line(
    options: LineOptions, *, received: Callable[[bytes], None], lost: Callable[[str], None]
) -> Line:
    """Open the line. Raises LineDown with the reason, CallError for a port that cannot be one."""
    if options.is_tcp:
        return await _open_tcp(options.port, received, lost)
    return SerialLine(options, received, lost)


class SerialLine:
    """A serial port or a pty, read by the event loop. Locked, so that two programs never share one line."""

    def __init__(
        self, options: LineOptions, received: Callable[[bytes], None], lost: Callable[[str], None]
    ) -> None:
        self._received, self._lost = received, lost
        pseudo = Path(options.port).resolve().is_relative_to("/dev/pts")  # carries bytes, and has no parity
        try:
            self._serial = serial.Serial(
                options.port,
                baudrate=options.baudrate,
                parity="N" if pseudo else options.parity,
                stopbits=1 if pseudo else options.stopbits,
                timeout=0,
                exclusive=True,
            )
        except (OSError, ValueError, termios.error) as e:
            raise LineDown(f"{options.port}: {_why(e)}") from e
        self._fd: int = self._serial.fileno()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._readable)

    def write(self, data: bytes) -> None:
        try:
            written = os.write(self._fd, data)
        except OSError as e:
            self._drop(_why(e))
            raise LineDown(f"cannot send: {_why(e)}") from e
        if written != len(data):
            self._drop("the output buffer is full")
            raise LineDown("cannot send: the adapter takes no more data")

    def drain(self) -> None:
        self._take()

    def _readable(self) -> None:
        if not self._take() and self._fd >= 0:
            poll = select.poll()
            poll.register(self._fd, select.POLLIN)
            if any(events & ~select.POLLIN for _, events in poll.poll(0)):
                self._drop("the device is gone")

    def _take(self) -> bool:
        if self._fd < 0:
            return False
        try:
            data = os.read(self._fd, _READ_MAX)
        except BlockingIOError:
            return False
        except OSError as e:
            self._drop(_why(e))
            return False
        if data:
            self._received(data)
        return bool(data)

    def _drop(self, reason: str) -> None:
        if self._fd >= 0:
            self.close()
            self._lost(reason)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._fd = -1
            self._serial.close()


class _TcpLine(asyncio.Protocol):
    def __init__(self, received: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self.data_received = received  # type: ignore[assignment,method-assign]  # spares a call per frame

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._lost(_why(exc) if exc else "closed by the other side")

    def write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise LineDown("the connection is closed")
        self._transport.write(data)

    def drain(self) -> None:
        """Nothing to do: the tids of old frames are unmistakable."""

    def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()


async def _open_tcp(port: str, received: Callable[[bytes], None], lost: Callable[[str], None]) -> Line:
    host, number = tcp_address(port)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, line = await loop.create_connection(lambda: _TcpLine(received, lost), host, number)
    except TimeoutError as e:
        raise LineDown(f"{port}: no connection within {CONNECT_TIMEOUT_S:g} s") from e
    except OSError as e:
        raise LineDown(f"{port}: {_why(e)}") from e
    return line


def tcp_address(port: str) -> tuple[str, int]:
    """Host and number of `tcp://host:port`. Raises CallError."""
    match = _TCP.fullmatch(port)
    if match is None or not 0 < int(match[2]) <= 65535:
        raise CallError(
            f"`{port}` is no line", hint="give a serial device such as /dev/meter0, or tcp://host:port"
        )
    return match[1].strip("[]"), int(match[2])


def _why(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else str(error)
