"""Recorded register dumps, replayed: a model behaves for ever as it did when it was recorded."""

import asyncio
import time
from pathlib import Path

import pytest

from edge.domain.instant import Instant
from hw.bus.pool import BusPool
from hw.meters import register
from hw.virtual import dump
from hw.virtual.modbus_server import RtuServer

DUMPS = sorted((Path(__file__).parents[2] / "data" / "meters").glob("*.toml"))


class Now:
    def now(self):
        return Instant(utc=None, boot_id="test", monotonic_ns=time.monotonic_ns())


@pytest.mark.parametrize("path", DUMPS, ids=lambda path: path.stem)
def test_a_recorded_meter_says_what_it_said(path):
    recorded = dump.load(path)

    async def play():
        server = RtuServer({1: recorded.unit()})
        await server.start()
        buses = BusPool(Now())
        options = register.Options(profile=recorded.profile, port=server.address, gap_ms=0)
        meter = register.create(options, clock=Now(), buses=buses)
        try:
            return await meter.read(), await meter.identify()
        finally:
            await buses.close()
            await server.stop()

    value, identity = asyncio.run(play())
    seen = {name: getattr(value, name) for name in ("energy_wh", "power_w", "current_ma", "voltage_mv")}
    seen["serial"] = identity.serial
    expected = {n: tuple(v) if isinstance(v, list) else v for n, v in recorded.expected.items()}
    assert {name: seen[name] for name in expected} == expected


def test_there_is_something_to_replay():
    assert DUMPS
