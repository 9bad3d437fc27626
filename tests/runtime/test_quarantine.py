"""An EVSE that ends the process again and again stands aside, and the others go on."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from edge import app, inventory
from edge.domain.pricing.facts import PricingError
from edge.domain.session.state import Charging, Resuming
from edge.domain.session.terms import Rules
from edge.errors import HardwareError, StoreError, TariffError
from edge.runtime import quarantine
from edge.runtime.controller import World
from edge.runtime.quarantine import CRASHES_MAX, PATIENCE_S, Crashes, EvseQuarantined, StandingAside, counted
from hw.virtual.place import evse
from tests.runtime.test_controller import Rig

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def crashes_at(folder, now=NOW, version="1"):
    return Crashes(folder / "till.db", version, now=lambda: now)


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


def test_the_third_time_it_stands_aside_until_the_till_was_stopped_in_order(start, monkeypatch):
    watched = []

    async def watch(controllers, _store):
        watched.append(list(controllers))

    monkeypatch.setattr(app, "watch", watch)
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
    assert watched[-1] == [well]  # who stands aside never hangs, and would hide that the others do
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
        (PricingError("the same at each start"), True),
        (ExceptionGroup("g", [TariffError("the same at each start")]), True),
        (HardwareError("no charge point"), False),
        (StoreError("disk"), False),
        (ExceptionGroup("g", [StoreError("disk")]), False),
    ],
)
def test_what_is_not_its_own_doing_is_not_counted(tmp_path, error, counts):
    for _ in range(CRASHES_MAX):
        with pytest.raises(type(error)):
            asyncio.run(counted(Ending(error), crashes_at(tmp_path)))
    assert crashes_at(tmp_path).quarantined("E1") is counts
    assert not crashes_at(tmp_path).quarantined("E2")


def test_an_update_a_calm_stretch_and_an_ordered_stop_are_new_beginnings(tmp_path):
    crashes = crashes_at(tmp_path)
    for evse_id in ["E1"] * CRASHES_MAX + ["E2"]:
        crashes.note(evse_id)
    crashes.calm()
    crashes.note("E2")
    crashes.note("E2")
    read_again = crashes_at(tmp_path)
    assert read_again.quarantined("E1")
    assert not read_again.quarantined("E2")
    assert not crashes_at(tmp_path, version="2").quarantined("E1")
    read_again.forget()
    assert not crashes_at(tmp_path).quarantined("E1")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b'{"version": 1}',
        b'{"version": "1", "crashes": {"E1": "many"}}',
        b'{"version": "1", "crashes": {"E1": 3}}',
    ],
)
def test_what_cannot_be_read_counts_nothing(tmp_path, text):
    (tmp_path / "till.db.crashes").write_bytes(text)
    crashes = crashes_at(tmp_path)
    assert not crashes.quarantined("E1")
    crashes.note("E1")
    assert crashes_at(tmp_path)._crashes["E1"].times == 1


def test_after_a_day_the_next_start_tries_it_once(tmp_path):
    crashes = crashes_at(tmp_path)
    for _ in range(CRASHES_MAX + 1):
        crashes.note("E1")
    day = timedelta(seconds=PATIENCE_S)
    assert crashes_at(tmp_path, NOW + day - timedelta(seconds=1)).quarantined("E1")
    assert crashes_at(tmp_path, NOW - 2 * day).quarantined("E1")
    once_more = crashes_at(tmp_path, NOW + day)
    assert not once_more.quarantined("E1")
    once_more.note("E1")
    assert crashes_at(tmp_path, NOW + day).quarantined("E1")


class Aside:
    """An EVSE that sells; and after the end of its process the same one, standing aside."""

    def __init__(self, folder):
        self.rig = Rig(folder, rules=Rules(resume_wait_s=5))
        self.task = None

    async def turn(self, controller):
        """`controller` runs instead of the one before."""
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
        self.rig.controller = controller
        self.task = self.rig.task = asyncio.create_task(controller.run())

    def stood_aside(self, state):
        rig, sold = self.rig, self.rig.controller
        world = World(
            meter=rig.meter,
            evse=rig.evse,
            payments={"account": rig.desk},
            offers=sold._offers,
            plans=sold._plans,
            store=rig.store,
            clock=rig.clock,
            display=rig.screen,
            online=lambda: None,
        )
        return StandingAside(sold._options, world, state=state)

    async def charging(self):
        """The state that a process leaves that ends in the middle of a session; nobody asks its meter any more."""
        await self.turn(self.rig.controller)
        await self.rig.charge()
        await self.rig.until(
            lambda: isinstance(self.rig.controller.state.session.state, Charging), "no session"
        )
        await self.rig.clock.sleep(20)
        await self.rig.controller.checkpoint()
        self.rig.meter.broken = True
        return self.rig.committed()

    async def owing(self):
        """The state that a process leaves whose device for payments failed after a session."""
        await self.charging()
        self.rig.meter.broken, self.rig.desk.failures = False, 1_000_000
        await self.rig.controller.request_stop("remote")
        await self.rig.until(lambda: self.rig.controller.state.unsettled, "not behind the scene")
        await self.rig.controller.checkpoint()
        self.rig.desk.failures = 0
        self.rig.meter.broken = True
        return self.rig.controller.state


@pytest.fixture
def play(tmp_path):
    def run(story):
        async def whole():
            aside = Aside(tmp_path)
            try:
                await story(aside, aside.rig)
            finally:
                if aside.task is not None:
                    aside.task.cancel()
                    await asyncio.wait({aside.task})
                aside.rig.store.close()

        asyncio.run(whole())

    return run


def what_is_owed(rig):
    state = rig.controller.state
    return state.session, state.unsettled


def numbered(rig):
    last = rig.controller.state.last
    return last and last.finished.invoice_number


def test_what_earlier_drivers_owe_is_settled_while_it_stands_aside(play):
    async def story(aside, rig):
        await aside.turn(aside.stood_aside(await aside.owing()))
        await rig.until(lambda: numbered(rig) is not None, "nothing is settled")
        committed = rig.committed()
        assert (committed.session, committed.unsettled) == (None, ())
        assert rig.screen.view.reason == "quarantined"

    play(story)


@pytest.mark.parametrize("told", [True, False])
def test_the_session_in_it_waits_and_ends_at_its_last_commit_when_told_to_or_after_a_day(
    play, monkeypatch, told
):
    async def story(aside, rig):
        left = await aside.charging()
        permits = rig.evse.permits
        await aside.turn(aside.stood_aside(left))
        if told:
            await rig.clock.sleep(40)
            assert isinstance(rig.controller.state.session.state, Resuming)
            await rig.controller.request_stop("remote")
        await rig.until(lambda: what_is_owed(rig) == (None, ()), "the session stays open")
        finished = rig.committed().last.finished
        measured = left.session.measured
        assert (finished.outcome, finished.estimated) == ("invoiced", True)
        assert finished.energy_wh == measured.last_wh - measured.begin_wh > 0
        assert (rig.evse.permits, rig.evse.closed) == (permits, False)

    if not told:
        monkeypatch.setattr(quarantine, "PATIENCE_S", 30.0)
    play(story)


def test_a_session_whose_step_fails_is_left_as_it_is_and_the_others_are_settled(play, monkeypatch):
    async def story(aside, rig):
        owing = await aside.owing()
        (owed,) = owing.unsettled
        payment = replace(owed.payment, ref="1" * 16, status="authorized", due_minor=None)
        state = Charging(checkpoint=rig.clock.now())
        broken = replace(owed, session_id="1" * 32, payment=payment, state=state)
        offers = rig.controller._offers
        sold = type(offers).session

        def session(self, session, **given):
            if session.session_id == broken.session_id:
                raise PricingError("this session has no price")
            return sold(self, session, **given)

        monkeypatch.setattr(type(offers), "session", session)
        await aside.turn(aside.stood_aside(replace(owing, session=broken)))
        await rig.until(lambda: not rig.controller.state.unsettled, "nothing is settled")
        await rig.controller.request_stop("remote")
        assert rig.committed().session == rig.controller.state.session == broken
        await rig.clock.sleep(20)
        assert not aside.task.done()

    play(story)


def test_an_error_in_its_settlement_costs_nothing_but_the_try(play):
    async def story(aside, rig):
        owing = await aside.owing()

        async def broken(*_given, **_named):
            raise Unforeseen("in the way to pay")

        rig.desk.capture = broken
        await aside.turn(aside.stood_aside(owing))
        await rig.clock.sleep(20)
        assert len(rig.controller.state.unsettled) == 1
        assert not aside.task.done()
        del rig.desk.capture
        await rig.until(lambda: what_is_owed(rig) == (None, ()), "nothing is settled")

    play(story)


def test_the_terminal_waits_for_no_hold_of_an_evse_that_stands_aside(start):
    till = start()
    session = SimpleNamespace(payment=SimpleNamespace(ref="stranded"))
    aside = StandingAside.__new__(StandingAside)
    aside.state = SimpleNamespace(session=session, unsettled=())
    till._controllers = [SimpleNamespace(state=aside.state), aside]
    assert till._stranded() == {"stranded"}
