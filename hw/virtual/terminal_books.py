"""What a virtual payment terminal has on its books: holds, what became of each, and every effect in order.

Amounts in minor units. A test compares these books with the till's journal, to the cent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

State = Literal["held", "captured", "reversed", "expired", "forgotten"]

#: Result codes (ZVT 13.13, chapter 10).
OK: Final = 0x00
ALREADY_REVERSED: Final = 0xB4
NOT_POSSIBLE: Final = 0xB5
WRONG_AMOUNT: Final = 0xB7
UNKNOWN_HOLD: Final = 0xB8

_RECEIPT_MAX: Final = 9999
_TRACE_MAX: Final = 999_999


@dataclass(slots=True)
class Hold:
    """One hold. `captured_minor` is None unless it was captured."""

    receipt_no: int
    amount_minor: int
    card_name: str
    state: State = "held"
    captured_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One effect: what was done to which hold, and with what amount."""

    what: Literal["reserve", "capture", "reverse", "refund", "end_of_day"]
    hold_no: int | None
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Capture:
    """One turnover of the day."""

    receipt_no: int
    card_name: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Result:
    """What the terminal says of a command: `amount_minor` and the numbers of this step, after an end of day with
    the captures of that day.
    """

    code: int
    amount_minor: int = 0
    receipt_no: int | None = None
    trace_no: int | None = None
    day: tuple[Capture, ...] | None = None


@dataclass(slots=True)
class Books:
    """Holds and effects since the books were opened. `last` is what 06 20 repeats."""

    holds: dict[int, Hold] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    last: Result | None = None
    batch_minor: int = 0
    day: list[Capture] = field(default_factory=list)
    _receipt_no: int = 0
    _trace_no: int = 0

    @property
    def open(self) -> tuple[int, ...]:
        """Receipt numbers of the holds that are neither captured nor released."""
        return tuple(n for n, hold in self.holds.items() if hold.state == "held")

    @property
    def captured_minor(self) -> int:
        """All that was ever taken of holds."""
        return sum(h.captured_minor for h in self.holds.values() if h.captured_minor is not None)

    def reserve(self, amount_minor: int, card_name: str) -> Result:
        result = self._step(amount_minor)
        assert result.receipt_no is not None
        self.holds[result.receipt_no] = Hold(result.receipt_no, amount_minor, card_name)
        self._enter("reserve", result.receipt_no, amount_minor)
        return result

    def release(self, hold_no: int, release_minor: int) -> Result:
        """06 23: take the hold but for `release_minor`."""
        hold = self.holds.get(hold_no)
        if hold is None or hold.state != "held":
            return self._refused(hold)
        if not 0 < release_minor < hold.amount_minor:
            return Result(WRONG_AMOUNT)
        return self._capture(hold, hold.amount_minor - release_minor)

    def book(self, hold_no: int, amount_minor: int) -> Result:
        """06 24: take `amount_minor` of the hold."""
        hold = self.holds.get(hold_no)
        if hold is None or hold.state != "held":
            return self._refused(hold)
        if not 0 < amount_minor <= hold.amount_minor:
            return Result(WRONG_AMOUNT)
        return self._capture(hold, amount_minor)

    def reverse(self, hold_no: int) -> Result:
        hold = self.holds.get(hold_no)
        if hold is None or hold.state != "held":
            return self._refused(hold)
        hold.state = "reversed"
        self._enter("reverse", hold_no, hold.amount_minor)
        return self._step(0)

    def refund(self, amount_minor: int) -> Result:
        self.batch_minor -= amount_minor
        self._enter("refund", None, amount_minor)
        return self._step(amount_minor)

    def end_of_day(self) -> Result:
        """Hand in the batch. As some terminals do, this releases every hold that is still open."""
        for hold_no in self.open:
            self.holds[hold_no].state = "reversed"
            self._enter("reverse", hold_no, self.holds[hold_no].amount_minor)
        handed_in, self.batch_minor = self.batch_minor, 0
        self._enter("end_of_day", None, handed_in)
        result, day = self._step(max(0, handed_in)), tuple(self.day)
        self.day.clear()
        return Result(OK, amount_minor=result.amount_minor, trace_no=result.trace_no, day=day)

    def expire(self, hold_no: int) -> None:
        """The issuer lets the hold lapse; the terminal still lists nothing and captures nothing."""
        self.holds[hold_no].state = "expired"

    def forget(self, hold_no: int) -> None:
        """The terminal loses the hold; the issuer keeps the money until it lapses."""
        self.holds[hold_no].state = "forgotten"

    def _capture(self, hold: Hold, amount_minor: int) -> Result:
        hold.state, hold.captured_minor = "captured", amount_minor
        self.batch_minor += amount_minor
        self._enter("capture", hold.receipt_no, amount_minor)
        result = self._step(amount_minor)
        self.day.append(Capture(self._receipt_no, hold.card_name, amount_minor))
        return result

    def _step(self, amount_minor: int) -> Result:
        self._receipt_no = self._receipt_no % _RECEIPT_MAX + 1
        self._trace_no = self._trace_no % _TRACE_MAX + 1
        self.last = Result(OK, amount_minor, self._receipt_no, self._trace_no)
        return self.last

    def _enter(
        self,
        what: Literal["reserve", "capture", "reverse", "refund", "end_of_day"],
        hold_no: int | None,
        amount: int,
    ) -> None:
        self.entries.append(Entry(what, hold_no, amount))

    @staticmethod
    def _refused(hold: Hold | None) -> Result:
        if hold is None or hold.state == "forgotten":
            return Result(UNKNOWN_HOLD)
        return Result(ALREADY_REVERSED if hold.state == "reversed" else NOT_POSSIBLE)
