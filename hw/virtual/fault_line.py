"""A Modbus line that misbehaves on purpose: raw bytes on a pty or over TCP, as late, torn or wrong as wanted.

Each register shows which request it answers: the register at an address holds a mix of the address and of the
number of the request. So whoever gets a reply can tell whether it is the reply to what was asked, and just now.
"""

from __future__ import annotations

import asyncio
import random
import struct
from enum import Enum, auto

from hw.virtual.modbus_server import RtuServer, crc16, rtu

OVERDUE_MAX_S = 0.05
"""A late reply is at most so much later than its script says, also on a machine that stands still meanwhile: then it
never comes. A test that rests on how late replies are would otherwise test the machine.
"""
DOUBLE_PART = 0.1  # a copy comes sooner after its reply than a late reply after its request


class LineFault(Enum):
    """What happens to one reply."""

    NONE = auto()
    LATE = auto()
    LATE_TORN = auto()
    LOST = auto()
    DOUBLED = auto()
    DOUBLED_LATE = auto()
    SPLIT = auto()
    SHORT = auto()
    LONG = auto()
    FEWER = auto()
    MORE = auto()
    NO_DATA = auto()
    ODD = auto()
    OTHER_UNIT = auto()
    OTHER_FUNCTION = auto()
    OTHER_EXCEPTION = auto()
    EXCEPTION = auto()
    CORRUPT = auto()
    ECHO = auto()
    NOISE_BEFORE = auto()
    GARBAGE = auto()
    PREVIOUS = auto()
    WRONG_NUMBER = auto()
    """TCP: another transaction id. RTU has none; the reply is lost."""
    HANG_UP = auto()
    """TCP: the connection closes in mid-reply. RTU: the reply is torn."""


def registers(sequence: int, address: int, count: int) -> list[int]:
    """What the line serves at request number `sequence`, from 1."""
    return [(sequence * 40503 + a * 31) & 0xFFFF for a in range(address, address + count)]


class FaultScript:
    """Decides the fate of each reply and builds its bytes. Seeded: a failing run can be repeated."""

    def __init__(self, seed: int, *, rate: float, late_max_s: float) -> None:
        self.random = random.Random(seed)  # noqa: S311  # a test's dice
        self.rate, self.late_max_s = rate, late_max_s
        self.sequence = 0
        self.asked: dict[int, tuple[int, int]] = {}
        self.only: LineFault | None = None
        self.numbered = False
        """True where frames carry a transaction id."""
        self.counts: dict[LineFault, int] = dict.fromkeys(LineFault, 0)
        self._previous = b""

    def pick(self) -> LineFault:
        """The fate of the next reply."""
        if self.only is not None:
            fault = self.only
        elif self.random.random() < self.rate:
            fault = self.random.choice(list(LineFault))
        else:
            fault = LineFault.NONE
        self.counts[fault] += 1
        return fault

    def good(self, pdu: bytes) -> bytes:
        """The reply's PDU as it should be. Only reads are served."""
        self.sequence += 1
        function, address, count = struct.unpack(">BHH", pdu)
        self.asked[self.sequence] = (address, count)
        return struct.pack(f">BB{count}H", function, 2 * count, *registers(self.sequence, address, count))

    def distort(self, fault: LineFault, reply: bytes) -> bytes:
        """The PDU that goes out under faults of content; others leave it as it is."""
        function, data = reply[0], reply[2:]
        match fault:
            case LineFault.FEWER:
                data = data[:-2]
            case LineFault.MORE:
                data += b"\0\0"
            case LineFault.NO_DATA:
                data = b""
            case LineFault.ODD:
                data = data[:-1]
            case LineFault.OTHER_FUNCTION:
                function ^= 7
            case LineFault.OTHER_EXCEPTION:
                return bytes([(function ^ 7) | 0x80, 2])
            case LineFault.EXCEPTION:
                return bytes([function | 0x80, 6])
            case _:
                return reply
        return bytes([function, len(data)]) + data

    def deliveries(  # noqa: PLR0911  # a table, one line per fault
        self, fault: LineFault, frame: bytes, request: bytes
    ) -> list[tuple[float, bytes]]:
        """When which bytes go out, for faults of timing and transport."""
        late_s = self.random.uniform(0, self.late_max_s)
        cut = self.random.randrange(1, len(frame))
        noise = self.random.randbytes(self.random.randrange(1, 4))
        previous, self._previous = self._previous or frame, frame
        match fault:
            case LineFault.LATE:
                return [(late_s, frame)]
            case LineFault.LATE_TORN:
                return [(late_s, frame[:cut]), (late_s + 0.02, frame[cut:])]
            case LineFault.LOST:
                return []
            case LineFault.WRONG_NUMBER if not self.numbered:
                return []
            case LineFault.DOUBLED:
                return [(0, frame + frame)]
            case LineFault.DOUBLED_LATE:
                return [(0, frame), (late_s * DOUBLE_PART, frame)]
            case LineFault.SPLIT:
                return [(0, frame[:cut]), (0.005, frame[cut:])]
            case LineFault.SHORT | LineFault.HANG_UP:
                return [(0, frame[:cut])]
            case LineFault.LONG:
                return [(0, frame + noise)]
            case LineFault.CORRUPT:
                flipped = bytearray(frame)
                flipped[self.random.randrange(len(frame))] ^= 1 << self.random.randrange(8)
                return [(0, bytes(flipped))]
            case LineFault.ECHO:
                return [(0, request), (0.002, frame)]
            case LineFault.NOISE_BEFORE:
                return [(0, noise + frame)]
            case LineFault.GARBAGE:
                return [(0, self.random.randbytes(self.random.randrange(1, 300)))]
            case LineFault.PREVIOUS:
                return [(0, previous)]
            case _:
                return [(0, frame)]


