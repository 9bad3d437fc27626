"""Where drivers arrive and how they pay: the readers, the terminals, the account, and leave from upstream.

Made from the configuration for all EVSEs of a till; part of the composition root. What no section names is not
loaded: a small computer has better use for the memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, cast

from edge.config import Config, TerminalConfig
from edge.domain.identity import IdToken
from edge.domain.instant import Instant
from edge.domain.ledger.facts import TerminalDayEnded
from edge.domain.payment import Method
from edge.domain.risk import Exposed, Policy
from edge.emv.oda.keys import CaKeys
from edge.emv.sun import SunKeys
from edge.errors import HardwareError
from edge.payments.account import AccountPayment, Caution, Offline
from edge.payments.upstream import UpstreamPayment
from edge.ports import CardReader, Clock, MemberList, PaymentMethod, PaymentTerminal, Upstream
from edge.runtime.arrivals import Arrivals
from edge.runtime.controller import EvseController
from edge.runtime.journal import StoredPayments
from edge.runtime.recognition import Pays, Recognition, TokenKey
from edge.runtime.taps import Taps
from edge.store import payments
from edge.store.store import Store
from edge.store.transaction import Tx
from edge.sync.contract.messages import TerminalHealth
from hw import registry

if TYPE_CHECKING:
    from edge.payments.acquirer.link import AcquirerLink
    from edge.payments.acquirer.options import AcquirerOptions
    from edge.payments.acquirer.payment import AcquirerPayment
    from edge.payments.desk import TerminalDesk
    from edge.runtime.bank_cards import BankCards
    from edge.runtime.counter import Counter

#: How often what is at risk is added up for the back office's eyes; what is accepted is added up for each tap.
_EXPOSURE_S = 60

#: A device that does not let go in this time has hung; its thread ends with the process.
_CLOSE_S = 3.0

Work = list[tuple[str, Coroutine[None, None, None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOffice:
    """What the ways to pay know of the back office: whether it can be reached, and how it is asked."""

    connected: Callable[[], bool]
    upstream: Upstream | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Keys:
    """The operator's key that turns cards into tokens; what cards prove themselves with, and bank cards."""

    token: bytes
    sun: SunKeys | None
    ca: CaKeys | None


