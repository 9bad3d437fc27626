"""What every contactless reader does alike: one stream of taps, debounced by presence, over a blocking
coupler.

A coupler is the driver's blocking half (the "proximity coupling device" of ISO/IEC 14443). It lives on a
worker thread of its own, so that a driver that hangs holds up neither the till nor its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

import msgspec

from edge.domain.identity import is_random_uid
from edge.domain.instant import Instant
from edge.errors import CardLost, HardwareError
from edge.ports import Clock, Tap
from hw.readers.response import complete
from hw.worker import DeviceClosed, Worker

#: A card at the edge of the field comes and goes; back within this time it was never gone.
BOUNCE_S: Final = 1.0

#: One look for a card: short, so that the end of the till waits for nothing.
FIND_S: Final = 0.5

#: A driver that looks for `FIND_S` and is not back by now hangs (nfcpy's slowest single look takes 1 s).
FIND_MAX_S: Final = 5.0

#: Opening a reader: a USB reset and a few PN532 wake-ups, or pcscd started by its socket.
OPEN_MAX_S: Final = 10.0

#: One command to the card, with the waiting time extensions that a wallet asks for.
APDU_MAX_S: Final = 5.0

#: Between two looks whether the card is still there.
PRESENCE_S: Final = 0.1


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A card in the field. `speaks` is True where it has ISO/IEC 14443-4, and so APDUs."""

    uid: bytes
    speaks: bool


class Coupler(Protocol):
    """A driver's blocking half. Every method runs on the reader's worker thread and raises HardwareError."""

    def open(self) -> None: ...

    def find(self, within_s: float) -> Found | None:
        """Wait up to `within_s` for a card."""
        ...

    def present(self) -> bool:
        """Is the found card still there?"""
        ...

    def transmit(self, command: bytes) -> bytes:
        """One APDU and its answer with status word. Raises CardError."""
        ...

    def close(self) -> None: ...


class Bounce(msgspec.Struct, frozen=True):
    """Tells another tap from a card that trembles in the field."""

    uid: bytes = b""
    last_seen: Instant | None = None

    def seen(self, at: Instant) -> Bounce:
        """The card is there."""
        return Bounce(self.uid, at)

    def is_new(self, uid: bytes, at: Instant) -> bool:
        """True unless the card of a moment ago is back; a phone comes back with another random UID."""
        if self.last_seen is None or at.seconds_since(self.last_seen) > BOUNCE_S:
            return True
        return uid != self.uid and not (is_random_uid(uid) and is_random_uid(self.uid))


class _CardInField:
    """edge.ports.Card over a coupler, good until its tap is over."""

    def __init__(self, worker: Worker, coupler: Coupler) -> None:
        self._worker = worker
        self._coupler = coupler
        self.gone = False

    async def apdu(self, command: bytes) -> bytes:
        if self.gone:
            raise CardLost("the card has left the reader")
        return await self._worker.call(complete, self._coupler.transmit, command, timeout_s=APDU_MAX_S)


class TapStream:
    """edge.ports.CardReader over a coupler.

    `async for tap in reader.taps()` opens the reader and yields each card once per presence. When the reader
    is gone the iteration raises HardwareError, and another call of `taps()` opens it anew.
    """

    def __init__(self, name: str, coupler: Callable[[], Coupler], *, clock: Clock) -> None:
        self._name = name
        self._coupler = coupler
        self._clock = clock
        self._worker: Worker | None = None
        self._closed = False

    async def taps(self) -> AsyncIterator[Tap]:
        if self._closed:
            return
        if self._worker is not None:
            raise HardwareError(f"{self._name} is being read already")
        worker = self._worker = Worker(self._name)
        coupler = self._coupler()
        bounce = Bounce()
        try:
            await worker.call(coupler.open, timeout_s=OPEN_MAX_S)
            while True:
                found = await worker.call(coupler.find, FIND_S, timeout_s=FIND_MAX_S)
                if found is None:
                    continue
                at = self._clock.now()
                card = _CardInField(worker, coupler)
                is_new, bounce = bounce.is_new(found.uid, at), Bounce(found.uid, at)
                if is_new:
                    yield Tap(at=at, uid=found.uid, card=card if found.speaks else None)
                bounce = await self._until_removed(worker, coupler, bounce)
                card.gone = True
        except DeviceClosed:
            if not self._closed:
                raise
        finally:
            self._worker = None
            worker.close(coupler.close)

    async def _until_removed(self, worker: Worker, coupler: Coupler, bounce: Bounce) -> Bounce:
        while await worker.call(coupler.present, timeout_s=FIND_MAX_S):
            bounce = bounce.seen(self._clock.now())
            await asyncio.sleep(PRESENCE_S)
            if not worker.usable:
                raise DeviceClosed(f"{self._name} is closed")
        return bounce

    async def close(self) -> None:
        """End the stream now; the thread closes the device by itself."""
        self._closed = True
        if self._worker is not None:
            self._worker.close()
