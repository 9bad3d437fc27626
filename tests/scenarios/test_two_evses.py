"""One reader, two EVSEs: the plugged-in one first, else the driver chooses on the screen. The whole daemon."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request

import pytest

from edge.cli.demo.programs import Program
from edge.cli.demo.stage import free_port
from hw.meters import profile as profiles
from hw.virtual.cards import UidCard
from hw.virtual.charge_point import VirtualWallbox
from hw.virtual.clock import VirtualClock
from hw.virtual.meter import VirtualMeter
from hw.virtual.modbus_server import TcpServer
from hw.virtual.nfc_udp import UdpField
from hw.virtual.outlet import Car, Outlet

CARD_A, CARD_B = bytes.fromhex("04A1B2C3D4E5F6"), bytes.fromhex("04B2C3D4E5F6A1")
PATIENCE_S = 30

EVSE = """
[[evse]]
id = "E{n}"
label = "{n}"
poll_s = 1.0
stale_s = 30
[evse.meter]
driver = "register"
profile = "eastron_sdm630"
port = "{meters}"
unit = {n}
[evse.charge_point]
driver = "heidelberg"
port = "{wallboxes}"
unit = {n}
lease_s = 30.0
"""


class Site:
    """Two virtual EVSEs and a reader, a daemon that runs them, and its screen."""

    def __init__(self, place, field, program, outlets, port):
        self.place, self.field, self.program, self.outlets, self.port = place, field, program, outlets, port

    def plug(self, number):
        self.outlets[number - 1].plug(Car())

    async def views(self):
        return await asyncio.to_thread(self._views)

    def _views(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/state", timeout=20) as answer:
            return {p["view"]["evse_id"]: p["view"] for p in json.load(answer)["panels"]}

    async def until(self, evse_id, **wanted):
        async with asyncio.timeout(PATIENCE_S):
            while True:
                view = {}
                with contextlib.suppress(OSError):  # the screen comes up beside the till
                    view = (await self.views()).get(evse_id, {})
                if view and all(view.get(name) == value for name, value in wanted.items()):
                    return view
                await asyncio.sleep(0.05)

    async def act(self, **action):
        return await asyncio.to_thread(self._act, action)

    def _act(self, action):
        origin = f"http://127.0.0.1:{self.port}"
        request = urllib.request.Request(
            f"{origin}/actions",
            data=json.dumps(action).encode(),
            headers={"Origin": origin, "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)


@pytest.fixture
def played(place):
    """`played(story)` runs the coroutine `story(site)` beside a daemon with two EVSEs."""

    async def play(story):
        clock = VirtualClock(speed=10)
        field = await UdpField.start()
        outlets = [Outlet(clock.now_ns), Outlet(clock.now_ns)]
        profile = profiles.load("eastron_sdm630")
        meters = TcpServer(
            {
                n: VirtualMeter(profile, o, serial_number=n, offset_wh=1000 * n)
                for n, o in enumerate(outlets, 1)
            }
        )
        wallboxes = TcpServer({n: VirtualWallbox(o, clock.now_ns) for n, o in enumerate(outlets, 1)})
        await meters.start()
        await wallboxes.start()
        port = free_port(preferred=0)
        head = place.config.read_text().split("[[evse]]")[0].split("[[reader]]")[0]
        evses = "".join(EVSE.format(n=n, meters=meters.address, wallboxes=wallboxes.address) for n in (1, 2))
        lab = f"[lab]\nvirtual = true\nspeed = 10\norigin = {clock.origin.isoformat()}\nbase_ns = {clock.base_ns}\n"
        reader = f'[[reader]]\ndriver = "nfc"\npath = "{field.path}"\nvirtual = true\n'
        config = place.folder / "two.toml"
        config.write_text(f"{head}\n{lab}\n[kiosk]\nport = {port}\n{reader}\n{evses}")
        members = place.folder / "members.toml"
        members.write_text(
            "".join(
                f'[[member]]\naccount = "A-{n}"\nuid = "{uid.hex()}"\nlimit_minor = 6000\n'
                for n, uid in enumerate((CARD_A, CARD_B))
            )
        )
        program = Program("till", ["--config", str(config), "run"], place.folder / "till.log")
        site = Site(place, field, program, outlets, port)
        try:
            await program.start(until="till.ready")
            for evse_id in ("E1", "E2"):
                await site.until(evse_id, kind="idle")
            await story(site)
        finally:
            await program.stop()
            await field.close()
            await meters.stop()
            await wallboxes.stop()

    return lambda story: asyncio.run(play(story))


def test_the_plugged_in_one_is_meant_and_its_card_stops_only_it(played):
    async def story(site):
        site.plug(2)
        await site.until("E2", vehicle_connected=True)
        await site.field.tap(UidCard(CARD_A))
        await site.until("E2", kind="charging")
        site.plug(1)
        await site.until("E1", vehicle_connected=True)
        await site.field.tap(UidCard(CARD_B))
        await site.until("E1", kind="charging")
        await asyncio.sleep(1)  # ten virtual seconds: a card that just started a session does not stop it
        await site.field.tap(UidCard(CARD_A))
        await site.until("E2", kind="paid")
        assert (await site.views())["E1"]["kind"] == "charging"

    played(story)


def test_two_free_ones_are_a_question_and_the_code_stops_what_was_chosen(played):
    async def story(site):
        await site.field.tap(UidCard(CARD_A))
        for evse_id in ("E1", "E2"):
            await site.until(evse_id, choosing=True)
        assert await site.act(action="choose", evse_id="E1")
        view = await site.until("E1", kind="plug_in")
        assert not (await site.views())["E2"]["choosing"]
        site.plug(1)
        await site.until("E1", kind="charging")
        await asyncio.sleep(3)  # thirty virtual seconds, so that it costs something
        await site.act(action="stop", evse_id="E1", code=view["stop_code"])
        assert (await site.until("E1", kind="paid"))["reason"] == "screen"

    played(story)
