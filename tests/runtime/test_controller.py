"""One controller with a real store and a real payment desk, before a meter and a charge point that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import threading

import msgspec
import pytest

from edge.domain.energy import MeterIdentity, MeterValue
from edge.domain.identity import Member, uid_token
from edge.domain.invoice import Place, Seller
from edge.domain.payment import Authorized, Captured, Reversed
from edge.domain.session import events as ev
from edge.domain.session.contactor import not_released
from edge.domain.session.state import Charging, EvseState, open_sessions
from edge.domain.session.terms import Rules
from edge.domain.tariffs import freeze
from edge.errors import HardwareError, StoreError
from edge.metering.reading import Limits
from edge.ports import EvseStatus
from edge.runtime import metering, vehicle
from edge.runtime.controller import EvseController, Options, World
from edge.runtime.offers import Offers, Sale
from edge.runtime.plans import PlanBook
from edge.runtime.release import EvseUnknown, NotReleased, handlers
from edge.runtime.shelf import OnSale, Shelf
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store
from hw.virtual.clock import VirtualClock

SPEED = 40
RULES = Rules()
PATIENCE_S = 60.0
TOKEN = uid_token(b"1234567", key=bytes(32), key_id="k")
MEMBER = Member(account="A", token=TOKEN.value, limit_minor=5000, currency="EUR")
PLACE = Place(evse_id="E", label="1", address="A", time_zone="Europe/Berlin")


class Meter:
    """Counts while the contactor is closed."""

    def __init__(self, clock, evse):
        self.limits = Limits(rated_power_w=22_000)
        self.clock, self.evse = clock, evse
        self.wrong_wh = 0
        self.broken = False
        self.late_wh = None
        self.in_doubt = None
        self.serial = "1"

    async def read(self):
        if self.broken:
            raise HardwareError("no meter")
        at = self.clock.now()
        power_w = 11_000 if self.evse.closed else 0
        if self.late_wh is not None:
            return MeterValue(at=at, energy_wh=self.late_wh, power_w=power_w, sure=False)
        energy_wh = 1_000_000 + self.evse.wh() + self.wrong_wh
        sure = self.in_doubt is None or at.seconds_since(self.in_doubt) > 30
        self.in_doubt = None if sure else at
        return MeterValue(at=at, energy_wh=energy_wh, power_w=power_w, sure=sure)

    async def identify(self):
        if self.broken:
            raise HardwareError("no meter")
        return MeterIdentity(model="M", serial=self.serial)

    async def close(self):
        pass


class Evse:
    lease = "device"

    def __init__(self, clock):
        self.clock = clock
        self.broken = False
        self.pilot = "A"
        self.permits = 0
        self.closed = False
        self.welded = False
        self._counted_ns = 0
        self._since_ns = 0

    def wh(self):
        running_ns = self.clock.now_ns() - self._since_ns if self.closed else 0
        return 11_000 * (self._counted_ns + running_ns) // 3_600_000_000_000

    def _close(self, *, closed):
        if self.welded:
            return
        if closed and not self.closed:
            self._since_ns = self.clock.now_ns()
        if self.closed and not closed:
            self._counted_ns += self.clock.now_ns() - self._since_ns
        self.closed = closed

    async def prepare(self):
        self._answer()

    async def intact(self):
        self._answer()
        return True

    async def status(self):
        self._answer()
        return EvseStatus(at=self.clock.now(), pilot=self.pilot, contactor_closed=self.closed)

    async def permit(self, *, current_a):
        self._answer()
        self.permits += 1
        self._close(closed=True)

    async def revoke(self):
        self._answer()
        self._close(closed=False)

    async def close(self):
        pass

    def _answer(self):
        if self.broken:
            raise HardwareError("no charge point")


class Hanging:
    """A driver whose call never comes back, as a blocked read of a thread that is waited for."""

    def __init__(self, device, *calls):
        self._device = device
        self.calls = set(calls)

    def __getattr__(self, name):
        found = getattr(self._device, name)
        if name not in self.__dict__["calls"]:
            return found

        async def never(**_given):
            await asyncio.Event().wait()

        return never


class Desk:
    """A way to pay whose device fails for the first tries of everything."""

    def __init__(self, failures=0):
        self.failures = failures
        self.asked = []

    async def preauthorize(self, ref, *, amount_minor, currency, token):
        self._try("preauthorize", ref)
        return Authorized(ref=ref, hold_minor=amount_minor)

    async def capture(self, ref, *, amount_minor, currency):
        self._try("capture", ref)
        return Captured(ref=ref, amount_minor=amount_minor)

    async def reverse(self, ref):
        self._try("reverse", ref)
        return Reversed(ref=ref)

    def _try(self, what, ref):
        self.asked.append((what, ref))
        if self.asked.count((what, ref)) <= self.failures:
            raise HardwareError("line is down")


class Screen:
    def show(self, view):
        self.view = view


class Rig:
    def __init__(self, folder, *, failures=0, speed=SPEED, rules=RULES):
        self.clock = VirtualClock(speed=speed)
        self.store = Store.open(
            folder / "t.db", key=load_or_make(folder / "key"), owner=Owner(site="s", device="d"), prefix="CT",
            now=self.clock.now(),
        )  # fmt: skip
        self.evse = Evse(self.clock)
        self.meter = Meter(self.clock, self.evse)
        self.desk = Desk(failures)
        self.screen = Screen()
        tariff = freeze(json.dumps({
            "country_code": "DE", "party_id": "X", "id": "T", "currency": "EUR",
            "elements": [{"price_components": [{"type": "ENERGY", "price": 0.5, "step_size": 1}]}],
            "last_updated": "2026-01-01T00:00:00Z",
        }).encode())  # fmt: skip
        sale = Sale(
            place=PLACE, seller=Seller(name="S", address="A", country="DE", tax_id="T"),
            rated_power_w=22_000, evse_kind="AC", languages=("en",),
        )  # fmt: skip
        plans = PlanBook((), {}, {})
        on_sale = OnSale(tariff=tariff, hold_minor=5000, rules=rules)
        self.shelf = Shelf(on_sale, documents={}, in_use=self._in_use)
        offers = Offers(sale, self.shelf, plans, refusal=lambda: self.shelf.refusal("E"))
        world = World(
            meter=self.meter, evse=self.evse, payments={"account": self.desk}, offers=offers, plans=plans,
            store=self.store, clock=self.clock, display=self.screen, online=lambda: None,
        )  # fmt: skip
        options = Options(evse_id="E", label="1", max_current_a=16, poll_s=1.0, evse_stale_s=5)
        self.controller = EvseController(options, world, state=EvseState(evse_id="E"))

    def _in_use(self):
        return {session.tariff_hash for session in open_sessions(self.controller.state)}

    async def until(self, true, what):
        ends = asyncio.get_running_loop().time() + PATIENCE_S
        while not true():
            assert asyncio.get_running_loop().time() < ends, what
            assert not self.task.done(), self.task
            await asyncio.sleep(0.01)

    def shows(self, kind):
        return lambda: self.controller.shown is not None and self.controller.shown.kind == kind

    async def tap(self):
        await self.controller.post(
            ev.CardTapped(
                at=self.clock.now(),
                token=TOKEN,
                member=MEMBER,
                session_id="0" * 32,
                payment_ref="0" * 16,
                salt=b"s",
                stop_code="1234",
            )
        )

    async def charge(self):
        await self.until(self.shows("idle"), "not ready")
        self.evse.pilot = "C"
        await self.tap()
        await self.until(lambda: self.evse.closed, "the contactor does not close")

    def committed(self):
        return msgspec.json.decode(self.store.evse_states()["E"], type=EvseState)


@pytest.fixture
def play(tmp_path):
    """`play(story, failures=..)` runs a story with a rig whose controller lives meanwhile."""

    def run(story, **options):
        async def whole():
            rig = Rig(tmp_path, **options)
            rig.task = asyncio.create_task(rig.controller.run())
            try:
                await story(rig)
            finally:
                rig.task.cancel()
                with contextlib.suppress(BaseException):
                    await rig.task
                rig.store.close()

        asyncio.run(whole())

    return run


def test_a_charge_point_that_is_missing_at_the_start_may_come_later(play):
    async def story(rig):
        rig.evse.broken = True
        await rig.until(rig.shows("out_of_order"), "not out of order")
        rig.evse.broken = False
        await rig.until(rig.shows("idle"), "not ready again")

    play(story)


def test_a_meter_that_is_missing_at_the_start_may_come_later(play):
    async def story(rig):
        rig.meter.broken = True
        await rig.until(rig.shows("out_of_order"), "not out of order")
        assert rig.controller.shown.reason == "meter_silent"
        rig.meter.broken = False
        await rig.until(rig.shows("idle"), "not ready again")

    play(story)


def test_a_price_that_changes_is_shown_before_it_is_sold_and_what_runs_keeps_its_own(play):
    async def story(rig):
        document = json.loads(rig.shelf.on_sale.tariff.document)
        first = rig.shelf.on_sale.tariff.hash

        def put(name):
            tariff = freeze(json.dumps({**document, "id": name}).encode())
            rig.shelf.put(dataclasses.replace(rig.shelf.on_sale, tariff=tariff))
            return tariff.hash

        await rig.until(rig.shows("idle"), "not ready")
        put("second")
        await rig.tap()
        await rig.until(lambda: rig.controller.shown.notice is not None, "no word")
        assert rig.controller.shown.notice.code == "price_changed"
        assert rig.controller.state.session is None
        third = put("third")
        await rig.until(lambda: rig.controller._offers.tag._shown == third, "not drawn")
        await rig.clock.sleep(5)
        await rig.charge()
        put("fourth")
        await rig.clock.sleep(5)
        assert rig.controller.state.session.tariff_hash == third != first
        await rig.controller.request_stop("remote")
        await rig.until(rig.shows("paid"), "not paid")

    play(story)


def test_a_consumer_that_is_stuck_renews_no_permission(play):
    async def story(rig):
        await rig.charge()
        stuck, free = threading.Event(), threading.Event()
        rig.store.submit(lambda _tx: (stuck.set(), free.wait(PATIENCE_S)))
        await asyncio.to_thread(stuck.wait, PATIENCE_S)
        await rig.controller.post(ev.CheckpointDue(at=rig.clock.now()))  # waits for the store from now on
        await rig.clock.sleep(20)
        before = rig.evse.permits
        await rig.clock.sleep(20)
        assert rig.evse.permits == before
        free.set()
        await rig.until(lambda: rig.evse.permits > before, "permission does not come back")

    play(story)


def test_a_commit_that_was_begun_is_known_also_to_a_controller_that_is_cancelled(play):
    async def story(rig):
        await rig.charge()
        stuck, free = threading.Event(), threading.Event()
        rig.store.submit(lambda _tx: (stuck.set(), free.wait(PATIENCE_S)))
        await asyncio.to_thread(stuck.wait, PATIENCE_S)
        await rig.controller.request_stop("remote")
        await asyncio.sleep(0.1)
        rig.task.cancel()
        await asyncio.sleep(0.05)
        free.set()
        await asyncio.wait({rig.task}, timeout=PATIENCE_S)
        assert not isinstance(rig.controller.state.session.state, Charging)
        assert rig.controller.state.session == rig.committed().session

    play(story)


@pytest.mark.parametrize("device", ["meter", "evse"])
def test_a_driver_that_never_comes_back_opens_the_contactor_and_is_left_for_another_try(
    play, monkeypatch, device
):
    monkeypatch.setattr(metering, "CALL_MAX_S", 0.3)
    monkeypatch.setattr(vehicle, "CALL_MAX_S", 0.3)

    async def story(rig):
        controller = rig.controller
        await rig.charge()
        hanging = Hanging(getattr(rig, device), "read", "status")
        watch = controller._meter if device == "meter" else controller._vehicle
        setattr(watch, f"_{device}", hanging)
        await rig.until(lambda: not rig.evse.closed, "the contactor stays closed")
        await rig.until(lambda: controller.stuck_s() > 0, "nobody knows that it hangs")
        assert controller.silent_s() < 60
        hanging.calls.clear()
        await rig.until(lambda: controller.stuck_s() == 0, "it is not asked again")
        await rig.until(
            lambda: rig.evse.closed or controller.state.session is None, "neither goes on nor ends"
        )

    play(story)


def test_a_contactor_that_stays_closed_sells_nothing_until_it_opens_and_an_operator_says_so(play):
    async def story(rig):
        release = handlers([rig.controller], rig.clock)["evse.release"]
        await rig.charge()
        await rig.clock.sleep(60)
        rig.evse.welded = True
        await rig.controller.request_stop("remote")
        await rig.until(lambda: rig.controller.state.welded, "not found")
        await rig.until(rig.shows("out_of_order"), "still sold")
        assert rig.controller.shown.reason == "contactor_welded"
        assert rig.committed().welded is not None
        with pytest.raises(NotReleased, match="nothing flows"):
            await release({"evse_id": "E"})
        with pytest.raises(EvseUnknown):
            await release({"evse_id": "F"})
        rig.evse.welded = False
        rig.evse._close(closed=False)
        await rig.until(
            lambda: not_released(rig.controller.state, rig.clock.now()) is None, "the meter shows no rest"
        )
        await release({"evse_id": "E"})
        assert rig.committed().welded is None
        await rig.until(rig.shows("idle"), "not sold again")

    play(story)


def test_a_way_to_pay_that_fails_is_asked_again_under_the_same_reference(play):
    async def story(rig):
        await rig.charge()
        await rig.clock.sleep(30)
        await rig.controller.request_stop("remote")
        await rig.until(rig.shows("paid"), "not paid")
        wanted = ["preauthorize"] * 3 + ["capture"] * 3
        await rig.until(lambda: [what for what, _ in rig.desk.asked] == wanted, rig.desk.asked)
        assert {ref for _, ref in rig.desk.asked} == {"0" * 16}

    play(story, failures=2)


def test_a_store_that_fails_ends_the_controller_with_its_error(play):
    async def story(rig):
        await rig.until(rig.shows("idle"), "not ready")
        rig.store._connection.execute("PRAGMA query_only = ON")
        await rig.tap()
        await asyncio.wait({rig.task}, timeout=PATIENCE_S)
        (error,) = rig.task.exception().exceptions
        assert isinstance(error, StoreError)
        assert rig.controller.state.session is None

    play(story)


def test_a_meter_that_jumped_ends_the_session_and_is_looked_at_anew(play, monkeypatch):
    monkeypatch.setattr(metering, "_HALT_S", 120)

    async def story(rig):
        await rig.charge()
        await rig.clock.sleep(20)
        rig.meter.wrong_wh = 500_000
        await rig.until(lambda: not rig.evse.closed, "the contactor stays closed")
        await rig.until(rig.shows("paid"), "not paid")
        assert rig.controller.shown.estimated
        assert rig.controller.shown.energy_wh < 1000
        rig.evse.pilot = "A"
        await rig.until(rig.shows("out_of_order"), "sells with a meter that jumped")
        await rig.until(rig.shows("idle"), "never sells again")

    play(story)


def test_a_session_begins_and_ends_with_readings_that_cannot_be_late(play, monkeypatch):
    monkeypatch.setattr(metering, "_SURE_MAX_S", 10_000)

    async def story(rig):
        await rig.until(rig.shows("idle"), "not ready")
        rig.meter.late_wh = 999_000
        rig.evse.pilot = "C"
        await rig.tap()
        await rig.until(rig.shows("preparing"), "does not prepare")
        await rig.clock.sleep(3)
        assert not rig.evse.closed
        rig.meter.late_wh = None
        await rig.until(lambda: rig.evse.closed, "the contactor does not close")
        await rig.clock.sleep(4)
        rig.meter.late_wh = 1_000_000
        await rig.controller.request_stop("remote")
        await rig.until(rig.shows("stopping"), "does not stop")
        await rig.clock.sleep(3)
        assert rig.shows("stopping")()
        rig.meter.late_wh = None
        await rig.until(rig.shows("paid"), "not paid")
        assert not rig.controller.shown.estimated
        assert rig.controller.shown.energy_wh == rig.evse.wh()

    play(story, speed=4, rules=Rules(prepare_timeout_s=300))


def test_a_meter_whose_every_answer_renews_the_doubt_is_left_alone_for_half_a_minute(play):
    async def story(rig):
        rig.meter.in_doubt = rig.clock.now()
        await rig.until(rig.shows("idle"), "not ready")
        rig.meter.in_doubt = rig.clock.now()
        await rig.charge()
        assert rig.meter.in_doubt is None
        rig.meter.in_doubt = rig.clock.now()
        await rig.clock.sleep(4)
        await rig.controller.request_stop("remote")
        await rig.until(rig.shows("paid"), "not paid")
        assert not rig.controller.shown.estimated
        assert rig.controller.shown.energy_wh == rig.evse.wh()

    play(story, rules=Rules(prepare_timeout_s=300))


def test_another_meter_after_a_silence_ends_the_session(play):
    async def story(rig):
        await rig.charge()
        await rig.clock.sleep(20)
        rig.meter.broken = True
        await rig.clock.sleep(5)
        rig.meter.serial, rig.meter.wrong_wh, rig.meter.broken = "2", 10, False
        await rig.until(rig.shows("paid"), "goes on")
        assert rig.controller.shown.estimated

    play(story)


def test_a_clock_that_becomes_trusted_is_told_before_it_is_used(play):
    async def story(rig):
        trusted = threading.Event()
        rig.controller._trusted = False
        rig.clock.trusted = trusted.is_set
        rig.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await rig.task
        rig.task = asyncio.create_task(rig.controller.run())
        await rig.charge()
        assert not rig.controller.state.session.dated
        trusted.set()
        await rig.until(lambda: rig.controller.state.session.dated, "the session is not dated")

    play(story)
