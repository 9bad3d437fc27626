"""A meter that signs, kept in step with the journal: a record is committed before the meter may forget it.

Which step follows is decided in edge.metering.signing; here it is taken, committed and asked again, so that a power
cut between any two is gone on from by the same rule.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from edge import log
from edge.domain.energy import SignedValue
from edge.domain.ledger import facts
from edge.metering.ocmf.record import SignedRecord
from edge.metering.signing import (
    UNNAMED,
    Acknowledge,
    Begin,
    Charge,
    End,
    Fetch,
    Held,
    Journal,
    Lost,
    Ready,
    Running,
    Settled,
    SignedSession,
    Step,
    next_step,
)
from edge.ports import Clock, SignedMeter
from edge.store.store import Store

#: Begin, end, fetch and acknowledge, each once, after a stranger's record; more is a meter that goes in circles.
_STEPS_MAX = 12


class Signing:
    """One signing meter. Every call may be repeated after a crash and goes on where it was. Raises HardwareError."""

    def __init__(self, meter: SignedMeter, *, store: Store, clock: Clock, evse_id: str) -> None:
        self._meter = meter
        self._store = store
        self._clock = clock
        self._evse_id = evse_id
        self._orphaned = False

    async def begin(self, session_id: str, tariff_text: str) -> None:
        """Begin to sign the session; it is durable that the meter has begun, or that it never will."""
        session = SignedSession(session_id=session_id, evse_id=self._evse_id, tariff_text=tariff_text)
        await self._settle(session, closing=False)

    async def end(self, session_id: str, tariff_text: str) -> int | None:
        """End it; the contactor is open. The energy in Wh that the kept records prove, or None.

        A meter that forgot the texts in a power cut is given them again, so that its end names what its begin did.
        """
        session = SignedSession(session_id=session_id, evse_id=self._evse_id, tariff_text=tariff_text)
        kept = await self._settle(session, closing=True)
        records = [
            SignedRecord(
                ocmf=value.ocmf, public_key=value.public_key, session_id=session_id, verified=value.verified
            )
            for value in (kept.get("begin"), kept.get("record"))
            if value is not None
        ]
        from edge.metering.ocmf.proof import prove

        proof = prove(records)
        if not proof.sound or proof.energy_wh is None or proof.energy_wh != int(proof.energy_wh):
            log.warning(
                "meter.not_proven", evse_id=self._evse_id, session_id=session_id, objections=proof.objections
            )
            return None
        return int(proof.energy_wh)

    async def recover(self, session_id: str | None) -> bool:
        """After a start: finish what was under way. False when the open session can sign no more."""
        session = None
        if session_id is not None:
            session = SignedSession(session_id=session_id, evse_id=self._evse_id)
            if "begin" not in await self._kept(session):
                held = await self._meter.held()
                if isinstance(held, Running) and held.session_id == session_id:
                    return True  # begun, and the power went before it was written down: `begin` goes on from there
                session = None
        return "record" not in await self._settle(session, closing=False)

    async def _settle(self, session: SignedSession | None, *, closing: bool) -> dict[str, SignedValue | None]:
        """Take the steps that follow, until none does. What is kept of the session's signing."""
        for _ in range(_STEPS_MAX):
            kept = await self._kept(session)
            held = await self._meter.held()
            journal = self._journal(session, kept, closing=closing)
            step = next_step(held, await self._knowing(held, journal))
            if isinstance(step, Settled):
                return kept
            await self._take(step, session)
        log.warning("meter.signing_circles", evse_id=self._evse_id)
        return await self._kept(session)

    async def _take(self, step: Step, session: SignedSession | None) -> None:
        match step:
            case Begin():
                assert session is not None
                record = await self._meter.begin_signed(session)
                value = None if record is None else _value(record)
                await self._commit(
                    facts.SignedBegun(evse_id=self._evse_id, session_id=session.session_id, value=value)
                )
            case End(foreign=foreign):
                await self._meter.end_signed(None if foreign else session)
            case Fetch():
                record = await self._meter.fetch_signed()
                self._orphaned = record.session_id is None
                await self._commit(
                    facts.SignedRecordKept(
                        evse_id=self._evse_id, session_id=record.session_id, value=_value(record)
                    )
                )
            case Acknowledge():
                await self._meter.acknowledge_signed()
                self._orphaned = False
            case Lost(reason=reason):
                assert session is not None
                await self._commit(
                    facts.SignedRecordLost(
                        evse_id=self._evse_id, session_id=session.session_id, reason=reason
                    )
                )
            case Settled():
                pass
            case _:
                assert_never(step)

    def _journal(
        self, session: SignedSession | None, kept: dict[str, SignedValue | None], *, closing: bool
    ) -> Journal:
        committed = {UNNAMED} if self._orphaned else set()
        if session is None:
            return Journal(committed=frozenset(committed))
        if "record" in kept or "lost" in kept:
            committed.add(session.session_id)
        charge = Charge(
            session_id=session.session_id,
            begun="begin" in kept,
            begin_committed=kept.get("begin") is not None,
            closing=closing,
        )
        return Journal(charge=charge, committed=frozenset(committed))

    async def _knowing(self, held: Held, journal: Journal) -> Journal:
        """The journal with what it says of the session that the meter holds, which may be an earlier one."""
        if not isinstance(held, Ready) or held.session_id is None:
            return journal
        other = held.session_id
        kept = await self._store.tx(lambda tx: tx.signed(other))
        if "record" not in kept and "lost" not in kept:
            return journal
        return replace(journal, committed=journal.committed | {other})

    async def _kept(self, session: SignedSession | None) -> dict[str, SignedValue | None]:
        if session is None:
            return {}
        session_id = session.session_id
        return await self._store.tx(lambda tx: tx.signed(session_id))

    async def _commit(self, fact: facts.SignedFact) -> None:
        at = self._clock.now()
        await self._store.tx(lambda tx: tx.append(fact, at))


def _value(record: SignedRecord) -> SignedValue:
    return SignedValue(ocmf=record.ocmf, public_key=record.public_key, verified=record.verified)
