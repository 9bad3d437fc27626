"""Each EVSE put together: its meter and charge point, what it sells, and where its last commit left it.

Part of the composition root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from typing import cast

import msgspec

from edge.config import Config, EvseConfig
from edge.domain.invoice import Place, Seller
from edge.domain.session.state import EvseState, open_sessions
from edge.entrances import Entrances
from edge.errors import ConfigError, LedgerError
from edge.kiosk import KioskOptions
from edge.ports import Clock, Display, Evse, ExtendingMethod
from edge.runtime.controller import EvseController, Options, World
from edge.runtime.offers import Offers, Sale
from edge.runtime.plans import PlanBook
from edge.runtime.quarantine import StandingAside
from edge.runtime.shelf import Shelf
from edge.sections import EvseSection
from edge.store.store import Store
from hw import registry
from hw.bus.pool import BusPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stands:
    """Makes the controllers of one till; `refusal` tells why the whole of it sells nothing, as a code, or None,
    `known_at` the latest time that has certainly come.
    """

    config: Config
    clock: Clock
    buses: BusPool
    store: Store
    shelf: Shelf
    plans: PlanBook
    entrances: Entrances
    display: Display
    online: Callable[[], bool | None]
    refusal: Callable[[], str | None]
    known_at: Callable[[], datetime | None]

    def controller(
        self, evse: EvseConfig, charge_point: Evse, saved: EvseState | None, *, aside: bool = False
    ) -> EvseController:
        """One EVSE, where its last commit left it; one in quarantine stands `aside`."""
        section = evse.section
        meter = registry.create_meter(evse.meter.name, evse.meter.options, clock=self.clock, buses=self.buses)
        world = World(
            meter=meter,
            evse=charge_point,
            payments=self.entrances.payments(section.id),
            offers=self._offers(section, meter.limits.rated_power_w),
            plans=self.plans,
            store=self.store,
            clock=self.clock,
            display=self.display,
            online=self.online,
        )
        options = Options(
            evse_id=section.id,
            label=section.label,
            max_current_a=section.max_current_a,
            poll_s=section.poll_s,
            evse_stale_s=section.stale_s,
        )
        kind = StandingAside if aside else EvseController
        return kind(options, world, state=saved or EvseState(evse_id=section.id))

    def _offers(self, section: EvseSection, rated_power_w: int) -> Offers:
        config, shelf = self.config, self.shelf
        seller, site = config.seller, config.site
        kiosk = cast("KioskOptions | None", config.kiosk)
        place = Place(
            evse_id=section.id,
            label=section.label,
            address=site.address,
            time_zone=site.time_zone,
            coordinates=site.coordinates,
        )
        ways = self.entrances.payments(section.id)
        sale = Sale(
            place=place,
            seller=Seller(
                name=seller.name, address=seller.address, country=seller.country, tax_id=seller.tax_id
            ),
            rated_power_w=rated_power_w,
            own_power_w=section.own_power_w,
            evse_kind=section.kind,
            languages=kiosk.languages if kiosk is not None else ("en",),
            methods=partial(self.entrances.methods, section.id),
            extending=frozenset(name for name, way in ways.items() if isinstance(way, ExtendingMethod)),
            hold_max_minor=config.tariff.hold_max_minor,
            receipt_url=None if config.receipt is None else config.receipt.url,
            zero_tax=config.invoice.zero_tax,
        )
        return Offers(
            sale,
            shelf,
            self.plans,
            refusal=lambda: shelf.refusal(section.id) or self.refusal(),
            known_at=self.known_at,
        )


def documents_of(store: Store, states: Iterable[EvseState]) -> dict[str, str]:
    """Tariffs and plans of the sessions that are open, by hash; asked before the store's thread has work."""
    found: dict[str, str] = {}
    for session in chain.from_iterable(open_sessions(state) for state in states):
        found[session.tariff_hash] = store.tariff(session.tariff_hash)
        if session.plan_hash is not None:
            found[session.plan_hash] = store.plan(session.plan_hash)
    return found


def saved_states(store: Store, config: Config) -> dict[str, EvseState]:
    """Where each EVSE's last commit left it. Raises ConfigError for an open session that nobody would end (I2)."""
    try:
        states = {k: msgspec.json.decode(v, type=EvseState) for k, v in store.evse_states().items()}
    except msgspec.DecodeError as e:
        raise LedgerError(f"{config.database}: the state of an EVSE cannot be read: {e}") from e
    configured = {e.section.id for e in config.evses}
    left = sorted(k for k, v in states.items() if open_sessions(v) and k not in configured)
    if left:
        raise ConfigError(
            tuple(f"{config.path}: evse {k!r} is missing, and has an open session" for k in left),
            hint="configure it again until its session has ended",
        )
    return states