class Entrances:
    """See the module. `attach` the controllers before `work`. Without a `back_office` the till stands alone.

    `known_at` is the latest time that has certainly come, None where none is known at all.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        store: Store,
        currency: str,
        members: MemberList,
        keys: Keys,
        hold_minor: Callable[[], int],
        back_office: BackOffice | None,
        known_at: Callable[[], datetime | None],
    ) -> None:
        self._config = config
        self._clock = clock
        self._store = store
        self._members = members
        self._keys = keys
        self._hold_minor = hold_minor
        self._currency = currency
        self._token_key = TokenKey(key=keys.token, key_id=config.membership.key_id)
        self._back_office = back_office
        self._known_at = known_at
        self._controllers: Sequence[EvseController] = ()
        self._devices: list[CardReader | PaymentTerminal] = []
        self._account = self._make_account()
        self._journal = StoredPayments(store, clock)
        self._line, self._acquirer = self._make_acquirer()
        self._desks = [(t, self._make_desk(n, t, currency)) for n, t in enumerate(config.terminals)]
        self._entrances: list[Taps | Counter] = []
        self.arrivals: list[Arrivals] = []
        #: what was accepted on account without a connection, as of a moment ago; None where there is no back office
        self.exposure_minor: int | None = None

    def payments(self, evse_id: str) -> Mapping[Method, PaymentMethod]:
        """The ways to pay at an EVSE."""
        found: dict[Method, PaymentMethod] = {"account": self._account}
        desk = self._desk(evse_id)
        if desk is not None:
            found["terminal"] = desk
        if self._acquirer is not None:
            found["card"] = self._acquirer
        if self._back_office is not None and self._back_office.upstream is not None:
            found["upstream"] = UpstreamPayment(
                self._back_office.upstream,
                evse_id=evse_id,
                now=self._clock.now,
                granted=self._keep_account,
            )
        return found

    def methods(self, evse_id: str) -> frozenset[Method]:
        """Those of them that work at the moment. A session that upstream has granted needs no connection."""
        found: set[Method] = {"account", "upstream"}
        desk = self._desk(evse_id)
        if desk is not None and desk.reason in (None, "terminal_busy"):
            found.add("terminal")
        if self._line is not None and self._line.connected:
            found.add("card")
        return frozenset(found)

    @property
    def desks(self) -> Mapping[int, TerminalDesk]:
        """The terminals' desks by their place in the configuration, from 0."""
        return {number: desk for number, (_, desk) in enumerate(self._desks)}

    def terminals(self) -> tuple[TerminalHealth, ...]:
        """How each terminal is; readable from any thread."""
        return tuple(TerminalHealth(reason=desk.reason, orphans=len(desk.orphans)) for _, desk in self._desks)

    def refusal(self) -> str | None:
        """Why nobody can start a session, as a code, or None: every reader and terminal is out of order."""
        if not self._entrances or not all(entrance.failing for entrance in self._entrances):
            return None
        return "reader_failed" if self._config.readers else "terminal_failed"

    def work(self, controllers: Sequence[EvseController]) -> Work:
        """What each of them does, until cancelled."""
        self._controllers = controllers
        work: Work = []
        recognition = Recognition(
            self._token_key,
            sun_keys=self._keys.sun,
            raise_counter=self._raise_counter,
            bank_cards=self._bank_cards(),
        )
        for driver in self._config.readers:
            reader = registry.create_reader(driver.name, driver.options, clock=self._clock)
            self._devices.append(reader)
            taps = Taps(
                reader,
                self._arrivals(controllers),
                recognition=recognition,
                clock=self._clock,
                offer=self._offer,
            )
            self._entrances.append(taps)
            work.append((driver.name, taps.run()))
        for terminal, desk in self._desks:
            served = [c for c in controllers if _serves(terminal, c.evse_id)]
            from edge.runtime.counter import Counter

            counter = Counter(desk, self._arrivals(served), token_key=self._token_key, clock=self._clock)
            self._entrances.append(counter)
            work += [(f"{terminal.driver.name} desk", desk.run()), (terminal.driver.name, counter.run())]
        if self._line is not None:
            work.append(("acquirer", self._line.serve()))
        if self._back_office is not None:
            work.append(("exposure", self._watch_exposure()))
        return work

    async def close(self) -> None:
        """Let go of readers and terminals; the next start of the same process opens them anew."""
        for device in self._devices:
            with suppress(HardwareError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await device.close()

    async def _watch_exposure(self) -> None:
        while True:
            self.exposure_minor = await self._store.tx(partial(_at_risk, day=self._last_day()))
            await self._clock.sleep(_EXPOSURE_S)

    def _arrivals(self, controllers: Sequence[EvseController]) -> Arrivals:
        arrivals = Arrivals(
            controllers, members=self._members, clock=self._clock, asks_upstream=self._asks_upstream
        )
        self.arrivals.append(arrivals)
        return arrivals

    def _asks_upstream(self) -> bool:
        office = self._back_office
        return office is not None and office.upstream is not None and office.connected()

    def _desk(self, evse_id: str) -> TerminalDesk | None:
        return next((desk for terminal, desk in self._desks if _serves(terminal, evse_id)), None)

    def _make_desk(self, number: int, terminal: TerminalConfig, currency: str) -> TerminalDesk:
        driver, section = terminal.driver, terminal.section
        ended_at = self._store.submit(lambda tx: payments.day_ended(tx.connection, number)).result()
        device = registry.create_terminal(driver.name, driver.options, clock=self._clock)
        self._devices.append(device)
        from edge.payments.desk import Options as DeskOptions
        from edge.payments.desk import TerminalDesk

        return TerminalDesk(
            device,
            self._journal,
            currency=currency,
            clock=self._clock,
            name=str(getattr(driver.options, "port", number)),
            wanted=lambda: any(c.wants_cards for c in self._controllers if _serves(terminal, c.evse_id)),
            options=DeskOptions(end_of_day_h=section.end_of_day_h or None, drain_h=section.drain_h),
            day_began=None if ended_at is None else Instant(ended_at, "", 0),
            day_ended=partial(self._day_ended, number),
        )

    async def _day_ended(self, number: int, at: Instant) -> None:
        await self._store.tx(lambda tx: tx.append(TerminalDayEnded(terminal=number), at))

    def _make_acquirer(self) -> tuple[AcquirerLink | None, AcquirerPayment | None]:
        """The line on which bank cards at a plain reader pay, in a laboratory."""
        if self._config.acquirer is None:
            return None, None
        options = cast("AcquirerOptions", self._config.acquirer)
        from edge.payments.acquirer.link import AcquirerLink
        from edge.payments.acquirer.payment import AcquirerPayment

        line = AcquirerLink(options, clock=self._clock)
        return line, AcquirerPayment(line, self._journal, options=options, clock=self._clock)

    def _bank_cards(self) -> BankCards | None:
        """What bank cards at a plain reader are: a name, or a way to pay; None where they are nothing."""
        emv = self._config.emv
        if emv.use == "off":
            return None
        from edge.payments.acquirer.handle import NUMBERS
        from edge.runtime.bank_cards import BankCards, Purse

        purse = Purse(
            currency=NUMBERS[self._currency],
            time_zone=self._config.site.time_zone,
            hold_minor=self._hold_minor,
            sells=lambda: any(c.state.session is None for c in self._controllers),
        )
        return BankCards(
            emv.terminal(serial=self._config.device.name),
            self._keys.ca,
            purse,
            token_key=self._token_key.key,
            key_id=self._token_key.key_id,
            clock=self._clock,
        )

    def _offer(self, card: Pays) -> None:
        if self._acquirer is not None:
            from edge.payments.acquirer.card_data import CardData

            self._acquirer.offer(card.token.value, CardData.of(card.request))

    def _make_account(self) -> AccountPayment:
        said, risk = self._config.membership, self._config.risk
        offline = None
        if self._back_office is not None:
            office = self._back_office
            policy = Policy(
                session_minor=risk.session_minor,
                card_minor_per_day=risk.card_minor_per_day,
                day_minor=risk.day_minor,
                device_minor=risk.device_minor,
                list_age_max_h=risk.list_age_max_h,
            )
            offline = Offline(policy=policy, cut_off=lambda: not office.connected(), exposed=self._exposed)
        caution = Caution(
            uid_limit_minor=said.uid_limit_minor, uid_sessions_per_day=said.uid_sessions_per_day
        )
        return AccountPayment(self._members, caution=caution, recent=self._recent, offline=offline)

    async def _recent(self, token: IdToken) -> int:
        day = self._last_day()
        return await self._store.tx(lambda tx: tx.sessions_of(token, day))

    def _surely(self) -> datetime:
        """The latest time that has certainly come: a clock that is wrong makes no list older and no day shorter."""
        return self._known_at() or self._clock.now().utc

    def _last_day(self) -> tuple[str, str, str]:
        return payments.last_day(self._surely(), shown=self._clock.now().utc)

    async def _exposed(self, token: IdToken) -> Exposed:
        """What is at risk. The list is as old as the last word from the back office, which would have changed it; the
        device's own file is as old as it is.
        """
        now, day = self._surely(), self._last_day()

        def asked(tx: Tx) -> tuple[payments.Exposure, datetime | None]:
            found = payments.exposure(tx.connection, day=day, token=token)
            return found, payments.last_heard(tx.connection)

        found, heard = await self._store.tx(asked)
        known = [at for at in (heard, self._written()) if at is not None]
        return Exposed(
            device_minor=found.device_minor,
            day_minor=found.day_minor,
            card_minor=found.card_minor,
            list_age_s=max(0, int((now - max(known)).total_seconds())) if known else None,
        )

    def _written(self) -> datetime | None:
        """When the device's own list was written."""
        try:
            return datetime.fromtimestamp(self._config.members_file.stat().st_mtime, UTC)
        except OSError:
            return None

    async def _keep_account(self, ref: str, account: str) -> None:
        await self._store.tx(lambda tx: tx.keep_account(ref, account))

    async def _raise_counter(self, token: IdToken, counter: int) -> bool:
        at = self._clock.now()
        return await self._store.tx(lambda tx: tx.raise_sun_counter(token, counter, at))


def _serves(terminal: TerminalConfig, evse_id: str) -> bool:
    return not terminal.section.evses or evse_id in terminal.section.evses


def _at_risk(tx: Tx, *, day: tuple[str, str, str]) -> int:
    return payments.exposure(tx.connection, day=day).device_minor
