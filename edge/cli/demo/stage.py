"""The demo's stage: the world, a broker, the back office and the daemon, each a real process or protocol."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from edge.backoffice.orders import orders_key
from edge.cli.demo.programs import DemoFailed, Program, Proxy
from edge.cli.demo.story import Story, tariff
from hw.virtual.broker import EmbeddedBroker, Mosquitto
from hw.virtual.clock import VirtualClock
from hw.virtual.pcscd import Pcscd
from hw.virtual.world import CARDS, SUN_KEYS, SUN_UID, WALLBOX_UNIT, World

#: Where a person looks for the driver's screen.
SCREEN_PORT = 8080

#: Seconds of the wall, of which the story's clock makes `pace` times as many: what a hand may need between card and
#: cable, and how long a meter behind a busy computer may seem silent.
_HAND_S, _SILENCE_S = 10, 5

SITE, DEVICE, EVSE = "demo", "till-1", "DE*CHT*E1"


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo takes from the system instead of its own: the broker, the card reader's stack. `lab`: bank cards
    of a test bank pay at the plain reader.
    """

    mosquitto: bool = False
    pcsc: bool = False
    lab: bool = False


class Stage:
    """Everything that a demo needs, in one folder. Made by `build`; `close` ends all that it started."""

    def __init__(
        self, folder: Path, story: Story, clock: VirtualClock, world: World, proxy: Proxy, screen_port: int
    ) -> None:
        self.folder = folder
        self.story = story
        self.clock = clock
        self.world = world
        self.proxy = proxy
        self.screen_port = screen_port
        config = folder / "config.toml"
        self.till = Program("till", ["--config", str(config), "run"], folder / "till.log")
        self.database = folder / "till.db"
        self.backoffice_database = folder / "backoffice.db"
        self.backoffice: Program | None = None
        self.broker: EmbeddedBroker | Mosquitto | None = None
        self._started = contextlib.AsyncExitStack()
        self._boots = 0

    @classmethod
    async def build(cls, folder: Path, story: Story, *, parts: Parts, screen_port: int = 0) -> Self:
        """A fresh folder, the world, the broker, the back office, and the daemon ready to sell.

        The driver's screen is on `screen_port`; 0 takes any, for a story that nobody watches.
        """
        _fresh(folder)
        base_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        clock = VirtualClock(speed=story.pace, base_ns=base_ns)
        async with contextlib.AsyncExitStack() as started:
            pcscd = started.enter_context(Pcscd()) if parts.pcsc else None
            broker = (Mosquitto if parts.mosquitto else EmbeddedBroker).start()
            started.callback(broker.stop)
            world = await World.start(
                clock,
                meter_link=folder / "meter0",
                meter=story.meter,
                pcscd=pcscd,
                lab=parts.lab or story.lab,
            )
            started.push_async_callback(world.close)
            proxy = Proxy(broker.port)
            await proxy.open()
            started.push_async_callback(proxy.cut)
            stage = cls(folder, story, clock, world, proxy, screen_port)
            stage.broker = broker
            stage._configure(base_ns)
            stage.backoffice = Program(
                "back office",
                ["backoffice", "run", "--db", str(stage.backoffice_database), "--broker", broker.address],
                folder / "backoffice.log",
            )
            started.push_async_callback(stage.backoffice.stop)
            await stage.backoffice.start(until="ready")
            started.push_async_callback(stage.till.stop)
            await stage.boot()
            stage._started = started.pop_all()
        return stage

    @property
    def screen(self) -> str:
        """Address of the driver's screen."""
        return f"http://127.0.0.1:{self.screen_port}/"

    async def boot(self) -> None:
        """Start the daemon as a new boot of the computer."""
        self._boots += 1
        await self.restart()

    async def restart(self) -> None:
        """Start the daemon again within the same boot."""
        environment = {"CHARGETILL_BOOT_ID": f"boot-{self._boots}", **self.world.environment}
        await self.till.start(until="evse.in_order", environment=environment)

    async def cut_power(self) -> None:
        """The whole box goes dark: no signal, no last words."""
        await self.till.kill()
        await self.world.cut_power()

    async def restore_power(self) -> None:
        await self.world.restore_power()
        await self.boot()

    async def close(self) -> None:
        """End what was started, the last one first, each of them in any case."""
        await self._started.aclose()

    def _configure(self, base_ns: int) -> None:
        folder = self.folder
        document = msgspec.json.Encoder(decimal_format="number").encode(tariff(self.story))
        (folder / "tariff.json").write_bytes(msgspec.json.format(document, indent=2) + b"\n")
        plans = [] if self.story.plan is None else [{**self.story.plan, "accounts": ["A-1001"]}]
        (folder / "plans.json").write_bytes(msgspec.json.encode(plans))
        key = folder / "operator.key"
        key.touch(mode=0o600)
        key.write_text(secrets.token_hex(32) + "\n")
        sun = folder / "sun.keys"
        sun.touch(mode=0o600)
        parts = ("meta_read", "file_read", "system")
        sun.write_text("".join(f'{part} = "{getattr(SUN_KEYS, part).hex()}"\n' for part in parts))
        (folder / "members.toml").write_text(_members(self.story.hold_minor))
        origin = self.clock.origin.isoformat()
        reader, meter = _toml(self.world.reader), _toml(self.world.meter_options)
        (folder / "config.toml").write_text(
            f"""# Written by the demo. Virtual hardware, a virtual clock, nothing beyond this machine.
[device]
site = "{SITE}"
name = "{DEVICE}"
database = "till.db"
key = "ledger.key"

[lab]
virtual = true
speed = {self.story.pace}
origin = {origin}
base_ns = {base_ns}

[seller]
name = "Demo Charging GmbH"
address = "Musterstr. 1, 10115 Berlin"
country = "DE"
tax_id = "DE000000000"

[site]
address = "Parkplatz am Demo-Platz, 10115 Berlin"
coordinates = {{ latitude = "52.520008", longitude = "13.404954" }}
time_zone = "Europe/Berlin"

[tariff]
file = "tariff.json"
hold_minor = {self.story.hold_minor}

[membership]
list = "members.toml"
key = "operator.key"
key_id = "demo"
plans = "plans.json"
sun_keys = "sun.keys"

[session]
answer_timeout_s = 600
plug_timeout_s = {max(120, _HAND_S * self.story.pace)}
prepare_timeout_s = 300
resume_wait_s = 600
stale_s = 60
silence_max_s = {max(120, _SILENCE_S * self.story.pace)}

[mqtt]
brokers = ["127.0.0.1:{self.proxy.port}"]
orders_keys = ["{orders_key(self.backoffice_database).public_hex}"]
retry_s = 0.2
retry_max_s = 1.0
resend_s = 1.0

[kiosk]
port = {self.screen_port}

[[reader]]
{reader}
virtual = true

[[terminal]]
driver = "zvt"
port = "{self.world.terminal.address}"

[[evse]]
id = "{EVSE}"
label = "1"
poll_s = 2.0
stale_s = 60

[evse.meter]
{meter}

[evse.charge_point]
driver = "heidelberg"
port = "{self.world.wallbox_port}"
unit = {WALLBOX_UNIT}
lease_s = 60.0
{self._receipts()}{self._lab()}"""
        )

    def _receipts(self) -> str:
        """For whoever watches: the charger's own page behind the QR code."""
        if not self.screen_port:
            return ""
        # beside other stages a fixed port is gone while its daemon is off: only the usual screen has the usual page
        port = free_port(preferred=8092 if self.screen_port == SCREEN_PORT else 0)
        return f"""
[receipt]
url = "http://127.0.0.1:{port}/r/"
local = true
listen = "127.0.0.1:{port}"
"""

    def _lab(self) -> str:
        """Bank cards at the plain reader: a test bank's keys, and its acquirer."""
        bank, acquirer = self.world.bank, self.world.acquirer
        if bank is None or acquirer is None:
            return ""
        (self.folder / "capk.json").write_bytes(msgspec.json.encode(bank.authority.capk()))
        return f"""
[emv]
use = "payment"
ca_keys = "capk.json"
cvm_limit_minor = {self.story.hold_minor + 1}

[acquirer]
host = "127.0.0.1"
port = {acquirer.port}
terminal_id = "DEMO0001"
merchant_id = "DEMOMERCHANT"
acquirer_id = "1"
time_zone = "Europe/Berlin"
"""


def _toml(options: Mapping[str, str | int]) -> str:
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in options.items())


def _members(limit_minor: int) -> str:
    rows = [
        ("A-1001", CARDS["card A"], ""),
        ("A-1002", CARDS["card B"], ""),
        ("A-1003", CARDS["card C"], "blocked = true\n"),
        ("A-1004", SUN_UID, "sun = true\n"),
    ]
    return "\n".join(
        f'[[member]]\naccount = "{account}"\nuid = "{uid.hex().upper()}"\nlimit_minor = {limit_minor}\n{more}'
        for account, uid, more in rows
    )


def _fresh(folder: Path) -> None:
    """The last demo's ledger gives way to this one's."""
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as e:
        raise DemoFailed(f"{folder}: {e.strerror}", hint="start the demo where you may write") from e


def free_port(*, preferred: int) -> int:
    """`preferred` on 127.0.0.1, or another one when somebody has it."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise DemoFailed("no free port on 127.0.0.1")
