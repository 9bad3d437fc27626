"""The site of a trial: cars, meters, wallboxes, a terminal, a reader, a broker and a back office, in virtual time.

Everything that outlives the till stands here, and keeps its own books. The till reaches it through lines that end
with its life: what is dead is not heard.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import msgspec
from parts.till_acquirer import Acquirer
from parts.till_meters import MeterModel, SiteMeter

from edge.backoffice.books import Books
from edge.domain.instant import Instant
from edge.domain.tariffs import FrozenTariff
from edge.ports import Card, Tap
from edge.sync.contract.topics import Peer
from hw.bus.errors import LineDown
from hw.bus.line import LineOptions
from hw.virtual.charge_point import VirtualWallbox
from hw.virtual.modbus_server import answer, rtu
from hw.virtual.outlet import Car, Outlet
from hw.virtual.terminal import VirtualTerminal

ORIGIN: Final = datetime(2026, 3, 28, 21, 0, tzinfo=UTC)  # the night in which summer time begins in Europe
PEER: Final = Peer("s1", "d1")
UIDS: Final = tuple(bytes.fromhex(f"04A1B2C3D4E5F{n}") for n in range(4))
METER_LINE: Final = "/dev/campaign-meters"
WALLBOX_LINE: Final = "/dev/campaign-wallboxes"

#: A reply takes so long on a quiet line; the driver's time-out is a second. A slow gateway takes its time, and keeps
#: one reply back for up to a third of what the bus reckons with (hw/bus/bus.py, `ghost_s`).
_REPLY_S: Final = 0.02
_SLOW_S: Final = (0.2, 0.9)
_KEPT_S: Final = (0.95, 11.0)

LineFault = Literal["lost", "late", "doubled", "garbled"]


class SiteClock:
    """Implements edge.ports.Clock for one boot of the till's computer."""

    def __init__(self, site: Site, *, boot: int, skew: timedelta, trusted_s: float) -> None:
        self._site = site
        self._boot_id = f"boot-{boot}"
        self._booted_ns = site.now_ns() - 1
        self.skew = skew
        self._trusted_ns = site.now_ns() + int(trusted_s * 1e9)

    def now(self) -> Instant:
        true_ns = self._site.now_ns()
        skew = timedelta(0) if self.trusted() else self.skew
        return Instant(
            utc=ORIGIN + timedelta(microseconds=true_ns // 1000) + skew + self._site.stepped,
            boot_id=self._boot_id,
            monotonic_ns=true_ns - self._booted_ns,
        )

    def trusted(self) -> bool:
        return self._site.now_ns() >= self._trusted_ns

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class Stand:
    """One EVSE: the car's socket, its wallbox and its meter."""

    number: int
    outlet: Outlet
    wallbox: VirtualWallbox
    meter: SiteMeter
    swapped: int = 0
    lied: bool = False
    welded: bool = False
    ever_welded: bool = False


@dataclass
class Antenna:
    """Implements edge.ports.CardReader."""

    cards: asyncio.Queue[Tap] = field(default_factory=asyncio.Queue)

    async def taps(self) -> AsyncIterator[Tap]:
        while True:
            yield await self.cards.get()

    async def close(self) -> None:
        pass


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at a site: the meter of each EVSE, and what bank cards pay at."""

    meters: tuple[MeterModel, ...] = ("register",)
    pays: Literal["terminal", "acquirer"] = "terminal"


class Site:
    """See the module. `tariffs`: whatever was ever on sale here, by hash."""

    def __init__(self, seed: int, folder: Path, layout: Layout) -> None:
        self.layout = layout
        self.tariffs: dict[str, FrozenTariff] = {}
        self.rng = random.Random(seed)  # noqa: S311  (a campaign must be repeatable)
        self.folder = folder
        self.problems: list[str] = []
        self.leapt_ns = 0
        self.stepped = timedelta(0)
        self.boots = 1
        self.clock = SiteClock(self, boot=1, skew=timedelta(0), trusted_s=0)
        self.stands: list[Stand] = []
        for number, model in enumerate(layout.meters):
            outlet = Outlet(self.now_ns)
            meter = SiteMeter(model, outlet, self.utc, number=20240001 + number, offset_wh=4_711_280)
            self.stands.append(Stand(number, outlet, VirtualWallbox(outlet, self.now_ns), meter))
        self.terminal = VirtualTerminal(
            shape=self.rng.choice(("whole", "fragments", "merged")),
            lists_all=self.rng.random() < 0.5,
            now=lambda: ORIGIN,
            status_every_s=15.0,
        )
        self.acquirer = Acquirer(lambda: self.now_ns() / 1e9) if layout.pays == "acquirer" else None
        self.books = Books(folder / "books.db")
        self.antenna = Antenna()
        self.broker_up = True
        self.mqtt_fault = 0.0
        self.line_faults: list[tuple[str, LineFault, float]] = []
        self.kept_until_s: dict[str, float] = {}
        self.powered = True
        self.foreign: dict[int, int] = {}
        self.tapped = 0
        #: the till died, or a line or a meter was not well: what a meter has signed may not be to be had in time
        self.disturbed = False

    def now_ns(self) -> int:
        """True nanoseconds since the trial began; days that were leapt over are in it."""
        return int(asyncio.get_running_loop().time() * 1e9) + self.leapt_ns

    def utc(self) -> datetime:
        """True time, which meters keep by themselves."""
        return ORIGIN + timedelta(microseconds=self.now_ns() // 1000)

    def leap(self, seconds: float) -> None:
        """So much time passes at once. Nobody charges meanwhile."""
        for stand in self.stands:
            stand.wallbox.tick()
            stand.outlet.switch(closed=False)
        self.leapt_ns += int(seconds * 1e9)

    def boot(self, *, skew: timedelta, trusted_s: float) -> None:
        """The till's computer starts anew: another boot id, and a clock that may be wrong at first."""
        self.boots += 1
        self.clock = SiteClock(self, boot=self.boots, skew=skew, trusted_s=trusted_s)

    def cut_power(self) -> None:
        """Mains gone: contactors fall open, and every device is silent."""
        self.powered = False
        for stand in self.stands:
            stand.outlet.switch(closed=False)
            stand.outlet.weld(on=False)  # there is nothing to draw
            stand.wallbox.silent = True
            stand.meter.cut_power()

    def restore_power(self) -> None:
        """Mains back: the wallboxes start as they left the factory; the meters kept their registers."""
        self.powered = True
        for stand in self.stands:
            stand.wallbox = VirtualWallbox(stand.outlet, self.now_ns)
            stand.outlet.weld(on=stand.welded)

    def weld(self, stand: Stand) -> None:
        """From now on its contactor stays closed, whatever it is told."""
        stand.welded = stand.ever_welded = True
        stand.outlet.weld(on=self.powered)

    def replace_contactor(self, stand: Stand) -> None:
        """It opens again; the operator has yet to say so to the till."""
        stand.welded = False
        stand.outlet.weld(on=False)

    def swap_meter(self, stand: Stand) -> None:
        """Somebody puts another meter in; its register begins elsewhere."""
        stand.swapped += 1
        serial = 20250000 + 10 * stand.number + stand.swapped
        stand.meter = SiteMeter(
            stand.meter.model, stand.outlet, self.utc, number=serial, offset_wh=1_000 * stand.swapped
        )

    def tap(self, card: int) -> None:
        """A membership card is held to the reader."""
        self.tapped += 1
        self.antenna.cards.put_nowait(Tap(at=self.clock.now(), uid=UIDS[card]))

    def tap_bank_card(self, uid: bytes, card: Card) -> None:
        """A bank card or phone is held to the reader."""
        self.tapped += 1
        self.antenna.cards.put_nowait(Tap(at=self.clock.now(), uid=uid, card=card))

    def plug(self, number: int, *, current_a: int, wants_wh: int | None) -> None:
        stand = self.stands[number]
        stand.outlet.plug(Car(current_a=current_a, phases=3, wants_wh=wants_wh))
        stand.wallbox.tick()

    def unplug(self, number: int) -> None:
        self.stands[number].outlet.unplug()
        self.stands[number].wallbox.tick()

    def registers_wh(self, stand: Stand) -> int:
        """What the meter that is there now has counted, whole Wh."""
        return stand.meter.offset_wh + stand.outlet.energy_wh()

    def line_fault(self, port: str) -> LineFault | Literal["slow"] | None:
        """What goes wrong with the next reply on this line; nothing more while one is still on its way."""
        now_s = self.now_ns() / 1e9
        self.line_faults = [f for f in self.line_faults if f[2] > now_s]
        found = [kind for line, kind, _ in self.line_faults if line == port]
        if not found or now_s < self.kept_until_s.get(port, 0.0):
            return "slow" if "late" in found else None
        if self.rng.random() < 0.4:
            return self.rng.choice(found)
        return "slow" if "late" in found else None

    def holds(self) -> tuple[str, ...]:
        """What the terminal or the acquirer still holds."""
        at_host = () if self.acquirer is None else self.acquirer.host.books.open
        return (*(str(number) for number in self.terminal.books.open), *(hold.rrn for hold in at_host))

    async def close(self) -> None:
        await self.terminal.stop()
        self.books.close()


class SiteLine:
    """Implements hw.bus.line.Line: an RS-485 line, from a life of the till to the units on it."""

    def __init__(
        self,
        site: Site,
        options: LineOptions,
        *,
        alive: Callable[[], bool],
        permitted: Callable[[int], None],
        step: Callable[[str], bool],
        received: Callable[[bytes], None],
    ) -> None:
        self._site, self._port, self._alive = site, options.port, alive
        self._permitted, self._step, self._received = permitted, step, received
        self._loop = asyncio.get_running_loop()
        self._open = True

    def write(self, data: bytes) -> None:
        """A request, whole. Raises LineDown."""
        if not self._open:
            raise LineDown("the line is closed")
        unit, pdu = data[0], data[1:-2]
        point = self._point(pdu)
        if self._step(point) and point == "wallbox permit":
            self._permitted(unit - 1)
        if not self._alive() or not self._site.powered:
            return
        stand = self._site.stands[unit - 1]
        device = stand.meter if self._port == METER_LINE else stand.wallbox
        reply = answer({unit: device}, unit, pdu)
        if reply is not None:
            self._send(rtu(unit, reply))

    def look(self) -> None:
        """Nothing waits: what arrives is handed up at once."""

    def _point(self, pdu: bytes) -> str:
        """What leaves: permission is a current, and none revokes it (Heidelberg, register 261)."""
        reads = pdu[0] in (3, 4)
        if self._port == METER_LINE:
            return "meter read" if reads else "meter sign"
        if reads or pdu[1:3] != b"\x01\x05":
            return "wallbox read" if reads else "wallbox set"
        return "wallbox permit" if pdu[3:] != b"\0\0" else "wallbox revoke"

    def _send(self, frame: bytes) -> None:
        rng = self._site.rng
        match self._site.line_fault(self._port):
            case "lost":
                return
            case "late":
                kept_s = rng.uniform(*_KEPT_S)
                self._site.kept_until_s[self._port] = self._site.now_ns() / 1e9 + kept_s + 1.0
                self._loop.call_later(kept_s, self._arrive, frame)
                return
            case "slow":
                self._loop.call_later(rng.uniform(*_SLOW_S), self._arrive, frame)
                return
            case "doubled":
                self._loop.call_later(_REPLY_S + rng.uniform(0, 3.0), self._arrive, frame)
            case "garbled":
                spoilt = bytearray(frame)
                spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
                frame = bytes(spoilt)
            case None:
                pass
        self._loop.call_later(_REPLY_S, self._arrive, frame)

    def _arrive(self, frame: bytes) -> None:
        point = "meter reply" if self._port == METER_LINE else "wallbox reply"
        if self._open and self._step(point):
            self._received(frame)

    def close(self) -> None:
        self._open = False
