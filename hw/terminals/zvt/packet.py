"""A packet, and how packets lie in a stream: back to back over TCP, in blocks with a CRC on a serial line.

A packet is `CC RC LEN data`: a command of two bytes, a length of one byte, or `FF` and two bytes, low byte
first, from 255 on. A serial block is `DLE STX packet DLE ETX CRC`, each DLE in the packet doubled.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from hw.terminals.zvt.errors import ZvtError

#: What a length field can say, so the longest packet there is; commands and receipts stay far below.
DATA_MAX: Final = 0xFFFF

_LONG: Final = 0xFF

DLE: Final = 0x10
STX: Final = 0x02
ETX: Final = 0x03
ACK: Final = 0x06
NAK: Final = 0x15


class Packet(msgspec.Struct, frozen=True):
    """`command` is CC and RC as one number (0x060F); `data` is what follows the length."""

    command: int
    data: bytes = b""

    def __repr__(self) -> str:
        """Without the data: it may hold a card number or a password."""
        return f"<{spelled(self.command)} {len(self.data)} bytes>"


def spelled(command: int) -> str:
    """A command as documents spell it: `06 0F`."""
    return f"{command >> 8:02X} {command & 0xFF:02X}"


def encode(packet: Packet) -> bytes:
    """The packet's bytes. Raises ZvtError where the data is longer than a length can say."""
    size = len(packet.data)
    if size > DATA_MAX:
        raise ZvtError(f"{size} bytes do not fit into a packet", offset=2)
    length = bytes((size,)) if size < _LONG else bytes((_LONG,)) + size.to_bytes(2, "little")
    return packet.command.to_bytes(2, "big") + length + packet.data


def decode(data: bytes) -> Packet:
    """The packet that is all of `data`. Raises ZvtError."""
    end = _end(data)
    if end is None or end > len(data):
        missing = "its length" if end is None else f"{end - len(data)} bytes of it"
        raise ZvtError(f"the packet is cut off: {missing} missing", offset=len(data))
    if end < len(data):
        raise ZvtError(f"{len(data) - end} bytes follow the packet", offset=end)
    return _packet(data, end)


class Fault(msgspec.Struct, frozen=True):
    """A part of the stream that is no packet. The stream goes on behind it."""

    error: ZvtError


class Acknowledged(msgspec.Struct, frozen=True):
    """A serial receiver's answer to a block: ACK (True) or NAK."""

    good: bool


Piece = Packet | Fault | Acknowledged


class Framing(Protocol):
    """Cuts a stream into pieces. Holds at most one packet."""

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that are complete with these bytes."""
        ...

    def rest(self) -> Piece | None:
        """What an ended stream leaves: a fault when it ends within a packet."""
        ...


class RawFraming:
    """Packets back to back: what TCP carries."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Piece]:
        self._data += data
        pieces: list[Piece] = []
        at = 0
        while (end := _end(self._data, at)) is not None and end <= len(self._data):
            pieces.append(_packet(self._data, end, at))
            at = end
        del self._data[:at]
        return pieces

    def rest(self) -> Piece | None:
        if not self._data:
            return None
        end, size = _end(self._data), len(self._data)
        self._data.clear()
        missing = "its length" if end is None else f"{end - size} bytes of it"
        return Fault(ZvtError(f"the stream ends within a packet: {missing} missing", offset=size))


class SerialFraming:
    """Blocks of the serial transport, and the single bytes that acknowledge them."""

    def __init__(self) -> None:
        self._block: bytearray | None = None
        self._crc: bytearray | None = None
        self._escaped = False
        self._noise = 0

    def feed(self, data: bytes) -> list[Piece]:
        pieces: list[Piece] = []
        for byte in data:
            piece = self._byte(byte)
            if piece is not None:
                if self._noise:
                    pieces.append(self._noise_fault())
                pieces.append(piece)
        return pieces

    def rest(self) -> Piece | None:
        if self._noise:
            return self._noise_fault()
        if self._block is None and not self._escaped:
            return None
        size = len(self._block or b"")
        self._block, self._crc, self._escaped = None, None, False
        return Fault(ZvtError("the stream ends within a block", offset=size))

    def _noise_fault(self) -> Fault:
        count, self._noise = self._noise, 0
        return Fault(ZvtError(f"{count} bytes stand between blocks", offset=0))

    def _byte(self, byte: int) -> Piece | None:
        if self._crc is not None:
            self._crc.append(byte)
            return self._checked() if len(self._crc) == 2 else None
        if self._escaped:
            self._escaped = False
            return self._after_dle(byte)
        if byte == DLE:
            self._escaped = True
        elif self._block is not None:
            return self._append(byte)
        elif byte in (ACK, NAK):
            return Acknowledged(byte == ACK)
        else:
            self._noise += 1
        return None

    def _after_dle(self, byte: int) -> Piece | None:
        if byte == STX:
            torn, self._block = self._block, bytearray()
            if torn is not None:
                return Fault(ZvtError("a block is torn: another one begins", offset=len(torn)))
        elif self._block is None:
            self._noise += 2
        elif byte == DLE:
            return self._append(byte)
        elif byte == ETX:
            self._crc = bytearray()
        else:
            size, self._block = len(self._block), None
            return Fault(ZvtError("a DLE within a block is not doubled", offset=size))
        return None

    def _append(self, byte: int) -> Piece | None:
        assert self._block is not None
        self._block.append(byte)
        if len(self._block) > DATA_MAX + 5:
            self._block = None
            return Fault(ZvtError("a block is longer than any packet", offset=DATA_MAX))
        return None

    def _checked(self) -> Piece:
        assert self._block is not None
        assert self._crc is not None
        data, crc = bytes(self._block), bytes(self._crc)
        self._block, self._crc = None, None
        if crc16(data) != crc:
            return Fault(ZvtError("the block's CRC is wrong", offset=len(data)))
        try:
            return decode(data)
        except ZvtError as e:
            return Fault(e)


def block(data: bytes) -> bytes:
    """A packet's bytes as a serial block."""
    doubled = data.replace(bytes((DLE,)), bytes((DLE, DLE)))
    return bytes((DLE, STX)) + doubled + bytes((DLE, ETX)) + crc16(data)


def crc16(data: bytes) -> bytes:
    """CRC-16/KERMIT over the packet and the ETX, without doubled DLEs; low byte first."""
    crc = 0
    for byte in (*data, ETX):
        crc = (crc >> 8) ^ _CRC[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


def _crc_entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0x8408 if value & 1 else 0)
    return value


_CRC: Final = tuple(_crc_entry(i) for i in range(256))


def _end(data: bytes | bytearray, at: int = 0) -> int | None:
    """Where the packet at `at` ends; None while its length is not there."""
    if len(data) - at < 3:
        return None
    if data[at + 2] < _LONG:
        return at + 3 + data[at + 2]
    if len(data) - at < 5:
        return None
    return at + 5 + int.from_bytes(data[at + 3 : at + 5], "little")


def _packet(data: bytes | bytearray, end: int, at: int = 0) -> Packet:
    head = 3 if data[at + 2] < _LONG else 5
    return Packet(int.from_bytes(data[at : at + 2], "big"), bytes(data[at + head : end]))
