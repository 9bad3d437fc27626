"""A PN532 on a pseudo-terminal: the chip behind most small NFC boards, with cards made of software.

Host frames: `00 00 FF LEN LCS D4 CC data DCS 00`, or with `FF FF LENM LENL LCS` where the data is long. The chip
acknowledges with `00 00 FF 00 FF 00` and answers `D5 CC+1 data` (PN532 user manual, 6.2.1). Only what a reader
of cards needs is here: everything else that is set is acknowledged and forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from typing import Final, Self

from hw.virtual.air import ATQA, NOTICED_MAX_S, Air
from hw.virtual.cards import VirtualCard

_START: Final = b"\x00\x00\xff"
_ACK: Final = b"\x00\x00\xff\x00\xff\x00"
_ERROR: Final = b"\x00\x00\xff\x01\xff\x7f\x81\x00"

#: WriteRegister, SetSerialBaudRate, SetParameters, SAMConfiguration, RFConfiguration.
_SETTINGS: Final = frozenset((0x08, 0x10, 0x12, 0x14, 0x32))

#: PN532 v1.6: IC, version, revision, support.
_VERSION: Final = bytes.fromhex("32010607")

#: CIU_FIFOData still holds the request that nobody answered.
_FIFO: Final = 0x6339
_REQA: Final = 0x26

_STATUS_OK: Final = b"\x00"
_STATUS_TIMEOUT: Final = b"\x01"

#: A host frame has at most 264 data bytes; what has not become a frame by then never will.
_PENDING_MAX: Final = 4_096


class Pn532Field:
    """A board on the serial line `field.device`; nfcpy opens `field.path`.

    `async with await Pn532Field.start() as field: await field.tap(UidCard(uid))`
    """

    def __init__(self) -> None:
        self._air = Air()
        self._pending = b""
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.device = os.ttyname(self._slave)

    @classmethod
    async def start(cls) -> Self:
        """Open a pseudo-terminal and listen on it."""
        field = cls()
        asyncio.get_running_loop().add_reader(field._master, field._received)
        return field

    @property
    def path(self) -> str:
        """What the reader's `path` option says."""
        return f"tty:{self.device}:pn532"

    async def present(self, card: VirtualCard) -> None:
        """Hold `card` to the reader, instead of the one that may be there."""
        self._air.put(card)

    async def remove(self) -> None:
        """Take the card away."""
        self._air.put(None)

    async def tap(self, card: VirtualCard, *, timeout_s: float = NOTICED_MAX_S) -> None:
        """Hold the card until its tap was taken, then away until that was noticed. Raises TimeoutError."""
        await self._air.tap(card, timeout_s=timeout_s)

    async def close(self) -> None:
        """Pull the cable."""
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = -1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _received(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._pending += os.read(self._master, _PENDING_MAX)
        while (body := self._next_body()) is not None:
            if body:
                self._write(_ACK + self._reply(body))
        self._pending = self._pending[-_PENDING_MAX:]

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:  # the host does not read; a serial line loses what it does not take
                return

    def _next_body(self) -> bytes | None:
        """The data of the next whole frame, from D4 on; empty for an acknowledgement; None for not yet."""
        start = self._pending.find(_START)
        if start < 0 or len(self._pending) < start + 6:
            return None
        head = self._pending[start + 3 :]
        if head[:2] in {b"\x00\xff", b"\xff\x00"}:
            self._pending = head[3:]
            return b""
        extended = head[:2] == b"\xff\xff"
        length, at = (int.from_bytes(head[2:4], "big"), 5) if extended else (head[0], 2)
        if len(head) < at + length + 2:
            return None
        self._pending = head[at + length + 2 :]
        return head[at : at + length]

    def _reply(self, body: bytes) -> bytes:
        if len(body) < 2 or body[0] != 0xD4:
            return _ERROR
        data = self._command(body[1], body[2:])
        if data is None:
            return _ERROR
        whole = bytes((0xD5, body[1] + 1)) + data
        if len(whole) <= 255:
            head = bytes((len(whole), -len(whole) & 0xFF))
        else:
            size = len(whole).to_bytes(2, "big")
            head = b"\xff\xff" + size + bytes((-sum(size) & 0xFF,))
        return _START + head + whole + bytes((-sum(whole) & 0xFF, 0))

    def _command(self, code: int, data: bytes) -> bytes | None:
        if code in _SETTINGS:
            return b""
        match code:
            case 0x00:  # Diagnose
                return data
            case 0x02:  # GetFirmwareVersion
                return _VERSION
            case 0x06:  # ReadRegister
                return self._registers(data)
            case 0x16 | 0x52:  # PowerDown, InRelease
                return _STATUS_OK
            case 0x42:  # InCommunicateThru
                answer = self._air.exchange(data)
                return _STATUS_TIMEOUT if answer is None else _STATUS_OK + answer
            case 0x4A:  # InListPassiveTarget
                return self._list(data)
            case _:
                return None

    def _registers(self, addresses: bytes) -> bytes:
        wanted = [int.from_bytes(addresses[i : i + 2], "big") for i in range(0, len(addresses), 2)]
        return bytes(_REQA if address == _FIFO else 0 for address in wanted)

    def _list(self, data: bytes) -> bytes:
        """Activate a type A card at 106 kbit/s, the one with this UID where one is given."""
        uid = self._air.look() if data[1:2] == b"\x00" else None
        if uid is None or data[2:] not in {b"", _cascaded(uid)}:
            return b"\x00"
        sak = self._air.select()
        assert sak is not None
        atqa = ATQA[len(uid)][::-1]
        return b"\x01\x01" + atqa + bytes((sak, len(uid))) + uid


def _cascaded(uid: bytes) -> bytes:
    """A UID as InListPassiveTarget takes it: with cascade tags (PN532 user manual, 7.3.5)."""
    if len(uid) > 4:
        uid = b"\x88" + uid
    if len(uid) > 8:
        uid = uid[:4] + b"\x88" + uid[4:]
    return uid
