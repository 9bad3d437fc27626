"""The line below a bus: a serial port or a TCP connection that hands bytes up and says when it is lost."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import select
import socket
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, Protocol

import msgspec
import serial
from msgspec import Meta

from edge.errors import CallError
from hw.bus.errors import LineDown
from hw.worker import DeviceHung, Worker

OPEN_MAX_S = 5.0  # an adapter is set up in milliseconds; the kernel asks a USB one for up to some seconds
CONNECT_TIMEOUT_S = 2.0  # a host on the charger's own network answers in milliseconds
BITS_PER_CHARACTER = 11  # start, 8 data, parity or second stop, stop (MODBUS over Serial Line V1.02, 2.5.1)
_TCP = re.compile(r"tcp://(\[[0-9A-Fa-f:]+\]|[^:/\s]+):(\d{1,9})")
_READ_MAX = 4096  # more than any frame and its echo; the rest comes with the next call

Parity = Literal["N", "E", "O"]
Baudrate = Annotated[int, Meta(ge=300, le=1_000_000)]
_NUMBER = r"([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])"  # 1 to 65535
Port = Annotated[
    str,
    Meta(
        pattern=rf"^(/.+|tcp://(\[[0-9A-Fa-f:]+\]|[^:/\s]+):0{{0,4}}{_NUMBER})$",
        max_length=255,
        description="a serial device such as /dev/meter0, or tcp://host:port with a port from 1 to 65535",
    ),
]


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


class _Device(Protocol):
    """A socket or a serial port."""

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class Line(Protocol):
    """An open line."""

    def write(self, data: bytes) -> None:
        """Send at once. Raises LineDown."""
        ...

    def look(self) -> None:
        """Hand up what has come already and still waits to be handed up."""
        ...

    def close(self) -> None: ...


async def open_line(
    options: LineOptions, *, received: Callable[[bytes], None], lost: Callable[[str], None]
) -> Line:
    """Open the line. Raises LineDown with the reason, CallError for a port that cannot be one."""
    try:
        device = await _connect(options.port) if options.is_tcp else await _serial(options)
    except DeviceHung as e:
        raise LineDown(f"{options.port}: {e.message}", hint=e.hint) from e
    except TimeoutError as e:
        raise LineDown(f"{options.port}: no connection within {CONNECT_TIMEOUT_S:g} s") from e
    except socket.gaierror as e:
        raise LineDown(
            f"{options.port}: {e.strerror}", hint="check the host's name, or give its address"
        ) from e
    except (OSError, ValueError, termios.error) as e:
        hint = None if options.is_tcp else _remedy(e)
        raise LineDown(f"{options.port}: {_why(e)}", hint=hint) from e
    return _OpenLine(device, received, lost)


async def _serial(options: LineOptions) -> _Device:
    """Opened on a thread: the driver of an adapter that hangs keeps `open` for ever. What is opened after we have gone
    is closed again.
    """
    opened: list[_Device] = []

    def opening() -> None:
        opened.append(_open_serial(options))

    def given_up() -> None:
        for device in opened:
            device.close()

    worker = Worker(options.port)
    try:
        await worker.call(opening, timeout_s=OPEN_MAX_S)
    except BaseException:
        worker.close(given_up)
        raise
    worker.close()
    return opened[0]


def _open_serial(options: LineOptions) -> _Device:
    """The port, locked, so that two programs never share one line."""
    pseudo = Path(options.port).resolve().is_relative_to("/dev/pts")  # carries bytes, and has no parity
    port: _Device = serial.Serial(
        options.port,
        baudrate=options.baudrate,
        parity="N" if pseudo else options.parity,
        stopbits=1 if pseudo else options.stopbits,
        timeout=0,
        exclusive=True,
    )
    return port


async def _connect(port: str) -> _Device:
    host, number = tcp_address(port)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        error: OSError = OSError(f"{host} has no address")
        for family, kind, protocol, _, address in await loop.getaddrinfo(
            host, number, type=socket.SOCK_STREAM
        ):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(connection, address)
            except BaseException as e:
                connection.close()
                if not isinstance(e, OSError):
                    raise
                error = e
            else:
                return connection
        raise error


class _OpenLine:
    """A file descriptor, read by the event loop: asyncio's own streams cost twice the time of a poll."""

    def __init__(
        self, device: _Device, received: Callable[[bytes], None], lost: Callable[[str], None]
    ) -> None:
        self._device, self._received, self._lost = device, received, lost
        self._fd = device.fileno()
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
            raise LineDown("cannot send: the other side takes no more data")

    def look(self) -> None:
        try:
            data = os.read(self._fd, _READ_MAX)
        except OSError:
            return  # nothing there, or lost, which the event loop is about to say
        if data:
            self._received(data)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _READ_MAX)
        except BlockingIOError:
            return
        except OSError as e:
            self._drop(_why(e))
            return
        if data:
            self._received(data)
        elif isinstance(self._device, socket.socket):
            self._drop("closed by the other side")
        elif self._hung_up():
            self._drop("the device is gone")

    def _hung_up(self) -> bool:
        """A serial line gives no bytes both when it was woken in vain and when it is no more."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return any(events & ~select.POLLIN for _, events in poll.poll(0))

    def _drop(self, reason: str) -> None:
        if self._fd >= 0:
            self.close()
            self._lost(reason)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            if not isinstance(self._device, socket.socket):
                with suppress(termios.error):  # else the kernel waits up to 30 s for what nobody takes
                    termios.tcflush(self._fd, termios.TCIOFLUSH)
            self._fd = -1
            self._device.close()


def tcp_address(port: str) -> tuple[str, int]:
    """Host and number of `tcp://host:port`. Raises CallError."""
    match = _TCP.fullmatch(port)
    if match is None or not 0 < int(match[2]) <= 65535:
        raise CallError(
            f"`{port}` is no line", hint="give a serial device such as /dev/meter0, or tcp://host:port"
        )
    return match[1].strip("[]"), int(match[2])


def _why(error: Exception) -> str:
    number = _number(error)
    return os.strerror(number) if number else str(error)


def _remedy(error: Exception) -> str | None:
    """What to do about a serial port that does not open; None where it is simply not there."""
    match _number(error):
        case errno.EACCES | errno.EPERM:
            return "this user may not open it: add the user to the device's group (`dialout` on Debian)"
        case errno.EAGAIN | errno.EBUSY:
            return "another program has this port open: stop it (a running daemon, too)"
        case errno.ENOTTY | errno.EINVAL | errno.EISDIR:
            return "this is no serial device, or it does not know these settings: check the port's name"
        case _:
            return None


def _number(error: Exception) -> int | None:
    """The system's number of an error. pyserial keeps that of a device that cannot be set up in its context."""
    cause = error.__context__
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if isinstance(cause, termios.error) and cause.args:
        return int(cause.args[0])
    return cause.errno if isinstance(cause, OSError) else None
