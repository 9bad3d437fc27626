"""When entries were written, as far as anyone can tell: by boot and monotonic time (edge/sync/README.md).

A boot's wall clock may be wrong until somebody sets it; its monotonic clock is not. Where a boot's clock was found
right later, each of its entries has a time. Where it never was, the order of the journal still bounds it: everything in
it came after what was written before, and before what was written after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import msgspec

from edge.domain.ledger.envelope import Envelope
from edge.domain.ledger.facts import BootBounded, ClockTrusted, Fact

#: A 64-bit number has at most this many digits.
_NS_DIGITS_MAX = 19

#: Both clocks are read in one go; what an entry says of them agrees to this.
_AGREES = timedelta(milliseconds=1)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of one boot that follow each other: monotonic time of the first and the last of them, ns."""

    boot_id: str
    first_ns: int
    last_ns: int

    @property
    def lasted(self) -> timedelta:
        return _ns(max(0, self.last_ns - self.first_ns))


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
        self._runs = list(runs)
        self._zeros = dict(zeros or {})
        self._said = {fact.boot_id: _bounds(fact) for fact in said}
        self._bounded: dict[str, Bounds] | None = None  # until the next boot, or a time that is learned

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
            self._runs.append(Run(boot_id=envelope.bootid, first_ns=at_ns, last_ns=at_ns))
            self._bounded = None
        self.learn(envelope, fact)

    def learn(self, envelope: Envelope, fact: Fact | None) -> None:
        """What one entry says of a boot, without counting as one of its entries."""
        match fact:
            case ClockTrusted():
                if (zero := zero_of(envelope)) is not None:
                    self._zeros[envelope.bootid] = zero
                    self._bounded = None
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
        for boot_id, bounds in self._around().items():
            if boot_id == but or boot_id in self._said:
                continue
            if bounds.not_after is not None:
                found.append(
                    BootBounded(boot_id=boot_id, not_before=bounds.not_before, not_after=bounds.not_after)
                )
        return found

    def known(self) -> datetime | None:
        """The latest time that has certainly come: that of the last entry which tells, and what was written after it
        took; None where none tells.
        """
        reached: datetime | None = None
        for run in self._runs:
            if (zero := self._zeros.get(run.boot_id)) is not None:
                reached = zero + _ns(run.last_ns)
            elif reached is not None:
                reached += run.lasted
        return reached

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
        return self._around().get(boot_id, Bounds())

    def _around(self) -> dict[str, Bounds]:
        """The bounds of every boot that did not know the time, in the order of their first entries. What the newest of
        them writes more changes none.
        """
        if self._bounded is not None:
            return self._bounded
        lows = self._tightest(self._runs, end=True)
        highs = self._tightest(self._runs[::-1], end=False)
        found = {}
        for boot_id in dict.fromkeys(run.boot_id for run in self._runs if run.boot_id not in self._zeros):
            low, high = lows.get(boot_id), highs.get(boot_id)
            if low is not None and high is not None and low > high:
                low = None  # a clock was wrong although it was trusted: the later word counts
            found[boot_id] = Bounds(not_before=low, not_after=high)
        self._bounded = found
        return found

    def _tightest(self, runs: Sequence[Run], *, end: bool) -> dict[str, datetime]:
        """The tightest bound by what stands before (`end`) or, with the runs reversed, after a boot's entries."""
        reached: datetime | None = None
        found: dict[str, datetime] = {}
        tighter = max if end else min
        for run in runs:
            zero = self._zeros.get(run.boot_id)
            if zero is not None:
                reached = zero + _ns(run.last_ns if end else run.first_ns)
            elif reached is not None:
                bound = reached - _ns(run.first_ns if end else run.last_ns)
                found[run.boot_id] = tighter(found.get(run.boot_id, bound), bound)
                reached += run.lasted if end else -run.lasted
        return found


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
