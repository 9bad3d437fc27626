"""Recorded register dumps, replayed: a model behaves for ever as it did when it was recorded."""

import asyncio
import time
from pathlib import Path

import msgspec
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
    expected = msgspec.structs.asdict(recorded.expected)
    assert {name: seen[name] for name, said in expected.items() if said is not None} == {
        name: said for name, said in expected.items() if said is not None
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("[registers.input]", "[registers.inputs]"), "inputs"),
        (("4366 3334 4366", "4366 334 4366"), "registers"),
        (("0x0034", "x34"), "registers"),
        (("energy_wh", "energy"), "energy"),
        (('profile = "eastron_sdm630"', ""), "profile"),
    ],
)
def test_a_recording_with_a_slip_is_refused_rather_than_half_compared(tmp_path, change, named):
    text = next(path for path in DUMPS if path.stem == "eastron_sdm630").read_text()
    assert change[0] in text
    (tmp_path / "slip.toml").write_text(text.replace(*change))
    with pytest.raises(msgspec.ValidationError, match=named):
        dump.load(tmp_path / "slip.toml")


def test_there_is_something_to_replay():
    assert DUMPS
