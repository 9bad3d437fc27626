"""What happens in a trial: drivers who come and go, and everything that goes wrong around them, by the seed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Literal, get_args

import msgspec
from parts.till_acquirer import PHONES, PLASTIC, CardInField
from parts.till_place import tariff
from parts.till_scene import Scene
from parts.till_site import METER_LINE, WALLBOX_LINE, LineFault, Stand

from edge.errors import TillError
from edge.runtime.controller import EvseController
from hw.virtual import terminal_script as script
from hw.virtual.disk import DiskFault
from hw.virtual.meter import Fault

#: A driver who gets nothing for so long goes away.
_PATIENCE_S: Final = 90.0
_LOOK_S: Final = 1.0
_DAY_S: Final = 86_400.0

Pays = Literal["member", "bank card", "phone", "remote"]
Trouble = Literal["line", "cards", "mqtt", "broker", "days", "meter", "clock", "disk", "tariff", "weld"]
_USUAL: Final = tuple(trouble for trouble in get_args(Trouble) if trouble != "weld")

_TERMINAL_KINDS: Final[tuple[script.Kind, ...]] = (
    "lost_command", "lost_reply", "lost_completion", "silent", "duplicate", "decline", "refuse", "abort",
    "reboot_before", "reboot_after", "slow", "no_result", "other_amount",
)  # fmt: skip
_COMMANDS: Final = (
    script.RESERVE, script.RESERVE, script.RELEASE, script.RELEASE, script.BOOK, script.REVERSE, script.READ_CARD,
    0x0620, 0x0600, 0x0501,
)  # fmt: skip


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """One driver. Seconds."""

    pays: str
    card: int
    plugs_after_s: float | None
    stays_s: float
    current_a: int
    wants_wh: int | None
    pauses: bool
    stops: Literal["unplug", "card"]
    limit_minor: int


def visits(rng: random.Random) -> list[Visit]:
    """Who comes to one EVSE, one after the other."""
    return [
        Visit(
            pays=rng.choice(get_args(Pays)),
            card=rng.randrange(4),
            plugs_after_s=rng.choice((None, 2.0, 5.0, 15.0, 5.0, 2.0)),
            stays_s=rng.choice((20.0, rng.uniform(30, 200), rng.uniform(30, 400))),
            current_a=rng.choice((6, 10, 16)),
            wants_wh=rng.choice((None, None, None, 50, 0)),
            pauses=rng.random() < 0.3,
            stops=rng.choice(("unplug", "unplug", "card")),
            limit_minor=rng.choice((5, 50, 5000)),
        )
        for _ in range(rng.randint(1, 3))
    ]


class Driver:
    """Somebody at an EVSE, who is there whether the till is or not."""

    def __init__(self, scene: Scene, number: int, plan: list[Visit]) -> None:
        self._scene, self._site, self._number, self._plan = scene, scene.site, number, plan
        self._rng = random.Random(scene.site.rng.random())  # noqa: S311  (a campaign must be repeatable)

    async def run(self) -> None:
        """Each visit in turn."""
        for visit in self._plan:
            await self.visit(visit)

    async def visit(self, visit: Visit) -> None:
        """From the wait for a free charger until the cable is out."""
        if not await self._shows("idle"):
            return
        await self._begin(visit)
        if visit.plugs_after_s is None:
            await asyncio.sleep(self._rng.uniform(5, 70))
            return
        await asyncio.sleep(visit.plugs_after_s)
        self._site.plug(self._number, current_a=visit.current_a, wants_wh=visit.wants_wh)
        await self._stay(visit)
        self._site.unplug(self._number)
        await asyncio.sleep(self._rng.uniform(2, 30))

    def _controller(self) -> EvseController | None:
        return self._scene.controller(self._number)

    async def _shows(self, kind: str) -> bool:
        for _ in range(int(_PATIENCE_S / _LOOK_S)):
            controller = self._controller()
            if controller is not None and controller.shown is not None and controller.shown.kind == kind:
                return True
            await asyncio.sleep(_LOOK_S)
        return False

    async def _begin(self, visit: Visit) -> None:
        match visit.pays:
            case "member":
                self._site.tap(visit.card)
            case "remote":
                life = self._scene.life
                if life is not None and life.office is not None and self._site.broker_up and life.alive:
                    life.start(life.office.start_remotely(f"E{self._number + 1}", visit.limit_minor))
            case _:
                await self._pay(visit)
        await asyncio.sleep(0.5)
        await self._choose()

    async def _pay(self, visit: Visit) -> None:
        """A bank card or a phone, where such are paid with."""
        acquirer, life = self._site.acquirer, self._scene.life
        phone = visit.pays == "phone"
        if acquirer is None:
            await self._hold(script.phone_wallet() if phone else script.bank_card())
        elif life is not None:
            names = PHONES if phone else PLASTIC
            card = CardInField(acquirer.bank.card(names[visit.card % len(names)]), life.step)
            self._site.tap_bank_card(card.uid, card)
            await asyncio.sleep(3)
            card.there = self._rng.random() < 0.9  # most hold it until it has been read

    async def _hold(self, card: script.Presented) -> None:
        terminal = self._site.terminal
        terminal.present(card)
        try:
            async with asyncio.timeout(30):
                await terminal.taken()
        except TimeoutError:
            pass
        finally:
            terminal.take_back()

    async def _choose(self) -> None:
        """With two EVSEs the driver says on the screen which one is meant."""
        life = self._scene.life
        entrances = None if life is None or not life.alive else life.till._entrances  # noqa: SLF001
        for _ in range(5):
            for arrivals in () if entrances is None else entrances.arrivals:
                if await arrivals.choose(f"E{self._number + 1}"):
                    return
            await asyncio.sleep(1)

    async def _stay(self, visit: Visit) -> None:
        outlet = self._site.stands[self._number].outlet
        if visit.pauses:
            await asyncio.sleep(visit.stays_s / 3)
            outlet.suspend(on=True)
            await asyncio.sleep(visit.stays_s / 3)
            outlet.suspend(on=False)
            await asyncio.sleep(visit.stays_s / 3)
        else:
            await asyncio.sleep(visit.stays_s)
        if visit.stops == "card" and visit.pays == "member":
            self._site.tap(visit.card)
            await asyncio.sleep(20)
        elif visit.stops == "card" and visit.pays == "bank card" and self._site.acquirer is not None:
            await self._pay(visit)
            await asyncio.sleep(20)


class Troubles:
    """Faults around the till, each for a while. `done` counts them by name."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._site = scene, scene.site
        self._rng = random.Random(scene.site.rng.random())  # noqa: S311  (a campaign must be repeatable)
        self.done: dict[str, int] = {}
        self._heal: list[Callable[[], None]] = []

    async def run(self) -> None:
        """Some of them, at any time."""
        rng = self._rng
        if rng.random() < 0.1 and self._site.acquirer is None:
            hold = self._site.terminal.books.reserve(5000, "Visa").receipt_no
            assert hold is not None
            self._site.foreign[hold] = 5000
        more: tuple[Trouble, ...] = () if self._site.acquirer is None else ("cards",) * 5
        if self._scene.eventful:
            more = (*more, *("weld",) * 4)
        for _ in range(rng.randint(0, 6)):
            await asyncio.sleep(rng.choice((rng.uniform(0, 20), rng.uniform(0, 200))))
            kind = rng.choice((*_USUAL, *more))
            self.done[kind] = self.done.get(kind, 0) + 1
            await getattr(self, f"_{kind}")()

    def heal(self) -> None:
        """Everything is well again."""
        for mend in self._heal:
            mend()
        self._heal.clear()
        self._site.line_faults.clear()
        self._site.broker_up = True
        self._site.mqtt_fault = 0.0
        if self._site.acquirer is not None:
            self._site.acquirer.heal()

    async def _line(self) -> None:
        self._site.disturbed = True
        until_s = self._site.now_ns() / 1e9 + self._rng.uniform(30, 300)
        fault: LineFault = self._rng.choice(("late", *get_args(LineFault)))
        self._site.line_faults.append(
            (self._rng.choice((METER_LINE, METER_LINE, WALLBOX_LINE)), fault, until_s)
        )

    async def _cards(self) -> None:
        """Whatever bank cards pay at has a fault."""
        if self._site.acquirer is not None:
            await self._site.acquirer.trouble(self._rng)
        else:
            await self._terminal()

    async def _terminal(self) -> None:
        rng, terminal = self._rng, self._site.terminal
        match rng.randrange(6):
            case 0:
                terminal.hang_up()
            case 1:
                await terminal.reboot(rng.choice((0.5, 15.0, 90.0)))
            case 2 if terminal.books.open:
                rng.choice((terminal.books.expire, terminal.books.forget))(rng.choice(terminal.books.open))
            case _:
                terminal.script(
                    script.Fault(
                        rng.choice(_TERMINAL_KINDS), on=rng.choice(_COMMANDS),
                        code=rng.choice((0x05, 51, 0x6C, 0x83, 0x9C, 0xA3)), seconds=rng.choice((0.1, 5.0, 70.0)),
                    )
                )  # fmt: skip

    async def _mqtt(self) -> None:
        self._site.mqtt_fault = self._rng.choice((0.1, 0.5))

    async def _broker(self) -> None:
        self._site.broker_up = not self._site.broker_up

    async def _days(self) -> None:
        """Nothing happens for days, the broker gone as it may be; the till tidies up before and after."""
        if any(stand.outlet.power_w() for stand in self._site.stands):
            return
        await self._tidy()
        self._site.leap(self._rng.choice((0.5, 1.1, 2.5, 10.0)) * _DAY_S)
        await asyncio.sleep(5)
        await self._tidy()

    async def _tidy(self) -> None:
        life = self._scene.life
        if life is None or not life.alive or life.till._books is None:  # noqa: SLF001
            return
        await asyncio.wait({life.start(life.till._books.keeper._tidy())}, timeout=30)  # noqa: SLF001

    async def _meter(self) -> None:
        self._site.disturbed = True
        stand = self._rng.choice(self._site.stands)
        if stand.meter.signs and self._rng.random() < 0.5:
            await self._meter_power(stand)
            return
        if self._rng.random() < 0.25:
            stand.lied = True
            self._site.swap_meter(stand)
            return
        stand.lied = True
        stand.meter.fail(self._rng.choice(tuple(Fault)))
        meter = stand.meter
        self._heal.append(lambda: meter.fail(None))
        await asyncio.sleep(self._rng.choice((1.0, 15.0, 60.0, 200.0)))
        meter.fail(None)

    async def _meter_power(self, stand: Stand) -> None:
        """A meter that signs loses its supply for a moment; its register and what the maker keeps stay."""
        meter = stand.meter
        meter.cut_power()
        meter.fail(Fault.SILENT)
        self._heal.append(lambda: meter.fail(None))
        await asyncio.sleep(self._rng.choice((0.5, 5.0, 40.0)))
        meter.fail(None)

    async def _tariff(self) -> None:
        """The operator sells at other prices from now on, until the till starts anew."""
        life = self._scene.life
        if life is None or not life.alive or life.office is None or not self._site.broker_up:
            return
        with contextlib.suppress(TillError):
            await life.office.publish(tariff(self._rng.choice((0, 2, 3)), len(self._site.tariffs)))

    async def _weld(self) -> None:
        """A contactor's contacts stick together, most likely while a car draws; somebody replaces it in the end."""
        stand = self._rng.choice(self._site.stands)
        for _ in range(self._rng.choice((0, 60, 60))):
            if stand.outlet.power_w():
                break
            await asyncio.sleep(_LOOK_S)
        self._site.weld(stand)
        self._heal.append(lambda: self._site.replace_contactor(stand))
        await asyncio.sleep(self._rng.choice((5.0, 60.0, 200.0)))
        if stand.outlet.car is None and self._rng.random() < 0.5:  # somebody tries without a card
            self._site.plug(stand.number, current_a=16, wants_wh=None)
            await asyncio.sleep(60)
            self._site.unplug(stand.number)
        if self._rng.random() < 0.5:
            self._site.replace_contactor(stand)

    async def _clock(self) -> None:
        """Somebody sets the clock."""
        hours = self._rng.choice((-1, 1, -24 * 400, 24 * 400, self._rng.uniform(-20, 20)))
        self._site.stepped += timedelta(hours=hours)
        self._heal.append(lambda: setattr(self._site, "stepped", timedelta(0)))

    async def _disk(self) -> None:
        self._site.disturbed = True
        fault: DiskFault = self._rng.choice(get_args(DiskFault))
        self._scene.disk_fault = fault

        def mend() -> None:
            self._scene.disk_fault = None
            if self._scene.life is not None:
                self._scene.life.volume.fault = None

        if self._scene.life is not None:
            self._scene.life.volume.fault = fault
        self._heal.append(mend)
        await asyncio.sleep(self._rng.choice((1.0, 20.0, 120.0)))
        mend()
