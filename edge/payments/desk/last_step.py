"""What the terminal did last: the strongest evidence of what became of a command whose answer was lost."""

from __future__ import annotations

from typing import Final

from edge.domain.terminal import Declined, Done
from edge.payments.desk.folio import Mark, mark
from edge.ports import PaymentTerminal

#: What a terminal says that does not know the question. It is asked again all the same: once may be a mishap.
_KNOWS_NOT: Final = frozenset(("receipt_unknown", "terminal_fault"))
_KNOWS_NOT_TRIES: Final = 3

#: An answer that does not come is asked for during a caller's first two waits, then no more.
_TRIES: Final = 40


class LastStep:
    """The last money command that took effect, as far as it is known."""

    def __init__(self, terminal: PaymentTerminal) -> None:
        self._terminal = terminal
        self._has_told = False
        self._unheard = 0
        self._tries = _TRIES
        self.mark: Mark | None = None

    @property
    def may_tell(self) -> bool:
        """True while the terminal has not said it, and would perhaps if it were asked again."""
        return self.mark is None and 0 < self._unheard < self._tries

    async def ask(self) -> Done | None:
        """What the terminal says of it; None where it does not. Raises HardwareError."""
        answer = await self._terminal.last_receipt()
        self.mark = None
        if isinstance(answer, Done):
            self._has_told, self._unheard = True, 0
            self.mark = mark(answer)
            return answer
        knows_not = isinstance(answer, Declined) and answer.reason in _KNOWS_NOT and not self._has_told
        self._tries = _KNOWS_NOT_TRIES if knows_not else _TRIES
        self._unheard += 1
        return None

    def done(self, answer: Done) -> None:
        """A money command has taken effect."""
        self.mark = mark(answer)

    def lost(self) -> None:
        """Something went out, and may have taken effect or not."""
        self.mark = None
