"""A hold from its wish to its one end (I2)."""

from __future__ import annotations

from typing import ClassVar, Literal

from edge.domain.ledger.facts.base import SessionFact
from edge.domain.payment import Method


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
