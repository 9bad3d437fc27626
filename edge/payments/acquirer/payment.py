"""A bank card's hold at the acquirer, from the pre-authorization to its one end (I2).

The journal knows a request's numbers before the request goes out, so that whoever comes after a crash asks about
the same one. An authorization is asked for once and never again: where its answer is lost it is reversed, until the
host says that nothing is left of it. A completion or a reversal is repeated until the host has answered.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from edge.domain.identity import IdToken
from edge.domain.payment import Authorized, Captured, Declined, Expired, InDoubt, Refunded, Reversed
from edge.payments.acquirer import codes, handle
from edge.payments.acquirer.asking import Asking, Line
from edge.payments.acquirer.card_data import CardData, Offers
from edge.payments.acquirer.errors import AcquirerUnreachable
from edge.payments.acquirer.handle import NUMBERS, REFUNDS_MAX, Giving, Handle, Step
from edge.payments.acquirer.messages import Messages, Reply
from edge.payments.acquirer.options import AcquirerOptions
from edge.ports import Clock, PaymentJournal

#: DE4 has twelve digits.
_AMOUNT_MAX: Final = 10**12 - 1


class AcquirerPayment:
    """Implements edge.ports.PaymentMethod, ExtendingMethod and RefundingMethod.

    The card's data comes beforehand, by `offer`, under the payment's reference or the token that the card became.
    """

    def __init__(
        self,
        line: Line,
        journal: PaymentJournal,
        *,
        options: AcquirerOptions,
        clock: Clock,
        draw: random.Random | None = None,
    ) -> None:
        self._journal = journal
        self._messages = Messages(options)
        self._asking = Asking(line, journal, options=options, clock=clock, draw=draw or random.SystemRandom())
        self._offers = Offers(self._asking.monotonic_s)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def offer(self, name: str, card: CardData) -> None:
        """Card data for the pre-authorization of `name` (a payment's reference, or a token's value)."""
        self._offers.offer(name, card)

    def withdraw(self, name: str) -> None:
        """There will be no pre-authorization for it."""
        self._offers.withdraw(name)

    async def preauthorize(
        self, ref: str, *, amount_minor: int, currency: str, token: IdToken
    ) -> Authorized | Declined | InDoubt:
        """Ask once. Declined `no_connection`, and `cancelled` where the card's data is gone: nothing was asked."""
        async with self._one_at_a_time(ref):
            card = self._offers.take(ref, token.value)
            known = await self._known(ref)
            if known is not None:
                return await self._settle_authorization(ref, known)
            if currency not in NUMBERS or not 0 < amount_minor <= _AMOUNT_MAX:
                return Declined(ref=ref, reason="amount_refused" if currency in NUMBERS else "currency")
            if card is None:
                return Declined(ref=ref, reason="cancelled")
            if not await self._asking.ready():
                return Declined(ref=ref, reason="no_connection")
            step = await self._asking.step(amount_minor)
            asked = Handle(rrn=self._asking.rrn(), currency=currency, authorization=step)
            await self._note(ref, asked)
            request = self._messages.preauthorization(asked, card)
            del card
            try:
                reply = await self._asking.once(ref, request)
            except AcquirerUnreachable:
                return Declined(ref=ref, reason="no_connection")
            finally:
                del request  # from here on nothing knows the card
            if reply is None:
                return await self._settle_authorization(ref, asked)
            return await self._answered(ref, asked, reply)

    async def capture(
        self, ref: str, *, amount_minor: int, currency: str
    ) -> Captured | Declined | Expired | InDoubt:
        """0220, repeated as 0221. The first amount that was asked for is the one that counts."""
        async with self._one_at_a_time(ref):
            known = await self._known(ref)
            if known is None or known.hold_minor is None:
                return Declined(ref=ref, reason="no_hold")
            if known.reversal is not None:
                return Declined(ref=ref, reason="reversing")
            if currency != known.currency or not 0 < amount_minor <= known.hold_minor:
                return Declined(ref=ref, reason="amount_refused")
            repeated = known.completion is not None
            step = known.completion
            if step is None:
                await self._asking.reachable()
                step = await self._asking.step(amount_minor)
                known = msgspec.structs.replace(known, completion=step)
                await self._note(ref, known)
            reply = await self._asking.insist(self._messages.completion(known, step), repeated=repeated)
            match self._asking.end(reply):
                case "done":
                    return Captured(ref=ref, amount_minor=step.amount_minor)
                case "unknown":
                    return Expired(ref=ref, reason="hold_unknown")
                case "refused" if reply is not None:
                    await self._note(ref, msgspec.structs.replace(known, completion=None))
                    return Declined(ref=ref, reason=codes.reason(reply.code))
                case _:
                    return InDoubt(ref=ref, why="no_answer")

    async def reverse(self, ref: str) -> Reversed | Declined | InDoubt:
        """0420, repeated as 0421; of an authorization that never went out nothing is left to reverse."""
        async with self._one_at_a_time(ref):
            known = await self._known(ref)
            if known is None:
                self._offers.withdraw(ref)
                return Reversed(ref=ref)
            if known.completion is not None:
                return Declined(ref=ref, reason="capturing")
            return await self._reverse(ref, known)

    async def extend(self, ref: str, *, amount_minor: int, currency: str) -> Authorized | Declined | InDoubt:
        """An increment, asked for once; where its answer is lost it is reversed, and the old hold stands."""
        async with self._one_at_a_time(ref):
            known = await self._known(ref)
            if known is None or known.hold_minor is None or known.completion or known.reversal:
                return Declined(ref=ref, reason="no_hold")
            if currency != known.currency or not 0 < amount_minor <= _AMOUNT_MAX:
                return Declined(ref=ref, reason="amount_refused")
            if known.extension is not None:
                return await self._take_back(ref, known, known.extension)
            if amount_minor <= known.hold_minor:
                return Authorized(ref=ref, hold_minor=known.hold_minor)
            await self._asking.reachable()
            return await self._extend(ref, known, await self._asking.step(amount_minor - known.hold_minor))

    async def refund(
        self, ref: str, *, refund_ref: str, amount_minor: int, currency: str
    ) -> Refunded | Declined | InDoubt:
        """0200 credit, repeated as 0201, of a captured payment and of at most what was captured."""
        async with self._one_at_a_time(ref):
            note = await self._journal.noted(ref)
            known = handle.read(note) if note is not None else None
            if known is None or known.completion is None or await self._journal.find(ref) is not None:
                return Declined(ref=ref, reason="not_captured")
            giving = next((g for g in known.refunds if g.ref == refund_ref), None)
            repeated = giving is not None
            if giving is None:
                given_minor = sum(g.step.amount_minor for g in known.refunds)
                left_minor = known.completion.amount_minor - given_minor
                if currency != known.currency or not 0 < amount_minor <= left_minor:
                    return Declined(ref=ref, reason="amount_refused")
                if len(known.refunds) >= REFUNDS_MAX:
                    return Declined(ref=ref, reason="too_many_refunds")
                await self._asking.reachable()
                giving = Giving(refund_ref, self._asking.rrn(), await self._asking.step(amount_minor))
                known = msgspec.structs.replace(known, refunds=(*known.refunds, giving))
                await self._note(ref, known)
            answer = Refunded(ref=ref, refund_ref=refund_ref, amount_minor=giving.step.amount_minor)
            if giving.settled:
                return answer
            request = self._messages.refund(known, giving.rrn, giving.step)
            reply = await self._asking.insist(request, repeated=repeated)
            if reply is None:
                return InDoubt(ref=ref, why="no_answer")
            done = self._asking.end(reply) == "done"
            await self._note(ref, _settled(known, giving, done=done))
            return answer if done else Declined(ref=ref, reason=codes.reason(reply.code))

    # an authorization and what becomes of it

    async def _answered(self, ref: str, asked: Handle, reply: Reply) -> Authorized | Declined | InDoubt:
        """The host's word on a pre-authorization. What holds money is in the journal before it counts."""
        hold_minor = _granted(reply, asked.authorization)
        if hold_minor is None:
            if reply.code == codes.DUPLICATE:
                return await self._settle_authorization(ref, asked)
            return Declined(ref=ref, reason=codes.reason(reply.code))
        approved = msgspec.structs.replace(
            asked,
            hold_minor=hold_minor,
            code=handle.harmless(reply.approval),
            name=handle.harmless(reply.name),
        )
        await self._note(ref, approved)
        return Authorized(ref=ref, hold_minor=hold_minor)

    async def _settle_authorization(self, ref: str, known: Handle) -> Authorized | Declined | InDoubt:
        """An authorization that was asked for already: its answer is in the journal, or it is taken back."""
        if known.hold_minor is not None and known.reversal is None:
            return Authorized(ref=ref, hold_minor=known.hold_minor)
        match await self._reverse(ref, known):
            case Reversed():
                return Declined(ref=ref, reason="no_answer")
            case InDoubt() as doubt:
                return doubt
            case Declined():
                return InDoubt(ref=ref, why="reversal_refused")

    async def _reverse(self, ref: str, known: Handle) -> Reversed | Declined | InDoubt:
        repeated = known.reversal is not None
        step = known.reversal
        if step is None:
            if known.hold_minor is not None:
                await self._asking.reachable()
            step = await self._asking.step(_held_at_most(known))
            known = msgspec.structs.replace(known, reversal=step)
            await self._note(ref, known)
        request = self._messages.reversal(known, step, of=known.authorization)
        reply = await self._asking.insist(request, repeated=repeated)
        match self._asking.end(reply):
            case "done":
                self._asking.settled(ref)
                return Reversed(ref=ref)
            case "unknown" if known.hold_minor is not None or self._asking.surely_arrived(ref):
                self._asking.settled(ref)
                return Reversed(ref=ref)
            case "unknown":
                return InDoubt(ref=ref, why="not_known_yet")
            case "refused" if reply is not None:
                await self._note(ref, msgspec.structs.replace(known, reversal=None))
                return Declined(ref=ref, reason=codes.reason(reply.code))
            case _:
                return InDoubt(ref=ref, why="no_answer")

    async def _extend(self, ref: str, known: Handle, step: Step) -> Authorized | Declined | InDoubt:
        assert known.hold_minor is not None
        asked = msgspec.structs.replace(known, extension=step)
        await self._note(ref, asked)
        try:
            reply = await self._asking.once(_increment(ref, step), self._messages.increment(asked, step))
        except AcquirerUnreachable:
            await self._note(ref, known)
            raise
        if reply is None or reply.code == codes.DUPLICATE:
            return await self._take_back(ref, asked, step)
        added_minor = _granted(reply, step)
        if added_minor is None:
            await self._note(ref, known)
            return Declined(ref=ref, reason=codes.reason(reply.code))
        hold_minor = known.hold_minor + added_minor
        await self._note(ref, msgspec.structs.replace(known, hold_minor=hold_minor))
        return Authorized(ref=ref, hold_minor=hold_minor)

    async def _take_back(self, ref: str, known: Handle, step: Step) -> Declined | InDoubt:
        """Reverse an increment whose answer is lost; the hold without it stands."""
        repeated = known.extension_void is not None
        void = known.extension_void
        if void is None:
            void = await self._asking.step(step.amount_minor)
            known = msgspec.structs.replace(known, extension_void=void)
            await self._note(ref, known)
        reply = await self._asking.insist(self._messages.reversal(known, void, of=step), repeated=repeated)
        match self._asking.end(reply):
            case "done":
                pass
            case "unknown" if self._asking.surely_arrived(_increment(ref, step)):
                pass
            case "refused":
                await self._note(ref, msgspec.structs.replace(known, extension_void=None))
                return InDoubt(ref=ref, why="reversal_refused")
            case _:
                return InDoubt(ref=ref, why="no_answer")
        self._asking.settled(_increment(ref, step))
        await self._note(ref, msgspec.structs.replace(known, extension=None, extension_void=None))
        return Declined(ref=ref, reason="no_answer")

    # the journal

    async def _known(self, ref: str) -> Handle | None:
        """What the journal has of a payment that has not ended. Raises HandleBroken."""
        payment = await self._journal.find(ref)
        return None if payment is None or payment.handle is None else handle.read(payment.handle)

    async def _note(self, ref: str, known: Handle) -> None:
        await self._journal.note(ref, handle.write(known))

    def _one_at_a_time(self, ref: str) -> asyncio.Lock:
        return self._locks.setdefault(ref, asyncio.Lock())


def _increment(ref: str, step: Step) -> str:
    return f"{ref}+{step.stan}"


def _granted(reply: Reply, step: Step) -> int | None:
    """How much the host approved: what was asked, or what it says where that is less; None for a no."""
    if reply.code in codes.APPROVED:
        said = reply.amount_minor
        return step.amount_minor if said is None or not 0 < said < step.amount_minor else said
    if reply.code == codes.PARTIAL and reply.amount_minor is not None:
        return reply.amount_minor if 0 < reply.amount_minor <= step.amount_minor else None
    return None


def _held_at_most(known: Handle) -> int:
    """What a reversal of the whole names: the hold, or what was asked for."""
    return known.hold_minor if known.hold_minor is not None else known.authorization.amount_minor


def _settled(known: Handle, giving: Giving, *, done: bool) -> Handle:
    """The refund as answered: done, or as if it had never been asked for."""
    others = tuple(g for g in known.refunds if g.ref != giving.ref)
    done_now = (msgspec.structs.replace(giving, settled=True),) if done else ()
    return msgspec.structs.replace(known, refunds=others + done_now)
