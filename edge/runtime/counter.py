"""The payment terminal as a place where drivers arrive: bank cards and phones pay there, member cards are known."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Protocol, assert_never

from edge import log
from edge.domain.identity import IdToken, bank_token, is_random_uid, uid_token
from edge.domain.money import from_minor
from edge.domain.terminal import BankCard, MemberCard, NoCard, Presented, Reason
from edge.ports import Clock
from edge.runtime.arrivals import Arrivals
from edge.runtime.controller import EvseController
from edge.runtime.recognition import TokenKey

#: How often the terminal's own display, and a word about what is wrong with it, are looked at.
_LOOK_S = 1

#: A controller comes to a tap within a moment (real seconds, also where the clock is virtual).
_HANDLED_S = 0.05
_HANDLED_TRIES = 40

#: What fits on a terminal's display.
_LINES_MAX = 8

#: Nobody has to be told that nobody came.
_SILENT: frozenset[Reason] = frozenset({"cancelled"})


class Desk(Protocol):
    """What a terminal's desk tells of whoever stands before it (edge.payments.desk)."""

    @property
    def reason(self) -> Reason | None: ...

    @property
    def orphans(self) -> tuple[int, ...]: ...

    def presented(self) -> AsyncIterator[Presented]: ...

    def go_on(self) -> None: ...

    def display(self, *lines: str) -> None: ...


class Counter:
    """One terminal, for the EVSEs that it serves."""

    def __init__(self, desk: Desk, arrivals: Arrivals, *, token_key: TokenKey, clock: Clock) -> None:
        self._desk = desk
        self._arrivals = arrivals
        self._key = token_key
        self._clock = clock

    @property
    def failing(self) -> str | None:
        """Why no card can be taken for longer than a moment, as a code."""
        reason = self._desk.reason
        return None if reason in (None, "terminal_busy") else reason

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look())
            async for card in self._desk.presented():
                await self._presented(card)

    async def _presented(self, card: Presented) -> None:
        match card:
            case NoCard(reason=reason):
                if reason not in _SILENT:
                    self._arrivals.tell(reason)
            case MemberCard(uid=uid):
                if is_random_uid(uid):
                    self._arrivals.tell("card_unreadable")
                else:
                    token = uid_token(uid, key=self._key.key, key_id=self._key.key_id)
                    await self._arrivals.arrived(token, "account")
            case BankCard():
                await self._bank_card(card)
            case _:
                assert_never(card)

    async def _bank_card(self, card: BankCard) -> None:
        """A card that charges here stops; any other one pays, unless nothing comes of it."""
        token = self._token(card)
        target = await self._arrivals.arrived(token, "terminal")
        if target is not None and not await _pays(target, token):
            self._desk.go_on()

    def _token(self, card: BankCard) -> IdToken:
        key, key_id = self._key.key, self._key.key_id
        if card.token is not None:
            return bank_token("terminal", card.token, key=key, key_id=key_id)
        if card.par is not None:
            return bank_token("par", card.par, key=key, key_id=key_id)
        if card.uid is not None:
            return bank_token("card", f"uid:{card.uid}", key=key, key_id=key_id)
        return IdToken(kind="anonymous", value=secrets.token_hex(32), key_id=key_id)

    async def _look(self) -> None:
        told: tuple[int, ...] = ()
        while True:
            orphans = self._desk.orphans
            if orphans != told:
                told = orphans
                log.warning("terminal.orphans", receipts=list(orphans))
            self._desk.display(*_lines(self._arrivals.controllers))
            await self._clock.sleep(_LOOK_S)


async def _pays(target: EvseController, token: IdToken) -> bool:
    """Whether the tap became a session's payment, once its controller has come to it."""
    for _ in range(_HANDLED_TRIES):
        await asyncio.sleep(_HANDLED_S)
        session = target.state.session
        if session is not None and session.token == token:
            return session.payment.method == "terminal" and session.payment.status == "requested"
    return False


def _lines(controllers: Sequence[EvseController]) -> tuple[str, ...]:
    """The price in the first language, and what will be held; nothing while nobody can buy."""
    for controller in controllers:
        view = controller.shown
        if view is None or view.kind != "idle" or view.offered_hold_minor is None:
            continue
        language = next(iter(view.price.values()), ())
        price = (f"{line.label} {line.amount}" for line in language[: _LINES_MAX - 1])
        return (*price, f"max. {from_minor(view.offered_hold_minor, view.currency)} {view.currency}")
    return ()
