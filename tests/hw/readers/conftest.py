"""Readers over every virtual field, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from edge.domain.instant import Instant
from edge.errors import HardwareError
from edge.ports import CardReader, Tap
from hw.readers import nfc, pcsc
from hw.virtual.cards import VirtualCard
from hw.virtual.nfc_udp import UdpField
from hw.virtual.pcscd import SOCKET_VARIABLE, Pcscd, PcscdMissing
from hw.virtual.pn532 import Pn532Field
from hw.virtual.vpcd import VpcdField

TRANSPORTS = ("udp", "pn532", "pcsc")

#: The slowest virtual reader (pcscd looks for a card every 0.4 s) on a busy machine.
PATIENCE_S = 60


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a coroutine test to its end in a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


class HandClock:
    """Stands still until it is moved, so that no test depends on how fast a machine is."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def advance(self, seconds: float) -> None:
        self._seconds += seconds

    def now(self) -> Instant:
        utc = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._seconds)
        return Instant(utc=utc, boot_id="test", monotonic_ns=int(self._seconds * 1e9))

    def trusted(self) -> bool:
        return True

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="session")
def pcscd():
    """One for the whole process: libpcsclite looks once where it is."""
    if importlib.util.find_spec("smartcard") is None:
        missing(
            "pyscard is not installed (apt install gcc python3-dev libpcsclite-dev; pip install '.[pcsc]')"
        )
    pcscd = Pcscd()
    try:
        pcscd.start()
    except PcscdMissing as e:
        missing(str(e))
    os.environ[SOCKET_VARIABLE] = pcscd.address
    yield pcscd
    pcscd.close()


def missing(what: str) -> None:
    """A part of the tests cannot run: said loudly, and a failure where nothing may be skipped."""
    say = f"PC/SC readers are not tested: {what}"
    if os.environ.get("CI"):
        pytest.fail(say)
    pytest.skip(say)


class Field(Protocol):
    async def present(self, card: VirtualCard) -> None: ...
    async def remove(self) -> None: ...
    async def tap(self, card: VirtualCard) -> None: ...
    async def close(self) -> None: ...


Heard = tuple[Tap, bytes | HardwareError | None]


class Bench:
    """A reader with a field before it. It reads taps as the till does: when the reader fails, anew."""

    def __init__(self, reader: CardReader, field: Field, clock: HandClock) -> None:
        self.reader = reader
        self.field = field
        self.clock = clock
        self.failures: list[HardwareError] = []
        self._heard: asyncio.Queue[Heard] = asyncio.Queue()
        self._closed = False

    async def listen(self, *commands: bytes) -> None:
        while not self._closed:
            try:
                async for tap in self.reader.taps():
                    self._heard.put_nowait((tap, await self._ask(tap, commands)))
            except HardwareError as e:
                self.failures.append(e)
                await asyncio.sleep(0.05)

    async def _ask(self, tap: Tap, commands: tuple[bytes, ...]) -> bytes | HardwareError | None:
        answer: bytes | HardwareError | None = None
        try:
            for command in commands if tap.card is not None else ():
                answer = await tap.card.apdu(command)
        except HardwareError as e:
            answer = e
        return answer

    async def tap(self, card: VirtualCard) -> Heard:
        """Hold the card until its tap was taken, then away; a moment later on the clock."""
        await self.field.present(card)
        heard = await asyncio.wait_for(self._heard.get(), PATIENCE_S)
        await self.field.remove()
        self.clock.advance(0.1)
        return heard

    async def next(self) -> Tap:
        """The next tap, of a card that stays."""
        return (await asyncio.wait_for(self._heard.get(), PATIENCE_S))[0]

    async def nothing_from(self, card: VirtualCard) -> bool:
        """Hold the card long enough for any reader, then away: was nothing heard?"""
        await self.field.tap(card)
        return self._heard.empty()

    async def close(self) -> None:
        self._closed = True
        await self.reader.close()


Open = Callable[..., "asyncio.AbstractAsyncContextManager[Bench]"]


@pytest.fixture(params=TRANSPORTS)
def bench(request, clock):
    """`async with bench(*commands) as b:` with a card's every tap answered to `commands`."""

    @asynccontextmanager
    async def opened(*commands: bytes) -> AsyncIterator[Bench]:
        field, reader = await make(request, clock)
        bench = Bench(reader, field, clock)
        listening = asyncio.create_task(bench.listen(*commands))
        try:
            yield bench
        finally:
            await bench.close()
            await field.close()
            await asyncio.wait_for(listening, PATIENCE_S)

    return opened


async def make(request: pytest.FixtureRequest, clock: HandClock) -> tuple[Field, CardReader]:
    match request.param:
        case "udp":
            udp = await UdpField.start()
            return udp, nfc.create(nfc.Options(path=udp.path, virtual=True), clock=clock)
        case "pn532":
            board = await Pn532Field.start()
            return board, nfc.create(nfc.Options(path=board.path, virtual=True), clock=clock)
        case _:
            pcscd: Pcscd = request.getfixturevalue("pcscd")
            field = VpcdField(lambda: pcscd.connect(0))
            return field, pcsc.create(pcsc.Options(reader="00 00", virtual=True), clock=clock)
