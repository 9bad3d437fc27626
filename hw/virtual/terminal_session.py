"""What a virtual payment terminal says to a till: the dialogs of ZVT 13.13, chapter 2, with scripted faults."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from hw.terminals.zvt import tlv
from hw.terminals.zvt.errors import ZvtError
from hw.terminals.zvt.message import Message, parse
from hw.terminals.zvt.packet import Packet
from hw.terminals.zvt.values import NO_RECEIPT, bcd, bmp
from hw.virtual.terminal_books import OK, UNKNOWN_HOLD, Capture, Result
from hw.virtual.terminal_device import Device
from hw.virtual.terminal_script import Fault, Presented, Registration
from hw.virtual.terminal_wire import ANSWER_S, Gone, Wire

YES: Final = Packet(0x8000)
COMPLETION: Final = 0x060F
STATUS: Final = 0x040F
ABORTED: Final = 0x061E

_NO_SUCH_COMMAND: Final = 0x83
_CANCELLED: Final = 0x6C
_NOT_REGISTERED: Final = 0x6B
_WRONG_CURRENCY: Final = 0x6F
_PROTOCOL_ERROR: Final = 0x9A
_BUSY: Final = 0x9C

#: "Please wait", "insert card", "waiting for the network" (04 FF).
_WAIT, _INSERT, _NETWORK = 0x0E, 0x0A, 0x04
#: Intermediate status is wanted, payment receipts are printed by the till (bits of the config byte).
_WANTS_STATUS, _PRINTS = 0x08, 0x02
_TEXT_BLOCKS: Final = b"\x06\xd3"

VERSION: Final = "VIRT-APP-v1.0"
SERIAL: Final = "17FD1E3C"
DEVICE: Final = "virtual terminal"

#: Of the vendor functions (0F A1) the one that needs no password.
_SYSTEM_INFORMATION: Final = 1

#: Ends with 06 0F and nothing more: initialization, diagnosis, log off and what prints.
_PLAIN: Final = frozenset((0x0602, 0x0610, 0x0612, 0x0618, 0x061A, 0x0670, 0x0679, 0x0691, 0x0693, 0x0651))

#: The order of the end-of-day totals (ZVT 13.13, BMP 60).
_CARD_KINDS: Final = ("girocard", "JCB", "Mastercard", "American Express", "Visa", "Diners")

#: What a contactless card answers to selection (ISO/IEC 14443-4).
_ATS: Final = bytes.fromhex("0578807102")

#: Ends with a result.
_MONEY: Final = frozenset((0x0601, 0x0620, 0x0622, 0x0623, 0x0624, 0x0625, 0x0630, 0x0631, 0x0650))


class Session:
    """One connection of a till, from its registration to its end. `reboot` takes its power for seconds."""

    def __init__(self, terminal: Device, wire: Wire, *, reboot: Callable[[float], Awaitable[None]]) -> None:
        self._terminal = terminal
        self._reboot = reboot
        self._wire = wire
        self._card: Presented | None = None
        self._aborted = asyncio.Event()
        self._fault: Fault | None = None

    async def run(self) -> None:
        """Serve commands until the till is gone."""
        with contextlib.suppress(Gone, TimeoutError, ConnectionError):
            while True:
                packet = await self._wire.receive()
                if packet.command >> 8 not in (0x80, 0x84):
                    await self._command(packet)

    async def _command(self, packet: Packet) -> None:
        self._aborted.clear()
        self._fault = self._terminal.fault_for(packet.command)
        try:
            message = parse(packet)
        except ZvtError:
            await self._wire.send(Packet(0x8400 | _PROTOCOL_ERROR))
            return
        match self._fault:
            case Fault(kind="refuse", code=code):
                await self._wire.send(Packet(0x8400 | code))
                return
            case Fault(kind="lost_command"):
                self._wire.hang_up()
                raise Gone
            case Fault(kind="reboot_before", seconds=seconds):
                await self._reboot(seconds)
                raise Gone
            case Fault(kind="silent") if packet.command not in _MONEY:
                await self._stay_silent()
                raise Gone
            case _:
                pass
        await self._dispatch(packet, message)

    async def _dispatch(self, packet: Packet, message: Message) -> None:
        match packet.command:
            case 0x0600:
                await self._register(message)
            case 0x0501:
                await self._state()
            case 0x06E0:
                lines = message.fields.get("lines")
                self._terminal.display = tuple(map(str, lines)) if isinstance(lines, list) else ()
                await self._wire.send(YES)
            case 0x06B0 | 0x06D1 | 0x06D3:
                await self._wire.send(YES)
            case 0x06C0:
                await self._read_card(message)
            case 0x0FA1 if message.number("function") == _SYSTEM_INFORMATION:
                await self._system_information()
            case 0x061B:
                await self._rename(message)
            case command if command in _MONEY:
                await self._wire.send(YES, more=True)
                await self._money(command, message)
            case command if command in _PLAIN:
                await self._wire.send(YES, more=True)
                await self._end()
            case _:
                await self._wire.send(Packet(0x8400 | _NO_SUCH_COMMAND))

    async def _register(self, message: Message) -> None:
        currency = message.number("currency")
        if currency is not None and currency != self._terminal.currency:
            await self._wire.send(Packet(0x8400 | _WRONG_CURRENCY))
            return
        config = message.number("config_byte")
        assert config is not None
        text_blocks = _TEXT_BLOCKS in _permitted(message)
        self._terminal.registration = Registration(config=config, text_blocks=text_blocks)
        await self._wire.send(YES, more=True)
        identity = bmp(0x29, self._terminal.terminal_id) + bmp(0x49, self._terminal.currency)
        await self._end(bmp(0x19, 0) + identity)

    async def _state(self) -> None:
        await self._wire.send(YES, more=True)
        device = tlv.encode("1F40", DEVICE.encode()) + tlv.encode("1F41", VERSION.encode())
        inner = tlv.encode("1F44", bcd(self._terminal.terminal_id, 4)) + tlv.encode("E4", device)
        version = bytes(0xF0 | int(c) for c in f"{len(VERSION):03d}") + VERSION.encode()
        await self._end(version + b"\x00" + bmp(0x06, inner))

    async def _system_information(self) -> None:
        """A cVEND's own function: device id, software, terminal id and temperature as plain text."""
        await self._wire.send(YES, more=True)
        await self._end(f"{SERIAL}{VERSION:17}{self._terminal.terminal_id:08}24.4".encode())

    async def _rename(self, message: Message) -> None:
        terminal_id = message.number("terminal_id")
        if terminal_id is not None:
            self._terminal.terminal_id = terminal_id
        await self._wire.send(YES, more=True)
        await self._end()

    async def _read_card(self, message: Message) -> None:
        await self._wire.send(YES, more=True)
        if self._fault is not None and self._fault.kind in ("decline", "abort"):
            await self._tell(Packet(ABORTED, bytes((self._fault.code,))))
            return
        timeout_s = message.number("timeout_s")
        self._card = await self._wait_for_card(10.0 if timeout_s is None else float(timeout_s))
        if self._card is None:
            await self._tell(Packet(ABORTED, bytes((_CANCELLED,))))
            return
        await self._tell(Packet(STATUS, bmp(0x27, OK) + bmp(0x06, _identity(self._card))))

    async def _money(self, command: int, message: Message) -> None:
        if self._terminal.registration is None:
            await self._tell(Packet(ABORTED, bytes((_NOT_REGISTERED,))))
            return
        if command == 0x0623 and message.number("receipt_no") == NO_RECEIPT:
            await self._tell(Packet(ABORTED, self._terminal.open_holds()))
            return
        refusal = await self._refusal(command)
        if refusal is not None:
            await self._say_no(refusal)
            return
        await self._say_yes(command, self._effect(command, message))

    async def _refusal(self, command: int) -> int | None:
        """The code of a no before anything happens."""
        match self._fault:
            case Fault(kind="slow", seconds=seconds):
                for _ in range(10):
                    await self._status(_NETWORK)
                    await asyncio.sleep(seconds / 10)
            case Fault(kind="decline" | "abort", code=code):
                return code
            case _:
                pass
        if command in (0x0601, 0x0622, 0x0631):
            if self._card is None or self._card.pan is None:
                self._card = await self._wait_for_card(self._terminal.card_wait_s)
            if self._card is None:
                return _CANCELLED
            if self._card.pan is None:
                return 0x7A
            if self._card.declines:
                return self._card.declines
        await self._status(_WAIT)
        return None

    def _effect(self, command: int, message: Message) -> Result:
        """What the command does to the books. The terminal refuses what lacks an amount or a receipt."""
        books = self._terminal.books
        amount, receipt = message.number("amount_minor"), message.number("receipt_no")
        if self._fault is not None and receipt in books.holds:
            if self._fault.kind == "forget":
                books.forget(receipt)
            elif self._fault.kind == "expire":
                books.expire(receipt)
        match command:
            case 0x0622 | 0x0601 if amount and self._card is not None:
                result = books.reserve(amount, self._card.name)
                if command == 0x0601 and result.receipt_no is not None:
                    books.book(result.receipt_no, amount)
                return result
            case 0x0623 if amount and receipt is not None:
                return books.release(receipt, amount)
            case 0x0624 if amount and receipt is not None:
                return books.book(receipt, amount)
            case 0x0625 | 0x0630 if receipt is not None:
                return books.reverse(receipt)
            case 0x0631 if amount:
                return books.refund(amount)
            case 0x0650:
                return books.end_of_day()
            case 0x0620:
                return books.last if books.last is not None else Result(UNKNOWN_HOLD)
            case _:
                return Result(_PROTOCOL_ERROR)

    async def _say_no(self, code: int) -> None:
        if self._fault is None or self._fault.kind != "abort":
            await self._tell(Packet(STATUS, bmp(0x27, code) + bmp(0x29, self._terminal.terminal_id)))
        await self._tell(Packet(ABORTED, bytes((code,))))
        self._card = None

    async def _say_yes(self, command: int, result: Result) -> None:
        """The result of what has happened, unless a fault keeps it from the till."""
        kind = None if self._fault is None else self._fault.kind
        if result.code != OK:
            await self._say_no(result.code)
            return
        if kind == "reboot_after":
            assert self._fault is not None
            await self._reboot(self._fault.seconds)
            raise Gone
        if kind == "silent":
            await self._stay_silent()
            raise Gone
        if kind == "lost_reply":
            self._wire.hang_up()
            raise Gone
        status = Packet(STATUS, self._result(command, result))
        if kind != "no_result":
            await self._tell(status)
        if kind == "duplicate":
            await self._tell(status)
        if kind == "lost_completion":
            self._wire.hang_up()
            raise Gone
        await self._print()
        await self._end()
        self._card = None
        if kind == "duplicate":
            await self._tell(status)

    def _result(self, command: int, result: Result) -> bytes:
        """The BMPs of a status information. The card's number is in it whole, as real terminals send it."""
        terminal = self._terminal
        amount = result.amount_minor + (
            1 if self._fault is not None and self._fault.kind == "other_amount" else 0
        )
        now = terminal.now()
        data = bmp(0x27, OK) + bmp(0x04, amount) + bmp(0x49, terminal.currency)
        if result.trace_no is not None:
            data += bmp(0x0B, result.trace_no)
        data += bmp(0x0C, int(f"{now:%H%M%S}")) + bmp(0x0D, int(f"{now:%m%d}"))
        data += bmp(0x29, terminal.terminal_id)
        if result.receipt_no is not None:
            data += bmp(0x87, result.receipt_no)
        if result.day is not None:
            data += bmp(0x60, _totals(result.day))
        if self._card is not None and self._card.pan is not None and command in (0x0601, 0x0622, 0x0631):
            digits = self._card.pan + "F" * (len(self._card.pan) % 2)
            data += bmp(0x19, 0x60) + bmp(0x22, bytes.fromhex(digits)) + bmp(0x0E, b"\x28\x12")
            data += bmp(0x3B, "750071") + bmp(0x2A, "804011926".ljust(15))
            data += bmp(0x8A, self._card.card_type) + bmp(0x8B, self._card.name)
        return data

    async def _print(self) -> None:
        """A receipt to the till that prints, in the form that its registration allows."""
        registration = self._terminal.registration
        if registration is None or not registration.config & _PRINTS:
            return
        number = self._card.pan if self._card is not None else None
        lines = [DEVICE, f"Terminal-ID {self._terminal.terminal_id}", f"Nr. {number or '-'}", "thank you"]
        if registration.text_blocks:
            texts = b"".join(tlv.encode("07", line.encode()) for line in lines)
            await self._tell(Packet(0x06D3, bmp(0x06, tlv.encode("1F07", b"\x02") + tlv.encode("25", texts))))
            return
        for line in lines:
            await self._tell(Packet(0x06D1, b"\x00" + line.encode()))
        await self._tell(Packet(0x06D1, b"\x81"))

    async def _end(self, data: bytes = b"") -> None:
        await self._tell(Packet(COMPLETION, data))

    async def _stay_silent(self) -> None:
        """Hear everything, say nothing, until the till gives up."""
        while self._wire.open:
            with contextlib.suppress(TimeoutError):
                await self._wire.receive(1.0)

    async def _status(self, status: int) -> None:
        if self._wants_status:
            await self._tell(Packet(0x04FF, bytes((status, 0))))

    @property
    def _wants_status(self) -> bool:
        registration = self._terminal.registration
        return registration is not None and bool(registration.config & _WANTS_STATUS)

    async def _tell(self, packet: Packet) -> None:
        """Send a packet and have it answered; an abort that comes meanwhile is taken and kept."""
        await self._wire.send(packet)
        while True:
            answer = await self._wire.receive(ANSWER_S)
            if answer.command >> 8 in (0x80, 0x84):
                return
            await self._interrupted(answer)

    async def _interrupted(self, packet: Packet) -> None:
        if packet.command == 0x06B0:
            self._aborted.set()
            await self._wire.send(YES)
        else:
            await self._wire.send(Packet(0x8400 | _BUSY))

    async def _wait_for_card(self, timeout_s: float) -> Presented | None:
        """The card that is presented within the time; None when nobody comes or the till says stop."""
        await self._status(_INSERT)
        card = asyncio.ensure_future(self._terminal.next_card())
        heard = asyncio.ensure_future(self._wire.receive())
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        try:
            while not self._aborted.is_set():
                wait_s = max(0.0, min(until - loop.time(), self._terminal.status_every_s))
                finished, _ = await asyncio.wait(
                    (card, heard), timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
                )
                if heard in finished:
                    if heard.result().command >> 8 not in (0x80, 0x84):
                        await self._interrupted(heard.result())
                    heard = asyncio.ensure_future(self._wire.receive())
                elif card in finished:
                    return card.result()
                elif loop.time() >= until:
                    return None
                elif self._wants_status:
                    await self._wire.send(Packet(0x04FF, bytes((_INSERT, 0))))
            return None
        finally:
            card.cancel()
            heard.cancel()


