"""A charger without hardware: meter, wallbox, reader and payment terminal that speak their real protocols, and a car
and cards to use.

Everything binds to 127.0.0.1. `cut_power` takes the mains away from all of it at once, as a power cut does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal, Protocol, Self, assert_never

from edge.emv.sun import SunKeys
from hw.meters import profile as profiles
from hw.virtual.acquirer import VirtualAcquirer
from hw.virtual.acquirer_host import Host
from hw.virtual.bank_cards.bank import Bank
from hw.virtual.cards import Phone, UidCard, VirtualCard
from hw.virtual.charge_point import VirtualWallbox
from hw.virtual.clock import VirtualClock
from hw.virtual.meter import VirtualMeter
from hw.virtual.modbus_server import RtuServer, TcpServer, Unit
from hw.virtual.nfc_udp import UdpField
from hw.virtual.ntag424 import Ntag424
from hw.virtual.outlet import Car, Outlet
from hw.virtual.pcscd import SOCKET_VARIABLE, Pcscd
from hw.virtual.signed_meters import VirtualBsm, VirtualEm580, VirtualWm3m4
from hw.virtual.terminal import VirtualTerminal
from hw.virtual.terminal_script import (
    RELEASE,
    RESERVE,
    REVERSE,
    Fault,
    Presented,
    bank_card,
    phone_wallet,
)
from hw.virtual.vpcd import VpcdField

METER_UNIT: Final = 1
WALLBOX_UNIT: Final = 2
#: Meters of the virtual world: a plain one on a serial line, and those that sign, behind a gateway.
MeterKind = Literal["eastron_sdm630", "em580", "wm3m4", "bsm"]
_PLAIN: Final = "eastron_sdm630"
_SIGNED_PROFILE: Final = "carlo_gavazzi_em580"

#: The register of a meter that has been in use: a session's energy is never the whole of it.
_REGISTER_WH: Final = 4_711_280

#: Cards of the virtual world. B belongs to a member as A does; C is blocked; nobody knows the stranger's.
CARDS: Final[dict[str, bytes]] = {
    "card A": bytes.fromhex("04A1B2C3D4E5F6"),
    "card B": bytes.fromhex("04B2C3D4E5F6A1"),
    "card C": bytes.fromhex("04C3D4E5F6A1B2"),
    "stranger": bytes.fromhex("04D4E5F6A1B2C3"),
}

#: What is held to the payment terminal instead of the reader.
PAYING: Final[dict[str, Callable[[], Presented]]] = {
    "bank card": bank_card,
    "phone wallet": phone_wallet,
    "declined card": partial(bank_card, declines=0x05),
}

#: Bank cards of a test bank, for the plain reader of a laboratory: what each is in the bank's drawer.
LAB: Final = {"lab card": "visa", "lab mastercard": "mastercard", "lab phone": "visa phone"}

#: What may go wrong with the payment terminal, in words.
TerminalFault = Literal[
    "loses the reply to a reservation",
    "loses the reply to a capture",
    "declines a capture",
    "reboots in a reversal",
]
_FAULTS: Final[dict[TerminalFault, Fault]] = {
    "loses the reply to a reservation": Fault("lost_reply", on=RESERVE),
    "loses the reply to a capture": Fault("lost_reply", on=RELEASE),
    "declines a capture": Fault("decline", on=RELEASE),
    "reboots in a reversal": Fault("reboot_after", on=REVERSE),
}

#: A card is taken as soon as the till lets the terminal read one; nobody stands there for longer than this.
_TAKEN_MAX_S: Final = 10.0

#: A card that proves itself anew at each tap, whose UID is hidden; and the keys of this world's operator.
SUN_UID: Final = bytes.fromhex("04E5F6A1B2C3D4")
SUN_KEYS: Final = SunKeys(meta_read=b"virtual meta key", file_read=b"virtual file key", system=b"demo")


class Field(Protocol):
    """Where cards are held: the antenna of a virtual reader."""

    async def tap(self, card: VirtualCard) -> None: ...

    async def remove(self) -> None: ...

    async def close(self) -> None: ...


class _Mains:
    """A unit that is silent while its line is broken or the power is gone."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.silent = False

    def read(self, function: int, address: int, count: int) -> list[int] | None:
        return None if self.silent else self.unit.read(function, address, count)

    def write(self, function: int, address: int, values: list[int]) -> bool:
        return not self.silent and self.unit.write(function, address, values)


