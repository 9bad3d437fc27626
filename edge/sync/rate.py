"""How much may come in: a bucket that fills with time and is emptied by what arrives."""

from __future__ import annotations


class Bucket:
    """Holds up to `burst`, fills with `per_s`. Full at first. Times are monotonic seconds."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._level = burst
        self._at: float | None = None

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Whether there is room; then it is taken. More than `burst` at once fits a full bucket."""
        if self._at is not None:
            self._level = min(self._burst, self._level + max(0.0, now - self._at) * self._per_s)
        self._at = now
        if self._level < min(amount, self._burst):
            return False
        self._level -= amount
        return True
