"""What the journal holds: each kind of fact, named as it travels (CloudEvents `type`). Append-only for ever.

Facts are never repaired: a correction is another fact. None of them holds a card number, a UID or a name (I6):
a session carries a salted commitment to its token and an opaque account.
"""

from __future__ import annotations

from edge.domain.ledger.facts.base import (
    Fact as Fact,
)
from edge.domain.ledger.facts.base import (
    SessionFact as SessionFact,
)
from edge.domain.ledger.facts.clocks import (
    BootBounded as BootBounded,
)
from edge.domain.ledger.facts.clocks import (
    ClockTrusted as ClockTrusted,
)
from edge.domain.ledger.facts.devices import (
    ContactorReleased as ContactorReleased,
)
from edge.domain.ledger.facts.devices import (
    ContactorWelded as ContactorWelded,
)
from edge.domain.ledger.facts.devices import (
    DeviceBooted as DeviceBooted,
)
from edge.domain.ledger.facts.devices import (
    DeviceDecommissioned as DeviceDecommissioned,
)
from edge.domain.ledger.facts.devices import (
    DeviceStopped as DeviceStopped,
)
from edge.domain.ledger.facts.devices import (
    EvseBlocked as EvseBlocked,
)
from edge.domain.ledger.facts.devices import (
    EvseUnblocked as EvseUnblocked,
)
from edge.domain.ledger.facts.devices import (
    MeterHalted as MeterHalted,
)
from edge.domain.ledger.facts.devices import (
    SignedBegun as SignedBegun,
)
from edge.domain.ledger.facts.devices import (
    SignedFact as SignedFact,
)
from edge.domain.ledger.facts.devices import (
    SignedRecordKept as SignedRecordKept,
)
from edge.domain.ledger.facts.devices import (
    SignedRecordLost as SignedRecordLost,
)
from edge.domain.ledger.facts.devices import (
    TerminalDayEnded as TerminalDayEnded,
)
from edge.domain.ledger.facts.documents import (
    CreditNoteSealed as CreditNoteSealed,
)
from edge.domain.ledger.facts.documents import (
    InvoiceSealed as InvoiceSealed,
)
from edge.domain.ledger.facts.documents import (
    PaymentRefunded as PaymentRefunded,
)
from edge.domain.ledger.facts.documents import (
    RefundDeclined as RefundDeclined,
)
from edge.domain.ledger.facts.documents import (
    RefundDue as RefundDue,
)
from edge.domain.ledger.facts.documents import (
    RefundFact as RefundFact,
)
from edge.domain.ledger.facts.documents import (
    RefundRequested as RefundRequested,
)
from edge.domain.ledger.facts.documents import (
    StatementSealed as StatementSealed,
)
from edge.domain.ledger.facts.ledgers import (
    LedgerCarried as LedgerCarried,
)
from edge.domain.ledger.facts.ledgers import (
    LedgerCheckpoint as LedgerCheckpoint,
)
from edge.domain.ledger.facts.ledgers import (
    LedgerKeySucceeded as LedgerKeySucceeded,
)
from edge.domain.ledger.facts.ledgers import (
    LedgerOpened as LedgerOpened,
)
from edge.domain.ledger.facts.ledgers import (
    LedgerPruned as LedgerPruned,
)
from edge.domain.ledger.facts.ledgers import (
    LedgerRolledBack as LedgerRolledBack,
)
from edge.domain.ledger.facts.payments import (
    CaptureRequested as CaptureRequested,
)
from edge.domain.ledger.facts.payments import (
    ExtensionRefused as ExtensionRefused,
)
from edge.domain.ledger.facts.payments import (
    ExtensionRequested as ExtensionRequested,
)
from edge.domain.ledger.facts.payments import (
    HoldExtended as HoldExtended,
)
from edge.domain.ledger.facts.payments import (
    PaymentAuthorized as PaymentAuthorized,
)
from edge.domain.ledger.facts.payments import (
    PaymentCaptured as PaymentCaptured,
)
from edge.domain.ledger.facts.payments import (
    PaymentDeclined as PaymentDeclined,
)
from edge.domain.ledger.facts.payments import (
    PaymentExpired as PaymentExpired,
)
from edge.domain.ledger.facts.payments import (
    PaymentFact as PaymentFact,
)
from edge.domain.ledger.facts.payments import (
    PaymentInDoubt as PaymentInDoubt,
)
from edge.domain.ledger.facts.payments import (
    PaymentNoted as PaymentNoted,
)
from edge.domain.ledger.facts.payments import (
    PaymentRequested as PaymentRequested,
)
from edge.domain.ledger.facts.payments import (
    PaymentReversed as PaymentReversed,
)
from edge.domain.ledger.facts.payments import (
    ReversalRequested as ReversalRequested,
)
from edge.domain.ledger.facts.payments import (
    SettlementRefused as SettlementRefused,
)
from edge.domain.ledger.facts.sessions import (
    EnergyBegan as EnergyBegan,
)
from edge.domain.ledger.facts.sessions import (
    EnergyEnded as EnergyEnded,
)
from edge.domain.ledger.facts.sessions import (
    PlanBalanceChanged as PlanBalanceChanged,
)
from edge.domain.ledger.facts.sessions import (
    PlanFrozen as PlanFrozen,
)
from edge.domain.ledger.facts.sessions import (
    SessionCheckpoint as SessionCheckpoint,
)
from edge.domain.ledger.facts.sessions import (
    SessionEnded as SessionEnded,
)
from edge.domain.ledger.facts.sessions import (
    SessionOpened as SessionOpened,
)
from edge.domain.ledger.facts.sessions import (
    SessionResumed as SessionResumed,
)
from edge.domain.ledger.facts.sessions import (
    SessionSettled as SessionSettled,
)
from edge.domain.ledger.facts.sessions import (
    SessionStopping as SessionStopping,
)
from edge.domain.ledger.facts.sessions import (
    TariffFrozen as TariffFrozen,
)
from edge.domain.ledger.facts.sessions import (
    VehicleConnected as VehicleConnected,
)

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
    BootBounded,
    EvseBlocked,
    EvseUnblocked,
    ContactorWelded,
    ContactorReleased,
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
