"""The composition root: configuration -> devices -> controllers -> one TaskGroup, and the ordered stop.

An exception that nobody expected ends the process: contactors open, the journal is whole, systemd starts it
again, and recovery is the ordinary way to start. A disk that fails ends everything but the process: the till waits for
it, out of order (edge/outage.py), and starts anew.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, cast

from edge import __version__, inventory, log
from edge.bookkeeping import Bookkeeping
from edge.config import Config
from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.session.state import open_sessions
from edge.entrances import BackOffice, Entrances, Keys
from edge.errors import HardwareError, TillError
from edge.kiosk import Board, KioskOptions
from edge.office import Office, health
from edge.outage import ENDURED, Outage
from edge.payments.members import JoinedMembers
from edge.ports import Evse
from edge.runtime import operator, release
from edge.runtime.arrivals import ScreenActions
from edge.runtime.commands import Premises
from edge.runtime.controller import EvseController
from edge.runtime.credits import CreditDesk, Refunds
from edge.runtime.plans import PlanBook
from edge.runtime.quarantine import Crashes, StandingAside, calmed, counted
from edge.runtime.settings import Settings
from edge.runtime.shelf import OnSale, Shelf
from edge.runtime.watchdog import notify, watch, watch_file, watch_threads
from edge.stands import Stands, documents_of, saved_states
from edge.store.boots import recall
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store, StoreClosed, StoreInUse
from edge.store.transaction import Tx
from edge.sync.contract.messages import StateFields
from edge.sync.contract.orders import Credit
from edge.timekeeping import Timekeeper
from hw import registry
from hw.bus.pool import BusPool
from hw.worker import hung_threads

if TYPE_CHECKING:
    from edge.metrics.measure import Sources
    from edge.metrics.options import MetricsOptions

#: At the end, for opening the contactors: some time-outs on a line that has trouble.
_OPEN_MAX_S = 3.0
_OPEN_TRIES = 3
_OPEN_RETRY_S = 0.2


class Till:
    """One till, built from its configuration; `run` returns after an ordered stop."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._clock = inventory.make_clock(config)
        self._time = Timekeeper(self._clock, source=config.clock.trust)
        self._buses = BusPool(self._clock)
        self._evses: list[Evse] = []
        self._tariff = inventory.load_tariff(config)
        self._fallback = inventory.load_fallback(config, self._tariff.tariff.currency)
        self._keys = Keys(
            token=inventory.load_operator_key(config.members_key_file),
            sun=inventory.load_sun_keys(config.sun_keys_file),
            ca=inventory.load_bank_cards(config),
        )
        self._listed = inventory.load_members(config, self._tariff.tariff.currency)
        self._members = JoinedMembers(self._listed)
        self._offered_plans = inventory.offered_plans(config, self._tariff.tariff.currency)
        self._plans = PlanBook((), {}, {})
        self._board = Board()
        self._office: Office | None = None
        self._controllers: list[EvseController] = []
        self._crashes = Crashes(config.database, version(), now=lambda: self._clock.now().utc)
        self._entrances: Entrances | None = None
        self._books: Bookkeeping | None = None
        self._credits: CreditDesk | None = None
        self._refunds: Refunds | None = None
        self._stop = asyncio.Event()
        self._sold = False

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises TillError when it cannot go on; contactors are open then."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        outage = Outage(self._config, self._board, self._clock)
        try:
            while not self._stop.is_set():
                try:
                    await self._once()
                except ENDURED as e:
                    if not self._stays:
                        raise
                    await outage.last(e, self._stop)
        finally:
            await self._buses.close()

    async def _once(self) -> None:
        """From the journal to the ordered stop, or to an error. Contactors are open then."""
        self._evses = [
            registry.create_evse(
                e.charge_point.name, e.charge_point.options, clock=self._clock, buses=self._buses
            )
            for e in self._config.evses
        ]
        try:
            await self._live()
        except StoreInUse:
            self._evses = []  # they belong to the daemon that runs already
            raise
        finally:
            await self._open_all()

    @property
    def _stays(self) -> bool:
        """Whether a disk that fails is waited for: by a till that has sold, or that systemd would only start again."""
        return self._sold or "NOTIFY_SOCKET" in os.environ

    async def _live(self) -> None:
        config, now = self._config, self._clock.now()
        store = Store.open(
            config.database,
            key=load_or_make(config.key),
            owner=Owner(site=config.device.site, device=config.device.name),
            prefix=config.invoice.prefix,
            now=now,
        )
        async with AsyncExitStack() as stack:
            stack.callback(store.close)
            states = saved_states(store, config)
            documents = documents_of(store, states.values())
            self._plans = PlanBook(self._offered_plans, store.plan_balances(), store.plan_statements())
            booted = facts.DeviceBooted(version=version(), clean_stop=store.stopped_cleanly())
            shelf = self._shelf(documents)
            self._books = Bookkeeping(config, store, self._clock)
            self._office = office = self._make_office(store, shelf, self._books)
            self._members = JoinedMembers(*office.members, self._listed)
            self._entrances = self._make_entrances(store, shelf, office)
            stack.push_async_callback(self._entrances.close)
            await store.tx(lambda tx: self._booted(tx, booted, now))
            stands = Stands(
                config=config,
                clock=self._clock,
                buses=self._buses,
                store=store,
                shelf=shelf,
                plans=self._plans,
                entrances=self._entrances,
                display=self._board,
                online=self._online,
                refusal=self._refused,
                known_at=self._time.known,
            )
            self._controllers = [
                stands.controller(
                    evse,
                    charge_point,
                    states.get(evse.section.id),
                    aside=self._crashes.quarantined(evse.section.id),
                )
                for evse, charge_point in zip(config.evses, self._evses, strict=True)
            ]
            for desk in self._entrances.desks.values():
                desk.set_aside(self._stranded)
            self._credits = self._make_credits(store, self._entrances)
            self._books.open(
                self._controllers,
                more={
                    **operator.handlers(self._entrances.desks),
                    **release.handlers(self._controllers, self._clock),
                    "invoice.credit": self._credits.ordered,
                },
                forget_members=office.forget,
            )
            office.open(self._controllers)
            stack.callback(office.close)
            await self._run_all(store)
            await self._stopped(store)

    def _booted(self, tx: Tx, booted: facts.DeviceBooted, now: Instant) -> None:
        self._time.recall(recall(tx.connection), now)
        tx.append(booted, now)
        for correction in self._plans.corrections(now.utc):
            tx.append(correction, now)
            self._plans.apply(correction)

    async def _run_all(self, store: Store) -> None:
        config = self._config
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(work, name=name) for name, work in self._work(store)]
                log.event(
                    "till.ready", device=config.device.name, evses=len(config.evses), epoch=store.head.epoch
                )
                notify("READY=1")
                self._sold = True
                await self._stop.wait()
                notify("STOPPING=1")
                for task in running:
                    task.cancel()
        except BaseExceptionGroup as errors:
            known = _known(errors)
            if known is None:
                raise
            raise known from errors
        finally:
            await self._open_all()  # at once: what follows may take seconds

    def _work(self, store: Store) -> list[tuple[str, Coroutine[None, None, None]]]:
        config = self._config
        work: list[tuple[str, Coroutine[None, None, None]]] = [
            (c.evse_id, counted(c, self._crashes)) for c in self._controllers
        ]
        work.append(("crashes", calmed(self._crashes)))
        selling = [c for c in self._controllers if not isinstance(c, StandingAside)]
        assert self._entrances is not None
        work += self._entrances.work(selling)
        if config.kiosk is not None:
            from edge.kiosk.server import serve as serve_kiosk

            options = cast("KioskOptions", config.kiosk)
            actions = ScreenActions(selling, self._entrances.arrivals)
            reader = bool(config.readers)
            work.append(("kiosk", serve_kiosk(self._board, options, actions=actions, reader=reader)))
        if config.receipt is not None and config.receipt.local:
            from edge.receipts.till import serve_own

            own = serve_own(
                config.database,
                time_zone=config.site.time_zone,
                keep_days=config.receipt.keep_days,
                listen=config.receipt.listen,
                now=lambda: self._clock.now().utc,
            )
            work.append(("receipts", own))
        if config.metrics is not None:
            from edge.metrics.server import serve as serve_metrics

            work.append(("metrics", serve_metrics(cast("MetricsOptions", config.metrics), self._sources())))
        work.append(("clock", self._time.watch(store)))
        if self._office is not None:
            work.append(("office", self._office.watch()))
        if self._books is not None:
            work += self._books.work()
        if self._refunds is not None:
            work.append(("refunds", self._refunds.run()))
        work.append(("watchdog", watch(selling, store)))
        work.append(("database", watch_file(store)))
        work.append(("threads", watch_threads(hung_threads)))
        return work

    def _shelf(self, documents: dict[str, str]) -> Shelf:
        own = OnSale(
            tariff=self._tariff,
            hold_minor=self._config.tariff.hold_minor,
            rules=self._config.rules,
            fallback=self._fallback,
        )
        return Shelf(own, documents=documents, in_use=self._in_use)

    def _in_use(self) -> set[str]:
        """Hashes of the tariffs and plans that open sessions began with."""
        sessions = [s for c in self._controllers for s in open_sessions(c.state)]
        return {h for s in sessions for h in (s.tariff_hash, s.plan_hash) if h is not None}

    def _stranded(self) -> frozenset[str]:
        """Payments of EVSEs that stand aside, by reference: what of them is not settled now may never be."""
        aside = [c for c in self._controllers if isinstance(c, StandingAside)]
        return frozenset(s.payment.ref for c in aside for s in open_sessions(c.state))

    def _make_entrances(self, store: Store, shelf: Shelf, office: Office) -> Entrances:
        back_office = None
        if self._config.mqtt is not None:
            back_office = BackOffice(connected=lambda: bool(office.online), upstream=office.upstream)
        return Entrances(
            self._config,
            clock=self._clock,
            store=store,
            currency=self._tariff.tariff.currency,
            members=self._members,
            keys=self._keys,
            hold_minor=lambda: shelf.on_sale.hold_minor,
            back_office=back_office,
            known_at=self._time.known,
        )

    def _make_credits(self, store: Store, entrances: Entrances) -> CreditDesk:
        payments = entrances.payments(self._config.evses[0].section.id)
        self._refunds = Refunds(store, payments, self._clock)
        return CreditDesk(store, self._clock, self._refunds)

    def _make_office(self, store: Store, shelf: Shelf, books: Bookkeeping) -> Office:
        config = self._config
        premises = Premises(
            shelf=shelf,
            plans=self._plans,
            store=store,
            clock=self._clock,
            own=Settings(hold_minor=config.tariff.hold_minor, rules=config.rules),
            profile=config.tariff.profile,
            time_zone=config.site.time_zone,
            kinds=frozenset(evse.section.kind for evse in config.evses),
            polls_s=tuple(evse.section.poll_s for evse in config.evses),
        )
        return Office(
            config,
            premises,
            state=self._state_fields,
            on_rolled_back=books.rolled_back,
            credit=self._credited,
            erase=books.erased,
        )

    async def _credited(self, body: Credit) -> dict[str, Any]:
        """What the back office orders to be taken back."""
        assert self._credits is not None
        return await self._credits.from_office(body)

    def _state_fields(self) -> StateFields:
        """Health for the back office; called on the uplink's thread, reads frozen facts only."""
        return StateFields(
            version=version(),
            boot_id=self._clock.now().boot_id,
            clock_trusted=self._clock.trusted(),
            evses=health(self._controllers),
            exposure_minor=None if self._entrances is None else self._entrances.exposure_minor,
            terminals=() if self._entrances is None else self._entrances.terminals(),
        )

    def _refused(self) -> str | None:
        """Why nothing new is sold, as a code: the ledger's reason, or that no card can be read."""
        reason = self._books.refusal() if self._books is not None else None
        if reason is None and self._entrances is not None:
            return self._entrances.refusal()
        return reason

    def _sources(self) -> Sources:
        from edge.metrics.measure import Sources

        database, clock, evses = self._config.database, self._clock, self._controllers
        return Sources(version=version(), database=database, evses=evses, clock=clock, connected=self._online)

    def _online(self) -> bool | None:
        return self._office.online if self._office is not None else None

    async def _stopped(self, store: Store) -> None:
        """Where each session stands, then the last word of this run. The contactors are open."""
        for controller in self._controllers:
            await controller.checkpoint()
        at = self._clock.now()
        await store.tx(lambda tx: _last_word(tx, at))
        self._crashes.forget()
        log.event("till.stopped")

    async def _open_all(self) -> None:
        async def opened(evse: Evse) -> None:
            failure: Exception = TimeoutError("the charge point does not answer")
            try:
                async with asyncio.timeout(_OPEN_MAX_S):
                    for _ in range(_OPEN_TRIES):
                        try:
                            await evse.revoke()
                        except HardwareError as e:
                            failure = e
                            await asyncio.sleep(_OPEN_RETRY_S)
                        else:
                            return
            except TimeoutError:
                pass
            except Exception as e:  # noqa: BLE001  (a driver's mistake must not keep the other contactors closed)
                failure = e
            log.error("evse.not_opened", error=failure)

        evses, self._evses = self._evses, []
        await asyncio.gather(*(opened(evse) for evse in evses))


def _last_word(tx: Tx, at: Instant) -> None:
    tx.append(facts.DeviceStopped(reason="asked"), at)
    tx.sign(at)


def version() -> str:
    return __version__


def _known(errors: BaseExceptionGroup[BaseException]) -> TillError | None:
    """What happened, where every error in the group is the till's own: the first that is no consequence."""
    leaves = list(_leaves(errors))
    known = [e for e in leaves if isinstance(e, TillError)]
    if len(known) < len(leaves):
        return None
    return next((e for e in known if not isinstance(e, StoreClosed)), known[0])


def _leaves(errors: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
