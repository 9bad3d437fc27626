"""The acquirer's side of a trial: its host, the lab's bank cards, and the line between it and one life of the till.

The host keeps its own books (hw/virtual/acquirer_books.py); the till talks to it in real messages over a line within
this process. A card is read command by command, as at a reader.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import random
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Final, get_args

from edge.errors import CardLost
from hw.virtual.acquirer_host import Act, Fault, HangUp, Host, Kind, Later, Say, Session
from hw.virtual.bank_cards.bank import Bank
from hw.virtual.bank_cards.card import BankCard

#: An answer takes so long; the till waits 20 s (edge/payments/acquirer/options.py).
_WAY_S: Final = 0.2
_LATE_S: Final = (0.5, 12.0, 25.0, 70.0)

PLASTIC: Final = ("visa", "mastercard", "co-badged", "no money")
PHONES: Final = ("visa phone", "mastercard phone")

_TYPES: Final = ("0100", "0100", "0220", "0220", "0420", "0420", "0800")
_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
#: DE39 of a host that says no, or not now; one that says "had it before" or "know no such hold" is believed.
_CODES: Final = ("05", "51", "91", "96")


def _today() -> date:
    return date(2026, 3, 28)


@functools.cache
def _made() -> Bank:
    """One a process: its keys take a second to make."""
    made = Bank(today=_today)
    for name in (*PLASTIC, *PHONES):
        made.card(name)
    return made


class CardInField:
    """Implements edge.ports.Card: until it is taken away, or the till dies."""

    def __init__(self, card: BankCard, step: Callable[[str], bool]) -> None:
        self._card, self._step = card, step
        self.uid = card.enter()
        self.there = True

    async def apdu(self, command: bytes) -> bytes:
        await asyncio.sleep(0.05)
        alive = self._step("card command")
        answer = self._card.apdu(command) if alive and self.there else None
        if answer is None:
            raise CardLost("the card was taken away")
        return answer


class Acquirer:
    """The host, which may be away, and what goes wrong with it. `now_s` is the site's time."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.bank = copy.deepcopy(_made())  # counters of cards belong to the trial
        self.host = Host(issuer=self.bank.issuer.approve, now_s=now_s)
        self.up = True
        self._lines: list[HostLine] = []

    def write_keys(self, path: Path) -> None:
        """The authority's public keys, as `emv.ca_keys` names them."""
        path.write_text(json.dumps(self.bank.authority.capk()))

    def numbers(self) -> tuple[str, ...]:
        """Every card number there is (I6)."""
        return tuple(self.bank.issuer.accounts)

    def cut(self) -> None:
        """Every connection ends."""
        for line in tuple(self._lines):
            line.hung_up()

    async def reboot(self, seconds: float) -> None:
        """The host is away for a while; its books stay."""
        self.up = False
        self.cut()
        await asyncio.sleep(seconds)
        self.up = True

    def heal(self) -> None:
        self.up = True
        self.host.heal()

    async def trouble(self, rng: random.Random) -> None:
        """Something happens to the host, or to the next message of a kind."""
        match rng.randrange(6):
            case 0:
                self.cut()
            case 1:
                await self.reboot(rng.choice((0.5, 15.0, 90.0)))
            case 2 if self.host.books.open:
                self.host.books.expire(rng.choice(self.host.books.open))
            case _:
                fault = Fault(
                    rng.choice(_KINDS), on=rng.choice(_TYPES), code=rng.choice(_CODES),
                    seconds=rng.choice(_LATE_S),
                )  # fmt: skip
                self.host.script(fault)

    def connect(self, step: Callable[[str], bool]) -> tuple[asyncio.StreamReader, HostLine] | None:
        """A new connection from a life of the till, None where the host does not answer."""
        if not self.up:
            return None
        line = HostLine(self, step)
        self._lines.append(line)
        return line.reader, line

    def gone(self, line: HostLine) -> None:
        if line in self._lines:
            self._lines.remove(line)


class HostLine:
    """What edge.payments.acquirer.link needs of an asyncio.StreamWriter; the reader gets what the host says.

    `step` is asked at each message whether the till still lives.
    """

    def __init__(self, acquirer: Acquirer, step: Callable[[str], bool]) -> None:
        self._acquirer, self._step = acquirer, step
        self._session = Session()
        self._loop = asyncio.get_running_loop()
        self.reader = asyncio.StreamReader()
        self.transport = self
        self._open = True

    def write(self, data: bytes) -> None:
        """One frame: two bytes of length, and the message."""
        message = data[2:]
        if not self._step(_point(message)) or not self._open:
            return
        self._loop.call_later(_WAY_S / 2, self._arrived, message)

    async def drain(self) -> None:
        """Nothing is kept back here."""

    def abort(self) -> None:
        self._open = False
        self._acquirer.gone(self)

    def hung_up(self) -> None:
        """The host ends it."""
        if self._open:
            self.abort()
            self.reader.feed_eof()

    def _arrived(self, message: bytes) -> None:
        """At the host, which does not know whether the till is still there."""
        if not self._acquirer.up:
            return
        for act in self._acquirer.host.receive(message, self._session):
            self._carry_out(act)

    def _carry_out(self, act: Act) -> None:
        match act:
            case HangUp():
                self.hung_up()
            case Say(data=data, after_s=after_s):
                self._loop.call_later(_WAY_S / 2 + after_s, self._say, data)
            case Later(message=message, after_s=after_s):
                self._loop.call_later(
                    after_s, lambda: self._say(self._acquirer.host.process(message, self._session))
                )

    def _say(self, data: bytes) -> None:
        if self._open and self._step("iso8583 reply"):
            self.reader.feed_data(len(data).to_bytes(2, "big") + data)


def _point(message: bytes) -> str:
    """What leaves, in ASCII: its type; an increment is a 0100 without a card number (DE2)."""
    kind = message[:4].decode()
    if kind.endswith("1"):
        return "iso8583 repeat"
    return f"iso8583 {kind} increment" if kind == "0100" and not message[4] & 0x40 else f"iso8583 {kind}"
