import asyncio
import contextlib
import os
import threading
import time
import tty

import pytest

from hw.bus import line
from hw.bus.bus import Bus, Timing
from hw.bus.errors import BackingOff, BadReply, BusError, LineConflict, LineDown, NoAnswer, Refused
from hw.bus.frames import Span
from hw.bus.line import LineOptions
from hw.bus.pool import BusPool
from hw.virtual.modbus_server import ILLEGAL_ADDRESS, Refusal, Registers, RtuServer, TcpServer, rtu
from hw.worker import HUNG_OF_ONE_MAX, hung_threads

QUICK = Timing(quiet_s=0.05, ghost_rest_s=0.3, ghost_s=3, reconnect_s=0.05, backoff_s=0.3, backoff_max_s=0.6)
INPUTS = Span(4, 0, 10, spare=5)
SERVERS = pytest.mark.parametrize("transport", [RtuServer, TcpServer])


def table(base=0):
    return Registers(inputs={a: base + a for a in range(40)}, holdings=dict.fromkeys(range(40), 0))


def bus_to(address, **options):
    return Bus(LineOptions(port=address, baudrate=115200), now=time.monotonic_ns, timing=QUICK, **options)


def run(scenario, units, transport):
    """Play `scenario(bus, server)` against a server with these units."""

    async def play():
        server = transport(units)
        await server.start()
        bus = bus_to(server.address)
        try:
            return await scenario(bus, server)
        finally:
            await bus.close()
            await server.stop()

    return asyncio.run(play())


@SERVERS
def test_reads_and_writes_reach_the_right_unit(transport):
    async def scenario(bus, server):
        await bus.write_registers(2, 5, (7, 8))
        await bus.write_register(2, 9, 0xFFFF)
        one = await bus.read(1, INPUTS)
        two = await bus.read(2, Span(3, 5, 5))
        return one.registers, two.registers

    one, two = run(scenario, {1: table(), 2: table(100)}, transport)
    assert one == tuple(range(10))
    assert two == (7, 8, 0, 0, 0xFFFF)


@SERVERS
def test_consecutive_reads_of_a_unit_ask_for_different_counts(transport):
    class Watched(Registers):
        counts: list[int] = []  # noqa: RUF012

        def read(self, function, address, count):
            self.counts.append(count)
            return super().read(function, address, count)

    unit = Watched(inputs=dict.fromkeys(range(40), 1))

    async def scenario(bus, server):
        for _ in range(20):
            assert len((await bus.read(1, INPUTS)).registers) == 10

    run(scenario, {1: unit}, transport)
    for i in range(len(unit.counts) - 3):
        assert len(set(unit.counts[i : i + 4])) == 4


def numbered():
    """Every register holds how many reads there were, and the counts that were asked for stand in `counts`."""

    class Numbered(Registers):
        counts: list[int] = []  # noqa: RUF012

        def read(self, function, address, count):
            self.counts.append(count)
            return [len(self.counts)] * count

    unit = Numbered()
    unit.counts = []
    return unit


class Late(RtuServer):
    """Each reply comes only once the next request is there, as behind a unit that is slower than the time-out."""

    held = b""
    heals = False

    def send(self, data):
        if not self.heals:
            data, self.held = self.held, data
        if data:
            super().send(data)


class Haunted(Late):
    """Before that come two replies to a process before: one of another count, and one that fits, and says 0."""

    came = 0

    def send(self, data):
        self.came += 1
        if self.came == 1:
            self.held = rtu(1, bytes([4, 2, 0, 0]))
        elif self.came == 2:
            self.held = rtu(1, data[1:3] + bytes(len(data) - 5))
        super().send(data)


@pytest.mark.parametrize("server_kind", [Late, Haunted])
def test_what_the_process_before_was_not_told_is_no_reading_of_this_one(server_kind):
    async def play():
        unit = numbered()
        server = server_kind({1: unit})
        await server.start()
        if server_kind is Late:
            before = bus_to(server.address)
            with pytest.raises(NoAnswer):
                await before.read(1, INPUTS, timeout_s=0.1, attempts=1)
            await before.close()
        bus, answer = bus_to(server.address), None
        for tried in range(60):
            server.heals = tried > 3
            with contextlib.suppress(BusError):
                answer = await bus.read(1, INPUTS, timeout_s=0.2, attempts=1)
                break
            await asyncio.sleep(0.05)
        await bus.close()
        await server.stop()
        return answer.registers[0], len(unit.counts)

    told, asked = asyncio.run(play())
    assert told == asked


def test_a_process_does_not_begin_where_the_one_before_began():
    async def play():
        unit = numbered()
        server = RtuServer({1: unit})
        await server.start()
        began = []
        for pause_s in (1.1, 0):
            began.append(len(unit.counts))
            bus = bus_to(server.address)
            await bus.read(1, Span(4, 0, 10, spare=90))
            await bus.close()
            await asyncio.sleep(pause_s)
        await server.stop()
        return [unit.counts[n] for n in began]

    first, later = asyncio.run(play())
    assert first != later


