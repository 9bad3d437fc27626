"""One life of the till: the real composition root on virtual hardware, until it is stopped, killed or loses power.

A life ends at any step: a write or sync of the disk, a commit that is durable and not yet acted upon, a permission on
its way to the wallbox, a packet to the terminal, a message to the back office. From then on nothing that it does is
heard by anybody; the next life starts with the files as they were at that step.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

import msgspec
from parts.till_office import CampaignOffice
from parts.till_site import Site, SiteLine

from edge import app
from edge.config import Config
from edge.domain.session.state import Charging, EvseState
from edge.errors import TillError
from edge.ports import Clock
from edge.runtime.commands import Premises
from edge.store.connection import open_reader
from edge.store.store import Store, StoreClosed
from edge.store.transaction import Tx
from hw.bus.line import LineOptions
from hw.meters.register import RegisterMeter
from hw.terminals.zvt.dialog import Times
from hw.terminals.zvt.driver import ZvtTerminal
from hw.virtual.disk import install
from hw.virtual.loop import VirtualLoop
from hw.virtual.terminal_wire import Cable

T = TypeVar("T")

_MOMENT_S = 1e-6

#: What the till may still do after its death, for everything to be given back: its last time-outs.
_BURIAL_S = 60.0


class CampaignLoop(VirtualLoop):
    """A virtual loop on which threads are calls: nothing happens that the seed did not say."""

    def _skip(self, seconds: float) -> None:
        """A wait takes a moment at least: what is left of one after rounding would be waited for many times."""
        super()._skip(max(seconds, _MOMENT_S) if seconds > 0 else 0.0)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        del executor
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as e:  # noqa: BLE001  (it belongs to whoever waits)
            future.set_exception(e)
        return future

    def add_signal_handler(self, *_: Any) -> None:
        """The trial is not what is asked to end."""


class Life:
    """See the module. `alive` until it is killed; `ended` is set then, or when the till ended by itself."""

    def __init__(self, site: Site, config: Config, *, die_at: int | None) -> None:
        self.site = site
        self.die_at = die_at
        self.alive = True
        self.ended = asyncio.Event()
        self.steps = 0
        self.where = ""
        self.heads: list[tuple[str, int, str]] = []
        self.volume = install().mount(config.database.parent)
        self.volume.before = self._disk_step
        self.config = config
        self.till = app.Till(config)
        self.office: CampaignOffice | None = None
        self._cable: Cable | None = None
        self._work: set[asyncio.Task[Any]] = set()
        self._known: dict[int, tuple[str, int, str] | None] = {}
        self.powered_off = False

    # --- what the till does, and where it may die

    def step(self, what: str) -> None:
        """A place at which it may die: what was about to happen does not."""
        if not self.alive:
            return
        self.steps += 1
        if self.die_at is not None and self.steps >= self.die_at:
            self.kill(what)

    def _disk_step(self, operation: str) -> None:
        self.step(f"disk {operation}")

    def kill(self, where: str) -> None:
        """Nothing after this happens."""
        if not self.alive:
            return
        self.alive = False
        self.where = where
        self.volume.dead = True
        if self._cable is not None:
            self._cable.cut()
        self.ended.set()

    def committed(self, store: Store) -> None:
        head = store.head
        self.heads.append((head.epoch, head.seq, head.hash))
        self.step("after a commit")

    def permitted(self, number: int) -> None:
        """The wallbox is about to be told that it may: the journal has to know why (I1)."""
        head = self.heads[-1] if self.heads else None
        if head is not None and self._known.get(number) == head:
            return  # as the last time
        self._known[number] = head
        found = self._states().get(f"E{number + 1}")
        session = found.session if found is not None else None
        if session is None or not isinstance(session.state, Charging):
            state = "no session" if session is None else type(session.state).__name__
            self.site.problems.append(f"I1: E{number + 1} is permitted, the journal has {state}")
        elif session.payment.status != "authorized" or session.measured is None:
            self.site.problems.append(
                f"I1: E{number + 1} is permitted, its payment is {session.payment.status}"
            )

    def _states(self) -> dict[str, EvseState]:
        with contextlib.closing(open_reader(self.config.database)) as db:
            rows = db.execute("SELECT evse_id, state FROM evse").fetchall()
        return {k: msgspec.json.decode(v, type=EvseState) for k, v in rows}

    # --- its connections

    async def line(
        self, options: LineOptions, *, received: Callable[[bytes], None], lost: Callable[[str], None]
    ) -> SiteLine:
        del lost
        return SiteLine(
            self.site, options, alive=lambda: self.alive, permitted=self.permitted, step=self.step,
            received=received,
        )  # fmt: skip

    async def dial(
        self, options: LineOptions, *, received: Callable[[bytes], None], lost: Callable[[str], None]
    ) -> Cable:
        self._cable = cable = await self.site.terminal.dial(options, received=received, lost=lost)
        write = cable.write

        def counted(data: bytes) -> None:
            self.step("packet")
            if not self.alive:
                cable.cut()
            write(data)

        cable.write = counted  # type: ignore[method-assign]
        return cable

    def terminal(self, _name: str, options: Any, **_: Any) -> ZvtTerminal:
        return ZvtTerminal(options, password=bytes(3), times=Times(silence_s=20.0), dial=self.dial)

    def make_office(self, _config: Config, premises: Premises, **more: Any) -> CampaignOffice:
        on_rolled_back = more["on_rolled_back"]
        self.office = CampaignOffice(self, premises, on_rolled_back, more.get("credit"))
        return self.office

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Something that ends with this life."""
        task = asyncio.ensure_future(work)
        self._work.add(task)
        return task

    # --- from the start to the end

    async def run(self) -> None:
        """Until it is stopped, dies, or ends by itself; then nothing of it is left."""
        life = asyncio.ensure_future(self.till.run())
        life.add_done_callback(lambda _: self.ended.set())
        await self.ended.wait()
        if self.alive and life.done() and not life.cancelled():
            error = life.exception()
            if error is not None and not isinstance(error, TillError):
                self.site.problems.append(f"the till ended with {error!r}")
            self.where = "" if error is None else f"ended: {error}"
        left = (life, *self._work)
        for task in left:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BURIAL_S):
                await asyncio.gather(*left, return_exceptions=True)
        self.alive = False
        if self._cable is not None and not self.powered_off:
            self._cable.close()

    def stop(self) -> None:
        """Systemctl stop."""
        self.till._stop.set()  # noqa: SLF001


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


