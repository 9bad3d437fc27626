"""The whole charger for a test: virtual hardware on real protocols, a broker, the back office, the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import re
import urllib.request

import pytest

from edge.cli.demo import books
from edge.cli.demo.player import Player
from edge.cli.demo.stage import Parts, Stage
from edge.cli.demo.story import Scene, Story, Then

#: What a busy two-core machine may need for something that takes a second.
PATIENCE_S = 60.0


class Show:
    """A stage with its player, for tests that act on more than a story can say."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.world = stage.world
        self.player = Player(stage)

    async def do(self, **scene) -> None:
        """One thing that a story knows, now."""
        await self.player.act(Scene(at_s=0, **scene))

    async def session(self, card: str = "card A", *, gained_wh: int = 100) -> None:
        """A tap once the screen invites to it, a cable, and some energy."""
        for _ in range(3):  # a driver whose card was not taken holds it there again
            await self.ready()
            await self.do(tap=card)
            if await self._taken():
                break
        await self.do(plug="car that takes 11 kW")
        await self.charging(gained_wh=gained_wh)

    async def _taken(self) -> bool:
        """Whether the screen goes on from its invitation within a few seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self.shows(rb'"kind": ?"(authorizing|plug_in|preparing|charging|suspended)"')
                return True
        return False

    async def ready(self) -> None:
        """Wait until the screen invites to a tap."""
        await self.shows(rb'"kind": ?"idle"')

    async def shows(self, pattern: bytes) -> None:
        """Wait until the screen's state has what the pattern says."""

        def found() -> bool:
            try:
                with urllib.request.urlopen(f"{self.stage.screen}state", timeout=20) as answer:
                    return re.search(pattern, answer.read()) is not None
            except OSError:
                return False

        ends = asyncio.get_running_loop().time() + PATIENCE_S
        while not await asyncio.to_thread(found):
            assert asyncio.get_running_loop().time() < ends, f"the screen does not show {pattern!r}"
            await asyncio.sleep(0.05)

    async def until(self, true, what: str) -> None:
        """Wait until something holds."""
        ends = asyncio.get_running_loop().time() + PATIENCE_S
        while not true():
            assert asyncio.get_running_loop().time() < ends, what
            await asyncio.sleep(0.05)

    async def charging(self, *, gained_wh: int = 100) -> None:
        """Wait until the car has taken so much more."""
        before_wh = self.world.register_wh
        await self.until(lambda: self.world.register_wh >= before_wh + gained_wh, "the car takes no energy")

    def pid(self) -> int:
        return self.stage.till._process.pid

    async def settle(self) -> dict:
        """Everything at rest, and what each side holds."""
        await self.player.settled()
        return await asyncio.to_thread(books.collect, self.stage)


@pytest.fixture
def show(tmp_path, free_port):
    """`async with show(speed=..) as it:` gives a Show; everything that it started ends with it."""

    @contextlib.asynccontextmanager
    async def make(**story):
        told = Story(name="test", when=(), then=Then(), **{"speed": 40, **story})
        stage = await Stage.build(tmp_path / "stage", told, parts=Parts(), screen_port=free_port)
        try:
            yield Show(stage)
        finally:
            await stage.close()

    return make


@pytest.fixture
def agree():
    """The books of all sides agree; names what does not."""

    def check(found: dict) -> None:
        wrong = [f"{c.name}: {c.found}" for c in found["checks"] if not c.ok]
        assert found["agree"], wrong

    return check
