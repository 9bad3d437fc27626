"""A bank card at a plain reader: nothing, a name, or, in a laboratory and nowhere else, a way to pay."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator
from typing import TypeVar, assert_never
from zoneinfo import ZoneInfo

import msgspec

from edge.domain.identity import IdToken
from edge.emv.kernel.entry import identify, pay
from edge.emv.kernel.outcome import (
    Approved,
    CardRead,
    Declined,
    EndApplication,
    OnlineRequest,
    Outcome,
    SeePhone,
    TryAgain,
    TryAnotherInterface,
    Why,
)
from edge.emv.kernel.terminal import Purchase, Terminal
from edge.emv.oda.keys import CaKeys
from edge.errors import CardError, CardLost
from edge.ports import Card, Clock
from edge.runtime.recognition import Named, Pays, Refused

Result = TypeVar("Result")

#: What the driver reads on the screen; the rest is "not accepted here".
_WORDS: dict[Why, str] = {
    "card_data": "card_unreadable",
    "declined": "card_declined",
    "expired": "card_expired",
    "limit": "pin_required",
    "verification": "pin_required",
}


class Purse(msgspec.Struct, frozen=True, kw_only=True):
    """What a purchase at this charger is. `currency` is ISO 4217 numeric; `hold_minor` is what a tap reserves."""

    currency: int
    time_zone: str
    hold_minor: Callable[[], int]
    sells: Callable[[], bool]


class BankCards:
    """Reads bank cards at a reader. Without `keys` a card is only ever a name."""

    def __init__(
        self,
        terminal: Terminal,
        keys: CaKeys | None,
        purse: Purse,
        *,
        token_key: bytes,
        key_id: str,
        clock: Clock,
    ) -> None:
        self._terminal = terminal
        self._keys = keys
        self._purse = purse
        self._key, self._key_id = token_key, key_id
        self._clock = clock
        self._number = 0

    async def read(self, card: Card) -> Named | Pays | Refused | None:
        """Who the card is, and whether it pays; None where nothing on it does. Raises HardwareError."""
        if self._keys is None or not self._purse.sells():
            found = await carry(card, identify(self._terminal, self._purchase()))
            return Named(token=self._token(found)) if isinstance(found, CardRead) else self._judged(found)
        return self._judged(await carry(card, pay(self._terminal, self._purchase(), self._keys)))

    def _judged(self, outcome: Outcome) -> Pays | Refused | None:
        match outcome:
            case OnlineRequest():
                return Pays(token=self._token(outcome.card), request=outcome)
            case Approved():
                return Refused(
                    code="card_not_accepted"
                )  # the terminal is online only and asks for no such answer
            case EndApplication(why="no_payment_card"):
                return None
            case Declined(why=why) | TryAnotherInterface(why=why) | EndApplication(why=why):
                return Refused(code=_code(why))
            case TryAgain():
                return Refused(code="hold_longer")
            case SeePhone():
                return Refused(code="see_phone")
            case _:
                assert_never(outcome)

    def _purchase(self) -> Purchase:
        now = self._clock.now().utc.astimezone(ZoneInfo(self._purse.time_zone))
        self._number = self._number % 9999 + 1
        return Purchase(
            amount_minor=self._purse.hold_minor(),
            currency=self._purse.currency,
            unpredictable_number=secrets.token_bytes(4),
            day=now.date(),
            at=now.time(),
            number=self._number,
        )

    def _token(self, card: CardRead) -> IdToken:
        return IdToken(kind="par" if card.par else "card", value=card.token(self._key), key_id=self._key_id)


async def carry(card: Card, talk: Generator[bytes, bytes, Result]) -> Result | TryAgain | EndApplication:
    """The outcome of edge.emv.kernel.entry.pay or identify. A card that leaves at any command is tried again: nothing
    was asked of anybody yet. Raises HardwareError when the reader is gone.
    """
    try:
        command = next(talk)
        while True:
            command = talk.send(await card.apdu(command))
    except StopIteration as end:
        result: Result = end.value
        return result
    except CardLost as e:
        return TryAgain(detail=e.message)
    except CardError as e:
        return EndApplication(why="card_data", detail=e.message)
    finally:
        talk.close()


def _code(why: Why) -> str:
    return _WORDS.get(why, "card_not_accepted")
