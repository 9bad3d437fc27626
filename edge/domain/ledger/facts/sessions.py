"""A session from its tap to its end, and the prices that it was sold at."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from edge.domain.energy import MeterIdentity
from edge.domain.ledger.facts.base import Fact, SessionFact
from edge.domain.payment import Method
from edge.domain.plan import PlanBalance
from edge.domain.pricing import Accrual, Bill
from edge.domain.tariffs import EvseKind


class TariffFrozen(Fact, frozen=True, kw_only=True):
    """The document behind a tariff hash, once, before the first session that is priced with it."""

    TYPE: ClassVar[str] = "chargetill.tariff.frozen.v1"
    hash: str
    document: str


class PlanFrozen(Fact, frozen=True, kw_only=True):
    """The document behind a plan's hash, once, before the first session that is priced with it."""

    TYPE: ClassVar[str] = "chargetill.plan.frozen.v1"
    hash: str
    document: str


class PlanBalanceChanged(Fact, frozen=True, kw_only=True):
    """What a member has left of a plan's included units, as of now; the last one of an account and plan counts.

    `statement`: the hash of what upstream said, for a correction; each statement corrects once.
    """

    TYPE: ClassVar[str] = "chargetill.plan.balance_changed.v1"
    account: str
    plan_id: str
    reason: Literal["reserved", "settled", "cancelled", "corrected"]
    balance: PlanBalance
    session_id: str | None = None
    statement: str | None = None

    @property
    def subject(self) -> str | None:
        return self.session_id


class SessionOpened(SessionFact, frozen=True, kw_only=True):
    """A tap was accepted for authorization: the price that was on the screen is this session's price (I3).

    `authorization_id`: what the back office calls its own permission, for a session that it started. One that it
    granted was opened before it was asked: neither that nor `account` was known yet.
    `receipt_token_hash`: SHA-256 of the token in the address of its receipt, which only the screen shows.
    `fallback`: the usual tariff depends on the time, which was not known; this is the one for that case.
    """

    TYPE: ClassVar[str] = "chargetill.session.opened.v1"
    evse_id: str
    tariff_hash: str
    time_zone: str
    evse_kind: EvseKind
    method: Method
    token_commitment: str
    account: str | None
    plan_hash: str | None = None
    authorization_id: str | None = None
    receipt_token_hash: str | None = None
    fallback: bool = False


class VehicleConnected(SessionFact, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "chargetill.session.plugged.v1"


class EnergyBegan(SessionFact, frozen=True, kw_only=True):
    """The begin reading, committed before the contactor closes. `began_at` is session time."""

    TYPE: ClassVar[str] = "chargetill.session.energy_began.v1"
    register_wh: int
    meter: MeterIdentity
    began_at: datetime


class SessionCheckpoint(SessionFact, frozen=True, kw_only=True):
    """Where a running session stands: the register, and its split over time in the engine's accrual."""

    TYPE: ClassVar[str] = "chargetill.session.checkpoint.v1"
    register_wh: int
    reached_at: datetime
    cost_minor: int
    accrual: Accrual


class SessionResumed(SessionFact, frozen=True, kw_only=True):
    """After a restart: the register now. Energy since the checkpoint is billed, the time since then is not."""

    TYPE: ClassVar[str] = "chargetill.session.resumed.v1"
    register_wh: int


class SessionStopping(SessionFact, frozen=True, kw_only=True):
    """Why the session ends; the contactor opens."""

    TYPE: ClassVar[str] = "chargetill.session.stopping.v1"
    reason: str


class EnergyEnded(SessionFact, frozen=True, kw_only=True):
    """The end reading. `estimated`: the meter could not confirm it; this is the last good value."""

    TYPE: ClassVar[str] = "chargetill.session.energy_ended.v1"
    register_wh: int
    energy_wh: int
    ended_at: datetime
    estimated: bool
    reason: str


class SessionSettled(SessionFact, frozen=True, kw_only=True):
    """The price: `accrual` is what was measured, `bill` what it costs; anyone can price it again (I3)."""

    TYPE: ClassVar[str] = "chargetill.session.settled.v1"
    currency: str
    payable_minor: int
    accrual: Accrual
    bill: Bill


class SessionEnded(SessionFact, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "chargetill.session.ended.v1"
    outcome: Literal["invoiced", "stated", "free", "no_plug", "declined", "no_energy", "failed"]
    reason: str
