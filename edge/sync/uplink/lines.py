"""Where each epoch of the journal stands on its way up, and what an acknowledgement means. PURE.

An epoch's entries are numbered 1..last. `acked` of them are booked at the back office, `sent` are under way or
booked: 0 <= acked <= sent <= last. Sending starts at sent + 1; a rewind sets sent back.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edge.domain.ledger.envelope import GENESIS
from edge.sync.contract.messages import Ack


@dataclass(slots=True, kw_only=True)
class Line:
    """One epoch. `halted`: the back office holds something else under our numbers; nothing more is sent.

    `settled`: what it could not take any more is carried by a later epoch; whatever it says of this one is over.
    """

    epoch: str
    last: int
    acked: int = 0
    sent: int = 0
    halted: bool = False
    settled: bool = False

    @property
    def under_way(self) -> int:
        return self.sent - self.acked

    @property
    def unsent(self) -> int:
        return 0 if self.halted or self.settled else self.last - self.sent

    def rewind(self, upto: int | None = None) -> None:
        """Send again what comes after `upto` (default: after what is acknowledged)."""
        self.sent = self.acked if upto is None else max(0, min(self.sent, upto))
        self.acked = min(self.acked, self.sent)


class Verdict(Enum):
    """What an acknowledgement says about a line."""

    PROGRESS = "more is booked than we knew"
    SAME = "nothing new"
    BEHIND = "less is booked than was acknowledged before: the back office was restored, or this is old news"
    AHEAD = "more is booked than we hold: this device was rolled back"
    DIVERGED = "something else is booked under our numbers"


def judge(line: Line, ack: Ack, own_hash: str | None) -> Verdict:
    """`own_hash`: of our entry `ack.upto`; None when it is pruned or not ours."""
    if ack.upto > line.last:
        return Verdict.AHEAD
    expected = GENESIS if ack.upto == 0 else own_hash
    if expected is not None and expected != ack.head:
        return Verdict.DIVERGED
    if ack.upto > line.acked:
        return Verdict.PROGRESS
    return Verdict.SAME if ack.upto == line.acked else Verdict.BEHIND


def book(line: Line, upto: int) -> None:
    """Everything up to `upto` is acknowledged."""
    line.acked = upto
    line.sent = max(line.sent, upto)
