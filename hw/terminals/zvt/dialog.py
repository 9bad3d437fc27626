"""One command and all that the terminal says until it is over.

The till sends a command and the terminal takes it (`80 00`) or refuses it (`84 xx`). From then on the terminal
leads: intermediate status, result, receipts, and at last completion or abort; each must be answered `80 00`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from hw.terminals.zvt.errors import ZvtError
from hw.terminals.zvt.link import Link, LinkLost
from hw.terminals.zvt.message import ABORTED, COMPLETION, INTERMEDIATE, STATUS, YES, Message, parse
from hw.terminals.zvt.packet import Packet

#: What a command usually ends with.
ENDS: Final = frozenset((COMPLETION, ABORTED))

#: A terminal that asks somebody at the till for something (input, menu, PIN of a customer card): nobody is there.
_QUESTIONS: Final = frozenset((0x040C, 0x040D, 0x040E, 0x06E1, 0x06E2, 0x06E3, 0x06E4, 0x06E5, 0x06E7))
_NOT_POSSIBLE: Final = 0x8483

_ABORT: Final = 0x06B0

#: Packets of one command: some receipts with a line each, and a status every second of the longest time.
PACKETS_MAX: Final = 2_000


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait, in seconds. `taken` for the answer to a command (ZVT T3: 5 s), `silence` between two
    packets after it, which every packet restarts; `total` for the whole command.
    """

    taken_s: float = 5.0
    silence_s: float = 60.0
    total_s: float = 300.0


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a command.

    `refused` is the code of a plain no to the command; `lost` says why the end was not heard; `status` is the
    result (04 0F), `end` the packet that ended the command. `torn` is True where two results contradict each
    other or one could not be read. `sent` is False where the terminal cannot have got the command.
    """

    sent: bool = True
    refused: int | None = None
    lost: str | None = None
    status: Message | None = None
    end: Message | None = None
    torn: bool = False


class Dialog:
    """The conversation about one command.

    `await Dialog(link, times).run(Packet(0x0501))` asks for the terminal's state. `on_status` is awaited with
    each result before the terminal is told that it was heard: what must not be lost is written there.
    """

    def __init__(
        self,
        link: Link,
        times: Times,
        *,
        ends: frozenset[int] = ENDS,
        on_status: Callable[[Message], Awaitable[None]] | None = None,
    ) -> None:
        self._link = link
        self._times = times
        self._ends = ends
        self._on_status = on_status
        self._heard = Heard()
        self._silence_s = times.silence_s
        self._leading = False  # the terminal has taken the command and leads
        self._stop = False
        self._owed = 0  # answers to 06 B0 that have not come

    async def run(self, command: Packet) -> Heard:
        """Send the command and listen to its end. Whatever goes wrong is in what was heard."""
        until = _now_s() + self._times.total_s
        try:
            for _ in self._link.waiting():
                await self._link.send(Packet(YES))
            await self._link.send(command)
        except LinkLost as e:
            return Heard(sent=e.sent, lost=e.message)
        try:
            if await self._taken(until) and self._ends:
                self._leading = True
                if self._stop:
                    await self._send_abort()
                await self._listen(until)
        except LinkLost as e:
            self._note(lost=e.message)
        except TimeoutError:
            self._note(lost="the terminal fell silent")
        finally:
            self._leading = False
        await self._settle()
        return self._heard

    async def interrupt(self) -> None:
        """Ask the terminal to end the command (06 B0). How it ends is heard as ever."""
        again, self._stop = self._stop, True
        if self._leading and not again:
            await self._send_abort()

    async def _send_abort(self) -> None:
        self._owed += 1
        try:
            await self._link.send(Packet(_ABORT))
        except LinkLost:
            self._owed -= 1  # the dialog hears of it by itself

    async def _settle(self) -> None:
        """Wait for the answers to our own aborts: one that came later would pass for the answer to the next
        command. A connection on which it does not come is of no more use.
        """
        deadline = _now_s() + self._times.taken_s
        while self._owed and self._link.alive:
            try:
                packet = await self._link.receive(timeout_s=deadline - _now_s())
                if packet.command >> 8 in (0x80, 0x84):
                    self._owed -= 1
                else:
                    await self._link.send(Packet(YES))
            except (LinkLost, TimeoutError):
                self._link.close()

    async def _taken(self, until: float) -> bool:
        """True when the terminal takes the command. What it says before that belongs to an earlier one."""
        deadline = min(until, _now_s() + self._times.taken_s)
        for _ in range(PACKETS_MAX):
            packet = await self._link.receive(timeout_s=deadline - _now_s())
            if packet.command >> 8 == 0x84 and packet.command != 0x8400:
                self._note(refused=packet.command & 0xFF)
                return False
            if packet.command in (YES, 0x8400):
                return True
            await self._link.send(Packet(YES))
        raise TimeoutError

    async def _listen(self, until: float) -> None:
        for _ in range(PACKETS_MAX):
            rest_s = until - _now_s()
            packet = await self._link.receive(timeout_s=min(self._silence_s, rest_s))
            if packet.command >> 8 in (0x80, 0x84):
                self._owed -= self._owed > 0
                continue
            message = await self._hear(packet)
            await self._link.send(Packet(_NOT_POSSIBLE if packet.command in _QUESTIONS else YES))
            if packet.command in self._ends:
                self._note(end=message)
                return
        raise TimeoutError

    async def _hear(self, packet: Packet) -> Message | None:
        try:
            message = parse(packet)
        except ZvtError:
            if packet.command in self._ends or packet.command == STATUS:
                self._note(torn=True)
            return None
        if packet.command == INTERMEDIATE:
            minutes = message.number("timeout_min")
            if minutes is not None:
                self._silence_s = max(self._times.silence_s, minutes * 60.0)
        elif packet.command == STATUS:
            before = self._heard.status
            if before is not None and not _same(before, message):
                self._note(torn=True)
            self._note(status=message)
            if self._on_status is not None:
                await self._on_status(message)
        return message

    def _note(self, **changes: object) -> None:
        self._heard = msgspec.structs.replace(self._heard, **changes)


def _same(one: Message, other: Message) -> bool:
    """A repeated result says the same of what counts."""
    keys = ("result_code", "receipt_no", "amount_minor")
    return all(one.fields.get(key) == other.fields.get(key) for key in keys)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
