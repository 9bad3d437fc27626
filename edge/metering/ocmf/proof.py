"""What the signed records of a charge prove: their signatures and their agreement, judged together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from edge.metering.ocmf import chain, keys, signature
from edge.metering.ocmf.errors import KeyUnreadable, RecordMalformed
from edge.metering.ocmf.record import SignedRecord, parse


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What a receipt may say. With any objection the energy is not billed as signed.

    `serial` is the meter's, or the gateway's where the meter has none of its own.
    """

    energy_wh: Decimal | None
    begin: datetime | None = None
    end: datetime | None = None
    serial: str | None = None
    objections: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Signed, complete, and nothing to object to."""
        return not self.objections and self.energy_wh is not None


def prove(records: Sequence[SignedRecord]) -> Proof:
    """The proof in a charge's records: one with begin and end, or one for each.

    >>> prove([SignedRecord(ocmf=raw, public_key=der, session_id="5e55", verified=True)]).energy_wh
    Decimal('11110')
    """
    parsed, objections = [], []
    for signed in records:
        try:
            record = parse(signed.ocmf)
            verdict = signature.verify(record, keys.from_bytes(signed.public_key))
        except (RecordMalformed, KeyUnreadable) as e:
            objections.append(e.message)
            continue
        if verdict.status != "valid":
            objections.append(verdict.reason or verdict.status)
        parsed.append(record)
    if len({signed.public_key for signed in records}) > 1:
        objections.append("records of different keys")
    told = chain.check(parsed)
    objections += [*told.contradictions, *told.alarms]
    delivered = told.delivery
    return Proof(
        energy_wh=None if objections else told.energy_wh,
        begin=None if delivered is None else delivered.begin.time,
        end=None if delivered is None else delivered.end.time,
        serial=next((r.meter_serial or r.gateway_serial for r in parsed), None),
        objections=tuple(objections),
    )
