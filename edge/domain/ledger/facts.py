"""What the journal holds: each kind of fact, named as it travels (CloudEvents `type`). Append-only for ever.

Facts are never repaired: a correction is another fact. None of them holds a card number, a UID or a name (I6):
a session carries a salted commitment to its token and an opaque account.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

import msgspec

from edge.domain.energy import MeterIdentity, SignedValue
from edge.domain.invoice import Invoice, Statement
from edge.domain.payment import Method
from edge.domain.plan import PlanBalance
from edge.domain.pricing import Accrual, Bill
from edge.domain.tariffs import EvseKind


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all: `TYPE` is the CloudEvents type, `subject` the session that it belongs to."""

    TYPE: ClassVar[str]

    @property
    def subject(self) -> str | None:
        return None


class SessionFact(Fact, frozen=True, kw_only=True):
    session_id: str

    @property
    def subject(self) -> str | None:
        return self.session_id


class LedgerOpened(Fact, frozen=True, kw_only=True):
    """First entry of an epoch: whose ledger this is, and the key that signs it (Ed25519, raw, hex)."""

    TYPE: ClassVar[str] = "chargetill.ledger.opened.v1"
    site: str
    device: str
    reason: Literal["provisioned", "restored", "new_epoch"]
    key_id: str
    public_key: str
    previous_epoch: str | None = None
    previous_upto: int | None = None
    previous_head: str | None = None


class LedgerCheckpoint(Fact, frozen=True, kw_only=True):
    """The device's signature (Ed25519, hex) over `epoch:upto:head`: head is the SHA-256 of entry `upto`."""

    TYPE: ClassVar[str] = "chargetill.ledger.checkpoint.v1"
    upto: int
    head: str
    signature: str


class LedgerKeySucceeded(Fact, frozen=True, kw_only=True):
    """From the next entry on another key signs; `signature` is its predecessor's word for it (Ed25519, hex)."""

    TYPE: ClassVar[str] = "chargetill.ledger.key_succeeded.v1"
    key_id: str
    public_key: str
    signature: str


class LedgerPruned(Fact, frozen=True, kw_only=True):
    """Acknowledged entries up to `upto` of `epoch` are gone; what they leave is the signed anchor of this SHA-256."""

    TYPE: ClassVar[str] = "chargetill.ledger.pruned.v1"
    epoch: str
    upto: int
    head: str
    anchor_sha256: str


class LedgerRolledBack(Fact, frozen=True, kw_only=True):
    """The back office has booked another end of `epoch` than this device holds. Nothing is sold in this epoch."""

    TYPE: ClassVar[str] = "chargetill.ledger.rolled_back.v1"
    epoch: str
    reason: Literal["ahead", "diverged"]
    held: int
    acknowledged: int
    head: str


class LedgerCarried(Fact, frozen=True, kw_only=True):
    """An entry of an epoch in which the back office knows another one of its number: `raw` is its exact text.

    A receiver that has booked the same bytes already ignores it; otherwise what it says counts from here on.
    """

    TYPE: ClassVar[str] = "chargetill.ledger.carried.v1"
    epoch: str
    seq: int
    raw: str


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


class ClockTrusted(Fact, frozen=True, kw_only=True):
    """From here on the wall clock of this boot is right; earlier instants of it follow from monotonic time."""

    TYPE: ClassVar[str] = "chargetill.clock.trusted.v1"
    source: str


class EvseBlocked(Fact, frozen=True, kw_only=True):
    """The operator sells nothing on this EVSE from here on."""

    TYPE: ClassVar[str] = "chargetill.evse.blocked.v1"
    evse_id: str
    reason: str


