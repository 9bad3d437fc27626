"""An EVSE that ends the process again and again stands aside, and the others go on."""

from __future__ import annotations

import asyncio

import pytest

from edge import app, inventory
from edge.errors import StoreError
from edge.runtime.quarantine import CRASHES_MAX, Crashes, EvseQuarantined, counted
from hw.virtual.place import evse


class Unforeseen(Exception):
    pass


class Point:
    """A charge point that answers; a sick one ends whoever asks for its status."""

    lease = "device"

    def __init__(self, *, sick):
        self.sick, self.revoked = sick, 0

    async def prepare(self):
        pass

    async def status(self):
        if self.sick:
            raise Unforeseen("in this charge point's session")
        await asyncio.sleep(3600)

    async def permit(self, *, current_a):
        pass

    async def revoke(self):
        self.revoked += 1
        if self.sick:
            raise Unforeseen("here, too")

    async def close(self):
        pass


@pytest.fixture
def start(place, monkeypatch):
    """`start()`: a till with a sick EVSE beside a well one."""
    place.add(evse("DE*T*2", label="2", meter_at="tcp://127.0.0.3:9", charge_point_at="tcp://127.0.0.4:9"))

    def made(_name, options, **_world):
        return Point(sick=options.port == "tcp://127.0.0.2:9")

    monkeypatch.setattr(app.registry, "create_evse", made)
    return lambda: app.Till(inventory.load(place.config))


async def stopped_once(till, *, true):
    """Run it until something holds, then stop it in order."""
    running = asyncio.create_task(till.run())
    async with asyncio.timeout(60):
        while not running.done() and not true():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    till._stop.set()
    await running


def test_the_third_time_it_stands_aside_until_the_till_was_stopped_in_order(start):
    for _ in range(CRASHES_MAX):
        with pytest.raises(ExceptionGroup) as found:
            asyncio.run(start().run())
        assert found.group_contains(Unforeseen)
    till = start()

    def both_shown():
        return len(till._controllers) == 2 and all(c.shown is not None for c in till._controllers)

    asyncio.run(stopped_once(till, true=both_shown))
    sick, well = till._controllers
    assert (sick.shown.kind, sick.shown.reason) == ("out_of_order", "quarantined")
    assert well.shown.reason != "quarantined"
    assert sick._charge_point.revoked
    asyncio.run(sick.request_stop("remote"))
    with pytest.raises(EvseQuarantined):
        asyncio.run(sick.post(None))
    with pytest.raises(ExceptionGroup):
        asyncio.run(start().run())


class Ending:
    evse_id = "E1"

    def __init__(self, error):
        self.error = error

    async def run(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (Unforeseen(), True),
        (ExceptionGroup("g", [StoreError("disk"), ExceptionGroup("h", [Unforeseen()])]), True),
        (StoreError("disk"), False),
        (ExceptionGroup("g", [StoreError("disk")]), False),
    ],
)
def test_what_is_not_its_own_doing_is_not_counted(tmp_path, error, counts):
    for _ in range(CRASHES_MAX):
        with pytest.raises(type(error)):
            asyncio.run(counted(Ending(error), Crashes(tmp_path / "till.db", "1")))
    assert Crashes(tmp_path / "till.db", "1").quarantined("E1") is counts
    assert not Crashes(tmp_path / "till.db", "1").quarantined("E2")


def test_an_update_a_calm_stretch_and_an_ordered_stop_are_new_beginnings(tmp_path):
    database = tmp_path / "till.db"
    crashes = Crashes(database, "1")
    for evse_id in ["E1"] * CRASHES_MAX + ["E2"]:
        crashes.note(evse_id)
    crashes.calm()
    crashes.note("E2")
    crashes.note("E2")
    read_again = Crashes(database, "1")
    assert read_again.quarantined("E1")
    assert not read_again.quarantined("E2")
    assert not Crashes(database, "2").quarantined("E1")
    read_again.forget()
    assert not Crashes(database, "1").quarantined("E1")


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"version": 1}', b'{"version": "1", "crashes": {"E1": "many"}}']
)
def test_what_cannot_be_read_counts_nothing(tmp_path, text):
    (tmp_path / "till.db.crashes").write_bytes(text)
    crashes = Crashes(tmp_path / "till.db", "1")
    assert not crashes.quarantined("E1")
    crashes.note("E1")
    assert Crashes(tmp_path / "till.db", "1")._crashes == {"E1": 1}
