"""A meter that signs and the journal stay in step, wherever the power goes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from edge.domain.instant import Instant
from edge.metering.signing import Idle, Ready, SignedSession
from edge.runtime.signing import Signing
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store
from hw import registry
from hw.bus.pool import BusPool
from hw.virtual.clock import VirtualClock
from hw.virtual.modbus_server import TcpServer
from hw.virtual.signed_meters import VirtualBsm, VirtualEm580, VirtualWm3m4

METERS = {"em580": VirtualEm580, "wm3m4": VirtualWm3m4, "bsm": VirtualBsm}
SESSION, PRICE = "5e550000", "0.49 EUR/kWh"


class PowerCut(Exception):
    pass


class Torn:
    """The store, until the power goes before or after a commit."""

    def __init__(self, store, *, at=None, after=False):
        self.store, self.at, self.after, self.commits = store, at, after, 0

    async def tx(self, run):
        before = self.store.head.seq
        result = await self.store.tx(lambda tx: run(_Counting(tx, self)))
        if self.store.head.seq > before and self.after and self.commits == self.at:
            raise PowerCut
        return result


class _Counting:
    """A commit that counts its facts, and is never made when the power goes first."""

    def __init__(self, tx, torn):
        self._tx, self._torn = tx, torn

    def append(self, fact, at):
        self._torn.commits += 1
        if self._torn.commits == self._torn.at and not self._torn.after:
            raise PowerCut
        return self._tx.append(fact, at)

    def signed(self, session_id):
        return self._tx.signed(session_id)


class World:
    def __init__(self, kind, tmp_path):
        self.kind, self.minutes, self.wh = kind, 0, 4_000_000
        self.meter = METERS[kind](energy_wh=lambda: self.wh, now=self.now)
        at = Instant(utc=self.now(), boot_id="b", monotonic_ns=0)
        key = load_or_make(tmp_path / "key")
        owner = Owner(site="s", device="d")
        self.store = Store.open(tmp_path / "t.db", key=key, owner=owner, prefix="CT", now=at)

    def now(self):
        return datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(minutes=self.minutes)

    async def boot(self, work, **torn):
        """One life of the till: `work` with a fresh driver, until it is done or the power goes."""
        server = TcpServer({1: self.meter})
        await server.start()
        clock = VirtualClock(speed=1000)
        buses = BusPool(clock)
        kind = registry.options_type("meter", self.kind)
        options = msgspec.convert({"port": server.address, "unit": 1}, kind)
        meter = registry.create_meter(self.kind, options, clock=clock, buses=buses)
        store = Torn(self.store, **torn)
        try:
            return await work(Signing(meter, store=store, clock=clock, evse_id="E"), meter)
        except PowerCut:
            return "cut"
        finally:
            await buses.close()
            await server.stop()

    def kept(self):
        rows = self.store.submit(
            lambda tx: tx.connection.execute(
                "SELECT session_id, kind FROM signed WHERE kind != 'begin' ORDER BY id"
            ).fetchall()
        )
        return rows.result()


async def begin(signing, _meter):
    await signing.begin(SESSION, PRICE)


async def end(signing, meter):
    proven = await signing.end(SESSION, PRICE)
    held = await meter.held()
    assert isinstance(held, Idle) or (isinstance(held, Ready) and not held.blocking)
    return proven


async def recover(signing, _meter):
    return await signing.recover(SESSION)


@pytest.fixture(params=METERS)
def world(request, tmp_path):
    world = World(request.param, tmp_path)
    yield world
    world.store.close()


def test_a_session_is_proven_and_the_meter_is_free_again(world):
    async def story():
        await world.boot(begin)
        world.wh, world.minutes = world.wh + 11_110, 60
        return await world.boot(end)

    assert asyncio.run(story()) == 11_110
    assert world.kept() == [(SESSION, "record")]


@pytest.mark.parametrize("after", [False, True])
def test_a_power_cut_at_any_commit_loses_no_record_and_keeps_none_twice(world, after):
    async def story(cut):
        started = await world.boot(begin, at=cut, after=after)
        if started == "cut":
            await world.boot(recover)
            await world.boot(begin)
        world.wh, world.minutes = world.wh + 11_110, world.minutes + 60
        ended = await world.boot(end, at=cut, after=after)
        if ended == "cut":
            await world.boot(recover)
            ended = await world.boot(end)
        return ended

    assert asyncio.run(story(1)) == 11_110
    assert world.kept() == [(SESSION, "record")]


def test_a_session_that_the_till_never_had_leaves_no_trace_in_the_next_one(world):
    async def strangers(_signing, meter):
        await meter.begin_signed(SignedSession(session_id="stranger"))

    async def story():
        await world.boot(strangers)
        world.wh += 5_000
        await world.boot(begin)
        world.wh, world.minutes = world.wh + 1_000, 30
        return await world.boot(end)

    assert asyncio.run(story()) == 1_000
    assert world.kept()[-1] == (SESSION, "record")


def test_a_session_that_lost_its_name_in_a_power_cut_is_not_given_that_of_the_next_one(world):
    async def strangers(_signing, meter):
        await meter.begin_signed(SignedSession(session_id="stranger"))

    async def story():
        await world.boot(strangers)
        world.wh += 5_000
        world.meter.cut_power()
        await world.boot(begin)
        world.wh, world.minutes = world.wh + 1_000, 30
        return await world.boot(end)

    assert asyncio.run(story()) == 1_000
    assert [row for row in world.kept() if row[0] == SESSION] == [(SESSION, "record")]


def test_a_session_is_proven_also_when_the_meter_lost_power_in_it(world):
    async def story():
        await world.boot(begin)
        world.wh, world.minutes = world.wh + 11_110, 60
        world.meter.cut_power()
        await world.boot(recover)
        return await world.boot(end)

    assert asyncio.run(story()) == 11_110
    kept = world.store.submit(lambda tx: tx.signed(SESSION)).result()
    for value in kept.values():
        assert value is None or PRICE in value.ocmf.decode()
