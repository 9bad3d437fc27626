"""The driver: edge.ports.PaymentTerminal over ZVT.

It registers by itself whenever it connects, refuses a new hold until the terminal's open ones have been asked
for since then, and never sends a money command twice. Who gets an InDoubt reconciles: `open_receipts`, then
`last_receipt`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from edge.domain.terminal import (
    Answer,
    Declined,
    Done,
    InDoubt,
    OpenReceipts,
    Presented,
    TerminalState,
)
from edge.errors import ConfigError
from edge.ports import Clock, PaymentTerminal
from hw.bus.line import Baudrate, LineOptions, Parity, Port, open_line
from hw.terminals.zvt import answers, tlv
from hw.terminals.zvt.dialog import ENDS, Dialog, Heard, Times
from hw.terminals.zvt.errors import (
    TerminalBusy,
    TerminalRefused,
    TerminalSilent,
    TerminalUnreachable,
    TerminalUnreconciled,
)
from hw.terminals.zvt.link import Dial, Link
from hw.terminals.zvt.message import ABORTED, COMPLETION, STATUS, Message
from hw.terminals.zvt.packet import Packet
from hw.terminals.zvt.text import displayable
from hw.terminals.zvt.values import NO_RECEIPT, bcd, bmp
from hw.terminals.zvt.words import WRONG_CURRENCY, meaning

#: ISO 4217 numbers of the currencies of Europe's terminals.
CURRENCIES: Final = {
    "BGN": 975, "CHF": 756, "CZK": 203, "DKK": 208, "EUR": 978, "GBP": 826, "HUF": 348, "ISK": 352,
    "NOK": 578, "PLN": 985, "RON": 946, "SEK": 752, "TRY": 949, "USD": 840,
}  # fmt: skip

#: "The terminal decides how to pay" (payment type of 06 01, bit 6); prepaid chips are excluded.
_PAYMENT_TYPE: Final = 0x40
#: Read card: chip cards, no beep, and what to report of the card (tags 1F15, 1F60; cVEND manual).
_CARD_TYPE: Final = 0x10
_QUIET: Final = 0x02
_REPORT: Final = bytes.fromhex("1F1501D01F600107")

#: A terminal that was silent so long is asked for its state before money depends on it: a connection whose other
#: end lost power looks alive until something is sent.
IDLE_MAX_S: Final = 30.0

#: Beyond its own time-out a terminal needs a moment to say so.
READ_GRACE_S: Final = 10.0

#: What the display of a terminal takes (BMPs F1 to F8, LLVAR).
LINES_MAX: Final = 8
LINE_MAX: Final = 40

_FACTORY_PASSWORD: Final = "000000"  # noqa: S105 - what terminals are delivered with
_AMOUNT_MAX_MINOR: Final = 10**12 - 1


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`port` is `tcp://host:22000` or a serial device. `password_file` holds the six digits of the terminal's
    register password, absolute; without it the password that terminals are delivered with is used.

    `config_byte` says who prints and who controls (ZVT 06 00): DE is print by the till, intermediate status, no
    payments or administration at the terminal itself. `capture` names the command that takes money of a hold:
    `release` (06 23, with what is left over) or `book` (06 24, with what is due). `reference_prefix`, two
    characters, sends our own reference with a reservation (tag E9), where the network knows it.
    """

    port: Port
    baudrate: Baudrate = 9600
    parity: Parity = "N"
    stopbits: Literal[1, 2] = 2
    currency: Literal[
        "BGN", "CHF", "CZK", "DKK", "EUR", "GBP", "HUF", "ISK", "NOK", "PLN", "RON", "SEK", "TRY", "USD"
    ] = "EUR"
    password_file: Annotated[str, Meta(pattern=r"^/.+", max_length=255)] | None = None
    config_byte: Annotated[int, Meta(ge=0, le=255)] = 0xDE
    capture: Literal["release", "book"] = "release"
    reference_prefix: Annotated[str, Meta(pattern=r"^[A-Z0-9]{2}$")] | None = None
    #: application ids of cards that are no bank cards: membership and transport applications
    not_bank: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[0-9A-F]{4,32}$")], ...], Meta(max_length=32)
    ] = (
        "A000000083",
        "A000000066",
    )


def create(options: Options, *, clock: Clock) -> PaymentTerminal:
    """The driver, not yet connected. Raises ConfigError for an unusable password file."""
    del clock  # the terminal has a clock of its own; durations here are the computer's
    return ZvtTerminal(options, password=_password(options.password_file))


