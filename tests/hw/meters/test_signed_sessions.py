"""Signed sessions on the virtual EM580, WM3M4 and BSM over the guarded bus: the contract that all three keep, and
what a power cut at any step leaves."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edge.domain.instant import Instant
from edge.metering.ocmf import chain, keys, record, signature
from edge.metering.signing import (
    UNNAMED,
    Acknowledge,
    Begin,
    Charge,
    End,
    Fetch,
    Idle,
    Journal,
    Lost,
    Ready,
    Running,
    Settled,
    SignedSession,
    next_step,
)
from hw import registry
from hw.bus.pool import BusPool
from hw.meters import profile as profiles
from hw.meters.signed import SigningFailed
from hw.virtual.meter import VirtualMeter
from hw.virtual.modbus_server import TcpServer
from hw.virtual.outlet import Outlet
from hw.virtual.signed_meters import VirtualBsm, VirtualEm580, VirtualWm3m4

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SESSION = SignedSession(session_id="5e55-0001", evse_id="DE*ABC*E1", tariff_text='0.49 €/kWh | "night" #7')
OTHER = SignedSession(session_id="other-2", evse_id="DE*ABC*E1", tariff_text="0.59 EUR/kWh")
STEPS_MAX = 12  # begin, end, fetch, acknowledge, each once, with a stranger's session before them


class QuickClock:
    """Waits a thousandth of what it is asked to. The meter's own clock moves with the energy, not with this."""

    def __init__(self, world):
        self._world = world

    def now(self):
        ns = int(asyncio.get_running_loop().time() * 1e9) * 100
        return Instant(utc=self._world.now(), boot_id="test", monotonic_ns=ns)

    def trusted(self):
        return self._world.trusted

    async def sleep(self, seconds):
        await asyncio.sleep(seconds / 1000)


class World:
    """A meter on a line, what was delivered, and the point at which everything is torn."""

    def __init__(self, kind):
        self.kind, self.trusted = kind, True
        self.delivered_wh, self.minutes = 1_234_560, 0
        made = {"em580": VirtualEm580, "wm3m4": VirtualWm3m4, "bsm": VirtualBsm}[kind]
        self.meter = made(energy_wh=lambda: self.delivered_wh, now=self.now)
        self.requests, self.tear_at, self.reply_lost = 0, None, False
        self.torn = asyncio.Event()

    def now(self):
        return BEGAN + timedelta(minutes=self.minutes)

    def deliver(self, wh, minutes):
        self.delivered_wh += wh
        self.minutes += minutes

    def read(self, function, address, count):
        return self._serve(lambda: self.meter.read(function, address, count), None)

    def write(self, function, address, values):
        return self._serve(lambda: self.meter.write(function, address, values), False)

    def _serve(self, do, silence):
        self.requests += 1
        if self.requests != self.tear_at:
            return silence if self.torn.is_set() else do()
        self.torn.set()
        if self.reply_lost:
            do()
        return silence

    @asynccontextmanager
    async def driver(self, **options):
        """The meter's driver on a line of its own, as after a boot."""
        server = TcpServer({1: self})
        await server.start()
        clock = QuickClock(self)
        buses = BusPool(clock)
        raw = {"port": server.address, "unit": 1} | options
        options = msgspec.convert(raw, registry.options_type("meter", self.kind))
        try:
            yield registry.create_meter(self.kind, options, clock=clock, buses=buses)
        finally:
            await buses.close()
            await server.stop()


class PowerCut(Exception):
    pass


class Books:
    """What the till has committed. It outlives a power cut, which may come before the commit number `cut_at`."""

    def __init__(self, cut_at=None):
        self.journal = Journal()
        self.records, self.begin, self.lost, self.acknowledged = [], None, [], 0
        self.commits, self.cut_at = 0, cut_at

    def count(self):
        self.commits += 1
        if self.commits == self.cut_at:
            raise PowerCut

    def charge(self, **changes):
        self.count()
        self.journal = msgspec.structs.replace(
            self.journal, charge=msgspec.structs.replace(self.journal.charge, **changes)
        )

    def commit(self, session_id, record=None):
        self.count()
        if record is not None:
            self.records.append(record)
        committed = self.journal.committed | {session_id or UNNAMED}
        self.journal = msgspec.structs.replace(self.journal, committed=committed)


