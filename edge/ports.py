"""What the till needs from the world, as Protocols: devices below, and its own parts of each other.

A driver implements one of these and imports nothing else of the till but errors and values.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal, Protocol, runtime_checkable

import msgspec

from edge.domain.energy import MeterIdentity, MeterValue
from edge.domain.identity import IdToken, Member
from edge.domain.instant import Instant
from edge.domain.payment import (
    Authorized,
    Captured,
    Declined,
    Expired,
    InDoubt,
    Method,
    OpenPayment,
    Refunded,
    Reversed,
)
from edge.domain.terminal import Answer, Done, OpenReceipts, Presented, TerminalState
from edge.domain.view import View
from edge.metering.ocmf.record import SignedRecord
from edge.metering.reading import Limits
from edge.metering.signing import Held, SignedSession
from edge.sync.contract.authorization import AuthorizationRequest, Granted, NoAnswer, Refused


class Clock(Protocol):
    """Both clocks, and waiting. Virtual runs pass faster; everything else asks here for the time."""

    def now(self) -> Instant: ...

    def trusted(self) -> bool:
        """True when the wall clock may date an invoice and select a price."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Meter(Protocol):
    """An energy meter. Reads are fresh: a driver never returns a cached value."""

    @property
    def limits(self) -> Limits:
        """What this meter can plausibly say; the validated reading refuses the rest."""
        ...

    async def read(self) -> MeterValue:
        """One reading. Raises HardwareError."""
        ...

    async def identify(self) -> MeterIdentity:
        """Serial, model, firmware. Raises HardwareError."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class SignedMeter(Meter, Protocol):
    """A meter that signs a session's begin and end. Which call comes when: edge.metering.signing.next_step.

    Every call may be repeated: one whose reply was lost is asked for with `held` and found done.
    """

    async def held(self) -> Held:
        """What the meter holds of signed sessions, also after a power cut. Raises HardwareError."""
        ...

    async def begin_signed(self, session: SignedSession) -> SignedRecord | None:
        """Begin; the begin's own record where the meter signs one. Raises HardwareError."""
        ...

    async def end_signed(self, session: SignedSession | None) -> None:
        """End what is open; None when it is nobody's. Raises HardwareError."""
        ...

    async def fetch_signed(self) -> SignedRecord:
        """The record that waits. It stays until it is acknowledged. Raises HardwareError."""
        ...

    async def acknowledge_signed(self) -> None:
        """The record is durable: the meter may forget it. Raises HardwareError."""
        ...


class Card(Protocol):
    """A card or phone in the field that speaks ISO/IEC 7816-4."""

    async def apdu(self, command: bytes) -> bytes:
        """The answer with its status word, at most 64 KiB. Raises CardError, HardwareError."""
        ...


class Tap(msgspec.Struct, frozen=True, kw_only=True):
    """A card came into the field. `uid` is as the reader gave it; it becomes a token at once and is dropped.

    `card` can be talked to until it leaves the field; None where the card has nothing but its UID.
    """

    at: Instant
    uid: bytes
    card: Card | None = None


class CardReader(Protocol):
    """A contactless reader: one stream of taps, debounced by card presence."""

    def taps(self) -> AsyncIterator[Tap]:
        """Taps until closed. Raises HardwareError when the reader is gone; call again to reopen."""
        ...

    async def close(self) -> None: ...


Lease = Literal["device", "guard", "restart"]

#: IEC 61851-1 control pilot: A no vehicle, B connected, C wants power, D wants it with ventilation, E/F fault.
Pilot = Literal["A", "B", "C", "D", "E", "F"]


class EvseStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the charge point reports. `limited` is True while the station, not the car, withholds power: load
    management, or a car that waits in state B because nothing is permitted; `welded` where it has seen its contactor
    stay closed against its command. Not `sure` where all but `welded` may be from an earlier moment: the line may have
    brought a late reply.
    """

    at: Instant
    pilot: Pilot
    contactor_closed: bool | None
    limited: bool = False
    welded: bool = False
    sure: bool = True


class Evse(Protocol):
    """The charge point: state of the vehicle, and permission to charge as a lease that ends by itself (I1)."""

    @property
    def lease(self) -> Lease:
        """What opens the contactor when the till stops talking."""
        ...

    async def prepare(self) -> None:
        """Set and check the failsafe (no current when communication is lost). Whatever was permitted ends. Raises
        HardwareError.
        """
        ...

    async def intact(self) -> bool:
        """Whether what `prepare` set still stands: not after a restart of the charge point. Changes no permission.
        Raises HardwareError.
        """
        ...

    async def status(self) -> EvseStatus: ...

    async def permit(self, *, current_a: int) -> None:
        """Grant or renew permission for up to `current_a` amperes a phase; it lapses within the lease time."""
        ...

    async def revoke(self) -> None:
        """Open the contactor now."""
        ...

    async def close(self) -> None: ...


class CardTerminal(Protocol):
    """A terminal that says who stands before it."""

    async def read_card(self, *, within_s: int) -> Presented:
        """Wait up to `within_s` (1 to 255) seconds for a card. Raises HardwareError."""
        ...

    async def abort(self) -> None:
        """Ask for the end of the command under way, which then answers; nothing happens where none is."""
        ...


class HoldTerminal(Protocol):
    """A terminal that holds money. Amounts in minor units of its one currency.

    Raises HardwareError only where nothing was sent; from then on every outcome is an Answer.
    """

    async def reserve(
        self, *, amount_minor: int, reference: str, noted: Callable[[Done], Awaitable[None]]
    ) -> Answer:
        """Hold money on the card that is presented. `noted` is awaited as soon as the terminal names the
        receipt, before it is told that it was heard: the number is journaled there.
        """
        ...

    async def capture(self, receipt_no: int, *, hold_minor: int, amount_minor: int) -> Answer:
        """Take `amount_minor` (1 to `hold_minor`) of a hold and release the rest. Ends the hold."""
        ...

    async def reverse(self, receipt_no: int) -> Answer:
        """Release a hold whole. Ends it."""
        ...

    async def refund(self, *, amount_minor: int) -> Answer:
        """Pay back to the card that is presented."""
        ...


class LedgerTerminal(Protocol):
    """A terminal that can be asked what it has on its books."""

    async def open_receipts(self) -> OpenReceipts:
        """The holds it still has. Needed after every reconnection, before it takes a new one. Raises
        HardwareError.
        """
        ...

    async def last_receipt(self) -> Answer:
        """The result of its last money command once more."""
        ...

    async def end_of_day(self) -> Answer:
        """Hand the day's captures to the network. Declined as `holds_open` while any hold is open."""
        ...


