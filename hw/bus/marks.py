"""What a bus remembers of what it asked: which replies may still be under way, and which units are silent."""

from __future__ import annotations

from hw.bus.frames import Request


class Mark:
    """When a signature (unit, function, count) was last on the line, and whether it was answered; `lost_at` is when
    it last was not, `ghost_until` when the last reply that is still under way can come.
    """

    __slots__ = ("answered", "at", "ghost_until", "lost_at", "turn")

    def __init__(self) -> None:
        self.at = self.lost_at = self.ghost_until = -1e9
        self.turn, self.answered = -1, True

    def used(self, at: float, turn: int, ghost_s: float, *, answered: bool) -> None:
        """After an exchange. A doubtful answer leaves its own reply under way, where it was an earlier one's."""
        if not answered or at < self.ghost_until:
            self.ghost_until = at + ghost_s
        if not answered:
            self.lost_at = at
        self.at, self.turn, self.answered = at, turn, answered


class Unit:
    """What the bus remembers of one unit: how many requests it had, how many of the last went unanswered, and whether
    its first answer, which may be one to the process before, has been laid aside.
    """

    __slots__ = ("asked", "known", "resume_at", "silent")

    def __init__(self) -> None:
        self.known = False
        self.asked = self.silent = 0
        self.resume_at = 0.0


class Plan:
    """One thing to ask, in every count that it may be asked in; `turn` is whose turn it is where all is well."""

    __slots__ = ("turn", "unit", "variants")

    def __init__(self, unit: Unit, variants: tuple[tuple[Request, Mark], ...]) -> None:
        self.unit, self.variants = unit, variants
        self.turn = 0
