"""Plays a story on the stage: each scene at its virtual time, each in real protocols."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine

from edge.cli.demo import books
from edge.cli.demo.programs import DemoFailed
from edge.cli.demo.stage import Stage
from edge.cli.demo.story import Scene, car

#: After the last scene: time for the money to settle and the journal to arrive (real seconds).
_SETTLE_MAX_S = 60


class Player:
    """Acts on a stage, for a story and for a person alike."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._began_ns = 0
        self._later: set[asyncio.Task[None]] = set()

    async def play(self) -> None:
        """All scenes, then wait until every session has ended and the back office has everything."""
        stage = self.stage
        self._began_ns = stage.clock.now_ns()
        for scene in sorted(stage.story.when, key=lambda s: s.at_s):
            ahead_s = scene.at_s - (stage.clock.now_ns() - self._began_ns) / 1e9
            if ahead_s > 0:
                await stage.clock.sleep(ahead_s)
            await self.act(scene)
        while self._later:
            await asyncio.gather(*self._later)
        await self.settled()

    async def act(self, scene: Scene) -> None:
        """One scene; what ends after a while ends by itself."""
        stage, world = self.stage, self.stage.world
        if scene.tap is not None:
            await self._tap(scene.tap)
        elif scene.plug is not None:
            power_w, wants_wh = car(scene.plug)
            world.plug(power_w=power_w, wants_wh=wants_wh)
        elif scene.unplug is not None:
            world.unplug()
        elif scene.suspend is not None:
            world.outlet.suspend(on=scene.suspend)
        elif scene.cut_power_for_s is not None:
            await stage.cut_power()
            await self._started(scene.cut_power_for_s, stage.restore_power)
        elif scene.cut_network_for_s is not None:
            await stage.proxy.cut()
            self._start(self._after(scene.cut_network_for_s, stage.proxy.open))
        elif scene.kill_daemon_for_s is not None:
            await stage.till.kill()
            await self._started(scene.kill_daemon_for_s, stage.restart)
        elif scene.stop_daemon_for_s is not None:
            await stage.till.stop()
            await self._started(scene.stop_daemon_for_s, stage.restart)
        elif scene.meter_silent_for_s is not None:
            world.silence_meter(silent=True)
            self._start(self._after(scene.meter_silent_for_s, self._meter_back))
        elif scene.terminal is not None:
            world.break_terminal(scene.terminal)
        elif scene.cut_power_in_capture_for_s is not None:
            await self._cut_in_capture(scene.cut_power_in_capture_for_s)

    async def _cut_in_capture(self, seconds: int) -> None:
        """The car leaves; the terminal takes the money, and the power goes before the till hears of it."""
        world = self.stage.world
        world.break_terminal("loses the reply to a capture")
        world.unplug()
        try:
            async with asyncio.timeout(_SETTLE_MAX_S):
                await world.terminal.broken()
        except TimeoutError as e:
            raise DemoFailed("the till captured nothing", hint="does a card pay in this story?") from e
        await self.stage.cut_power()
        await self._started(seconds, self.stage.restore_power)

    async def _tap(self, card: str) -> None:
        try:
            await self.stage.world.tap(card)
        except TimeoutError as e:
            if not self.stage.till.running:
                raise self._ended_by_itself() from e
            log = self.stage.folder / "till.log"
            raise DemoFailed(f"the reader did not notice {card}", hint=f"see {log}") from e

    async def settled(self) -> None:
        """Wait until nothing is under way any more. Raises DemoFailed when that does not come."""
        deadline = time.monotonic() + _SETTLE_MAX_S
        while time.monotonic() < deadline:
            if await asyncio.to_thread(books.at_rest, self.stage.database):
                return
            if not self.stage.till.running:
                raise self._ended_by_itself()
            await asyncio.sleep(0.1)
        raise DemoFailed(
            f"sessions or the journal's way up did not come to rest within {_SETTLE_MAX_S} s",
            hint="does every session of the story end?",
        )

    def _ended_by_itself(self) -> DemoFailed:
        stage = self.stage
        return DemoFailed(
            f"the till ended by itself: {stage.till.last_words}", hint=f"see {stage.folder / 'till.log'}"
        )

    async def _meter_back(self) -> None:
        self.stage.world.silence_meter(silent=False)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _started(self, seconds: int, work: Callable[[], Awaitable[None]]) -> None:
        """Start the till again; how long this computer takes for it is no part of the story's time."""
        await self.stage.clock.sleep(seconds)
        before_ns = self.stage.clock.now_ns()
        await work()
        self._began_ns += self.stage.clock.now_ns() - before_ns

    async def _after(self, seconds: int, work: Callable[[], Awaitable[None]]) -> None:
        await self.stage.clock.sleep(seconds)
        await work()
