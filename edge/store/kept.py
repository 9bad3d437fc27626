"""What the back office ordered of this till and what must outlive the lists that it sent: a few values by name.

They stand in the till's own database, which is durable, checked and backed up. Lists of members may be lost and sent
again; which orders were obeyed, and what an operator blocked, may not.
"""

from __future__ import annotations

from edge.store.store import Store
from edge.store.transaction import Tx


class Kept:
    """Implements edge.sync.downlink.lists.Memory, for any thread but the store's own. Raises StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, name: str) -> str | None:
        """The value of a name; None when there is none."""

        def run(tx: Tx) -> str | None:
            row = tx.connection.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
            return None if row is None else str(row[0])

        return self._store.submit(run).result()

    def put(self, name: str, value: str | None) -> None:
        """Durable when this returns; None forgets the name."""

        def run(tx: Tx) -> None:
            if value is None:
                tx.connection.execute("DELETE FROM kept WHERE name = ?", (name,))
                return
            tx.connection.execute(
                "INSERT INTO kept (name, value) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )

        self._store.submit(run).result()