class PaymentTerminal(CardTerminal, HoldTerminal, LedgerTerminal, Protocol):
    """A certified payment terminal. One command at a time: another one raises HardwareError."""

    async def status(self) -> TerminalState:
        """What it says of itself. Raises HardwareError."""
        ...

    async def show(self, lines: tuple[str, ...], *, for_s: int) -> None:
        """Up to eight lines on its display, for up to 255 seconds; 0 until the next. Raises HardwareError."""
        ...

    async def close(self) -> None: ...


class MemberList(Protocol):
    """Who may charge on account, looked up locally so that it works offline."""

    def find(self, token: IdToken) -> Member | None: ...


class Upstream(Protocol):
    """The back office, asked who may charge while somebody waits."""

    async def authorize(self, request: AuthorizationRequest) -> Granted | Refused | NoAnswer:
        """The answer to this request, the same each time it is asked. NoAnswer after `request.within_s`, or at once
        without a connection: nothing is owed then, for the journal tells that it came to nothing.
        """
        ...


class PaymentMethod(Protocol):
    """One way to pay. Every call may be repeated under the same `ref` and then has the same one effect (I2).

    Raises HardwareError where nothing was sent: the same call is tried again later. From the moment at which
    something went out the outcome is an answer, InDoubt included; a call that is repeated after InDoubt resolves it.
    """

    async def preauthorize(
        self, ref: str, *, amount_minor: int, currency: str, token: IdToken
    ) -> Authorized | Declined | InDoubt: ...

    async def capture(
        self, ref: str, *, amount_minor: int, currency: str
    ) -> Captured | Declined | Expired | InDoubt:
        """Declined: not now; the hold stands, and the same capture is asked for again later."""
        ...

    async def reverse(self, ref: str) -> Reversed | Declined | InDoubt:
        """Also of a hold whose request is in doubt: Reversed once it is sure that none is left."""
        ...


@runtime_checkable
class ExtendingMethod(PaymentMethod, Protocol):
    """A way to pay whose holds can grow (incremental authorization)."""

    async def extend(self, ref: str, *, amount_minor: int, currency: str) -> Authorized | Declined | InDoubt:
        """Ask for a hold of `amount_minor` in all. Declined or InDoubt: the hold that was known stands."""
        ...


@runtime_checkable
class WatchedMethod(PaymentMethod, Protocol):
    """A way to pay that notices when a hold is gone before its end was asked for."""

    def lost(self, ref: str) -> bool:
        """Whether it is proven that the hold is gone. What is not known is not lost."""
        ...


@runtime_checkable
class RefundingMethod(PaymentMethod, Protocol):
    """A way to pay that can give captured money back without the card."""

    async def refund(
        self, ref: str, *, refund_ref: str, amount_minor: int, currency: str
    ) -> Refunded | Declined | InDoubt: ...


class PaymentJournal(Protocol):
    """What a way to pay remembers of its payments, in the journal, so that a restart finds it again."""

    async def note(self, ref: str, handle: str) -> None:
        """Keep what `ref` is called by whoever holds the money (a receipt number, STAN and RRN). Durable on return;
        the last note counts. Never card data.
        """
        ...

    async def find(self, ref: str) -> OpenPayment | None:
        """The payment if it has not ended."""
        ...

    async def noted(self, ref: str) -> str | None:
        """The last note of a payment, also of one that has ended: a refund names it, and is noted there."""
        ...

    async def open(self, method: Method) -> tuple[OpenPayment, ...]:
        """Every payment of a method that has not ended, oldest first."""
        ...


class Display(Protocol):
    """The driver's screen. `show` never blocks: a screen that nobody watches costs nothing."""

    def show(self, view: View) -> None: ...
