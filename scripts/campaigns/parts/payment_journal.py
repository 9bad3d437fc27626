"""What a trial of payments writes down: its drivers' plans, and a journal that survives every crash of the till."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from edge.domain.payment import Method, OpenPayment, Status
from edge.payments.desk.folio import read, receipt_no


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One driver: how much is held and used, how long everything takes, and whether they change their mind."""

    hold_minor: int
    total_minor: int
    charging_s: float
    declines: int = 0
    phone: bool = False
    cancels_after_s: float | None = None


@dataclass
class Payment:
    """A payment as the journal has it. `receipts`: every number that its handle ever named."""

    ref: str
    evse: int
    plan: Plan
    status: Status = "requested"
    hold_minor: int | None = None
    due_minor: int | None = None
    captured_minor: int | None = None
    handle: str | None = None
    receipts: set[int] = field(default_factory=set)

    @property
    def open(self) -> bool:
        return self.status in ("requested", "authorized", "capturing", "reversing")

    def fact(self) -> OpenPayment:
        return OpenPayment(
            ref=self.ref, session_id=self.ref, status=self.status, requested_minor=self.plan.hold_minor,
            hold_minor=self.hold_minor, handle=self.handle,
        )  # fmt: skip


class Journal:
    """Implements edge.ports.PaymentJournal; survives every crash. Each write is two places to die at."""

    def __init__(self, step: Callable[[], Awaitable[None]]) -> None:
        self.payments: dict[str, Payment] = {}
        self._step = step

    async def note(self, ref: str, handle: str) -> None:
        await self._step()
        payment = self.payments[ref]
        payment.handle = handle
        number = receipt_no(read(payment.fact()))
        if number is not None:
            payment.receipts.add(number)
        await self._step()

    async def find(self, ref: str) -> OpenPayment | None:
        payment = self.payments.get(ref)
        return payment.fact() if payment is not None and payment.open else None

    async def open(self, method: Method) -> tuple[OpenPayment, ...]:
        assert method == "terminal"
        return tuple(payment.fact() for payment in self.payments.values() if payment.open)

    async def commit(self, change: Callable[[], None]) -> None:
        """A step of the payment machine."""
        await self._step()
        change()
        await self._step()