async def settle(meter, books, session):
    """Do step after step until there is none, each committed before the next."""
    for _ in range(STEPS_MAX):
        held = await meter.held()
        match next_step(held, books.journal):
            case Begin():
                begin = await meter.begin_signed(session)
                books.charge(begun=True, begin_committed=begin is not None)
                books.begin = begin or books.begin
            case End():
                await meter.end_signed(session)
            case Fetch():
                fetched = await meter.fetch_signed()
                books.commit(fetched.session_id, fetched)
            case Acknowledge():
                assert isinstance(held, Ready)
                assert (held.session_id or UNNAMED) in books.journal.committed
                await meter.acknowledge_signed()
                books.acknowledged += 1
                books.journal = msgspec.structs.replace(
                    books.journal, committed=books.journal.committed - {UNNAMED}
                )
            case Lost(reason=reason):
                books.lost.append(reason)
                books.commit(books.journal.charge.session_id)
            case Settled():
                return
    pytest.fail(f"never settled: {held}, {books.journal}")


def told(books):
    """The charge that the committed records tell."""
    ours = [r for r in books.records if r.session_id == SESSION.session_id]
    pair = ([books.begin] if books.begin else []) + ours[-1:]
    for signed in pair:
        verdict = signature.verify(record.parse(signed.ocmf), keys.from_bytes(signed.public_key))
        assert (verdict.status, signed.verified) == ("valid", True)
    return chain.check([record.parse(signed.ocmf) for signed in pair])


METERS = ["em580", "wm3m4", "bsm"]


@pytest.fixture(params=METERS)
def kind(request):
    return request.param


async def whole_session(world, books):
    async with world.driver() as meter:
        books.journal = Journal(charge=Charge(session_id=SESSION.session_id))
        await settle(meter, books, SESSION)
        world.deliver(11_110, 60)
        books.charge(closing=True)
        await settle(meter, books, SESSION)


def test_a_session_is_signed_from_begin_to_end(kind):
    async def story():
        world, books = World(kind), Books()
        await whole_session(world, books)
        return world, books

    world, books = asyncio.run(story())
    charge = told(books)
    assert (charge.contradictions, charge.alarms, charge.billable) == ((), (), True)
    assert charge.energy_wh == 11_110
    assert charge.delivery.end.time - charge.delivery.begin.time == timedelta(hours=1)
    assert charge.delivery.begin.time_status == "S"
    assert books.lost == []
    assert books.acknowledged == (1 if kind == "em580" else 0)
    assert world.meter.public_key == books.records[0].public_key


def test_the_signed_texts_name_our_session_the_charge_point_and_the_price(kind):
    async def story():
        world, books = World(kind), Books()
        await whole_session(world, books)
        return record.parse(books.records[0].ocmf)

    signed = asyncio.run(story())
    text = {"em580": signed.tariff_text}.get(kind, signed.identification)
    assert text.endswith("#5e55-0001")
    assert "0.49 EUR/kWh / 'night'  7" in text
    assert "DE*ABC*E1" in (signed.evse_id or text)


def test_the_signed_time_is_in_the_meters_zone(kind):
    async def story():
        world = World(kind)
        async with world.driver(time_zone="Europe/Berlin") as meter:
            begin = await meter.begin_signed(SESSION)
            await meter.end_signed(SESSION)
            return begin, await meter.fetch_signed()

    begin, end = asyncio.run(story())
    first = record.parse((begin or end).ocmf).readings[0]
    assert first.time.utcoffset() == timedelta(hours=1)
    assert first.time == BEGAN


def test_an_untrusted_time_is_not_given_to_the_meter():
    async def story():
        world = World("em580")
        world.trusted = False
        async with world.driver() as meter:
            await meter.begin_signed(SESSION)
            await meter.end_signed(SESSION)
            return await meter.fetch_signed()

    assert record.parse(asyncio.run(story()).ocmf).readings[0].time_status == "U"


@pytest.mark.parametrize("kind", ["wm3m4", "bsm"])
def test_plain_readings_identity_and_signing_share_the_driver(kind):
    async def story():
        world = World(kind)
        world.meter.power_w = lambda: 11_040
        async with world.driver() as meter:
            return await meter.read(), await meter.identify(), meter.limits

    value, identity, limits = asyncio.run(story())
    assert (value.energy_wh, value.resolution_wh, value.power_w) == (1_234_560, 10, 11_040)
    assert value.current_ma == (16_000, 16_000, 16_000)
    assert value.voltage_mv == (230_000, 230_000, 230_000)
    assert identity.serial
    assert limits.rated_power_w > 11_040


