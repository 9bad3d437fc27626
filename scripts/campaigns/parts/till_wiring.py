"""The real till's parts, with the ends of their lines in the site of a trial, and every point at which it may die."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import string
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

from parts.till_life import Life
from parts.till_site import SiteLine

from edge.domain.ledger.facts import Fact
from edge.ports import Clock
from edge.runtime.controller import EvseController
from edge.store.store import Store, StoreClosed
from edge.store.transaction import Tx
from hw.bus.line import LineOptions
from hw.meters.bsm import Bsm
from hw.meters.register import RegisterMeter
from hw.meters.wm3m4 import Wm3m4

T = TypeVar("T")


class CampaignStore(Store):
    """The till's store, each commit made where it was asked for: a thread would make the trial a race."""

    def _put(self, job: Callable[[], None] | None) -> None:
        if job is not None:
            if self._closed:
                raise StoreClosed(f"{self.path} is closed")
            job()


class _Silent:
    """Takes the place of edge.sync.uplink.Uplink while the disk fails: it would dial."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def start(self) -> None:
        pass

    def stop(self, _timeout_s: float) -> None:
        pass


def _seeded(stack: ExitStack, rng: random.Random) -> None:
    """Names that the till draws are the same each time."""

    def urlsafe(size: int) -> str:
        return "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(4 * size // 3 + 1))

    def choice(of: Sequence[T]) -> T:
        return of[rng.randrange(len(of))]

    for name, new in (
        ("token_hex", lambda size: rng.randbytes(size).hex()),
        ("token_bytes", rng.randbytes),
        ("token_urlsafe", urlsafe),
        ("randbelow", rng.randrange),
        ("choice", choice),
    ):
        stack.enter_context(patch.object(secrets, name, new))
    stack.enter_context(patch.object(random, "SystemRandom", lambda: random.Random(rng.random())))  # noqa: S311


def _fresh(current: Callable[[], Life], read: Callable[[Any], Any], unit: Callable[[Any], int]) -> Any:
    """Each value that a driver gives is one that the register had while it was asked, or, where it says that it is not
    sure, before (I7).
    """

    async def fresh(meter: Any) -> Any:
        life = current()
        stand = life.site.stands[unit(meter) - 1]
        which, before_wh = stand.meter, life.site.registers_wh(stand)
        value = await read(meter)
        after_wh = life.site.registers_wh(stand)
        late = before_wh - which.resolution_wh > value.energy_wh
        fits = (not late or not value.sure) and value.energy_wh <= after_wh + 1
        if not (fits or stand.lied or stand.meter is not which or not life.alive):
            life.site.problems.append(
                f"I7: {value.energy_wh} Wh was read while the register was {before_wh} to {after_wh}"
            )
        return value

    return fresh


@contextmanager
def wired(current: Callable[[], Life], clock: Callable[[], Clock], rng: random.Random) -> Iterator[None]:
    """The real till's parts, with the ends of their lines in the site."""
    append, perform, show = Tx.append, EvseController._perform, EvseController._show  # noqa: SLF001

    class Committed(CampaignStore):
        def _commit(self, run: Callable[[Tx], T]) -> T:
            current().written.clear()
            result = super()._commit(run)
            current().committed(self)
            return result

    def appended(tx: Tx, fact: Fact, at: Any) -> Any:
        life = current()
        life.written.append(fact)
        return append(tx, fact, at)

    def performed(controller: EvseController, effect: Any, at: Any) -> None:
        current().step(f"effect {type(effect).__name__}")
        perform(controller, effect, at)

    def shown(controller: EvseController) -> None:
        show(controller)
        if current().alive:
            current().prices.shown(controller)

    async def open_line(options: LineOptions, **to: Any) -> SiteLine:
        return await current().line(options, **to)

    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {"NOTIFY_SOCKET": ""}))  # as systemd starts it
        _seeded(stack, rng)
        for driver, unit in (
            (RegisterMeter, lambda meter: meter._unit),  # noqa: SLF001
            (Wm3m4, lambda meter: meter._registers._unit),  # noqa: SLF001
            (Bsm, lambda meter: meter._registers._unit),  # noqa: SLF001
        ):
            stack.enter_context(patch.object(driver, "read", _fresh(current, driver.read, unit)))
        for target, name, new in (
            ("hw.bus.bus", "open_line", open_line),
            ("hw.bus.bus", "monotonic", loop.time),
            ("hw.registry", "create_terminal", lambda *a, **k: current().terminal(*a, **k)),
            ("hw.registry", "create_reader", lambda *_, **__: current().site.antenna),
            ("edge.payments.acquirer.link.AcquirerLink", "_connect", lambda link: current().connect(link)),
            ("edge.inventory", "make_clock", lambda _: clock()),
            ("edge.app", "Store", Committed),
            ("edge.store.transaction.Tx", "append", appended),
            ("edge.runtime.controller.EvseController", "_perform", performed),
            ("edge.runtime.controller.EvseController", "_show", shown),
            ("edge.outage", "Uplink", _Silent),
            ("edge.app", "Office", lambda *a, **k: current().make_office(*a, **k)),
        ):
            stack.enter_context(patch(f"{target}.{name}", new))
        yield
