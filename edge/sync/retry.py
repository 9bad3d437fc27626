"""Waiting before trying again, so that a thousand chargers do not come back in the same second."""

from __future__ import annotations

import random


class FullJitter:
    """A random part of a bound that doubles with each failure: 1 s, 2 s, 4 s ... up to the cap."""

    def __init__(self, base_s: float, cap_s: float, rng: random.Random | None = None) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._bound_s = base_s
        self._rng = rng or random.SystemRandom()

    def next_s(self) -> float:
        """How long to wait now."""
        wait_s = self._rng.uniform(0, self._bound_s)
        self._bound_s = min(self._cap_s, self._bound_s * 2)
        return wait_s

    def reset(self) -> None:
        """It worked."""
        self._bound_s = self._base_s


class Resend:
    """When to send again what nobody acknowledged: within 25 % of a period that doubles until one does."""

    def __init__(self, base_s: float, cap_s: float, rng: random.Random | None = None) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._period_s = base_s
        self._rng = rng or random.SystemRandom()
        self._arrived = False
        self.due_at: float | None = None

    def start(self, now: float) -> None:
        """Something is under way; a running period goes on."""
        if self.due_at is None:
            self._arrived = False
            self.due_at = now + self._period_s * self._rng.uniform(0.75, 1.25)

    def hold(self, now: float) -> None:
        """What is under way has not arrived yet: the running period begins anew.

        Once it had, what was published since does not put the end off: else steady traffic would do so for ever.
        """
        if self.due_at is not None and not self._arrived:
            self.due_at = None
            self.start(now)

    def arrived(self) -> None:
        """The broker has taken everything that is under way."""
        self._arrived = True

    def progress(self, now: float, *, waiting: bool) -> None:
        """Something was acknowledged; `waiting`: more is under way."""
        self._period_s = self._base_s
        self.due_at = None
        if waiting:
            self.start(now)

    def expired(self, now: float) -> bool:
        """True once per period that passed without progress."""
        if self.due_at is None or now < self.due_at:
            return False
        self.due_at = None
        self._period_s = min(self._cap_s, self._period_s * 2)
        return True
