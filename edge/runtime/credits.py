"""Credit notes on order, and the refunds that follow them, until each has its last word.

>>> credited = await credit(store, clock, CreditOrder(number="CT-7CHFYKPE-000001", reason="charged twice"))
>>> await Refunds(store, payments, clock).run()  # beside the controllers
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from edge import log
from edge.domain import refund as refunds
from edge.domain.money import from_minor
from edge.domain.payment import Method
from edge.emv.scrub import scrub
from edge.errors import HardwareError, InputError, TillError
from edge.ports import Clock, PaymentMethod, RefundingMethod
from edge.store.credits import Credited, CreditOrder, open_refunds, take_back
from edge.store.store import Store
from edge.sync.contract.orders import Credit

#: A way to pay that is out of order is asked again after this, then half as often each time, up to the second figure.
_RETRY_S = 10.0
_RETRY_MAX_S = 600.0


class TimeUnknown(TillError):
    code = "credit.time"
    retryable = True
    hint = "a credit note carries its date: wait until the clock is right (`chargetill doctor`)"


async def credit(store: Store, clock: Clock, order: CreditOrder) -> Credited:
    """Seal a credit note. Raises TimeUnknown, InvoiceUnknown, CreditRefused, StoreError."""
    if not clock.trusted():
        raise TimeUnknown("the time is not known")
    order = msgspec.structs.replace(order, reason=scrub(order.reason))
    at = clock.now()
    credited = await store.tx(lambda tx: take_back(tx, order, at))
    log.event(
        "invoice.credited",
        invoice=order.number,
        credit_note=credited.credit_note.number,
        amount_minor=credited.credit_note.draft.figures.payable_minor,
    )
    return credited


def told(credited: Credited) -> dict[str, Any]:
    """The answer to whoever ordered it."""
    note, refund, anew = credited.credit_note, credited.refund, credited.invoice
    assert note.corrects is not None
    return {
        "credit_note": note.number,
        "invoice": note.corrects.number,
        "amount": from_minor(note.draft.figures.payable_minor, note.draft.currency),
        "currency": note.draft.currency,
        "full": note.corrects.full,
        "refund": None if refund is None else refund.status,
        "new_invoice": None if anew is None else anew.number,
    }


class CreditDesk:
    """Where a running till takes orders for credit notes: `ordered` from the command line, `from_office` from afar."""

    def __init__(self, store: Store, clock: Clock, refunds: Refunds) -> None:
        self._store, self._clock, self._refunds = store, clock, refunds

    async def ordered(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The handler of `invoice.credit`; the arguments are a CreditOrder's. Raises as `credit` does."""
        try:
            order = msgspec.convert(dict(arguments), CreditOrder)
        except msgspec.ValidationError as e:
            raise InputError(str(e)) from e
        return await self._carry_out(order)

    async def from_office(self, body: Credit) -> dict[str, Any]:
        """What the back office ordered: the whole of what is left."""
        return await self._carry_out(CreditOrder(number=body.invoice_number, reason=body.reason))

    async def _carry_out(self, order: CreditOrder) -> dict[str, Any]:
        credited = await credit(self._store, self._clock, order)
        self._refunds.wake()
        return told(credited)


class Refunds:
    """Carries out what credit notes ask for. `wake` after a new one; `run` also finds those of before a restart."""

    def __init__(self, store: Store, payments: Mapping[Method, PaymentMethod], clock: Clock) -> None:
        self._store = store
        self._payments = payments
        self._clock = clock
        self._bell = asyncio.Event()

    def wake(self) -> None:
        """There is a new refund."""
        self._bell.set()

    async def run(self) -> None:
        """Until cancelled."""
        wait_s = _RETRY_S
        while True:
            self._bell.clear()
            left = await self.settle(final=True)
            if not left:
                await self._bell.wait()
                wait_s = _RETRY_S
                continue
            sleep = asyncio.ensure_future(self._clock.sleep(wait_s))
            bell = asyncio.ensure_future(self._bell.wait())
            try:
                await asyncio.wait({sleep, bell}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleep.cancel()
                bell.cancel()
            wait_s = min(2 * wait_s, _RETRY_MAX_S)

    async def settle(self, *, final: bool) -> int:
        """Try each open refund once; how many are still open. `final`: a way to pay that is not here is nowhere."""
        left = 0
        for refund in await self._store.tx(open_refunds):
            fact = await self._tried(refund, final=final)
            if fact is None:
                left += 1
                continue
            await self._known(fact)
            log.event("refund.ended", refund_ref=refund.refund_ref, outcome=type(fact).__name__)
        return left

    async def _known(self, fact: refunds.Ended) -> None:
        at = self._clock.now()
        await self._store.tx(lambda tx: tx.append(fact, at))

    async def _tried(self, refund: refunds.Refund, *, final: bool) -> refunds.Ended | None:
        method = self._payments.get(refund.method)
        if method is None:
            return refunds.unable(refund, "no_such_way_to_pay") if final else None
        if not isinstance(method, RefundingMethod):
            return refunds.unable(refund, "not_supported")
        try:
            answer = await method.refund(
                refund.payment_ref,
                refund_ref=refund.refund_ref,
                amount_minor=refund.amount_minor,
                currency=refund.currency,
            )
        except HardwareError as e:
            log.event("refund.not_sent", refund_ref=refund.refund_ref, error=str(e))
            return None
        return refunds.answered(refund, answer)
