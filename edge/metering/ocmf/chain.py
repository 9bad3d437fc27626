"""Whether records tell one charge from begin to end: same meter, same register, in order, nothing left out.

OCMF 1.2, signing and verification process. Each record may be valid and the whole still wrong: a begin of
yesterday with an end of today.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise

import msgspec

from edge.metering.ocmf.reading import BEGIN, ENDS, EXCEPTION, Delivery, Reading, delivery
from edge.metering.ocmf.record import Record

RECORDS_MAX = 1000  # a record every quarter of an hour for ten days


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """What a series of records tells.

    `contradictions`: these records are not one charge. `alarms`: they are, and something is missing or the
    meter itself found fault; such a charge may not be billed as signed.
    """

    delivery: Delivery | None
    contradictions: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()

    @property
    def energy_wh(self) -> Decimal | None:
        """The energy, or None when the records leave it open."""
        return None if self.delivery is None or self.contradictions else self.delivery.energy_wh

    @property
    def billable(self) -> bool:
        """Signed, complete and without any objection."""
        return not self.contradictions and not self.alarms and self.energy_wh is not None


def check(records: Sequence[Record]) -> Chain:
    """The charge in these records, in whatever order they come; their signatures are checked elsewhere."""
    ordered = _ordered(records)
    found = [reading for record in ordered for reading in record.readings]
    return Chain(
        delivery=delivery(found),
        contradictions=tuple(_contradictions(ordered, found)),
        alarms=tuple(_alarms(ordered, found)),
    )


def is_complete(record: Record) -> bool:
    """The record has both a begin and an end."""
    kinds = {reading.transaction for reading in record.readings}
    return BEGIN in kinds and bool(kinds & ENDS)


def _ordered(records: Sequence[Record]) -> list[Record]:
    """By pagination; where a record has none, or both have the same, from the begin to the end."""
    numbers = [0 if record.pagination is None else record.pagination.number for record in records]
    if any(record.pagination is None for record in records):
        numbers = [0] * len(records)
    placed = sorted(zip(numbers, records, strict=True), key=lambda place: (place[0], _phase(place[1])))
    return [record for _, record in placed]


def _phase(record: Record) -> int:
    kinds = {reading.transaction for reading in record.readings}
    return 0 if BEGIN in kinds else 2 if kinds & ENDS else 1


def _contradictions(records: Sequence[Record], found: Sequence[Reading]) -> Iterable[str]:
    if not 1 <= len(records) <= RECORDS_MAX:
        yield f"{len(records)} records"
        return
    if len({record.source for record in records}) > 1:
        yield "records of different meters"
    if len({r.pagination.context for r in records if r.pagination is not None}) > 1:
        yield "records of different series"
    compared = [r for r in found if r.counts] or found
    begins = {r.register for r in compared if r.transaction == BEGIN}
    ends = {r.register for r in compared if r.transaction in ENDS}
    if not begins:
        yield "no begin"
    if not ends:
        yield "no end"
    if begins and ends and begins != ends:
        yield "begin and end are of different registers"
    for register in sorted({r.register for r in found}, key=str):
        yield from _within(register, [r for r in found if r.register == register])


def _within(register: str | None, found: Sequence[Reading]) -> Iterable[str]:
    name = register or "the register"
    for kind, wanted in (("begin", {BEGIN}), ("end", ENDS)):
        count = sum(r.transaction in wanted for r in found)
        if count > 1:
            yield f"{name} has {count} readings of the {kind}"
    kinds = [r.transaction for r in found if r.transaction == BEGIN or r.transaction in ENDS]
    if BEGIN in kinds and kinds[0] != BEGIN:
        yield f"{name} ends before it begins"
    if len({(r.unit or "").lower() for r in found if r.value is not None}) > 1:
        yield f"{name} changes its unit"
    for earlier, later in pairwise(found):
        if earlier.value is not None and later.value is not None and later.value < earlier.value:
            yield f"{name} goes back"
        if earlier.time is not None and later.time is not None and later.time < earlier.time:
            yield "the time goes back"


def _alarms(records: Sequence[Record], found: Sequence[Reading]) -> Iterable[str]:
    for earlier, later in pairwise(records):
        if earlier.pagination is None or later.pagination is None:
            yield "a record without pagination"
        elif later.pagination.number != earlier.pagination.number + 1:
            yield f"pagination goes from {earlier.pagination.number} to {later.pagination.number}"
    if len({record.identification for record in records}) > 1:
        yield "records name different users"
    for reading in found:
        if reading.status not in {"G", None}:
            yield f"the meter's status was {reading.status}"
            break
    if any("E" in (reading.error_flags or "") for reading in found):
        yield "the meter flags the energy as faulty"
    if any("t" in (reading.error_flags or "") for reading in found):
        yield "the meter flags the time as faulty"
    if any(reading.transaction == EXCEPTION for reading in found):
        yield "an exception while charging"
