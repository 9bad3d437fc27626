"""What a virtual acquirer has on its books: holds, what became of each, and every effect in order.

Amounts in minor units. A test compares these books with the till's answers, to the cent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from hw.virtual.acquirer_wire import Message

State = Literal["held", "captured", "reversed", "expired"]

#: ISO 8583:1987, annex A (DE39).
APPROVED: Final = "00"
PARTIAL: Final = "10"
INVALID: Final = "12"
WRONG_AMOUNT: Final = "13"
UNKNOWN: Final = "25"
FORMAT: Final = "30"
NOT_SIGNED_ON: Final = "58"
OVER_LIMIT: Final = "61"


@dataclass(slots=True)
class Hold:
    """One hold. `original`: type, STAN and time of the message that made it, as DE90 names it.

    `amount_minor`: all that is held, increments included; `increments`: by their STAN. `captured_minor` is None
    unless it was captured. `expires_s`: by the host's clock.
    """

    terminal: str
    rrn: str
    original: str
    currency: str
    approval: str
    amount_minor: int
    expires_s: float
    state: State = "held"
    captured_minor: int | None = None
    completion: str | None = None
    refunded_minor: int = 0
    increments: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One effect on one hold."""

    what: Literal["hold", "increase", "capture", "reverse", "decrease", "refund", "expire"]
    rrn: str
    amount_minor: int


@dataclass(slots=True)
class Books:
    """`expired` tells holds that lapse from those that stand; `refused`: what was asked for in vain, and the code."""

    hold_s: float
    by_rrn: dict[tuple[str, str], Hold] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    #: reversals that came before what they reverse: that is refused when it arrives
    _void: set[tuple[str, str, str]] = field(default_factory=set)
    _approvals: int = 0

    def holds(self) -> tuple[Hold, ...]:
        """Every hold there ever was, oldest first."""
        return tuple(self.by_rrn.values())

    @property
    def open(self) -> tuple[Hold, ...]:
        """Those that are neither captured nor released nor expired."""
        return tuple(h for h in self.holds() if h.state == "held")

    @property
    def captured_minor(self) -> int:
        return sum(h.captured_minor or 0 for h in self.holds())

    @property
    def refunded_minor(self) -> int:
        return sum(h.refunded_minor for h in self.holds())

    def pass_time(self, now_s: float) -> None:
        """Let lapse what is due."""
        for hold in self.open:
            if hold.expires_s <= now_s:
                self.expire(hold)

    def expire(self, hold: Hold) -> None:
        """The issuer lets go of a hold."""
        hold.state = "expired"
        self._enter("expire", hold.rrn, hold.amount_minor)

    def find(self, message: Message) -> Hold | None:
        """The hold that a message names by terminal and RRN."""
        return self.by_rrn.get((message.fields[41], message.fields[37]))

    def hold(self, message: Message, amount_minor: int, now_s: float) -> tuple[str, Hold | None]:
        """0100 with a card: the code, and the hold where there is one now."""
        f = message.fields
        if (f[41], f[37], original(message)) in self._void or (f[41], f[37]) in self.by_rrn:
            return INVALID, None
        self._approvals += 1
        hold = Hold(
            terminal=f[41],
            rrn=f[37],
            original=original(message),
            currency=f[49],
            approval=f"A{self._approvals:05}",
            amount_minor=amount_minor,
            expires_s=now_s + self.hold_s,
        )
        self.by_rrn[f[41], f[37]] = hold
        self._enter("hold", hold.rrn, amount_minor)
        return (PARTIAL if amount_minor < int(f[4]) else APPROVED), hold

    def increase(self, message: Message) -> str:
        """0100 that names a hold."""
        f = message.fields
        if (f[41], f[37], original(message)) in self._void:
            return INVALID
        hold = self._named(message)
        if hold is None:
            return UNKNOWN
        hold.increments[original(message)] = int(f[4])
        hold.amount_minor += int(f[4])
        self._enter("increase", hold.rrn, int(f[4]))
        return APPROVED

    def capture(self, message: Message) -> str:
        """0220: takes a part of a hold, and lets the rest go."""
        amount_minor = int(message.fields[4])
        hold = self._named(message)
        if hold is None:
            known = self.find(message)
            return INVALID if known is not None and known.state == "captured" else UNKNOWN
        if not 0 < amount_minor <= hold.amount_minor:
            return OVER_LIMIT
        hold.state, hold.captured_minor, hold.completion = "captured", amount_minor, original(message)
        self._enter("capture", hold.rrn, amount_minor)
        return APPROVED

    def reverse(self, message: Message) -> str:
        """0420: of a hold as a whole, or of one increment of it."""
        f = message.fields
        hold = self.find(message)
        meant = f[90][:20]
        if hold is not None and meant == hold.original:
            return self._release(hold)
        if hold is not None and meant in hold.increments:
            if hold.state != "held":
                return UNKNOWN
            amount_minor = hold.increments.pop(meant)
            hold.amount_minor -= amount_minor
            self._enter("decrease", hold.rrn, amount_minor)
            return APPROVED
        self._void.add((f[41], f[37], meant))
        return UNKNOWN

    def refund(self, message: Message) -> str:
        """0200 credit: names the completion it gives back from."""
        f = message.fields
        amount_minor = int(f[4])
        hold = next((h for h in self.holds() if h.terminal == f[41] and h.completion == f[90][:20]), None)
        if hold is None or hold.captured_minor is None or hold.approval != f[38].strip():
            return UNKNOWN
        if not 0 < amount_minor <= hold.captured_minor - hold.refunded_minor:
            return OVER_LIMIT
        hold.refunded_minor += amount_minor
        self._enter("refund", hold.rrn, amount_minor)
        return APPROVED

    def _release(self, hold: Hold) -> str:
        match hold.state:
            case "held":
                hold.state = "reversed"
                self._enter("reverse", hold.rrn, hold.amount_minor)
                return APPROVED
            case "reversed":
                return APPROVED
            case "captured":
                return INVALID
            case "expired":
                return UNKNOWN

    def _named(self, message: Message) -> Hold | None:
        """The hold that stands and that a message names rightly: RRN, approval, original data, currency."""
        f = message.fields
        hold = self.find(message)
        right = (
            hold is not None
            and hold.state == "held"
            and f[90][:20] == hold.original
            and f[38].strip() == hold.approval
            and f[49] == hold.currency
        )
        return hold if right else None

    def _enter(
        self,
        what: Literal["hold", "increase", "capture", "reverse", "decrease", "refund", "expire"],
        rrn: str,
        amount_minor: int,
    ) -> None:
        self.entries.append(Entry(what, rrn, amount_minor))


def original(message: Message) -> str:
    """How DE90 names a message: the type of the first of its repeats, STAN, and time."""
    return f"{message.mti[:3]}0{message.fields[11]}{message.fields[7]}"