def _password(file: str | None) -> bytes:
    if file is None:
        return bytes.fromhex(_FACTORY_PASSWORD)
    try:
        digits = Path(file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError((f"{file}: the terminal's password cannot be read: {e}",)) from e
    if len(digits) != len(_FACTORY_PASSWORD) or not digits.isdecimal():
        raise ConfigError((f"{file}: the terminal's password is six digits",))
    return bytes.fromhex(digits)


class ZvtTerminal:
    """One terminal. Commands come one after another; a second one meanwhile raises TerminalBusy.

    >>> terminal = create(Options(port="tcp://192.0.2.7:22000"), clock=clock)
    >>> await terminal.open_receipts()
    OpenReceipts(numbers=(), complete=True)
    >>> await terminal.reserve(amount_minor=5000, reference="s1", noted=journal.receipt)
    Done(receipt_no=231, amount_minor=5000, ...)
    >>> await terminal.capture(231, hold_minor=5000, amount_minor=1234)
    """

    def __init__(
        self, options: Options, *, password: bytes, times: Times | None = None, dial: Dial = open_line
    ) -> None:
        self._dial = dial
        self._options = options
        self._password = password
        self._times = times or Times()
        self._currency = CURRENCIES[options.currency]
        self._link: Link | None = None
        self._dialog: Dialog | None = None
        self._busy = False
        self._reconciled = False
        self._heard_at_s = 0.0

    @property
    def reconciled(self) -> bool:
        """True while the terminal has told its open holds since it last connected."""
        return self._reconciled and self._link is not None and self._link.alive

    async def read_card(self, *, within_s: int) -> Presented:
        data = bytes((within_s,)) + bmp(0x19, _CARD_TYPE) + bmp(0xFC, _QUIET) + bmp(0x06, _REPORT)
        times = msgspec.structs.replace(
            self._times, silence_s=max(self._times.silence_s, within_s + READ_GRACE_S)
        )
        async with self._turn():
            heard = await self._run(
                Packet(0x06C0, data), times=times, ends=frozenset((STATUS, COMPLETION, ABORTED))
            )
            return answers.presented(heard, not_bank=self._options.not_bank)

    async def abort(self) -> None:
        if self._dialog is not None:
            await self._dialog.interrupt()

    async def reserve(
        self, *, amount_minor: int, reference: str, noted: Callable[[Done], Awaitable[None]]
    ) -> Answer:
        data = self._amount(amount_minor) + bmp(0x19, _PAYMENT_TYPE) + self._reference(reference)

        async def on_status(status: Message) -> None:
            if answers.succeeded(status):
                await noted(answers.done(status))

        async with self._turn():
            if not self._reconciled:
                raise TerminalUnreconciled("the terminal has not told its open holds since it connected")
            heard = await self._run(Packet(0x0622, data), on_status=on_status)
            return self._money(heard, amount_minor=amount_minor, receipt=True)

    async def capture(self, receipt_no: int, *, hold_minor: int, amount_minor: int) -> Answer:
        if not 0 < amount_minor <= hold_minor:
            raise ValueError(f"{amount_minor} of a hold of {hold_minor} cannot be captured")
        release_minor = hold_minor - amount_minor
        if self._options.capture == "release" and release_minor > 0:
            command, amount = 0x0623, release_minor
        else:
            command, amount = 0x0624, amount_minor  # releasing nothing is undefined, booking all is not
        data = bmp(0x87, receipt_no) + self._amount(amount) + bmp(0x19, _PAYMENT_TYPE)
        return await self._step(Packet(command, data))

    async def reverse(self, receipt_no: int) -> Answer:
        data = bmp(0x19, _PAYMENT_TYPE) + bmp(0x49, self._currency) + bmp(0x87, receipt_no)
        return await self._step(Packet(0x0625, data))

    async def refund(self, *, amount_minor: int) -> Answer:
        async with self._turn():
            heard = await self._run(Packet(0x0631, self._password + self._amount(amount_minor)))
            return self._money(heard, amount_minor=amount_minor)

    async def open_receipts(self) -> OpenReceipts:
        async with self._turn():
            return await self._open_receipts()

    async def last_receipt(self) -> Answer:
        async with self._turn():
            heard = await self._run(Packet(0x0620, self._password))
            return answers.money(heard)

    async def end_of_day(self) -> Answer:
        async with self._turn():
            found = await self._open_receipts()
            if found.numbers or not found.complete:
                return Declined(reason="holds_open", text="the terminal still holds money")
            heard = await self._run(Packet(0x0650, self._password))
            answer = answers.money(heard)
        if isinstance(answer, InDoubt) and heard.lost is None and not heard.torn:
            return Done()  # nothing was captured since the last one, so there are no totals
        return answer

    async def status(self) -> TerminalState:
        async with self._turn():
            return await self._status()

    async def show(self, lines: tuple[str, ...], *, for_s: int) -> None:
        texts = [bmp(0xF1 + i, displayable(line)[:LINE_MAX]) for i, line in enumerate(lines[:LINES_MAX])]
        async with self._turn():
            heard = await self._run(Packet(0x06E0, bmp(0xF0, for_s) + b"".join(texts)), ends=frozenset())
            answers.must_be_taken(heard, "display text")

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Whoever has the turn has a registered terminal. What breaks off within it ends the connection."""
        if self._busy:
            raise TerminalBusy("the terminal is doing something else")
        self._busy = True
        try:
            await self._ready()
            yield
        except (TerminalRefused, TerminalUnreconciled, TerminalUnreachable, TerminalSilent):
            raise
        except BaseException:
            if self._link is not None:
                self._link.abandon()
            raise
        finally:
            self._busy = False

    async def _ready(self) -> None:
        """Connect and register, unless that has been done. Raises TerminalUnreachable, TerminalRefused."""
        idle_s = _now_s() - self._heard_at_s
        if self._link is not None and self._link.alive and idle_s > IDLE_MAX_S:
            with contextlib.suppress(TerminalUnreachable):
                await self._run(
                    Packet(0x0501)
                )  # whatever it says, it is there; a lost answer closes the link
        if self._link is not None and self._link.alive:
            return
        await self.close()
        self._reconciled = False
        options = self._options
        self._link = await Link.open(
            LineOptions(
                port=options.port, baudrate=options.baudrate, parity=options.parity, stopbits=options.stopbits
            ),
            dial=self._dial,
        )
        data = self._password + bytes((options.config_byte,)) + bcd(self._currency, 2)
        heard = await self._run(Packet(0x0600, data))
        try:
            answers.must_be_taken(heard, "registration")
        except TerminalSilent as e:
            await self.close()
            raise TerminalUnreachable(f"{options.port} does not register us: {e.message}") from e
        except TerminalRefused as e:
            await self.close()
            if e.reason_code == WRONG_CURRENCY:
                e.hint = f"the terminal does not take {options.currency}: see `currency` in the configuration"
            raise

    async def _run(
        self,
        command: Packet,
        *,
        times: Times | None = None,
        ends: frozenset[int] = ENDS,
        on_status: Callable[[Message], Awaitable[None]] | None = None,
    ) -> Heard:
        """One dialog. A connection on which something was lost is given up: late packets die with it."""
        assert self._link is not None
        dialog = Dialog(self._link, times or self._times, ends=ends, on_status=on_status)
        self._dialog = dialog
        try:
            heard = await dialog.run(command)
        finally:
            self._dialog = None
        if heard.lost is not None:
            await self.close()
            self._reconciled = False
        if not heard.sent:
            raise TerminalUnreachable(heard.lost or "nothing could be sent")
        self._heard_at_s = _now_s()
        return heard

    async def _step(self, command: Packet) -> Answer:
        async with self._turn():
            return self._money(await self._run(command))

    def _money(self, heard: Heard, *, amount_minor: int | None = None, receipt: bool = False) -> Answer:
        answer = answers.money(heard, amount_minor=amount_minor, receipt=receipt)
        if isinstance(answer, InDoubt):
            self._reconciled = False
        return answer

    async def _open_receipts(self) -> OpenReceipts:
        heard = await self._run(Packet(0x0623, bmp(0x87, NO_RECEIPT)))
        found = answers.open_receipts(heard)
        self._reconciled = True
        return found

    async def _status(self) -> TerminalState:
        heard = await self._run(Packet(0x0501))
        answers.must_be_taken(heard, "status enquiry")
        end = heard.end
        code = None if end is None else end.number("status_code")
        if end is None or code is None:
            raise TerminalRefused("the terminal does not tell its state", reason_code=None)
        return TerminalState(
            code=code,
            ready=code == 0,
            text="ready" if code == 0 else meaning(code),
            device_name=end.text("device_name"),
            software=end.text("software_version"),
            terminal_id=end.number("terminal_id"),
        )

    def _amount(self, amount_minor: int) -> bytes:
        if not 0 < amount_minor <= _AMOUNT_MAX_MINOR:
            raise ValueError(f"{amount_minor} is no amount that a terminal takes")
        return bmp(0x04, amount_minor) + bmp(0x49, self._currency)

    def _reference(self, reference: str) -> bytes:
        prefix = self._options.reference_prefix
        if prefix is None:
            return b""
        inner = tlv.encode("1F62", prefix.encode()) + tlv.encode("1F63", reference.encode("ascii", "replace"))
        return bmp(0x06, tlv.encode("E9", inner))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
