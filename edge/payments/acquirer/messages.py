"""The messages of this link, built from what the journal knows; the README lists them element by element."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge.errors import ConfigError
from edge.payments.acquirer.card_data import CardData
from edge.payments.acquirer.handle import NUMBERS, Handle, Step
from edge.payments.acquirer.options import AcquirerOptions

SIGN_ON: Final = "001"
ECHO: Final = "301"

#: DE3: goods and services; credit (refund).
_PURCHASE: Final = "000000"
_REFUND: Final = "200000"

#: DE25: pre-authorized request; a normal one.
_PREAUTHORIZED: Final = "06"
_NORMAL: Final = "00"

#: DE22 of what is asked without the card: from data on file.
_ON_FILE: Final = "102"

#: A message of which the host may have had one like it already: the last digit of the type says so.
_REPEAT: Final = {"0220": "0221", "0420": "0421", "0200": "0201"}


class Request:
    """A message to send. Shows its type and numbers, never its elements."""

    __slots__ = ("fields", "mti")

    def __init__(self, mti: str, fields: Mapping[int, str]) -> None:
        self.mti = mti
        self.fields = fields

    def __repr__(self) -> str:
        return f"Request({self.mti}, stan={self.fields.get(11)}, rrn={self.fields.get(37)})"

    def repeat(self) -> Request:
        """The same message as a repeat, where its type has one."""
        return Request(_REPEAT.get(self.mti, self.mti), self.fields)


class Reply:
    """What we keep of an answer: nothing of the card, which some hosts send back.

    `code`: DE39. `amount_minor`: DE4. `approval`: DE38. `name`: the host's own reference.
    """

    __slots__ = ("amount_minor", "approval", "code", "name")

    def __init__(self, fields: Mapping[int, str], reference_field: int | None) -> None:
        self.code = fields.get(39, "")
        self.approval = fields.get(38, "").strip() or None
        self.amount_minor = int(fields[4]) if 4 in fields else None
        self.name = fields.get(reference_field) if reference_field is not None else None

    def __repr__(self) -> str:
        return f"Reply({self.code})"


#: By what an answer finds its question: kind of message, STAN, and RRN or (network management) nothing.
Key = tuple[str, str, str]


def key(mti: str, fields: Mapping[int, str]) -> Key:
    """The key of a message or of its answer. Hosts answer a repeat as such or as the first one: both fit."""
    kind = mti[:2] + ("0" if mti[2] in "01" else "2")
    return kind, fields.get(11, ""), fields.get(37, "").strip()


def is_answer(mti: str) -> bool:
    """True for 0110, 0210, 0230, 0430, 0810 and the like."""
    return mti[2] in "13"


class Messages:
    """Builds every request of one terminal."""

    def __init__(self, options: AcquirerOptions) -> None:
        """Raises ConfigError for a time zone that nobody knows."""
        self._options = options
        try:
            self._zone = ZoneInfo(options.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as e:
            raise ConfigError(
                (f"acquirer.time_zone: {options.time_zone} is no time zone",),
                hint="a name such as Europe/Berlin",
            ) from e
        self._who = {
            32: options.acquirer_id,
            41: options.terminal_id.ljust(8),
            42: options.merchant_id.ljust(15),
        }

    def network(self, what: str, *, stan: int, at_s: int) -> Request:
        """0800: sign-on, echo."""
        return Request("0800", {7: _transmitted(at_s), 11: f"{stan:06}", 41: self._who[41], 70: what})

    def preauthorization(self, handle: Handle, card: CardData) -> Request:
        """0100 with the card's number, track and DE55: the only message that has them."""
        return Request("0100", self._step(handle, handle.authorization) | card.fields())

    def increment(self, handle: Handle, step: Step) -> Request:
        """0100 for a hold that is to grow by the step's amount: names the first one, has no card data."""
        return Request("0100", self._step(handle, step) | self._named(handle) | self._original(handle))

    def completion(self, handle: Handle, step: Step) -> Request:
        """0220: takes the step's amount of the hold and lets the rest go."""
        return Request("0220", self._step(handle, step) | self._named(handle) | self._original(handle))

    def reversal(self, handle: Handle, step: Step, *, of: Step) -> Request:
        """0420 of the pre-authorization, or of one increment (`of`)."""
        return Request("0420", self._step(handle, step) | self._named(handle) | self._original(handle, of))

    def refund(self, handle: Handle, rrn: str, step: Step) -> Request:
        """0200 credit: names the completion that it gives back from."""
        fields = self._step(handle, step) | self._named(handle)
        fields |= self._original(handle, handle.completion, mti="0220")
        return Request("0200", fields | {3: _REFUND, 25: _NORMAL, 37: rrn})

    def _step(self, handle: Handle, step: Step) -> dict[int, str]:
        """What every message about money has."""
        local = datetime.fromtimestamp(step.at_s, self._zone)
        return self._who | {
            3: _PURCHASE,
            4: f"{step.amount_minor:012}",
            7: _transmitted(step.at_s),
            11: f"{step.stan:06}",
            12: f"{local:%H%M%S}",
            13: f"{local:%m%d}",
            22: _ON_FILE,
            25: _PREAUTHORIZED,
            37: handle.rrn,
            49: f"{NUMBERS[handle.currency]:03}",
        }

    def _named(self, handle: Handle) -> dict[int, str]:
        """How the host itself calls the hold."""
        named = {} if handle.code is None else {38: handle.code.ljust(6)}
        field = self._options.reference_field
        if field is not None and handle.name is not None:
            named[field] = handle.name
        return named

    def _original(self, handle: Handle, of: Step | None = None, *, mti: str = "0100") -> dict[int, str]:
        """DE90: type, STAN and time of the message that is meant, and the acquirer; no forwarding institution."""
        step = of or handle.authorization
        acquirer = self._options.acquirer_id.rjust(11, "0")
        return {90: f"{mti}{step.stan:06}{_transmitted(step.at_s)}{acquirer}{0:011}"}


def _transmitted(at_s: int) -> str:
    """DE7: month, day and time, UTC."""
    return f"{datetime.fromtimestamp(at_s, UTC):%m%d%H%M%S}"