def _permitted(message: Message) -> list[bytes]:
    """The commands that a till takes (tag 26): each in a tag 0A, or, as some do it, one after another."""
    plain = b"".join(tlv.every(message.tlv, "26"))
    return [*tlv.every(message.tlv, "0A"), *(plain[i : i + 2] for i in range(0, len(plain), 2))]


def _totals(day: tuple[Capture, ...]) -> bytes:
    """BMP 60: the first and last receipt, then count and amount for each kind of card, all others last."""
    numbers = [c.receipt_no for c in day] or [0]
    data = bcd(numbers[0], 2) + bcd(numbers[-1], 2)
    kinds = [[c for c in day if c.card_name == kind] for kind in _CARD_KINDS]
    for turnovers in (*kinds, [c for c in day if c.card_name not in _CARD_KINDS]):
        data += bytes((min(len(turnovers), 0xFF),)) + bcd(sum(c.amount_minor for c in turnovers), 6)
    return data


def _identity(card: Presented) -> bytes:
    """What read card tells: UID in ten bytes, kind, and an application each."""
    data = (
        tlv.encode("4C", card.uid.rjust(10, b"\0"))
        + tlv.encode("1F4C", b"\x01")
        + tlv.encode("1F45", _ATS)
        + tlv.encode("1F50", b"\x20")
    )
    if card.token is not None:
        data += tlv.encode("1F14", bytes.fromhex(card.token))
    for aid in card.aids:
        data += tlv.encode("60", tlv.encode("43", bytes.fromhex(aid)))
    return data
