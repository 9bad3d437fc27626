"""A driver and a terminal that speak the real protocol, over TCP or a pseudo-terminal, in every shape."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from edge.domain.terminal import OpenReceipts
from hw.terminals.zvt.dialog import Times
from hw.terminals.zvt.driver import Options, ZvtTerminal
from hw.terminals.zvt.errors import TerminalError
from hw.virtual.terminal import VirtualTerminal

#: Long where the terminal answers, so that a slow machine fails nothing.
PATIENT = Times(taken_s=20.0, silence_s=20.0, total_s=60.0)
#: Short where the terminal is known to stay silent.
CURT = Times(taken_s=20.0, silence_s=1.0, total_s=60.0)

Scenario = Callable[[ZvtTerminal, VirtualTerminal], Awaitable[Any]]


async def ignored(_seen: object) -> None:
    """Nobody keeps the receipt number."""


async def told(driver: ZvtTerminal) -> OpenReceipts:
    """What the terminal holds, as soon as it answers that again."""
    while True:
        with contextlib.suppress(TerminalError):
            return await driver.open_receipts()
        await asyncio.sleep(0.02)


def play(
    scenario: Scenario,
    *,
    serial: bool = False,
    times: Times = PATIENT,
    options: dict[str, Any] | None = None,
    **terminal: Any,
) -> Any:
    """Run `scenario(driver, terminal)` and take both down."""

    async def run() -> Any:
        start = VirtualTerminal.start_serial if serial else VirtualTerminal.start
        async with await start(**terminal) as there:
            driver = ZvtTerminal(
                Options(port=there.address, baudrate=115200, **(options or {})),
                password=bytes(3),
                times=times,
            )
            try:
                async with asyncio.timeout(120):
                    return await scenario(driver, there)
            finally:
                await driver.close()

    return asyncio.run(run())


@pytest.fixture(
    params=[
        pytest.param({"shape": "whole"}, id="whole"),
        pytest.param({"shape": "fragments"}, id="fragments"),
        pytest.param({"shape": "merged"}, id="merged"),
        pytest.param({"serial": True}, id="serial"),
        pytest.param({"serial": True, "shape": "fragments"}, id="serial-fragments"),
    ]
)
def way(request) -> dict[str, Any]:
    """How bytes travel."""
    return request.param