class EvseUnblocked(Fact, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "chargetill.evse.unblocked.v1"
    evse_id: str


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

    `authorization_id`: what the back office calls its own permission, for a session that it started or granted.
    `receipt_token_hash`: SHA-256 of the token in the address of its receipt, which only the screen shows.
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


class PaymentFact(SessionFact, frozen=True, kw_only=True):
    payment_ref: str


class PaymentRequested(PaymentFact, frozen=True, kw_only=True):
    """The intent, durable before anyone is asked; a lost answer is asked for again under the same reference."""

    TYPE: ClassVar[str] = "chargetill.payment.requested.v1"
    method: Method
    amount_minor: int
    currency: str


class PaymentNoted(PaymentFact, frozen=True, kw_only=True):
    """What whoever holds the money calls it (a receipt number; STAN and RRN). Never card data; the last one counts."""

    TYPE: ClassVar[str] = "chargetill.payment.noted.v1"
    handle: str


class PaymentAuthorized(PaymentFact, frozen=True, kw_only=True):
    """`deferred`: accepted without a connection, so the risk is ours until the back office has it."""

    TYPE: ClassVar[str] = "chargetill.payment.authorized.v1"
    hold_minor: int
    deferred: bool = False


class PaymentInDoubt(PaymentFact, frozen=True, kw_only=True):
    """The answer to a request is lost; what follows resolves it. `asked` is what had gone out."""

    TYPE: ClassVar[str] = "chargetill.payment.in_doubt.v1"
    asked: Literal["reserve", "extend", "capture", "reverse"]
    why: str


class ExtensionRequested(PaymentFact, frozen=True, kw_only=True):
    """The hold is asked to grow to `amount_minor` in all (incremental authorization)."""

    TYPE: ClassVar[str] = "chargetill.payment.extension_requested.v1"
    amount_minor: int


class HoldExtended(PaymentFact, frozen=True, kw_only=True):
    """The hold is `hold_minor` in all from here on."""

    TYPE: ClassVar[str] = "chargetill.payment.extended.v1"
    hold_minor: int


class ExtensionRefused(PaymentFact, frozen=True, kw_only=True):
    """The hold that was known stands; it is not asked to grow again."""

    TYPE: ClassVar[str] = "chargetill.payment.extension_refused.v1"
    reason: str


class PaymentDeclined(PaymentFact, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "chargetill.payment.declined.v1"
    reason: str


class CaptureRequested(PaymentFact, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "chargetill.payment.capture_requested.v1"
    amount_minor: int


class PaymentCaptured(PaymentFact, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "chargetill.payment.captured.v1"
    amount_minor: int


class SettlementRefused(PaymentFact, frozen=True, kw_only=True):
    """A plain no to a capture or a reversal: the hold stands, and is asked about again."""

    TYPE: ClassVar[str] = "chargetill.payment.settlement_refused.v1"
    reason: str


class PaymentExpired(PaymentFact, frozen=True, kw_only=True):
    """The hold is gone uncaptured: `loss_minor` was due and is lost (I2)."""

    TYPE: ClassVar[str] = "chargetill.payment.expired.v1"
    reason: str
    loss_minor: int


class ReversalRequested(PaymentFact, frozen=True, kw_only=True):
    """`loss_minor` was due: it could not be captured, and the driver's money is given free."""

    TYPE: ClassVar[str] = "chargetill.payment.reversal_requested.v1"
    loss_minor: int = 0


class PaymentReversed(PaymentFact, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "chargetill.payment.reversed.v1"


class InvoiceSealed(SessionFact, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "chargetill.invoice.sealed.v1"
    invoice: Invoice


class CreditNoteSealed(SessionFact, frozen=True, kw_only=True):
    """An invoice is taken back, in whole or in part; `credit_note.corrects` names it. Its series is another one."""

    TYPE: ClassVar[str] = "chargetill.credit_note.sealed.v1"
    credit_note: Invoice


class StatementSealed(SessionFact, frozen=True, kw_only=True):
    """What a session cost that the account's collective invoice will bill (I4)."""

    TYPE: ClassVar[str] = "chargetill.statement.sealed.v1"
    statement: Statement


class RefundFact(PaymentFact, frozen=True, kw_only=True):
    """Captured money goes back; `refund_ref` is the number of its credit note."""

    refund_ref: str


class RefundRequested(RefundFact, frozen=True, kw_only=True):
    """The intent; a lost answer is asked for again under the same reference."""

    TYPE: ClassVar[str] = "chargetill.refund.requested.v1"
    method: Method
    amount_minor: int
    currency: str


class PaymentRefunded(RefundFact, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "chargetill.refund.done.v1"
    amount_minor: int


class RefundDeclined(RefundFact, frozen=True, kw_only=True):
    """Whoever holds the money said no: the operator pays it back."""

    TYPE: ClassVar[str] = "chargetill.refund.declined.v1"
    reason: str


class RefundDue(RefundFact, frozen=True, kw_only=True):
    """Their way to pay gives nothing back by itself: the operator pays it back."""

    TYPE: ClassVar[str] = "chargetill.refund.due.v1"
    reason: str


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


_ALL: tuple[type[Fact], ...] = (
    LedgerOpened,
    LedgerCheckpoint,
    LedgerKeySucceeded,
    LedgerPruned,
    LedgerRolledBack,
    LedgerCarried,
    DeviceBooted,
    DeviceDecommissioned,
    DeviceStopped,
    ClockTrusted,
    EvseBlocked,
    EvseUnblocked,
    TariffFrozen,
    PlanFrozen,
    PlanBalanceChanged,
    SessionOpened,
    VehicleConnected,
    EnergyBegan,
    SessionCheckpoint,
    SessionResumed,
    SessionStopping,
    EnergyEnded,
    SessionSettled,
    SessionEnded,
    PaymentRequested,
    PaymentNoted,
    PaymentAuthorized,
    PaymentDeclined,
    PaymentInDoubt,
    ExtensionRequested,
    HoldExtended,
    ExtensionRefused,
    CaptureRequested,
    SettlementRefused,
    PaymentCaptured,
    PaymentExpired,
    ReversalRequested,
    PaymentReversed,
    InvoiceSealed,
    CreditNoteSealed,
    StatementSealed,
    RefundRequested,
    PaymentRefunded,
    RefundDeclined,
    RefundDue,
    MeterHalted,
    TerminalDayEnded,
    SignedBegun,
    SignedRecordKept,
    SignedRecordLost,
)

#: CloudEvents type -> the struct of its data
FACTS: dict[str, type[Fact]] = {kind.TYPE: kind for kind in _ALL}
