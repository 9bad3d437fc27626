"""What the till and its devices did."""

from __future__ import annotations

from typing import ClassVar, Literal

from edge.domain.energy import SignedValue
from edge.domain.ledger.facts.base import Fact


class DeviceDecommissioned(Fact, frozen=True, kw_only=True):
    """The last word of a device that sells no more; only another provisioning opens its ledger again."""

    TYPE: ClassVar[str] = "chargetill.device.decommissioned.v1"
    reason: str


class DeviceBooted(Fact, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "chargetill.device.booted.v1"
    version: str
    clean_stop: bool


class DeviceStopped(Fact, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "chargetill.device.stopped.v1"
    reason: str


class EvseBlocked(Fact, frozen=True, kw_only=True):
    """The operator sells nothing on this EVSE from here on."""

    TYPE: ClassVar[str] = "chargetill.evse.blocked.v1"
    evse_id: str
    reason: str


class EvseUnblocked(Fact, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "chargetill.evse.unblocked.v1"
    evse_id: str


class ContactorWelded(Fact, frozen=True, kw_only=True):
    """Energy flowed while the contactor was to be open, or the charge point said that it stays closed: nothing is sold
    on this EVSE until an operator releases it. `register_wh` is the meter's register at that moment; what it counts
    from here on is nobody's session.
    """

    TYPE: ClassVar[str] = "chargetill.evse.contactor_welded.v1"
    evse_id: str
    evidence: Literal["power", "energy", "charge_point"]
    register_wh: int | None


class ContactorReleased(Fact, frozen=True, kw_only=True):
    """The operator answers for it that the contactor opens. `leaked_wh` was billed to nobody; None where unknown."""

    TYPE: ClassVar[str] = "chargetill.evse.contactor_released.v1"
    evse_id: str
    leaked_wh: int | None


class SignedFact(Fact, frozen=True, kw_only=True):
    """What a signing meter did; `session_id` is None where its record names no session of ours."""

    evse_id: str
    session_id: str | None

    @property
    def subject(self) -> str | None:
        return self.session_id


class SignedBegun(SignedFact, frozen=True, kw_only=True):
    """The meter has begun to sign the session; `value` is the begin's own record where it makes one."""

    TYPE: ClassVar[str] = "chargetill.meter.signed_begun.v1"
    value: SignedValue | None


class SignedRecordKept(SignedFact, frozen=True, kw_only=True):
    """The signed record, before the meter may forget it."""

    TYPE: ClassVar[str] = "chargetill.meter.signed_record.v1"
    value: SignedValue


class SignedRecordLost(SignedFact, frozen=True, kw_only=True):
    """There is no signed record of the session, and there will be none."""

    TYPE: ClassVar[str] = "chargetill.meter.signed_lost.v1"
    reason: str


class TerminalDayEnded(Fact, frozen=True, kw_only=True):
    """A payment terminal has handed its captures in; `terminal` is its place in the configuration, from 0."""

    TYPE: ClassVar[str] = "chargetill.terminal.day_ended.v1"
    terminal: int


class MeterHalted(Fact, frozen=True, kw_only=True):
    """The validated reading gave up: nothing is sold on this EVSE until the meter is right again."""

    TYPE: ClassVar[str] = "chargetill.meter.halted.v1"
    evse_id: str
    reason: str
