"""One life of the till: the real composition root on virtual hardware, until it is stopped, killed or loses power.

A life ends at any step (parts/till_points.py): a write or sync of the disk, a commit that is durable and not yet acted
upon, an effect that is about to begin, a message on its way out or in. From then on nothing that it does is heard by
anybody; the next life starts with the files as they were at that step.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec
from parts.till_office import CampaignOffice
from parts.till_points import Fuse, name_of
from parts.till_prices import Prices
from parts.till_site import Site, SiteLine

from edge import app
from edge.config import Config
from edge.domain.ledger.facts import Fact, InvoiceSealed, SessionOpened
from edge.domain.session.state import Charging, EvseState, Stopping
from edge.errors import TillError
from edge.payments.acquirer.errors import AcquirerUnreachable
from edge.payments.acquirer.link import AcquirerLink
from edge.runtime.commands import Premises
from edge.store.connection import open_reader
from edge.store.store import Store
from hw.bus.line import LineOptions
from hw.terminals.zvt.dialog import Times
from hw.terminals.zvt.driver import ZvtTerminal
from hw.virtual.disk import install
from hw.virtual.loop import VirtualLoop
from hw.virtual.terminal_wire import Cable

T = TypeVar("T")

#: What the till may still do after its death, for everything to be given back: its last time-outs.
_BURIAL_S = 60.0


class CampaignLoop(VirtualLoop):
    """A virtual loop on which threads are calls: nothing happens that the seed did not say."""

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

    def __init__(self, site: Site, config: Config, *, fuse: Fuse) -> None:
        self.site = site
        self.fuse = fuse
        self.alive = True
        self.ended = asyncio.Event()
        self.steps = 0
        self.passed: set[str] = set()
        self.written: list[Fact] = []  # by the commit that is under way
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
        self._committed_s = -1.0
        self.powered_off = False
        self.prices = Prices(site, now=site.clock.now)

    # --- what the till does, and where it may die

    def step(self, *points: str) -> bool:
        """A place at which it may die: what was about to happen does not. True if it lives on."""
        if not self.alive:
            return False
        self.steps += 1
        self.passed.update(points)
        where = self.fuse.burns(self.steps, points)
        if where is not None:
            self.kill(where)
        return self.alive

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
        """A commit is durable."""
        self._committed_s = asyncio.get_running_loop().time()
        head = store.head
        self.heads.append((head.epoch, head.seq, head.hash))
        for fact in self.written:
            match fact:
                case SessionOpened():
                    self.prices.opened(fact)
                case InvoiceSealed():
                    self.prices.sealed(fact)
                case _:
                    pass
        if self.written:
            self.step(*dict.fromkeys(f"commit {name_of(fact.TYPE)}" for fact in self.written))

    def permitted(self, number: int) -> None:
        """The wallbox is about to be told that it may: the journal has to know why (I1)."""
        head = self.heads[-1] if self.heads else None
        if head is not None and self._known.get(number) == head:
            return  # as the last time
        self._known[number] = head
        found = self._states().get(f"E{number + 1}")
        if found is not None and found.welded is not None:
            self.site.problems.append(f"I1: E{number + 1} is permitted, its contactor is known to be welded")
        session = found.session if found is not None else None
        now_s = asyncio.get_running_loop().time()
        if session is not None and isinstance(session.state, Stopping) and now_s == self._committed_s:
            # renewed in the moment between the commit of its end and the effect that opens the contactor
            self._known[number] = None
            return
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
        def heard(data: bytes) -> None:
            if self.step("zvt reply"):
                received(data)

        self._cable = cable = await self.site.terminal.dial(options, received=heard, lost=lost)
        write = cable.write

        def counted(data: bytes) -> None:
            if not self.step(f"zvt {data[:1].hex().upper()} {data[1:2].hex().upper()}"):
                cable.cut()
            write(data)

        cable.write = counted  # type: ignore[method-assign]
        return cable

    def terminal(self, _name: str, options: Any, **_: Any) -> ZvtTerminal:
        return ZvtTerminal(options, password=bytes(3), times=Times(silence_s=20.0), dial=self.dial)

    def make_office(self, _config: Config, premises: Premises, **more: Any) -> CampaignOffice:
        on_rolled_back = more["on_rolled_back"]
        self.office = CampaignOffice(
            self.site, premises, on_rolled_back, alive=lambda: self.alive, step=self.step, credit=more.get("credit")
        )  # fmt: skip
        return self.office

    async def connect(self, link: AcquirerLink) -> Any:
        """Takes the place of the way in which edge.payments.acquirer.link connects."""
        assert self.site.acquirer is not None
        await asyncio.sleep(0.05)
        found = self.site.acquirer.connect(self.step) if self.alive else None
        if found is None:
            raise AcquirerUnreachable(f"{link.__class__.__name__}: the host does not answer")
        return found

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
