"""One controller an EVSE: a bounded mailbox, one consumer, and `event -> step -> commit -> effects`.

The consumer alone changes the state, so the domain needs no locks. Effects are tasks that post their results
back as events; none starts before the commit of the step that asked for it (I2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, assert_never

import msgspec

from edge import log
from edge.domain.instant import Instant
from edge.domain.invoice import Invoice, InvoiceDraft
from edge.domain.ledger.facts import ContactorWelded, EnergyEnded, PlanBalanceChanged, SessionEnded
from edge.domain.payment import Method
from edge.domain.session import effects as fx
from edge.domain.session import events as ev
from edge.domain.session.machine import step
from edge.domain.session.recovery import awaited
from edge.domain.session.screen import view
from edge.domain.session.settling import is_due
from edge.domain.session.state import AwaitingClock, Charging, EvseState, Settling, find
from edge.domain.session.terms import Terms
from edge.domain.view import Notice, View
from edge.ports import Clock, Display, Evse, Meter, PaymentMethod, SignedMeter
from edge.runtime.calls import Calls
from edge.runtime.metering import MeterWatch
from edge.runtime.offers import Offers
from edge.runtime.paying import Paying
from edge.runtime.permission import Permission
from edge.runtime.plans import PlanBook
from edge.runtime.signing import Signing
from edge.runtime.vehicle import VehicleWatch
from edge.store.store import Store
from edge.store.transaction import Tx

#: Events that may wait. The sources wait in their turn when it is full; nothing is dropped.
_MAILBOX_MAX = 256

#: The consumer has to have finished an event this recently for permission to be renewed (virtual seconds).
_PROGRESS_MAX_S = 10

#: How long a passing word stays on the screen.
_NOTICE_S = 6


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How one EVSE is run. Seconds; amperes a phase."""

    evse_id: str
    label: str
    max_current_a: int
    poll_s: float
    evse_stale_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a controller works with: the EVSE's own devices, and what all of them share."""

    meter: Meter
    evse: Evse
    payments: Mapping[Method, PaymentMethod]
    offers: Offers
    plans: PlanBook
    store: Store
    clock: Clock
    display: Display
    online: Callable[[], bool | None]


