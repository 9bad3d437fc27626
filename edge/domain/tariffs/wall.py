"""The wall clock of a place: which restrictions on local time, weekday and date hold at an instant, until
when.

Rules are evaluated pointwise at local time. Every local bound is a cut in both folds, and so is every change
of the zone's offset: 22:00-06:00 in Berlin is 7 h on 2026-03-29 and 9 h on 2026-10-25.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from edge.domain.tariffs.model import Restrictions

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_US = 86_400_000_000
#: Local time before 1970, and in the years near 9999, cannot be told in every zone.
YEARS = range(1970, 9000)
_SECOND_US = 1_000_000
#: No zone changes its offset twice within six hours.
_PROBE_US = 6 * 3600 * _SECOND_US
#: Tables of days kept: a session of a month is far beyond what a charger sees.
_DAYS_KEPT = 64


def to_us(at: datetime) -> int:
    """An aware instant as microseconds since 1970 UTC."""
    since = at - EPOCH
    return (since.days * 86_400 + since.seconds) * _SECOND_US + since.microseconds


def from_us(us: int) -> datetime:
    """The instant in UTC."""
    return EPOCH + timedelta(microseconds=us)


class WallClock:
    """Tables of which elements the wall clock allows, one per UTC day, built when first asked for."""

    def __init__(self, restrictions: Sequence[Restrictions], zone: ZoneInfo) -> None:
        self._zone = zone
        self._rules = [(1 << i, r) for i, r in enumerate(restrictions) if r.wall_clock]
        self._always = sum(1 << i for i, r in enumerate(restrictions) if not r.wall_clock)
        minutes = {m for _, r in self._rules for m in (r.start_minute, r.end_minute) if m is not None}
        self._minutes = sorted({0} | {m % 1440 for m in minutes})
        self._days: dict[int, tuple[list[int], list[int]]] = {}

    def day(self, number: int) -> tuple[list[int], list[int]]:
        """Of a UTC day since 1970: where its bands begin (us), and the elements that each allows (bits)."""
        table = self._days.get(number)
        if table is None:
            if len(self._days) >= _DAYS_KEPT:
                self._days.clear()
            table = self._days[number] = self._build(number)
        return table

    def _build(self, number: int) -> tuple[list[int], list[int]]:
        begin, end = number * DAY_US, (number + 1) * DAY_US
        cuts = {begin}
        local_day = from_us(begin).date()
        for offset in (-1, 0, 1):
            midnight = datetime.combine(local_day + timedelta(days=offset), datetime.min.time())
            for minute in self._minutes:
                local = midnight + timedelta(minutes=minute)
                for fold in (0, 1):
                    cuts.add(to_us(local.replace(tzinfo=self._zone, fold=fold)))
        cuts.update(self._changes(begin, end))
        starts: list[int] = []
        masks: list[int] = []
        for cut in sorted(c for c in cuts if begin <= c < end):
            mask = self._mask(cut)
            if not masks or mask != masks[-1]:
                starts.append(cut)
                masks.append(mask)
        return starts, masks

    def _changes(self, begin: int, end: int) -> list[int]:
        """The instants at which the zone's offset changes."""
        found = []
        for low in range(begin, end, _PROBE_US):
            high = low + _PROBE_US
            before = self._local(low).utcoffset()
            if before == self._local(high).utcoffset():
                continue
            first, last = low // _SECOND_US, high // _SECOND_US
            while last - first > 1:
                middle = (first + last) // 2
                if self._local(middle * _SECOND_US).utcoffset() == before:
                    first = middle
                else:
                    last = middle
            found.append(last * _SECOND_US)
        return found

    def _local(self, us: int) -> datetime:
        return from_us(us).astimezone(self._zone)

    def _mask(self, us: int) -> int:
        local = self._local(us)
        minute, today, weekday = local.hour * 60 + local.minute, local.date(), local.weekday()
        mask = self._always
        for bit, r in self._rules:
            begin = 0 if r.start_minute is None else r.start_minute
            end = 1440 if r.end_minute is None else r.end_minute
            hours = begin <= minute < end if begin < end else (minute >= begin or minute < end)
            days = not r.weekdays or weekday in r.weekdays
            since = r.start_date is None or r.start_date <= today
            if hours and days and since and (r.end_date is None or today < r.end_date):
                mask |= bit
        return mask
