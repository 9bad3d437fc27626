"""A Modbus server made of plain asyncio, over TCP and over RTU on a pty: the line that virtual devices hang
on.

It shares no code with the bus, so that a mistake in one is not mirrored in the other. Loopback only.
"""

from __future__ import annotations

import asyncio
import os
import struct
import tty
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
_READ_MAX = 4096
_PDU_MAX = 253
_SILENCE_S = 0.05  # an RTU request that is not complete after this is dropped; frames arrive whole on a pty


class Refusal(Exception):  # becomes a Modbus exception reply, not an error of ours
    """A unit does not do what it was asked; `code` is the Modbus exception."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Unit(Protocol):
    """One device on the line. Registers are 16 bits, coils 0 or 1. Each may raise Refusal."""

    def read(self, function: int, address: int, count: int) -> list[int] | None:
        """Registers (functions 3, 4) or bits (1, 2). None: the unit stays silent."""
        ...

    def write(self, function: int, address: int, values: list[int]) -> bool:
        """Registers (6, 16) or a coil (5). False: the unit stays silent."""
        ...


Units = Mapping[int, Unit]


def answer(units: Units, unit: int, pdu: bytes) -> bytes | None:
    """The reply's PDU; None where the unit is absent or silent."""
    device = units.get(unit)
    if device is None or not pdu:
        return None
    try:
        return _serve(device, pdu[0], pdu)
    except Refusal as e:
        return bytes([pdu[0] | 0x80, e.code])


def _serve(device: Unit, function: int, pdu: bytes) -> bytes | None:
    if function in {1, 2, 3, 4} and len(pdu) == 5:
        return _read(device, function, pdu)
    if function in {5, 6} and len(pdu) == 5:
        address, value = struct.unpack(">HH", pdu[1:])
        return pdu if device.write(function, address, [value >> 15 if function == 5 else value]) else None
    if function == 16 and len(pdu) >= 8 and len(pdu) == 6 + pdu[5]:
        address, count = struct.unpack(">HH", pdu[1:5])
        if not 1 <= count <= 123 or pdu[5] != 2 * count:
            raise Refusal(ILLEGAL_VALUE)
        values = list(struct.unpack(f">{count}H", pdu[6:]))
        return pdu[:5] if device.write(function, address, values) else None
    raise Refusal(ILLEGAL_FUNCTION)


def _read(device: Unit, function: int, pdu: bytes) -> bytes | None:
    address, count = struct.unpack(">HH", pdu[1:])
    if not 1 <= count <= (2000 if function < 3 else 125):
        raise Refusal(ILLEGAL_VALUE)
    values = device.read(function, address, count)
    if values is None:
        return None
    if function >= 3:
        return struct.pack(f">BB{count}H", function, 2 * count, *values)
    packed = bytearray((count + 7) // 8)
    for i, bit in enumerate(values):
        packed[i // 8] |= (bit & 1) << (i % 8)
    return bytes([function, len(packed)]) + bytes(packed)


def crc16(data: bytes) -> int:
    """MODBUS over Serial Line V1.02, 6.2.2; the low byte goes first on the wire."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def rtu(unit: int, pdu: bytes) -> bytes:
    """An RTU frame."""
    body = bytes([unit]) + pdu
    return body + crc16(body).to_bytes(2, "little")


def _request_length(data: bytes) -> int | None:
    """How long the RTU request that begins here is; None while that is not known."""
    if len(data) < 2:
        return None
    if data[1] == 16:
        return None if len(data) < 7 else 9 + data[6]
    return 8


class TcpServer:
    """Units behind `tcp://127.0.0.1:port`; port 0 takes a free one."""

    def __init__(self, units: Units, *, port: int = 0) -> None:
        self._units = units
        self.port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()

    @property
    def address(self) -> str:
        """What a bus is given to reach this server."""
        return f"tcp://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen; the port stays the same when it is started again. Raises OSError when it is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _TcpConnection(self._units, self._connections), "127.0.0.1", self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for transport in tuple(self._connections):
            transport.abort()


class _TcpConnection(asyncio.Protocol):
    def __init__(self, units: Units, connections: set[asyncio.Transport]) -> None:
        self._units, self._connections = units, connections
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= 7:
            tid, protocol, length, unit = struct.unpack(">HHHB", self._data[:7])
            if protocol or not 2 <= length <= _PDU_MAX + 1:
                self._transport.abort()
                return
            if len(self._data) < 6 + length:
                return
            pdu, self._data = self._data[7 : 6 + length], self._data[6 + length :]
            reply = answer(self._units, unit, pdu)
            if reply is not None:
                self._transport.write(struct.pack(">HHHB", tid, 0, len(reply) + 1, unit) + reply)


class RtuServer:
    """Units behind a pty. `address` is its device, reached by the stable `link` when one is given."""

    def __init__(self, units: Units, *, link: Path | None = None) -> None:
        self._units, self._link = units, link
        self.address = ""
        self._master = self._slave = -1
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Open a new pty; its slave stays open so that programs may come and go."""
        self._master, self._slave = os.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.address = os.ttyname(self._slave)
        if self._link is not None:
            fresh = self._link.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(self.address)
            fresh.replace(self._link)
            self.address = str(self._link)
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    async def stop(self) -> None:
        """Unplug: whoever has the device open sees it go."""
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = self._slave = -1
        if self._timer is not None:
            self._timer.cancel()

    def send(self, data: bytes) -> None:
        """Put bytes on the line."""
        if self._master >= 0:
            os.write(self._master, data)

    def _readable(self) -> None:
        try:
            self._data += os.read(self._master, _READ_MAX)
        except OSError:
            return
        self._forget_later()
        while (length := _request_length(self._data)) is not None and len(self._data) >= length:
            frame, self._data = self._data[:length], self._data[length:]
            if crc16(frame[:-2]).to_bytes(2, "little") != frame[-2:]:
                self._data = b""
                return
            self.serve(frame[0], frame[1:-2])

    def serve(self, unit: int, pdu: bytes) -> None:
        """Answer one request."""
        reply = answer(self._units, unit, pdu)
        if reply is not None:
            self.send(rtu(unit, reply))

    def _forget_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_SILENCE_S, self._forget)

    def _forget(self) -> None:
        self._data = b""


class Registers:
    """A unit that serves plain register tables; what lies between the given addresses reads as 0.

    `refuse_outside` makes any address beyond `limits` a Modbus exception, as strict meters do.
    """

    def __init__(self, inputs: dict[int, int] | None = None, holdings: dict[int, int] | None = None) -> None:
        self.tables: dict[int, dict[int, int]] = {3: holdings or {}, 4: inputs or {}}
        self.on_write: Callable[[int, int], None] | None = None

    def read(self, function: int, address: int, count: int) -> list[int] | None:
        table = self.tables.get(function)
        if table is None:
            raise Refusal(ILLEGAL_FUNCTION)
        if not table or address + count - 1 > max(table) or address < min(table):
            raise Refusal(ILLEGAL_ADDRESS)
        return [table.get(a, 0) for a in range(address, address + count)]

    def write(self, function: int, address: int, values: list[int]) -> bool:
        if function not in {6, 16}:
            raise Refusal(ILLEGAL_FUNCTION)
        table = self.tables[3]
        for i, value in enumerate(values):
            if address + i not in table:
                raise Refusal(ILLEGAL_ADDRESS)
            table[address + i] = value
            if self.on_write is not None:
                self.on_write(address + i, value)
        return True
