"""Carrying out what the machine wants done with a hold: asked until there is an answer, one request of a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never

from edge import log
from edge.domain.payment import Answer, Method
from edge.domain.session import effects as fx
from edge.domain.session import events as ev
from edge.domain.session.state import Session
from edge.errors import HardwareError
from edge.ports import Clock, PaymentMethod
from edge.runtime.metering import Post

#: Between two tries of a payment whose device failed, under the same reference; the machine has the deadline.
_PAY_RETRY_S = 5

#: What is asked of a way to pay.
Payment = fx.Preauthorize | fx.Capture | fx.Reverse


class Paying:
    """The ways to pay of one EVSE. `session` is the one that runs now, or None."""

    def __init__(
        self,
        methods: Mapping[Method, PaymentMethod],
        *,
        evse_id: str,
        session: Callable[[], Session | None],
        clock: Clock,
        post: Post,
    ) -> None:
        self._methods = methods
        self._evse_id = evse_id
        self._session = session
        self._clock = clock
        self._post = post
        self._asked: set[str] = set()

    async def pay(self, effect: Payment) -> None:
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

    async def _paid(self, effect: Payment) -> bool:
        """One try. True when there is an answer, or when nobody waits for it any more."""
        session = self._session()
        if session is None or session.payment.ref != effect.ref:
            return True
        method = self._methods[effect.method]
        answer: Answer
        try:
            match effect:
                case fx.Preauthorize(ref=ref, amount_minor=amount_minor, currency=currency, token=token):
                    if session.payment.status != "requested":
                        return True
                    answer = await method.preauthorize(
                        ref, amount_minor=amount_minor, currency=currency, token=token
                    )
                case fx.Capture(ref=ref, amount_minor=amount_minor, currency=currency):
                    answer = await method.capture(ref, amount_minor=amount_minor, currency=currency)
                case fx.Reverse(ref=ref):
                    answer = await method.reverse(ref)
                case _:
                    assert_never(effect)
        except HardwareError as e:
            log.warning("payment.failed", evse_id=self._evse_id, ref=effect.ref, error=e)
            return False
        await self._post(ev.PaymentAnswered(at=self._clock.now(), answer=answer))
        return True
