"""Carrying out what the machine wants done with a hold: asked until there is an answer, one request of a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never

from edge import log
from edge.domain.payment import Answer, Declined, Method
from edge.domain.session import effects as fx
from edge.domain.session import events as ev
from edge.domain.session.state import Session
from edge.errors import HardwareError
from edge.ports import Clock, ExtendingMethod, PaymentMethod, WatchedMethod
from edge.runtime.metering import Post

#: Between two tries of a payment whose device failed, under the same reference; the machine has the deadline.
_PAY_RETRY_S = 5


class Paying:
    """The ways to pay of one EVSE. `find` gives the open session of a payment, or None."""

    def __init__(
        self,
        methods: Mapping[Method, PaymentMethod],
        *,
        evse_id: str,
        find: Callable[[str], Session | None],
        clock: Clock,
        post: Post,
    ) -> None:
        self._methods = methods
        self._evse_id = evse_id
        self._find = find
        self._clock = clock
        self._post = post
        self._asked: set[str] = set()

    async def pay(self, effect: fx.Payment) -> None:
        """Ask until there is an answer, one request of a kind at a time."""
        doing = f"{type(effect).__name__} {effect.ref}"
        if doing in self._asked:
            return
        self._asked.add(doing)
        try:
            while not await self._paid(effect):
                await self._clock.sleep(_PAY_RETRY_S)
        finally:
            self._asked.discard(doing)

    def lost(self, session: Session) -> bool:
        """Whether the session's hold is proven to be gone while nobody has asked for its end."""
        method = self._methods.get(session.payment.method)
        if session.payment.status != "authorized" or not isinstance(method, WatchedMethod):
            return False
        return method.lost(session.payment.ref)

    async def _paid(self, effect: fx.Payment) -> bool:
        """One try. True when there is an answer, or when nobody waits for it any more."""
        session = self._find(effect.ref)
        if session is None or not _wanted(effect, session):
            return True
        method = self._methods.get(effect.method)
        if method is None:  # no longer configured: said once, asked again as long as the hold may live
            answer: Answer = Declined(ref=effect.ref, reason="method_missing")
        else:
            try:
                answer = await _ask(method, effect)
            except HardwareError as e:
                log.warning("payment.failed", evse_id=self._evse_id, ref=effect.ref, error=e)
                return False
        await self._post(ev.PaymentAnswered(at=self._clock.now(), answer=answer))
        return True


def _wanted(effect: fx.Payment, session: Session) -> bool:
    """Whether the session still waits for this."""
    payment = session.payment
    match effect:
        case fx.Preauthorize():
            return payment.status == "requested"
        case fx.Extend():
            return payment.status == "authorized" and payment.extending_minor == effect.amount_minor
        case fx.Capture():
            return payment.status == "capturing"
        case fx.Reverse():
            return payment.status == "reversing"
        case _:
            assert_never(effect)


async def _ask(method: PaymentMethod, effect: fx.Payment) -> Answer:
    match effect:
        case fx.Preauthorize(ref=ref, amount_minor=amount_minor, currency=currency, token=token):
            return await method.preauthorize(ref, amount_minor=amount_minor, currency=currency, token=token)
        case fx.Extend(ref=ref, amount_minor=amount_minor, currency=currency):
            if not isinstance(method, ExtendingMethod):
                return Declined(ref=ref, reason="amount_refused")
            return await method.extend(ref, amount_minor=amount_minor, currency=currency)
        case fx.Capture(ref=ref, amount_minor=amount_minor, currency=currency):
            return await method.capture(ref, amount_minor=amount_minor, currency=currency)
        case fx.Reverse(ref=ref):
            return await method.reverse(ref)
        case _:
            assert_never(effect)
