"""The virtual acquirer's mind, without its socket: strict about messages, idempotent by STAN, RRN and terminal.

What it does with a message is a list of acts, so that a test may carry them out without a network.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from hw.virtual.acquirer_books import APPROVED, FORMAT, NOT_SIGNED_ON, PARTIAL, WRONG_AMOUNT, Books
from hw.virtual.acquirer_wire import Dialect, Message, Misread

Kind = Literal[
    "lost_request",
    "lost_reply",
    "silent",
    "ignored",
    "late_reply",
    "late_request",
    "duplicate_reply",
    "decline",
    "partial",
    "garbage",
    "expire",
]

#: An issuer's hold for a charger lasts days; a host that runs longer than that in a test sees them lapse.
HOLD_S: Final = 7 * 86_400.0

_MONEY: Final = frozenset((3, 4, 7, 11, 12, 13, 22, 25, 32, 37, 41, 42, 49))

#: What each message must have, and what it may have besides.
_SHAPES: Final[dict[str, tuple[frozenset[int], frozenset[int]]]] = {
    "card": (_MONEY | {2, 55}, frozenset((14, 23, 35))),
    "increment": (_MONEY | {38, 90}, frozenset((63,))),
    "completion": (_MONEY | {38, 90}, frozenset((63,))),
    "reversal": (_MONEY | {90}, frozenset((38, 63))),
    "refund": (_MONEY | {38, 90}, frozenset((63,))),
    "network": (frozenset((7, 11, 41, 70)), frozenset()),
}

_ECHOED: Final = (3, 4, 7, 11, 12, 13, 32, 37, 41, 42, 49, 70)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one message: the next one of type `on` (0100, 0220, 0420, 0200, 0800; repeats count).

    `lost_request`: the connection ends before anything happens. `lost_reply`: it happens, then the connection
    ends. `silent`: it happens, nothing is said. `ignored`: neither. `late_reply`: said after `seconds`;
    `late_request`: it happens only then. `duplicate_reply`. `decline` with `code`, nothing happens. `partial`:
    half is approved. `garbage`: it happens, and noise is said. `expire`: the named hold lapses first.
    """

    kind: Kind
    on: str = "0100"
    code: str = "05"
    seconds: float = 0.05


@dataclass(frozen=True, slots=True, repr=False)
class Asked:
    """What the issuer is asked: whole card data, in memory only."""

    pan: str
    expiry: str | None
    sequence_no: int
    icc: bytes
    amount_minor: int
    currency: str

    def __repr__(self) -> str:
        return "Asked(hidden)"


#: The issuer's answer as DE39.
Issuer = Callable[[Asked], str]


@dataclass(frozen=True, slots=True)
class Say:
    """An answer, after some time."""

    data: bytes
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Later:
    """The message is dealt with after some time, whatever came in between."""

    message: Message
    after_s: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """The host ends the connection."""


Act = Say | Later | HangUp


@dataclass(slots=True)
class Session:
    """One connection: it may ask for money once it has signed on."""

    signed_on: bool = False