def test_the_plain_readings_of_an_em580_are_those_of_its_profile():
    async def story():
        world = World("em580")
        profile = profiles.load("carlo_gavazzi_em580")
        world.meter.plain = VirtualMeter(profile, Outlet(lambda: 0), serial_number=7, offset_wh=1_234_567)
        async with world.driver() as meter:
            return await meter.read(), await meter.identify(), meter.limits

    value, identity, limits = asyncio.run(story())
    assert (value.energy_wh, value.resolution_wh, value.power_w) == (1_234_567, 1, 0)
    assert value.voltage_mv == (230_000, 230_000, 230_000)
    assert (identity.model, identity.serial) == ("Carlo Gavazzi EM580", "7")
    assert limits.rated_power_w == 44_850


def test_every_call_may_be_repeated(kind):
    async def story():
        world = World(kind)
        async with world.driver() as meter:
            first = await meter.begin_signed(SESSION)
            assert await meter.begin_signed(SESSION) == first
            world.deliver(5_000, 30)
            await meter.end_signed(SESSION)
            await meter.end_signed(SESSION)
            once = await meter.fetch_signed()
            assert await meter.fetch_signed() == once
            await meter.acknowledge_signed()
            await meter.acknowledge_signed()
            return world.meter.pagination

    assert asyncio.run(story()) == (1 if kind == "em580" else 2)


def test_no_session_begins_while_another_runs():
    async def story(kind):
        async with World(kind).driver() as meter:
            await meter.begin_signed(OTHER)
            with pytest.raises(SigningFailed):
                await meter.begin_signed(SESSION)

    for kind in ("em580", "wm3m4"):
        asyncio.run(story(kind))


def test_a_strangers_session_is_ended_and_its_record_kept(kind):
    async def story():
        world, books = World(kind), Books()
        async with world.driver() as meter:
            await meter.begin_signed(OTHER)
        await whole_session(world, books)
        return books

    books = asyncio.run(story())
    assert told(books).energy_wh == 11_110
    if kind == "em580":
        assert [r.session_id for r in books.records] == ["other-2", "5e55-0001"]


@pytest.mark.parametrize("seconds_of_charging", [0, 3600])
def test_a_meter_that_loses_power_in_mid_session(kind, seconds_of_charging):
    """EM580 closes the session itself, WM3M4 goes on with it, BSM forgets it: we hold the begin's record."""

    async def story():
        world, books = World(kind), Books()
        async with world.driver() as meter:
            books.journal = Journal(charge=Charge(session_id=SESSION.session_id))
            await settle(meter, books, SESSION)
        world.deliver(3 * seconds_of_charging, 60)
        world.meter.cut_power()
        async with world.driver() as meter:
            await settle(meter, books, SESSION)
            books.charge(closing=True)
            await settle(meter, books, SESSION)
        return books

    books = asyncio.run(story())
    charge = told(books)
    assert charge.contradictions == ()
    assert charge.energy_wh == 3 * seconds_of_charging
    assert books.lost == []
    assert charge.delivery.end.transaction == ("P" if kind == "em580" else "E")


async def torn_story(kind, at, *, reply_lost, meter_too):
    """Power goes at request number `at`, comes back, and everything is brought to its end."""
    world, books = World(kind), Books()
    world.tear_at, world.reply_lost = at, reply_lost
    task = asyncio.create_task(whole_session(world, books))
    torn = asyncio.create_task(world.torn.wait())
    await asyncio.wait({task, torn}, return_when=asyncio.FIRST_COMPLETED)
    was_torn = world.torn.is_set()
    torn.cancel()
    if was_torn:
        task.cancel()
    await asyncio.wait({task})
    if not was_torn:
        await task
    world.torn.clear()
    if was_torn:
        if meter_too:
            world.meter.cut_power()
        async with world.driver() as meter:
            begun = books.journal.charge.begun
            books.charge(closing=begun)
            await settle(meter, books, SESSION)
            if not begun:  # the session never began to deliver: it may begin now
                world.deliver(11_110, 60)
                books.charge(closing=True)
                await settle(meter, books, SESSION)
    return world, books, was_torn


