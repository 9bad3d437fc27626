"""What all EVSEs of a till sell now, and by which rules; orders change it between two steps of a session.

A session keeps what it began with: the documents behind its hashes stay here as long as it is open.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from edge.domain.instant import Instant
from edge.domain.session.terms import Rules
from edge.domain.tariffs import FrozenTariff

#: Documents that are kept although no session is known to use them: a tap may be on its way into the journal.
_SPARE = 8

#: A price that has changed counts as read after this: a page draws what it is told in less.
_READ_S = 2

#: The code of the reason that a driver reads.
BLOCKED = "blocked_by_operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnSale:
    """The tariff, what a tap reserves at most (minor units), and the limits of a session.

    `fallback` takes the tariff's place while that needs a time which is not known.
    """

    tariff: FrozenTariff
    hold_minor: int
    rules: Rules
    fallback: FrozenTariff | None = None


class Shelf:
    """See the module. `in_use` gives the hashes of tariffs and plans that open sessions began with."""

    def __init__(
        self, on_sale: OnSale, *, documents: Mapping[str, str], in_use: Callable[[], Iterable[str]]
    ) -> None:
        self.on_sale = on_sale
        self.blocked: dict[str, str] = {}
        self._documents = OrderedDict(documents)
        self._in_use = in_use

    def put(self, on_sale: OnSale) -> None:
        """From now on this is sold. Who taps meanwhile is shown the new price first (I3)."""
        old, self.on_sale = self.on_sale.tariff, on_sale
        if old.hash != on_sale.tariff.hash:
            self.keep(old.hash, old.document)

    def keep(self, document_hash: str, document: str) -> None:
        """A document that is not on sale any more, and that open sessions may have begun with."""
        self._documents[document_hash] = document
        self._documents.move_to_end(document_hash)
        used = set(self._in_use())
        for old in list(self._documents)[: max(0, len(self._documents) - _SPARE)]:
            if old not in used:
                del self._documents[old]

    def find(self, document_hash: str) -> str:
        """The document of a tariff or plan that an open session began with."""
        fallback = self.on_sale.fallback
        if fallback is not None and fallback.hash == document_hash:
            return fallback.document
        return self._documents[document_hash]

    def refusal(self, evse_id: str) -> str | None:
        """Why the operator sells nothing here, as a code, or None."""
        return BLOCKED if evse_id in self.blocked else None


class PriceTag:
    """Which tariff one screen offers, by its hash, and whether whoever stands there has had time to read it (I3)."""

    def __init__(self) -> None:
        self._shown: str | None = None
        self._since: Instant | None = None

    def drawn(self, tariff_hash: str, now: Instant) -> None:
        """The screen shows this one now."""
        if self._shown not in {None, tariff_hash}:
            self._since = now
        self._shown = tariff_hash

    def is_news(self, tariff_hash: str, at: Instant) -> bool:
        """Whether a tap at this moment, which would buy this one, was made at another price: it is shown again, and
        nothing is sold.
        """
        if self._shown is None:
            return False
        changed = self._shown != tariff_hash
        return changed or (self._since is not None and at.seconds_since(self._since) < _READ_S)