class EvseController:
    """Runs one EVSE until cancelled. `post` delivers an event; `state` is as of the last one."""

    def __init__(self, options: Options, world: World, *, state: EvseState) -> None:
        self.state = state
        self.shown: View | None = None
        self._options = options
        self._offers = world.offers
        self._plans = world.plans
        self._store = world.store
        self._clock = clock = world.clock
        self._display = world.display
        self._online = world.online
        signing = None
        if isinstance(world.meter, SignedMeter):
            signing = Signing(world.meter, store=world.store, clock=clock, evse_id=options.evse_id)
        self._paying = Paying(
            world.payments,
            evse_id=options.evse_id,
            find=lambda ref: find(self.state, ref=ref),
            clock=clock,
            post=self.post,
        )
        self._meter = MeterWatch(
            world.meter,
            signing=signing,
            open_session=self._open_session,
            awaited=lambda: awaited(self.state),
            clock=clock,
            poll_s=options.poll_s,
            post=self.post,
            name=options.evse_id,
        )
        evse_calls = Calls(f"{options.evse_id} charge point")
        self._permission = Permission(
            world.evse,
            evse_calls,
            evse_id=options.evse_id,
            current_a=options.max_current_a,
            clock=clock,
            start=self._start,
            opened=self._opened,
        )
        self._vehicle = VehicleWatch(
            world.evse,
            evse_calls,
            evse_id=options.evse_id,
            clock=clock,
            poll_s=options.poll_s,
            stale_s=options.evse_stale_s,
            post=self.post,
        )
        self._calls = (self._meter.calls, evse_calls)
        self._mailbox: asyncio.Queue[ev.Event] = asyncio.Queue(_MAILBOX_MAX)
        self._tasks: asyncio.TaskGroup | None = None
        self._trusted = False
        self._progress: Instant = clock.now()
        self._notice: tuple[Notice, Instant] | None = None
        self._notices = 0
        self._choosing = False
        self._order: tuple[str | None] | None = None

    @property
    def evse_id(self) -> str:
        return self._options.evse_id

    @property
    def meter_read_at(self) -> datetime | None:
        """Wall time of the last good reading."""
        return self.state.meter_seen.utc if self.state.meter_seen is not None else None

    def silent_s(self) -> float:
        """Seconds since an event was last handled."""
        return self._clock.now().seconds_since(self._progress)

    def stuck_s(self) -> float:
        """Real seconds since the driver of the meter or of the charge point has last come back, where one hangs."""
        return max(calls.stuck_s() for calls in self._calls)

    async def post(self, event: ev.Event) -> None:
        """Deliver an event; waits while the mailbox is full."""
        await self._mailbox.put(event)

    async def request_stop(self, reason: Literal["remote", "screen"]) -> None:
        """End the running session."""
        await self.post(ev.StopRequested(at=self._clock.now(), reason=reason))

    @property
    def wants_cards(self) -> bool:
        """True while a card may start a session here, or end the one that runs."""
        session = self.state.session
        if session is not None:
            return isinstance(session.state, Charging)
        return self.shown is not None and self.shown.kind in ("idle", "paid", "ended")

    def tell(self, code: str) -> None:
        """A passing word on this EVSE's screen."""
        self._note(code, self._clock.now())
        self._show()

    def offer_choice(self, *, on: bool) -> None:
        """Whether a tap waits for its driver to choose this EVSE or another one on the screen."""
        self._choosing = on
        self._show()

    def _note(self, code: str, at: Instant) -> None:
        self._notices += 1
        self._notice = (Notice(code=code, serial=self._notices), at)

    async def run(self) -> None:
        """Open the contactor, recover, then live. Ends only by cancellation or an error nobody expected."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._trusted = self._clock.trusted()
            await self._apply(ev.Booted(at=self._clock.now()))
            tasks.create_task(self._consume(), name=f"{self.evse_id} events")
            tasks.create_task(self._meter.run(), name=f"{self.evse_id} meter")
            tasks.create_task(self._vehicle.run(), name=f"{self.evse_id} evse")
            tasks.create_task(self._tick(), name=f"{self.evse_id} tick")
            renewing = self._permission.renew(self._options.poll_s, self._lives)
            tasks.create_task(renewing, name=f"{self.evse_id} lease")

    async def checkpoint(self) -> None:
        """Commit where a running session stands, so that an ordered stop loses no second of it."""
        await self._apply(ev.CheckpointDue(at=self._clock.now()))

    async def _consume(self) -> None:
        while True:
            await self._apply(await self._mailbox.get())

    async def _apply(self, event: ev.Event) -> None:
        if isinstance(event, ev.ClockBecameTrusted):
            self._trusted = True  # not sooner: earlier events carry the wrong time
        if (
            isinstance(event, ev.CardTapped)
            and self.state.session is None
            and self._offers.is_news(event.at, clock_trusted=self._trusted)
        ):
            self.tell("price_changed")
            return
        outcome = step(self.state, event, self._terms(event))
        for record in outcome.records:
            if isinstance(record, PlanBalanceChanged):
                self._plans.apply(record)  # before anything else may reserve the same units
        invoice = await self._commit(outcome, event.at)
        self._progress = self._clock.now()
        for effect in outcome.effects:
            self._perform(effect, event.at)
        _log_ends(self.evse_id, outcome.records, invoice)
        if invoice is not None:
            session_id = invoice.draft.session_id
            await self._apply(ev.InvoiceNumbered(at=event.at, session_id=session_id, number=invoice.number))
        self._show()

    def _terms(self, event: ev.Event | None = None) -> Terms:
        """The terms of the session that an event is about; else those on sale, to this member if one taps."""
        now, member = self._clock.now(), None
        session = self.state.session
        match event:
            case ev.PaymentAnswered(answer=answer):
                session = find(self.state, ref=answer.ref)
            case ev.SettlementDue(session_id=session_id):
                session = next((s for s in self.state.unsettled if s.session_id == session_id), None)
            case ev.CardTapped():
                member = event.member
            case _:
                pass
        if session is not None:
            return self._offers.session(session, now=now, clock_trusted=self._trusted)
        return self._offers.on_sale(member, now=now, clock_trusted=self._trusted)

    async def _commit(self, outcome: fx.Step, at: Instant) -> Invoice | None:
        """Make a step durable. Once begun it is waited for, also by whoever is cancelled meanwhile: what is in
        memory never falls behind the journal.
        """
        if not outcome.records:
            self.state = outcome.state
            return None
        commit = asyncio.ensure_future(self._store.tx(lambda tx: _commit(tx, outcome, at)))
        try:
            invoice = await asyncio.shield(commit)
        except asyncio.CancelledError:
            await asyncio.wait({commit})
            if commit.exception() is None:
                self.state = outcome.state
            raise
        self.state = outcome.state
        return invoice

    def _perform(self, effect: fx.Effect, at: Instant) -> None:
        match effect:
            case fx.Preauthorize() | fx.Extend() | fx.Capture() | fx.Reverse():
                self._start(self._paying.pay(effect))
            case fx.ReadBegin():
                self._meter.want(effect)
            case fx.ReadEnd():
                self._start(self._read_end(effect))
            case fx.Energize():
                self._permission.grant()
            case fx.OpenContactor():
                self._permission.take_back()
            case fx.Tell(code=code):
                self._note(code, at)
            case _:
                assert_never(effect)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        assert self._tasks is not None
        return self._tasks.create_task(work)

    async def _read_end(self, effect: fx.ReadEnd) -> None:
        """Once the contactor is open, or its lease has run out: nothing flows after the end reading."""
        await self._permission.over()
        self._meter.want(effect)

    def _open_session(self) -> str | None:
        """The session that the meter may be signing: until its end reading is there."""
        session = self.state.session
        if session is None or isinstance(session.state, Settling | AwaitingClock):
            return None
        return session.session_id

    async def _opened(self) -> None:
        await self.post(ev.ContactorOpened(at=self._clock.now()))

    def _lives(self) -> bool:
        return self.silent_s() <= _PROGRESS_MAX_S

    async def _tick(self) -> None:
        trusted = self._trusted
        while True:
            await self._clock.sleep(1)
            if not trusted and self._clock.trusted():
                trusted = True
                await self.post(ev.ClockBecameTrusted(at=self._clock.now()))
            now = self._clock.now()
            await self._vehicle.look()
            await self.post(ev.Ticked(at=now))
            running = self.state.session
            if running is not None and self._paying.lost(running):
                await self.post(ev.HoldLost(at=now, ref=running.payment.ref))
            for session in self.state.unsettled:
                if is_due(session, now, clock_trusted=self._trusted):
                    await self.post(ev.SettlementDue(at=now, session_id=session.session_id))

    def _show(self) -> None:
        now = self._clock.now()
        self._offers.drawn(now, clock_trusted=self._trusted)
        if self._notice is not None and now.seconds_since(self._notice[1]) > _NOTICE_S:
            self._notice = None
        self.shown = view(
            self.state,
            self._terms(),
            now,
            online=self._online(),
            notice=self._notice and self._notice[0],
            choosing=self._choosing,
        )
        self._display.show(self.shown)
        self._tell_order(self.shown)

    def _tell_order(self, shown: View) -> None:
        """One line in the log whenever this EVSE becomes of use to a driver, or of none."""
        reason = None
        match shown.kind:
            case "starting_up":
                return
            case "out_of_order":
                reason = shown.reason or "unknown"
            case _:
                pass
        if self._order == (reason,):
            return
        self._order = (reason,)
        if reason is None:
            log.event("evse.in_order", evse_id=self.evse_id)
        else:
            log.warning("evse.out_of_order", evse_id=self.evse_id, reason=reason)


def _commit(tx: Tx, outcome: fx.Step, at: Instant) -> Invoice | None:
    """One step, whole: its facts in order, the number of its invoice, and the state that follows."""
    invoice: Invoice | None = None
    for record in outcome.records:
        match record:
            case InvoiceDraft():
                invoice = tx.seal(record, at)
            case fx.FreezeTariff(hash=tariff_hash, document=document):
                tx.freeze_tariff(tariff_hash, document, at)
            case fx.FreezePlan(hash=plan_hash, document=document):
                tx.freeze_plan(plan_hash, document, at)
            case _:
                tx.append(record, at)
    if outcome.personal is not None:
        personal = outcome.personal
        tx.keep_personal(personal.session_id, personal.token, personal.salt)
        if personal.buyer is not None:
            tx.keep_buyer(personal.buyer)
    tx.save_evse(outcome.state.evse_id, msgspec.json.encode(outcome.state))
    return invoice


def _log_ends(evse_id: str, records: tuple[fx.Record, ...], invoice: Invoice | None) -> None:
    """One line for each session that reaches its final state, and an alarm for a contactor that does not open."""
    energy = next((r for r in records if isinstance(r, EnergyEnded)), None)
    for record in records:
        if isinstance(record, ContactorWelded):
            log.error("evse.contactor_welded", evse_id=evse_id, evidence=record.evidence)
        if isinstance(record, SessionEnded):
            draft = invoice and invoice.draft
            log.event(
                "session.ended",
                evse_id=evse_id,
                session_id=record.session_id,
                outcome=record.outcome,
                reason=record.reason,
                energy_wh=draft.energy_wh if draft else energy and energy.energy_wh,
                paid_minor=draft and draft.paid.captured_minor,
                invoice=invoice and invoice.number,
            )
