"""Carrying out what the back office orders, on the till's loop; implements the downlink's `execute`.

    commands = Commands(site, ...); commands.attach(controllers); downlink = Downlink(..., execute=commands.execute)

Each order either is carried out, or raises a TillError whose code is the answer, and then nothing has changed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, assert_never

import msgspec

from edge import log
from edge.domain import pricing
from edge.domain.identity import IdToken
from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.plan import FrozenPlan, Plan
from edge.domain.session import events as ev
from edge.domain.tariffs import EvseKind, FrozenTariff, Profile, Tariff, freeze, require_lawful
from edge.emv.scrub import scrub
from edge.errors import CallError, TillError
from edge.ports import Clock
from edge.runtime.controller import EvseController
from edge.runtime.plans import PlanBook, read_plans, require_currency
from edge.runtime.settings import Settings, changed
from edge.runtime.shelf import Shelf
from edge.store.store import Store
from edge.store.transaction import Tx
from edge.sync.contract.orders import (
    BlockEvse,
    Body,
    Configure,
    Credit,
    Erase,
    MemberChanges,
    MemberList,
    MemberPart,
    PublishPlans,
    PublishTariff,
    RemoteStart,
    RemoteStop,
    SendLogs,
    UnblockEvse,
)

#: A loop that does not come to an order within this is stuck; the watchdog will have its say.
_DONE_MAX_S = 30.0

#: A remote start is accepted or refused within this: one commit on a slow card.
_STARTED_MAX_S = 10.0
_LOOK_S = 0.05

#: What a screen shows while nothing can be begun.
_NOT_FOR_SALE = ("starting_up", "out_of_order")

#: One answer carries so much of the log: it has to fit into a message of any hosted broker, quotes escaped.
_LOG_BYTES_MAX = 48_000


class EvseUnknown(CallError):
    code = "order.evse"
    hint = "the till's state names its EVSEs"


class SessionUnknown(CallError):
    code = "order.session"
    hint = "it has ended, or runs at another charger"


class NotStarted(CallError):
    code = "order.not_started"
    hint = "the till's state tells how each EVSE is"


class CurrencyForeign(CallError):
    code = "order.currency"
    hint = "a till sells in one currency; its hold and its members' limits are in it"


class NotPossible(CallError):
    code = "order.not_possible"
    hint = "this till cannot do that"


class TillStops(TillError):
    code = "order.interrupted"
    hint = "the till was stopped meanwhile; look at its journal before ordering it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Premises:
    """What orders act upon. `own` is what the device's configuration says; `polls_s` of each EVSE."""

    shelf: Shelf
    plans: PlanBook
    store: Store
    clock: Clock
    own: Settings
    profile: Profile
    time_zone: str
    kinds: frozenset[EvseKind]
    polls_s: tuple[float, ...]


