"""The back office's copy of a trial's ledger: every fact that ever was, also those that the till has pruned."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TypeVar

from edge.domain.ledger.envelope import digest, open_envelope, read_fact
from edge.domain.ledger.facts import Fact
from edge.store.connection import open_reader

F = TypeVar("F", bound=Fact)


class Ledger:
    """What the back office has booked, which is all that ever was: by kind."""

    def __init__(self, books: Path) -> None:
        self.hashes: dict[tuple[str, int], str] = {}
        self.facts: list[Fact] = []
        self.raw = bytearray()
        with contextlib.closing(open_reader(books)) as db:
            rows = db.execute(
                "SELECT epoch, seq, raw FROM entry JOIN line USING (line_id) WHERE seq <= upto ORDER BY line_id, seq"
            ).fetchall()
        for epoch, seq, raw in rows:
            self.hashes[epoch, seq] = digest(bytes(raw))
            self.facts.append(read_fact(open_envelope(bytes(raw))))
            self.raw += bytes(raw)

    def of(self, kind: type[F]) -> list[F]:
        return [fact for fact in self.facts if isinstance(fact, kind)]