@pytest.mark.parametrize("meter_too", [False, True], ids=["till", "till-and-meter"])
@pytest.mark.parametrize("reply_lost", [False, True], ids=["before", "reply-lost"])
def test_power_may_go_at_any_request(kind, reply_lost, meter_too):
    """Whatever is torn: the record tells what was delivered, or is said to be lost; nothing is acknowledged that
    is not committed (`settle` asserts it), and the meter is free in the end."""

    async def campaign():
        at, outcomes = 1, set()
        while True:
            world, books, was_torn = await torn_story(kind, at, reply_lost=reply_lost, meter_too=meter_too)
            if not was_torn:
                return outcomes
            async with world.driver() as meter:
                held = await meter.held()
            assert not isinstance(held, Running) or kind == "bsm", (at, held)
            if books.lost:
                assert meter_too, (at, books.lost)
                assert kind == "wm3m4", (
                    at,
                    books.lost,
                )  # a signed record that nobody fetched is gone with its power
                outcomes.add("lost")
            else:
                charge = told(books)
                assert charge.contradictions == (), (at, charge)
                assert charge.energy_wh in {11_110, 0}, (at, charge)
                outcomes.add("signed")
            at += 1

    assert "signed" in asyncio.run(campaign())


def test_power_may_go_before_any_commit(kind):
    """What was done but not committed is done again, or found done: one record, of the whole charge."""

    async def story(cut_at):
        world, books = World(kind), Books(cut_at)
        try:
            await whole_session(world, books)
        except PowerCut:
            world.deliver(11_110 - (world.delivered_wh - 1_234_560), 60)
            async with world.driver() as meter:
                await settle(meter, books, SESSION)
                books.charge(closing=True)
                await settle(meter, books, SESSION)
        return books

    for cut_at in range(1, 5):
        books = asyncio.run(story(cut_at))
        charge = told(books)
        assert (charge.contradictions, books.lost) == ((), []), cut_at
        assert charge.energy_wh in {11_110, 0}, cut_at
        assert len({r.ocmf for r in books.records}) == 1


def test_a_record_garbled_on_the_line_is_read_again():
    async def story():
        world = World("em580")
        async with world.driver() as meter:
            await meter.begin_signed(SESSION)
            await meter.end_signed(SESSION)
            plain, garbled = world.meter.read, []

            def once_wrong(function, address, count):
                words = plain(function, address, count)
                if address == 0x7110 and not garbled:
                    garbled.append(address)
                    words[20] ^= 0x0100
                return words

            world.meter.read = once_wrong
            return await meter.fetch_signed(), garbled

    fetched, garbled = asyncio.run(story())
    assert garbled
    assert fetched.verified


@pytest.mark.parametrize(
    ("kind", "address"), [("bsm", 43295), ("bsm", 43795), ("wm3m4", 7612), ("wm3m4", 7057), ("wm3m4", 7058)]
)
def test_a_record_that_was_read_wrong_once_is_not_taken_for_none(kind, address):
    async def story():
        world, books = World(kind), Books()
        async with world.driver() as meter:
            books.journal = Journal(charge=Charge(session_id=SESSION.session_id))
            await settle(meter, books, SESSION)
            world.deliver(11_110, 60)
            books.charge(closing=True)
            await meter.end_signed(SESSION)
            ended, plain, wrong = world.meter.pagination, world.meter.read, [True]

            def garbled(function, at, count):
                words = plain(function, at, count)
                if at == address and wrong:
                    words[0] ^= 0x7F7F
                    wrong.clear()
                return words

            world.meter.read = garbled
            await settle(meter, books, SESSION)
        return books, world.meter.pagination - ended

    books, ended_again = asyncio.run(story())
    assert (told(books).energy_wh, books.lost, ended_again) == (11_110, [], 0)


def test_an_em580_that_gives_other_spaces_than_it_signed_is_kept_as_it_signed():
    spaces = SignedSession(session_id="5e55-0001", evse_id="DE*ABC*E1", tariff_text='two  "spaces" , here ')

    async def story(spaced):
        world = World("em580")
        world.meter.spaced = spaced
        async with world.driver() as meter:
            await meter.begin_signed(spaces)
            world.deliver(11_110, 60)
            await meter.end_signed(spaces)
            return await meter.fetch_signed()

    plain, spaced = asyncio.run(story(False)), asyncio.run(story(True))
    assert plain.verified
    assert spaced.verified
    found = record.parse(spaced.ocmf)
    assert signature.verify(found, keys.from_bytes(spaced.public_key)).status == "valid"
    assert found.payload == record.parse(plain.ocmf).payload
    assert found.tariff_text is not None
    assert "two  'spaces' , here" in found.tariff_text


