"""What the downlink remembers outside of the file of its lists, which can be lost and sent again.

Values by name in the till's own database: the newest order of each stream, so that no older one is ever obeyed; the
documents in force, so that a blocked EVSE stays blocked; and whose orders these were.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from edge.sync.downlink.gate import Seen


class Memory(Protocol):
    """Durable values by name (edge.store.kept.Kept). Raises StoreError."""

    def get(self, name: str) -> str | None: ...

    def put(self, name: str, value: str | None) -> None:
        """None forgets the name."""
        ...


class NoMemory:
    """Everything stands in the file of the lists alone: for whoever has no ledger."""

    def get(self, name: str) -> str | None:  # noqa: ARG002  (it knows none)
        return None

    def put(self, name: str, value: str | None) -> None: ...


#: The streams whose newest order is remembered. A part of a list is as new as its list.
_SLOTS = frozenset(("cmd", "tariff", "plans", "members/list", "members/changes"))


class Remembered:
    """The values by what they mean."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def seen(self, slot: str) -> Seen | None:
        """The newest order of a stream; None where there was none."""
        value = self._memory.get(f"order:{slot}") if slot in _SLOTS else None
        if value is None:
            return None
        version, sha256 = value.split(" ", 1)
        return Seen(int(version), sha256)

    def see(self, slot: str, seen: Seen) -> None:
        if slot in _SLOTS:
            self._memory.put(f"order:{slot}", f"{seen.version} {seen.hash}")

    def see_later(self, slot: str, seen: Seen) -> None:
        """The same, unless a newer order is remembered."""
        if slot in _SLOTS and ((known := self.seen(slot)) is None or known.version < seen.version):
            self.see(slot, seen)

    def changes(self) -> tuple[int, int]:
        """The newest changes of members, and the list that they are based on; zeros where there were none."""
        value = self._memory.get("changes")
        if value is None:
            return 0, 0
        version, base = value.split(" ", 1)
        return int(version), int(base)

    def changed(self, version: int, base: int) -> None:
        self._memory.put("changes", f"{version} {base}")

    def document(self, stream: str) -> tuple[int, str] | None:
        """A document in force, with its turn: the higher turn is the newer document."""
        value = self._memory.get(f"document:{stream}")
        if value is None:
            return None
        turn, document = value.split(" ", 1)
        return int(turn), document

    def keep(self, stream: str, turn: int, document: str) -> None:
        self._memory.put(f"document:{stream}", f"{turn} {document}")

    def strangers(self, key_ids: Iterable[str]) -> bool:
        """Whether none of these keys was obeyed before, and others were: another back office, that counts anew."""
        known = set((self._memory.get("orders_keys") or "").split())
        return bool(known) and known.isdisjoint(key_ids)

    def obey(self, key_ids: Iterable[str], *, anew: bool) -> None:
        """From here on these keys are obeyed; `anew`: nothing that others ordered counts as seen."""
        now = " ".join(sorted(key_ids))
        if anew:
            for name in (*(f"order:{slot}" for slot in sorted(_SLOTS)), "changes"):
                self._memory.put(name, None)
        if self._memory.get("orders_keys") != now:
            self._memory.put("orders_keys", now)