class Host:
    """`receive` decides and books; nothing here waits. `now_s` is the host's clock, for holds that lapse."""

    def __init__(
        self,
        *,
        issuer: Issuer | None = None,
        dialect: Dialect | None = None,
        hold_s: float = HOLD_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.books = Books(hold_s=hold_s)
        self._issuer = issuer or (lambda _: APPROVED)
        self._dialect = dialect or Dialect()
        self._now_s = now_s
        self._faults: list[Fault] = []
        self._answers: dict[tuple[str, ...], Message] = {}

    def script(self, *faults: Fault) -> None:
        """What is to go wrong next, in this order for each type of message."""
        self._faults += faults

    @property
    def waiting(self) -> tuple[Fault, ...]:
        """What has not gone wrong yet: its message never came."""
        return tuple(self._faults)

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self._faults.clear()

    def receive(self, data: bytes, session: Session) -> list[Act]:
        """What to do about one message."""
        try:
            message = self._dialect.decode(data)
        except Misread as e:
            self.books.refused.append((f"misread {e}", FORMAT))
            return [HangUp()]
        fault = self._fault(message)
        kind = fault.kind if fault is not None else None
        match kind:
            case "lost_request":
                return [HangUp()]
            case "ignored":
                return []
            case "late_request" if fault is not None:
                return [Later(message, fault.seconds)]
            case _:
                return self._acts(self.process(message, session, fault), fault)

    def process(self, message: Message, session: Session, fault: Fault | None = None) -> bytes:
        """Book a message and say what came of it; a message that was booked before gets the same answer."""
        self.books.pass_time(self._now_s())
        answer = self._answer(message, session, fault)
        return self._dialect.encode(answer)

    def _acts(self, answer: bytes, fault: Fault | None) -> list[Act]:
        if fault is None:
            return [Say(answer)]
        match fault.kind:
            case "silent":
                return []
            case "lost_reply":
                return [HangUp()]
            case "late_reply":
                return [Say(answer, fault.seconds)]
            case "duplicate_reply":
                return [Say(answer), Say(answer)]
            case "garbage":
                return [Say(b"\x7f" * len(answer))]
            case _:
                return [Say(answer)]

    def _fault(self, message: Message) -> Fault | None:
        first = message.mti[:3] + "0"
        fault = next((f for f in self._faults if f.on == first), None)
        if fault is not None:
            self._faults.remove(fault)
        return fault

    def _answer(self, message: Message, session: Session, fault: Fault | None) -> Message:
        kind = _kind(message)
        if kind is None or (wrong := _wrong(message, kind)):
            self.books.refused.append((f"{message.mti} {wrong if kind else 'is not taken'}", FORMAT))
            return _reply(message, FORMAT)
        if kind == "network":
            session.signed_on = message.fields[70] != "002"
            return _reply(message, APPROVED)
        if not session.signed_on:
            return _reply(message, NOT_SIGNED_ON)
        f = message.fields
        name = (kind, f[41], f[37], f[11], f[7], f[4])
        if name not in self._answers:
            self._answers[name] = self._book(kind, message, fault)
        return self._answers[name]

    def _book(self, kind: str, message: Message, fault: Fault | None) -> Message:
        f = message.fields
        hold = self.books.find(message)
        if fault is not None and fault.kind == "expire" and hold is not None and hold.state == "held":
            self.books.expire(hold)
        approval = f.get(38)
        if fault is not None and fault.kind == "decline":
            code = fault.code
        elif int(f[4]) == 0:
            code = WRONG_AMOUNT
        elif kind == "card":
            code, approval = self._ask_issuer(message, fault)
        else:
            book = {
                "increment": self.books.increase,
                "completion": self.books.capture,
                "reversal": self.books.reverse,
                "refund": self.books.refund,
            }[kind]
            code = book(message)
        if code not in {APPROVED, PARTIAL}:
            self.books.refused.append((f"{message.mti} {kind}", code))
            return _reply(message, code)
        return self._approved(kind, message, code, approval)

    def _approved(self, kind: str, message: Message, code: str, approval: str | None) -> Message:
        more = {} if approval is None else {38: approval}
        hold = self.books.find(message)
        if code == PARTIAL and hold is not None:
            more[4] = f"{hold.amount_minor:012}"
        if kind == "card" and hold is not None:
            more[63] = f"REF{hold.approval}"
        return _reply(message, code, more)

    def _ask_issuer(self, message: Message, fault: Fault | None) -> tuple[str, str | None]:
        f = message.fields
        amount_minor = int(f[4])
        code = self._issuer(
            Asked(
                pan=f[2],
                expiry=f.get(14),
                sequence_no=int(f.get(23, "0")),
                icc=bytes.fromhex(f[55]),
                amount_minor=amount_minor,
                currency=f[49],
            )
        )
        if code != APPROVED:
            return code, None
        if fault is not None and fault.kind == "partial":
            amount_minor = max(1, amount_minor // 2)
        code, hold = self.books.hold(message, amount_minor, self._now_s())
        return code, hold.approval if hold is not None else None


def _kind(message: Message) -> str | None:
    f = message.fields
    match message.mti:
        case "0100":
            return "increment" if 90 in f else "card"
        case "0220" | "0221":
            return "completion"
        case "0420" | "0421":
            return "reversal"
        case "0200" | "0201":
            return "refund"
        case "0800":
            return "network"
        case _:
            return None


def _wrong(message: Message, kind: str) -> str:
    """What a message lacks or has too much, or which value makes no sense; nothing where it is right."""
    f = message.fields
    must, may = _SHAPES[kind]
    lacking, too_much = must - f.keys(), f.keys() - must - may
    if lacking or too_much:
        return f"lacks {sorted(lacking)}, has {sorted(too_much)}"
    if not _is_time(f[7]):
        return "DE7"
    if kind == "network":
        return "" if f[70] in {"001", "002", "301"} else "DE70"
    if not (_is_time(f[13] + f[12]) and int(f[11]) and f[37].strip()):
        return "DE11, DE12, DE13 or DE37"
    if f[3] != ("200000" if kind == "refund" else "000000") or f[25] != ("00" if kind == "refund" else "06"):
        return "DE3 or DE25"
    if 35 in f and not f[35].startswith(f[2] + "="):
        return "DE35"
    if 90 in f:
        acquirer = f[32].rjust(11, "0") + "0" * 11
        named = {"refund": "0220"}.get(kind, "0100")
        if f[90][:4] != named or not _is_time(f[90][10:20]) or f[90][20:] != acquirer:
            return "DE90"
    return ""


def _is_time(text: str) -> bool:
    """MMDDhhmmss."""
    month, day, hour, minute, second = (int(text[n : n + 2]) for n in range(0, 10, 2))
    return 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60


def _reply(message: Message, code: str, more: dict[int, str] | None = None) -> Message:
    f = message.fields
    mti = message.mti[:2] + str(int(message.mti[2]) + 1) + "0"
    return Message(mti, {n: f[n] for n in _ECHOED if n in f} | {39: code} | (more or {}))