class Commands:
    """See the module. `keep_blocked` is called on the downlink's thread, before a block counts."""

    def __init__(
        self,
        premises: Premises,
        *,
        keep_blocked: Callable[[dict[str, str]], None],
        credit: Callable[[Credit], Awaitable[Any]] | None = None,
        erase: Callable[[Erase], Awaitable[Any]] | None = None,
    ) -> None:
        self._at = premises
        self._shelf = premises.shelf
        self._keep_blocked = keep_blocked
        self._credit = credit
        self._erase = erase
        self._controllers: dict[str, EvseController] = {}
        self._loop = asyncio.get_running_loop()
        self._under_way: set[concurrent.futures.Future[Any]] = set()
        self._stopped = False

    def attach(self, controllers: Sequence[EvseController]) -> None:
        """Who sells; before the downlink starts."""
        self._controllers = {controller.evse_id: controller for controller in controllers}

    def stop(self) -> None:
        """On the loop: what is under way is answered as interrupted."""
        self._stopped = True
        for future in list(self._under_way):
            future.cancel()

    def execute(self, body: Body) -> Any:
        """Carry an order out; what its answer says. On the downlink's thread. Raises TillError."""
        match body:
            case RemoteStart():
                return self._on_loop(self._start(body))
            case RemoteStop(session_id=session_id):
                return self._on_loop(self._stop_session(session_id))
            case BlockEvse() | UnblockEvse():
                return self._block(body)
            case Credit():
                if self._credit is None:
                    raise NotPossible("no credit notes are written here")
                return self._on_loop(_awaited(self._credit(body)))
            case Erase():
                if self._erase is None:
                    raise NotPossible("nobody is known here")
                return self._on_loop(_awaited(self._erase(body)))
            case SendLogs(lines=lines):
                return {"lines": _tail(log.recent(), lines)}
            case Configure(values=values):
                settings = changed(self._at.own, values, polls_s=self._at.polls_s)
                self._on_loop(self._apply(settings))
                return msgspec.to_builtins(settings)
            case PublishTariff(document=document):
                frozen = self._checked(document)
                self._on_loop(self._sell(frozen))
                return {"hash": frozen.hash}
            case PublishPlans(document=document):
                plans = self._plans(document)
                self._on_loop(self._offer(plans))
                return {"plans": len(plans)}
            case MemberList() | MemberPart() | MemberChanges():
                raise NotPossible("lists are the downlink's own")
            case _:
                assert_never(body)

    def _on_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        if self._stopped:
            work.close()
            raise TillStops("the till stops")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._under_way.add(future)
        try:
            return future.result(_DONE_MAX_S)
        except (concurrent.futures.CancelledError, TimeoutError) as e:
            future.cancel()
            raise TillStops("the till stops, or is stuck") from e
        finally:
            self._under_way.discard(future)

    def _controller(self, evse_id: str) -> EvseController:
        try:
            return self._controllers[evse_id]
        except KeyError:
            raise EvseUnknown(f"no EVSE {evse_id}") from None

    async def _start(self, order: RemoteStart) -> dict[str, str]:
        controller = self._controller(order.evse_id)
        currency = self._shelf.on_sale.tariff.tariff.currency
        if order.currency != currency:
            raise CurrencyForeign(f"limit in {order.currency}, prices in {currency}")
        token = IdToken(kind="remote", value=order.authorization_id, key_id="backoffice")
        begun = await self._at.store.tx(lambda tx: tx.session_of(token))
        if begun is not None:  # ordered again: the first answer may have been lost
            return {"session_id": begun}
        shown = controller.shown
        if shown is None or shown.kind in _NOT_FOR_SALE or _session_of(controller) is not None:
            raise NotStarted(f"{order.evse_id} is {'starting' if shown is None else shown.kind}")
        session_id = secrets.token_hex(16)
        await controller.post(
            ev.RemoteStarted(
                at=self._at.clock.now(),
                session_id=session_id,
                payment_ref=secrets.token_hex(8),
                salt=secrets.token_bytes(16),
                stop_code=f"{secrets.randbelow(10_000):04d}",
                receipt_token=secrets.token_urlsafe(16),
                token=token,
                authorization_id=order.authorization_id,
                limit_minor=order.limit_minor,
                account=order.account,
                collective=order.invoice == "collective",
            )
        )
        ends = self._loop.time() + _STARTED_MAX_S
        while self._loop.time() < ends:
            opened = _session_of(controller)
            if opened == session_id:
                return {"session_id": session_id}
            if opened is not None:
                break
            await asyncio.sleep(_LOOK_S)
        raise NotStarted(f"{order.evse_id} opened no session")

    async def _stop_session(self, session_id: str) -> dict[str, str]:
        for controller in self._controllers.values():
            if _session_of(controller) == session_id:
                await controller.request_stop("remote")
                return {"evse_id": controller.evse_id}
        raise SessionUnknown(f"no session {session_id} uses an EVSE here")

    def _block(self, order: BlockEvse | UnblockEvse) -> None:
        controller = self._controller(order.evse_id)
        blocked = dict(self._shelf.blocked)
        blocked.pop(order.evse_id, None)
        fact: facts.EvseBlocked | facts.EvseUnblocked = facts.EvseUnblocked(evse_id=order.evse_id)
        if isinstance(order, BlockEvse):
            reason = blocked[order.evse_id] = scrub(order.reason)
            fact = facts.EvseBlocked(evse_id=order.evse_id, reason=reason)
        self._keep_blocked(blocked)
        stops = isinstance(order, BlockEvse) and order.stop_session
        self._on_loop(self._blocked(controller, blocked, fact, stops="remote" if stops else None))

    async def _blocked(
        self,
        controller: EvseController,
        blocked: dict[str, str],
        fact: facts.EvseBlocked | facts.EvseUnblocked,
        *,
        stops: Literal["remote"] | None,
    ) -> None:
        self._shelf.blocked = blocked
        at = self._at.clock.now()
        await self._at.store.tx(partial(_append, fact, at))
        if stops is not None and _session_of(controller) is not None:
            await controller.request_stop(stops)

    async def _apply(self, settings: Settings) -> None:
        self._shelf.put(replace(self._shelf.on_sale, hold_minor=settings.hold_minor, rules=settings.rules))

    def _checked(self, document: str) -> FrozenTariff:
        """A tariff that may be sold here, compiled once to be sure. Raises TariffError, CurrencyForeign."""
        frozen = freeze(document.encode())
        require_lawful(frozen.tariff, profile=self._at.profile)
        currency = self._shelf.on_sale.tariff.tariff.currency
        if frozen.tariff.currency != currency:
            raise CurrencyForeign(f"a tariff in {frozen.tariff.currency}, this till sells in {currency}")
        self._compiled(frozen.tariff, None)
        return frozen

    def _plans(self, document: str) -> tuple[FrozenPlan, ...]:
        """Plans that may be sold here. Raises ConfigError, TariffError, PlanError."""
        tariff = self._shelf.on_sale.tariff.tariff
        plans = read_plans(document.encode(), "plans")
        require_currency(plans, tariff.currency, "plans")
        for frozen in plans:
            self._compiled(tariff, frozen.plan)
        return plans

    def _compiled(self, tariff: Tariff, plan: Plan | None) -> None:
        """Made ready once, to be sure that it can be when somebody taps."""
        for kind in self._at.kinds:
            pricing.compile_tariff(tariff, time_zone=self._at.time_zone, plan=plan, evse_kind=kind)

    async def _sell(self, tariff: FrozenTariff) -> None:
        self._shelf.put(replace(self._shelf.on_sale, tariff=tariff))
        log.event("tariff.on_sale", tariff_hash=tariff.hash)

    async def _offer(self, plans: tuple[FrozenPlan, ...]) -> None:
        for old in self._at.plans.offer(plans):
            self._shelf.keep(old.hash, old.document)
        at = self._at.clock.now()
        for correction in self._at.plans.corrections(at.utc):
            self._at.plans.apply(correction)
            await self._at.store.tx(partial(_append, correction, at))

    def recover(self, documents: Callable[[str], str | None], *, settings: str, blocked: str) -> None:
        """Before anything is sold: what was ordered in an earlier life. What does not fit any more is left out."""
        for name, apply in (
            (blocked, self._recover_blocked),
            (settings, self._recover_settings),
            ("tariff", self._recover_tariff),
            ("plans", self._recover_plans),
        ):
            try:
                if (kept := documents(name)) is not None:
                    apply(kept)
            except TillError as e:
                log.error("order.not_recovered", error=e, document=name)

    def _recover_blocked(self, kept: str) -> None:
        self._shelf.blocked = msgspec.json.decode(kept, type=dict[str, str])

    def _recover_settings(self, kept: str) -> None:
        values = msgspec.json.decode(kept, type=dict[str, Any])
        found = changed(self._at.own, values, polls_s=self._at.polls_s)
        shelf = self._shelf
        shelf.on_sale = replace(shelf.on_sale, hold_minor=found.hold_minor, rules=found.rules)

    def _recover_tariff(self, kept: str) -> None:
        self._shelf.on_sale = replace(self._shelf.on_sale, tariff=self._checked(kept))

    def _recover_plans(self, kept: str) -> None:
        self._at.plans.offer(self._plans(kept))


def _append(fact: facts.Fact, at: Instant, tx: Tx) -> None:
    tx.append(fact, at)


def _session_of(controller: EvseController) -> str | None:
    session = controller.state.session
    return None if session is None else session.session_id


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


def _tail(lines: Sequence[str], count: int) -> list[str]:
    """The newest lines that fit into one answer, oldest first."""
    room, found = _LOG_BYTES_MAX, []
    for line in reversed(lines[-count:]):
        room -= len(msgspec.json.encode(line)) + 1
        if room < 0:
            break
        found.append(line)
    return found[::-1]
