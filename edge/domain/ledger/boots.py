"""When entries were written, as far as anyone can tell: by boot and monotonic time (edge/sync/README.md).

A boot's wall clock may be wrong until somebody sets it; its monotonic clock is not. Where a boot's clock was found
right later, each of its entries has a time. Where it never was, the order of the journal still bounds it: everything in
it came after what was written before, and before what was written after.
"""

from __future__ import annotations

from bisect import bisect, bisect_left, insort
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import msgspec

from edge.domain.ledger.envelope import Envelope
from edge.domain.ledger.facts import BootBounded, ClockTrusted, Fact

#: A 64-bit number has at most this many digits.
_NS_DIGITS_MAX = 19

#: Both clocks are read in one go; what an entry says of them agrees to this.
_AGREES = timedelta(milliseconds=1)

#: A boot writes all its entries in one run; it comes back only with a ledger that travels between computers. What
#: is forged may come back at every entry: looking at some of its runs bounds it less tightly, and is as true.
_RUNS_MAX = 16


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of one boot that follow each other: monotonic time of the first and the last of them, ns."""

    boot_id: str
    first_ns: int
    last_ns: int

    @property
    def lasted_us(self) -> int:
        return max(0, self.last_ns - self.first_ns) // 1000


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """An instant is no earlier and no later than these; None: nobody knows."""

    not_before: datetime | None = None
    not_after: datetime | None = None

    def later(self, by: timedelta) -> Bounds:
        return Bounds(
            not_before=None if self.not_before is None else self.not_before + by,
            not_after=None if self.not_after is None else self.not_after + by,
        )

    def meets(self, other: Bounds) -> bool:
        """Whether both can be true of the same instant."""
        pairs = ((self.not_before, other.not_after), (other.not_before, self.not_after))
        return all(low is None or high is None or low <= high for low, high in pairs)


class Boots:
    """What a journal says of the boots that wrote it; feed it the entries in order. Raises OverflowError for times that
    no calendar has.
    """

    #: The types of the facts that say something of the time.
    TOLD_BY: Final = frozenset({ClockTrusted.TYPE, BootBounded.TYPE})

    def __init__(
        self,
        runs: Iterable[Run] = (),
        zeros: Mapping[str, datetime] | None = None,
        said: Iterable[BootBounded] = (),
    ) -> None:
        self._zeros = dict(zeros or {})
        self._said = {fact.boot_id: _bounds(fact) for fact in said}
        self._runs: list[Run] = []
        self._before_us: list[int] = []  # how long the runs before each took together
        self._places: dict[str, list[int]] = {}  # of a boot's runs, in order
        self._told: list[int] = []  # the places of all runs whose boot knew the time, in order
        for run in runs:
            self._append(run)

    def _append(self, run: Run) -> None:
        """A run more, which keeps what `_between` needs at hand: it is asked for at every boot that is bounded."""
        place = len(self._runs)
        before = self._before_us[-1] + self._runs[-1].lasted_us if self._runs else 0
        self._runs.append(run)
        self._before_us.append(before)
        self._places.setdefault(run.boot_id, []).append(place)
        if run.boot_id in self._zeros:
            self._told.append(place)

    def add(self, envelope: Envelope, fact: Fact | None) -> None:
        """One entry more."""
        at_ns = monotonic_ns(envelope)
        if at_ns is None:
            return
        last = self._runs[-1] if self._runs else None
        if last is not None and last.boot_id == envelope.bootid:
            self._runs[-1] = Run(
                boot_id=last.boot_id, first_ns=last.first_ns, last_ns=max(at_ns, last.last_ns)
            )
        else:
            self._append(Run(boot_id=envelope.bootid, first_ns=at_ns, last_ns=at_ns))
        self.learn(envelope, fact)

    def learn(self, envelope: Envelope, fact: Fact | None) -> None:
        """What one entry says of a boot, without counting as one of its entries."""
        match fact:
            case ClockTrusted():
                if (zero := zero_of(envelope)) is not None:
                    if envelope.bootid not in self._zeros:
                        for place in self._places.get(envelope.bootid, ()):
                            insort(self._told, place)
                    self._zeros[envelope.bootid] = zero
            case BootBounded():
                self._said[fact.boot_id] = _bounds(fact)
            case _:
                pass

    def contradiction(self, envelope: Envelope, fact: Fact | None) -> str | None:
        """What is wrong with what an entry says of the time, by all entries before it."""
        match fact:
            case ClockTrusted(boot_id=boot_id, zero_at=said) if said is not None:
                zero = zero_of(envelope)
                if boot_id != envelope.bootid or zero is None or abs(zero - said) > _AGREES:
                    return "says another time of its boot than its own clocks"
            case BootBounded(boot_id=boot_id):
                if boot_id in self._zeros or boot_id == envelope.bootid:
                    return f"bounds boot {boot_id}, which knew the time"
                bounds = _bounds(fact)
                if not bounds.meets(bounds) or not bounds.meets(self._between(boot_id)):
                    return f"bounds boot {boot_id} otherwise than the entries around it do"
            case _:
                pass
        return None

    def unknown(self, *, but: str) -> list[BootBounded]:
        """The boots whose time nobody learned, bounded; `but` is the one that knows it now."""
        found = []
        for boot_id in self._places:
            if boot_id == but or boot_id in self._said or boot_id in self._zeros:
                continue
            bounds = self._between(boot_id)
            if bounds.not_after is not None:
                found.append(
                    BootBounded(boot_id=boot_id, not_before=bounds.not_before, not_after=bounds.not_after)
                )
        return found

    def known(self) -> datetime | None:
        """The latest time that has certainly come: that of the last entry which tells, and what was written after it
        took; None where none tells.
        """
        if not self._told:
            return None
        since_us = self._before_us[-1] + self._runs[-1].lasted_us
        return self._end(self._told[-1]) + self._took(self._told[-1] + 1, since_us)

    def exact(self, boot_id: str) -> datetime | None:
        """When the monotonic clock of a boot that knew the time stood at 0."""
        return self._zeros.get(boot_id)

    def zero(self, boot_id: str) -> Bounds:
        """When a boot's monotonic clock stood at 0: exactly, by what was written of it, or by the order of entries."""
        if (exact := self._zeros.get(boot_id)) is not None:
            return Bounds(not_before=exact, not_after=exact)
        return self._said.get(boot_id) or self._between(boot_id)

    def written(self, envelope: Envelope) -> Bounds:
        """When an entry was written; both bounds are the same where its boot learned the time."""
        at_ns = monotonic_ns(envelope)
        return Bounds() if at_ns is None else self.zero(envelope.bootid).later(_ns(at_ns))

    def _between(self, boot_id: str) -> Bounds:
        """The tightest bounds of a boot that did not know the time, by those before and after its entries that did."""
        if boot_id in self._zeros:
            return Bounds()
        lows, highs = [], []
        for place in self._places.get(boot_id, ())[:_RUNS_MAX]:
            run = self._runs[place]
            before, after = bisect_left(self._told, place) - 1, bisect(self._told, place)
            if before >= 0:
                told = self._told[before]
                reached = self._end(told) + self._took(told + 1, self._before_us[place])
                lows.append(reached - _ns(run.first_ns))
            if after < len(self._told):
                told = self._told[after]
                until = self._begin(told) - self._took(place + 1, self._before_us[told])
                highs.append(until - _ns(run.last_ns))
        low, high = max(lows, default=None), min(highs, default=None)
        if low is not None and high is not None and low > high:
            low = None  # a clock was wrong although it was trusted: the later word counts
        return Bounds(not_before=low, not_after=high)

    def _took(self, place: int, before_us: int) -> timedelta:
        """How long the runs took from that place on, up to where all runs before took `before_us`."""
        known = self._before_us[place] if place < len(self._before_us) else before_us
        return timedelta(microseconds=before_us - known)

    def _begin(self, place: int) -> datetime:
        run = self._runs[place]
        return self._zeros[run.boot_id] + _ns(run.first_ns)

    def _end(self, place: int) -> datetime:
        run = self._runs[place]
        return self._zeros[run.boot_id] + _ns(run.last_ns)


def zero_of(envelope: Envelope) -> datetime | None:
    """When the boot's monotonic clock stood at 0, by the clocks of one entry."""
    at_ns = monotonic_ns(envelope)
    return None if at_ns is None else envelope.time.astimezone(UTC) - _ns(at_ns)


class Stamped(Protocol):
    """An entry's envelope, or what was read of it."""

    @property
    def monotonicns(self) -> str: ...


def monotonic_ns(envelope: Stamped) -> int | None:
    """The entry's monotonic time; None where it is no number."""
    text = envelope.monotonicns
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _NS_DIGITS_MAX else None


def _bounds(fact: BootBounded) -> Bounds:
    return Bounds(not_before=fact.not_before, not_after=fact.not_after)


def _ns(nanoseconds: int) -> timedelta:
    return timedelta(microseconds=nanoseconds // 1000)