@contextmanager
def wired(current: Callable[[], Life], clock: Callable[[], Clock]) -> Iterator[None]:
    """The real till's parts, with the ends of their lines in the site."""

    class Committed(CampaignStore):
        def _commit(self, run: Callable[[Tx], T]) -> T:
            result = super()._commit(run)
            current().committed(self)
            return result

    async def open_line(options: LineOptions, **to: Any) -> SiteLine:
        return await current().line(options, **to)

    read = RegisterMeter.read

    async def fresh(meter: RegisterMeter) -> Any:
        """Each value that a driver gives is one that the register had while it was asked, or, where it says that it is
        not sure, before (I7).
        """
        life = current()
        stand = life.site.stands[meter._unit - 1]  # noqa: SLF001
        which, before_wh = stand.meter, life.site.registers_wh(stand)
        value = await read(meter)
        after_wh = life.site.registers_wh(stand)
        fits = (before_wh - 1 <= value.energy_wh or not value.sure) and value.energy_wh <= after_wh + 1
        if not (fits or stand.lied or stand.meter is not which or not life.alive):
            life.site.problems.append(
                f"I7: {value.energy_wh} Wh was read while the register was {before_wh} to {after_wh}"
            )
        return value

    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {"NOTIFY_SOCKET": ""}))  # as systemd starts it
        for target, name, new in (
            ("hw.bus.bus", "open_line", open_line),
            ("hw.bus.bus", "monotonic", loop.time),
            ("hw.meters.register.RegisterMeter", "read", fresh),
            ("hw.registry", "create_terminal", lambda *a, **k: current().terminal(*a, **k)),
            ("hw.registry", "create_reader", lambda *_, **__: current().site.antenna),
            ("edge.inventory", "make_clock", lambda _: clock()),
            ("edge.app", "Store", Committed),
            ("edge.outage", "Uplink", _Silent),
            ("edge.app", "Office", lambda *a, **k: current().make_office(*a, **k)),
        ):
            stack.enter_context(patch(f"{target}.{name}", new))
        yield
