"""Documents whose entries were pruned, checked by the roll over them that the anchor signs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import msgspec

from edge.domain.ledger import facts
from edge.domain.ledger.anchor import SeriesAnchor, document_hash, rolled
from edge.domain.ledger.envelope import Envelope


class _Numbered(msgspec.Struct, frozen=True):
    series: str
    sequence: int


class Rolls:
    """One roll for each series of numbers. `say` takes each problem."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._anchored: dict[str, SeriesAnchor] = {}
        self._now: dict[str, SeriesAnchor] = {}

    def start(self, series: dict[str, SeriesAnchor]) -> None:
        """Go on from an anchor."""
        self._anchored, self._now = dict(series), dict(series)

    @property
    def series(self) -> dict[str, SeriesAnchor]:
        """Every series as of the last entry."""
        return self._now

    def add(self, envelope: Envelope, fact: facts.Fact) -> None:
        """One entry of the chain."""
        found = document_hash(envelope, fact)
        if found is None:
            return
        series, sequence, sha256 = found
        before = self._now.get(series, SeriesAnchor())
        self._now[series] = msgspec.structs.replace(before, last=sequence, roll=rolled(before.roll, sha256))

    def copies(self, documents: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        """Check the documents from before the anchor, in the order of their numbers; gives back the others."""
        reached = {name: (at.gone, at.gone_roll) for name, at in self._anchored.items()}
        broken: set[str] = set()
        for number, document in documents:
            place = _place(document)
            anchored = None if place is None else self._anchored.get(place.series)
            if place is None or anchored is None or place.sequence > anchored.last:
                yield number, document
                continue
            last, roll = reached[place.series]
            if place.sequence != last + 1 and place.series not in broken:
                self._say(f"invoice {number}: the one before it is not kept")
                broken.add(place.series)
            reached[place.series] = place.sequence, rolled(roll, hashlib.sha256(document).hexdigest())
        for name, anchored in self._anchored.items():
            if name not in broken and reached[name] != (anchored.last, anchored.roll):
                self._say(f"series {name}: its documents up to {anchored.last} are not as they were sealed")


def _place(document: bytes) -> _Numbered | None:
    try:
        return msgspec.json.decode(document, type=_Numbered)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
