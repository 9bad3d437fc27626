"""The whole ledger in a database, checked again."""

from __future__ import annotations

from edge.domain.ledger.checks import Checker, Report
from edge.store.reading import Reading


def verify(till: Reading, *, public_key: str | None = None) -> Report:
    """Every entry from the anchor on, and the documents that are kept beside the journal."""
    checker = Checker(public_key=public_key)
    anchor = till.anchor()
    if anchor is not None:
        checker.start(anchor)
    for entry in till.entries():
        checker.add(entry)
    checker.copies(till.documents())
    return checker.report()