def test_a_record_that_never_verifies_is_kept_and_says_so():
    async def story():
        world = World("em580")
        async with world.driver() as meter:
            await meter.begin_signed(SESSION)
            await meter.end_signed(SESSION)
            other = VirtualEm580(energy_wh=int, now=world.now, curve=ec.BrainpoolP384R1())
            other.key = ec.derive_private_key(99, ec.BrainpoolP384R1())
            world.meter.store(0x2600, other.public_key)
            return await meter.fetch_signed()

    fetched = asyncio.run(story())
    assert not fetched.verified
    assert fetched.ocmf.startswith(b"OCMF|")
    assert fetched.session_id == SESSION.session_id


def test_a_meter_that_refuses_to_sign_says_why():
    async def story():
        world = World("bsm")
        world.meter.fails_with = 4
        async with world.driver() as meter:
            with pytest.raises(SigningFailed, match="not enabled"):
                await meter.begin_signed(SESSION)
            assert await meter.held() == Idle(can_end=True)

        world = World("wm3m4")
        world.trusted = False  # no time was ever set
        async with world.driver() as meter:
            with pytest.raises(SigningFailed, match="status 128"):
                await meter.begin_signed(SESSION)

    asyncio.run(story())


def test_a_corrupted_file_is_a_loss_that_frees_the_meter():
    async def story():
        world, books = World("em580"), Books()
        async with world.driver() as meter:
            books.journal = Journal(charge=Charge(session_id=SESSION.session_id))
            await settle(meter, books, SESSION)
            world.meter.state = 3
            books.charge(closing=True)
            held = await meter.held()
            step = next_step(held, books.journal)
            assert step == Lost("the meter's record is corrupted")
            books.commit(SESSION.session_id)
            assert next_step(held, books.journal) == Acknowledge()
            await meter.acknowledge_signed()
            return await meter.held()

    assert asyncio.run(story()) == Idle()


def cutting_power(world, address):
    """From now on the power goes right after something is written to or, the next time, read from this address."""
    meter = world.meter
    plain = {name: getattr(meter, name) for name in ("read", "write")}

    def once(name, function, at, what):
        done = plain[name](function, at, what)
        if at == address:
            del meter.read, meter.write
            meter.cut_power()
        return done

    for name in plain:
        setattr(meter, name, lambda function, at, what, name=name: once(name, function, at, what))


@pytest.mark.parametrize(
    ("kind", "address"), [("em580", 0x7036), ("wm3m4", 7056), ("bsm", 40279), ("bsm", 43295)]
)
def test_a_begin_whose_texts_or_record_went_with_the_power_is_none(kind, address):
    async def story():
        world, books = World(kind), Books()
        books.journal = Journal(charge=Charge(session_id=SESSION.session_id))
        cutting_power(world, address)
        async with world.driver() as meter:
            with pytest.raises(SigningFailed):
                await settle(meter, books, SESSION)
            assert (books.begin, books.records) == (None, [])
            await settle(meter, books, SESSION)
            world.deliver(11_110, 60)
            books.charge(closing=True)
            await settle(meter, books, SESSION)
        return books

    books = asyncio.run(story())
    assert told(books).energy_wh == 11_110
    assert books.lost == []


@pytest.mark.parametrize(("kind", "address"), [("bsm", 43795), ("wm3m4", 7612)])
def test_an_end_whose_record_went_with_the_power_is_not_kept_as_nothing(kind, address):
    async def story():
        world, books = World(kind), Books()
        async with world.driver() as meter:
            books.journal = Journal(charge=Charge(session_id=SESSION.session_id))
            await settle(meter, books, SESSION)
            world.deliver(11_110, 60)
            books.charge(closing=True)
            await meter.end_signed(SESSION)
            cutting_power(world, address)
            with pytest.raises(SigningFailed):
                await meter.fetch_signed()
            await settle(meter, books, SESSION)
        return books

    books = asyncio.run(story())
    if kind == "bsm":
        assert told(books).energy_wh == 11_110  # taken once more
    else:
        assert (books.records, books.lost) == ([], ["the meter lost the session"])


def test_a_key_that_does_not_fill_its_registers_verifies():
    async def story():
        world = World("em580")
        world.meter.key = ec.derive_private_key(7, ec.SECP256R1())
        world.meter._name = "ECDSA-secp256r1-SHA256"
        world.meter.memory[0x24FF] = 0
        world.meter.store(0x2600, world.meter.public_key.ljust(92, b"\0"))
        async with world.driver() as meter:
            await meter.begin_signed(SESSION)
            await meter.end_signed(SESSION)
            return await meter.fetch_signed(), world.meter.public_key

    fetched, public_key = asyncio.run(story())
    assert (fetched.verified, fetched.public_key) == (True, public_key)