class World:
    """One virtual EVSE with its reader. Made by `start`.

    `reader` is the reader's driver and its options as a configuration has them; `environment` is what a daemon
    needs to find it.
    """

    def __init__(self, clock: VirtualClock, field: Field, meter_link: Path, meter: MeterKind) -> None:
        self.outlet = Outlet(clock.now_ns)
        self.wallbox = VirtualWallbox(self.outlet, clock.now_ns)
        self.meter_options: dict[str, str | int] = {"driver": meter, "unit": METER_UNIT}
        self.field = field
        self.reader: dict[str, str] = {}
        self.environment: dict[str, str] = {}
        self.terminal = VirtualTerminal()
        self.bank: Bank | None = None
        self.acquirer: VirtualAcquirer | None = None
        self._clock = clock
        self._draw = random.Random()  # noqa: S311  (a phone's UID, not a secret)
        self._sun_card = Ntag424(SUN_UID, SUN_KEYS, draw=self._draw, random_id=True)
        self._wallboxes: dict[int, Unit] = {WALLBOX_UNIT: self.wallbox}
        self._tcp = TcpServer(self._wallboxes)
        self._meter = _Mains(self._made(meter))
        self._rtu = RtuServer({METER_UNIT: self._meter}, link=meter_link)
        self._gateway = TcpServer({METER_UNIT: self._meter})
        self._meter_link = meter_link
        self._plain = meter == _PLAIN

    @classmethod
    async def start(
        cls,
        clock: VirtualClock,
        *,
        meter_link: Path,
        meter: MeterKind = "eastron_sdm630",
        pcscd: Pcscd | None = None,
        lab: bool = False,
    ) -> Self:
        """Everything powered, no car, no card. `lab`: with a test bank and its acquirer's host.

        The plain meter's serial line is a pty behind `meter_link`. The reader is nfcpy's udp field, or a virtual one
        of `pcscd`.
        """
        if pcscd is None:
            udp = await UdpField.start()
            world = cls(clock, udp, meter_link, meter)
            world.reader = {"driver": "nfc", "path": udp.path}
        else:
            world = cls(clock, VpcdField(pcscd.connect), meter_link, meter)
            world.reader = {"driver": "pcsc", "reader": "Virtual PCD 00 00"}
            world.environment = {SOCKET_VARIABLE: pcscd.address}
        world.terminal = await VirtualTerminal.start()
        if lab:
            world.bank = Bank(today=partial(_day, clock))
            world.acquirer = await VirtualAcquirer.start(Host(issuer=world.bank.issuer.approve))
        await world._tcp.start()
        await world._rtu.start()
        await world._gateway.start()
        world._name_meter()
        return world

    def _made(self, kind: MeterKind) -> Unit:
        def energy_wh() -> int:
            return self.register_wh

        def now() -> datetime:
            return self._clock.now().utc

        match kind:
            case "eastron_sdm630":
                return VirtualMeter(profiles.load(_PLAIN), self.outlet, offset_wh=_REGISTER_WH)
            case "em580":
                profile = profiles.load(_SIGNED_PROFILE)
                plain = VirtualMeter(profile, self.outlet, offset_wh=_REGISTER_WH)
                serial = str(plain.serial_number)
                return VirtualEm580(energy_wh=energy_wh, now=now, serial=serial, plain=plain)
            case "wm3m4":
                return VirtualWm3m4(energy_wh=energy_wh, now=now, power_w=self.outlet.power_w)
            case "bsm":
                return VirtualBsm(energy_wh=energy_wh, now=now, power_w=self.outlet.power_w)
            case _:
                assert_never(kind)

    def _name_meter(self) -> None:
        """The meter's section of a configuration, with its driver first."""
        if self._plain:
            self.meter_options |= {"driver": "register", "profile": _PLAIN}
            self.meter_options |= {"port": str(self._meter_link), "gap_ms": 5}
        else:
            self.meter_options["port"] = self._gateway.address

    @property
    def meter(self) -> Unit:
        """The meter, whatever it is."""
        return self._meter.unit

    @property
    def step_wh(self) -> int:
        """The step of its energy register."""
        return 10 if isinstance(self._meter.unit, VirtualWm3m4 | VirtualBsm) else 1

    @property
    def wallbox_port(self) -> str:
        """The wallbox behind a Modbus TCP gateway."""
        return self._tcp.address

    @property
    def register_begin_wh(self) -> int:
        """What the meter showed when this world began, whole Wh."""
        return _REGISTER_WH

    @property
    def register_wh(self) -> int:
        """What the meter shows, whole Wh."""
        return _REGISTER_WH + self.outlet.energy_wh()

    async def tap(self, name: str) -> None:
        """Hold a card to the reader, or one that pays to the terminal, until it has been noticed, then take it away.

        Raises TimeoutError when nobody notices it.
        """
        if name not in PAYING:
            await self.field.tap(self._card(name))
            return
        self.terminal.present(PAYING[name]())
        try:
            async with asyncio.timeout(_TAKEN_MAX_S):
                await self.terminal.taken()
        finally:
            self.terminal.take_back()

    def break_terminal(self, fault: TerminalFault) -> None:
        """The next command of that kind goes wrong."""
        self.terminal.script(_FAULTS[fault])

    def _card(self, name: str) -> VirtualCard:
        match name:
            case "phone":
                return Phone(self._draw)
            case "sun card":
                return self._sun_card
            case _ if name in LAB:
                assert self.bank is not None
                return self.bank.card(LAB[name])
            case _:
                return UidCard(CARDS[name])

    def plug(self, *, power_w: int, wants_wh: int | None) -> None:
        """Plug a car in that takes up to `power_w`, on as many phases as it needs."""
        phases = 1 if power_w <= 3_700 else 3
        self.outlet.plug(Car(current_a=max(6, power_w // (230 * phases)), phases=phases, wants_wh=wants_wh))
        self.wallbox.tick()

    def unplug(self) -> None:
        self.outlet.unplug()
        self.wallbox.tick()

    def silence_meter(self, *, silent: bool) -> None:
        """The meter's line breaks, or is mended."""
        self._meter.silent = silent

    async def cut_power(self) -> None:
        """Mains gone: the contactor falls open, and every device is silent."""
        self.outlet.switch(closed=False)
        self.wallbox.silent = True
        self._meter.silent = True
        if isinstance(self._meter.unit, VirtualEm580 | VirtualWm3m4 | VirtualBsm):
            self._meter.unit.cut_power()
        await self.terminal.switch_off()
        await self.field.remove()

    async def restore_power(self) -> None:
        """Mains back: the meter kept its register, the wallbox starts as it left the factory."""
        self.wallbox = VirtualWallbox(self.outlet, self._clock.now_ns)
        self._wallboxes[WALLBOX_UNIT] = self.wallbox
        self._meter.silent = False
        await self.terminal.switch_on()

    async def close(self) -> None:
        await self.field.close()
        await self.terminal.stop()
        if self.acquirer is not None:
            await self.acquirer.close()
        await self._tcp.stop()
        await self._rtu.stop()
        await self._gateway.stop()


def _day(clock: VirtualClock) -> date:
    return clock.now().utc.date()
