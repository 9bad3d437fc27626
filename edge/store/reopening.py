"""A device that is provisioned again goes on in its old ledger, also where that was decommissioned."""

from __future__ import annotations

from pathlib import Path

from edge.domain.instant import Instant
from edge.store.epochs import DECOMMISSIONED, Owner
from edge.store.keys import LedgerKey
from edge.store.reading import Reading
from edge.store.store import Store


def reopen(database: Path, *, key: LedgerKey, owner: Owner, at: Instant) -> str | None:
    """Begin a new epoch where the ledger was decommissioned; its id. None where there is nothing to reopen.

    Raises StoreError: LedgerForeign for another device's ledger, StoreInUse while a daemon runs.
    """
    if not database.exists():
        return None
    with Reading(database) as till:
        if till.stats()["closed"] != DECOMMISSIONED:
            return None
    store = Store.open(database, key=key, owner=owner, prefix="CT", now=at)
    try:
        return store.open_epoch("provisioned", at).result().epoch
    finally:
        store.close()