@SERVERS
def test_an_exception_reply_is_an_error_and_costs_no_quarantine(transport):
    async def scenario(bus, server):
        with pytest.raises(Refused) as refused:
            await bus.read(1, Span(4, 1000, 2))
        assert refused.value.exception == ILLEGAL_ADDRESS
        return await bus.read(1, INPUTS)

    assert run(scenario, {1: table()}, transport).registers == tuple(range(10))


@SERVERS
def test_a_busy_gateway_reads_as_no_answer(transport):
    class Gateway(Registers):
        def read(self, function, address, count):
            raise Refusal(11)

    async def scenario(bus, server):
        with pytest.raises(NoAnswer, match="gateway"):
            await bus.read(1, INPUTS)

    run(scenario, {1: Gateway()}, transport)


@SERVERS
def test_a_dead_unit_costs_its_neighbour_one_timeout_and_a_quarantine_and_is_left_alone_longer_and_longer(
    transport,
):
    async def scenario(bus, server):
        dead_polls, done = 0, False

        async def dead():
            nonlocal dead_polls
            while not done:
                try:
                    await bus.read(9, INPUTS, timeout_s=0.1)
                except NoAnswer:
                    dead_polls += 1
                except BackingOff:
                    await asyncio.sleep(0.01)

        loop = asyncio.get_running_loop()
        beside = asyncio.create_task(dead())
        began, waits = loop.time(), []
        while loop.time() - began < 2 or len(waits) <= 20:
            asked = loop.time()
            await bus.read(1, INPUTS)
            waits.append(loop.time() - asked)
            await asyncio.sleep(0.01)
        done = True
        await beside
        return waits, dead_polls, loop.time() - began

    waits, dead_polls, seconds = run(scenario, {1: table()}, transport)
    assert sorted(waits)[len(waits) // 2] < 1.0  # most are not touched at all
    assert dead_polls <= 4 + seconds / QUICK.backoff_max_s


@SERVERS
def test_a_dead_unit_that_is_alone_on_its_line_is_asked_on_and_on(transport):
    units = {}

    async def scenario(bus, server):
        for _ in range(5):
            with pytest.raises(NoAnswer):
                await bus.read(1, INPUTS, timeout_s=0.05, attempts=1)
        units[1] = table()
        return await bus.read(1, INPUTS)

    assert run(scenario, units, transport).registers == tuple(range(10))


@SERVERS
def test_a_fresh_start_of_the_other_side_is_noticed(transport, tmp_path):
    async def play():
        link = tmp_path / "line"
        make = (lambda: RtuServer({1: table()}, link=link)) if transport is RtuServer else None
        server = make() if make else TcpServer({1: table()})
        await server.start()
        bus = bus_to(server.address)
        await bus.read(1, INPUTS)
        await server.stop()
        await asyncio.sleep(0.05)
        with pytest.raises(LineDown):
            await bus.read(1, INPUTS, timeout_s=0.2)
        server = make() if make else server
        await server.start()
        for _ in range(60):
            if (answer := await tried(bus)) is not None:
                break
            await asyncio.sleep(0.05)
        await bus.close()
        await server.stop()
        return answer.registers

    async def tried(bus):
        try:
            return await bus.read(1, INPUTS, timeout_s=0.5, attempts=1)
        except BusError:  # a busy machine may be late with an answer, too
            return None

    assert asyncio.run(play()) == tuple(range(10))


def test_a_line_that_was_never_there_says_so_and_comes_when_it_comes(tmp_path):
    async def play():
        link = tmp_path / "line"
        bus = bus_to(str(link))
        with pytest.raises(LineDown, match="No such file"):
            await bus.read(1, INPUTS)
        server = RtuServer({1: table()}, link=link)
        await server.start()
        await asyncio.sleep(2 * QUICK.reconnect_s)
        answer = await bus.read(1, INPUTS)
        await bus.close()
        await server.stop()
        return answer.registers

    assert asyncio.run(play()) == tuple(range(10))


def test_a_refused_connection_names_the_host():
    async def play():
        server = TcpServer({})
        await server.start()
        await server.stop()
        with pytest.raises(LineDown, match=r"127\.0\.0\.1.*refused"):
            await bus_to(server.address).read(1, INPUTS)

    asyncio.run(play())


def test_a_write_on_an_echoing_line_is_not_confirmed_by_its_own_echo():
    class Echoing(RtuServer):
        dead = False

        def _readable(self):
            data = os.read(self._master, 4096)
            self.send(data)
            if not self.dead:
                self.serve(data[0], data[1:-2])

    async def play():
        server = Echoing({1: table()})
        await server.start()
        bus = bus_to(server.address)
        assert (await bus.read(1, INPUTS)).registers == tuple(range(10))
        await bus.write_register(1, 3, 7)
        server.dead = True
        with pytest.raises((NoAnswer, BadReply)):
            await bus.write_register(1, 3, 8, timeout_s=0.1)
        await bus.close()
        await server.stop()

    asyncio.run(play())


def test_two_programs_do_not_share_a_serial_line():
    async def scenario(bus, server):
        await bus.read(1, INPUTS)
        other = bus_to(server.address)
        with pytest.raises(LineDown):
            await other.read(1, INPUTS)

    run(scenario, {1: table()}, RtuServer)


def test_devices_that_describe_one_line_differently_are_refused():
    class Clock:
        def now(self):
            return None

    pool = BusPool(Clock())
    first = pool.bus(LineOptions(port="/dev/meter0", baudrate=9600), gap_s=0.1)
    assert pool.bus(LineOptions(port="/dev/meter0", baudrate=9600), gap_s=0.02) is first
    assert first.gap_s == 0.1
    with pytest.raises(LineConflict, match="19200 Bd 8E1"):
        pool.bus(LineOptions(port="/dev/meter0", baudrate=19200, parity="E"))


def test_the_gap_between_frames_is_kept():
    async def scenario(bus, server):
        bus.gap_s = 0.05
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(5):
            await bus.read(1, INPUTS)
        return loop.time() - began

    assert run(scenario, {1: table()}, TcpServer) >= 0.2


def test_a_pseudo_terminal_takes_any_parity_again_and_again():
    async def play():
        server = RtuServer({1: table()})
        await server.start()
        for parity in ("N", "E", "O", "E"):
            options = LineOptions(port=server.address, baudrate=9600, parity=parity, stopbits=2)
            bus = Bus(options, now=lambda: None, timing=QUICK)
            assert (await bus.read(1, INPUTS)).registers == tuple(range(10))
            await bus.close()
        await server.stop()

    asyncio.run(play())


def test_an_adapter_whose_driver_hangs_costs_its_own_line_only(monkeypatch):
    """`open` of a serial port that never comes back, and then does: what it opened too late is closed."""
    release, opened = threading.Event(), []
    real = line._open_serial

    def blocked(options):
        if options.port == hanging:
            release.wait(60)
        device = real(options)
        opened.append((options.port, device))
        return device

    monkeypatch.setattr(line, "_open_serial", blocked)

    async def play():
        nonlocal hanging
        beside, dead = RtuServer({1: table()}), RtuServer({1: table()})
        await beside.start()
        await dead.start()
        hanging = dead.address
        bus, other = bus_to(dead.address), bus_to(beside.address)
        await other.read(1, INPUTS)
        monkeypatch.setattr(line, "OPEN_MAX_S", 0.2)
        reading = asyncio.create_task(bus.read(1, INPUTS, attempts=1))
        assert (await other.read(1, INPUTS)).registers == tuple(range(10))
        for _ in range(HUNG_OF_ONE_MAX):
            with pytest.raises(LineDown, match="did not answer within"):
                await reading
            await asyncio.sleep(2 * QUICK.reconnect_s)
            reading = asyncio.create_task(bus.read(1, INPUTS, attempts=1))
        with pytest.raises(LineDown, match="threads hang"):
            await reading
        assert hung_threads(hanging) == HUNG_OF_ONE_MAX
        monkeypatch.setattr(line, "OPEN_MAX_S", 30)
        release.set()
        while hung_threads(hanging) or any(d.is_open for port, d in opened if port == hanging):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(2 * QUICK.reconnect_s)
        assert (await bus.read(1, INPUTS)).registers == tuple(range(10))
        for one in (bus, other):
            await one.close()
        for server in (beside, dead):
            await server.stop()

    hanging = ""
    asyncio.run(play())


def test_a_line_that_takes_no_more_bytes_holds_up_nobody():
    """A pty that nobody reads: requests pile up in the kernel until it is full, then the line is opened anew."""

    async def play():
        master, slave = os.openpty()
        tty.setraw(slave)
        bus = Bus(LineOptions(port=os.ttyname(slave)), now=time.monotonic_ns, timing=QUICK)
        loop = asyncio.get_running_loop()
        began, errors = loop.time(), set()
        for _ in range(3):
            with pytest.raises(BusError) as error:
                await bus.read(1, INPUTS, timeout_s=0.05, attempts=1)
            errors.add(type(error.value))
            with contextlib.suppress(BlockingIOError):
                os.set_blocking(slave, False)
                while True:
                    os.write(slave, bytes(4096))
        await bus.close()
        os.close(slave)
        os.close(master)
        assert LineDown in errors
        assert loop.time() - began < 20

    asyncio.run(play())


def test_coils_whose_replies_look_alike_are_asked_in_one_way():
    asked = []

    class Coils(Registers):
        def read(self, function, address, count):
            asked.append(count)
            return [0] * count

    async def scenario(bus, server):
        for _ in range(6):
            await bus.read(1, Span(1, 0, 1, spare=11))

    run(scenario, {1: Coils()}, TcpServer)
    assert len({(count + 7) // 8 for count in asked}) == len(set(asked)) == 2
