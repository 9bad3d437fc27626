"""A contactless field that nfcpy's udp driver reads: cards are held into it and taken away by a program.

nfcpy sends each frame as a datagram `106A <hex>`, expects the answer in the same form, and says `RFOFF` when
its field goes down. An empty field answers `RFOFF` at once, which nfcpy takes for "no card", so that it need
not wait. Loopback only.
"""

from __future__ import annotations

import asyncio
from binascii import unhexlify
from functools import reduce
from operator import xor
from typing import Final, Self, cast

from hw.virtual.air import ATQA, NOTICED_MAX_S, Air
from hw.virtual.cards import VirtualCard

_LOOPBACK: Final = "127.0.0.1"
_GONE: Final = b"RFOFF"

#: The cascade of longer UIDs: ISO/IEC 14443-3, 6.5.4.
_CASCADE_TAG: Final = b"\x88"
_INCOMPLETE: Final = 0x04
_SELECT: Final = (0x93, 0x95, 0x97)


class UdpField:
    """The antenna of a virtual reader.

    `async with await UdpField.start() as field: await field.tap(UidCard(uid))`; nfcpy opens `field.path`.
    """

    def __init__(self, transport: asyncio.DatagramTransport, air: Air) -> None:
        self._transport = transport
        self._air = air
        self.port: int = transport.get_extra_info("sockname")[1]

    @classmethod
    async def start(cls, port: int = 0) -> Self:
        """Listen on `port` of 127.0.0.1 (0: any free one, then `field.port` says which)."""
        air = Air()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(air), local_addr=(_LOOPBACK, port)
        )
        return cls(transport, air)

    @property
    def path(self) -> str:
        """What the reader's `path` option says."""
        return f"udp:{_LOOPBACK}:{self.port}"

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
        self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, air: Air) -> None:
        self._air = air
        self._uid = b""
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        bitrate, _, text = data.partition(b" ")
        if data.startswith(_GONE) or self._transport is None:
            return
        answer = self._answer(unhexlify(text)) if bitrate == b"106A" else None
        if answer is not None:
            self._transport.sendto(bitrate + b" " + answer.hex().encode(), addr)
        elif not self._air.occupied:
            self._transport.sendto(_GONE, addr)

    def _answer(self, frame: bytes) -> bytes | None:
        if frame in {b"\x26", b"\x52"}:  # REQA, WUPA
            uid = self._air.look()
            self._uid = uid or b""
            return ATQA[len(uid)] if uid else None
        if frame and frame[0] in _SELECT:
            return self._anticollision(_SELECT.index(frame[0]), frame)
        return self._air.exchange(frame)

    def _anticollision(self, level: int, frame: bytes) -> bytes | None:
        """ISO/IEC 14443-3, 6.5.3: the part of the UID for this cascade level, or the SAK for selecting it."""
        parts = _levels(self._uid)
        if level >= len(parts) or not self._air.occupied:
            return None
        part = parts[level]
        if frame[1:] == b"\x20":
            return part
        if frame[1:] != b"\x70" + part:
            return None
        if level < len(parts) - 1:
            return bytes((_INCOMPLETE,))
        sak = self._air.select()
        return bytes((sak,)) if sak is not None else None


def _levels(uid: bytes) -> list[bytes]:
    """The UID as the cascade sends it: four bytes and their checksum (BCC) a level."""
    parts = []
    while len(uid) > 4:
        parts.append(_CASCADE_TAG + uid[:3])
        uid = uid[3:]
    if uid:
        parts.append(uid)
    return [part + bytes((reduce(xor, part),)) for part in parts]
