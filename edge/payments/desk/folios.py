"""The folio of every payment at one terminal: remembered here, and in the journal before anything follows from it."""

from __future__ import annotations

from typing import Final

from edge.payments.desk.folio import Ending, Folio, Reserving, Unsent, encode, entry, read, spent
from edge.ports import PaymentJournal

#: Answers that may be asked for again after their payment has ended; a handful are under way at any time.
_KEPT_MAX: Final = 256


class Folios:
    """What is known of each payment, by its reference. `name` is the terminal's: the journal has others as well."""

    def __init__(self, journal: PaymentJournal, *, name: str) -> None:
        self._journal = journal
        self._name = name
        self._kept: dict[str, Folio] = {}
        self._inherited: frozenset[str] = frozenset()

    async def load(self) -> None:
        """Take over what the journal has of an earlier run."""
        self._kept = await self.open()
        self._inherited = frozenset(self._kept)

    def inherited(self, ref: str) -> bool:
        """True for a payment of an earlier run."""
        return ref in self._inherited

    def any(self, *kinds: type[Folio]) -> bool:
        """True while a folio is one of these kinds."""
        return any(isinstance(folio, kinds) for folio in self._kept.values())

    def known(self, ref: str) -> Folio | None:
        """What is remembered, without asking the journal."""
        return self._kept.get(ref)

    async def of(self, ref: str) -> Folio:
        """The folio of a payment."""
        if ref not in self._kept:
            payment = await self._journal.find(ref)
            self._kept[ref] = Unsent() if payment is None else read(payment)
        return self._kept[ref]

    async def open(self) -> dict[str, Folio]:
        """The folios of what the journal has open at this terminal."""
        found: dict[str, Folio] = {}
        for payment in await self._journal.open("terminal"):
            kept = entry(payment)
            if payment.ref in self._kept or kept.at in (None, self._name):
                found[payment.ref] = self._kept.setdefault(payment.ref, kept.folio)
        return found

    async def write(self, ref: str, folio: Folio) -> None:
        """Into the journal, and from then on it counts."""
        await self._journal.note(ref, encode(folio, at=self._name))
        self._kept[ref] = folio

    def keep(self, ref: str, folio: Folio) -> None:
        """Only here: what is in the journal, or with the terminal, lets a next run conclude the same."""
        self._kept[ref] = folio

    async def outdate(self, ref: str) -> None:
        """A command for `ref` goes out: what the terminal did last says nothing of older doubts from now on."""
        for other, folio in tuple(self._kept.items()):
            stale = spent(folio)
            if stale is not None and other != ref:
                await self.write(other, stale)

    def forget(self, open_: frozenset[str]) -> None:
        """Drop what the journal has closed: long ago, or without an answer from here."""
        closed = [ref for ref in self._kept if ref not in open_]
        old = frozenset(closed[: max(0, len(closed) - _KEPT_MAX)])
        for ref in closed:
            if ref in old or isinstance(self._kept[ref], Reserving | Ending):
                del self._kept[ref]