class FaultRtu(RtuServer):
    """The misbehaving line on a pty. It answers as unit 1."""

    def __init__(self, script: FaultScript) -> None:
        super().__init__({})
        self.script = script

    def serve(self, unit: int, pdu: bytes) -> None:
        fault = self.script.pick()
        reply = self.script.distort(fault, self.script.good(pdu))
        frame = rtu(unit + (fault is LineFault.OTHER_UNIT), reply)
        body = bytes([unit]) + pdu
        request = body + crc16(body).to_bytes(2, "little")
        loop = asyncio.get_running_loop()
        for delay_s, data in self.script.deliveries(fault, frame, request):
            if delay_s:
                due = loop.time() + delay_s
                loop.call_at(due, self._send_late, due, data)
            else:
                self.send(data)

    def _send_late(self, due: float, data: bytes) -> None:
        if asyncio.get_running_loop().time() <= due + OVERDUE_MAX_S:
            self.send(data)


class FaultTcp:
    """The misbehaving line over TCP, on loopback."""

    def __init__(self, script: FaultScript) -> None:
        self.script = script
        script.numbered = True
        self.address = ""
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self.script, self._open), "127.0.0.1", 0)
        self.address = f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._open):
            connection.transport.abort()


class _Connection(asyncio.Protocol):
    def __init__(self, script: FaultScript, connections: set[_Connection]) -> None:
        self.script, self.connections = script, connections
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= 12:
            request, self._data = self._data[:12], self._data[12:]
            self._serve(request)

    def _serve(self, request: bytes) -> None:
        tid, unit = int.from_bytes(request[:2], "big"), request[6]
        fault = self.script.pick()
        reply = self.script.distort(fault, self.script.good(request[7:]))
        tid = (tid + 1) % 0x10000 if fault is LineFault.WRONG_NUMBER else tid
        unit += fault is LineFault.OTHER_UNIT
        frame = struct.pack(">HHHB", tid, 0, len(reply) + 1, unit) + reply
        loop = asyncio.get_running_loop()
        if fault is LineFault.CORRUPT:  # TCP carries no checksum of ours: only a broken header can be seen
            frame = frame[:2] + b"\x01" + frame[3:]
            self.transport.write(frame)
            return
        for delay_s, data in self.script.deliveries(fault, frame, request):
            if delay_s:
                loop.call_later(delay_s, self._send, data)
            else:
                self._send(data)
        if fault is LineFault.HANG_UP:
            self.transport.close()

    def _send(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)
