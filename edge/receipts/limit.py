"""How often one address may ask for receipts that are not there. PURE: the time comes from outside."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

#: Addresses that are remembered; the one that has been silent longest is forgotten first.
_ADDRESSES_MAX = 10_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """A page that waits tries again every minute: a family behind one address fits in."""

    tries: int = 30
    window_s: float = 600.0


class Misses:
    """Counts tries that found nothing, by address, within a window that starts with the first of them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait_s(self, address: str, now: float) -> float:
        """How long this address has to wait before it may ask again; 0: it may."""
        since, count = self._known.get(address, (now, 0))
        left = since + self._limits.window_s - now
        return left if count >= self._limits.tries and left > 0 else 0.0

    def missed(self, address: str, now: float) -> None:
        """What this address asked for is not there."""
        since, count = self._known.pop(address, (now, 0))
        if now - since >= self._limits.window_s:
            since, count = now, 0
        self._known[address] = (since, count + 1)
        if len(self._known) > _ADDRESSES_MAX:
            self._known.popitem(last=False)
