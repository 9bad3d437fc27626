"""The promise I7 on the line: over every fault, 0 wrong values, and reads succeed again soon after the last one."""

import asyncio
from collections import Counter

import pytest

from hw.bus.bus import Bus, Timing
from hw.bus.errors import BusError
from hw.bus.frames import Span
from hw.bus.line import LineOptions
from hw.virtual.fault_line import FaultRtu, FaultScript, FaultTcp, LineFault, registers

# A tenth of the real patience: late replies come up to 0.25 s after the request, a time-out is 0.05 s.
QUICK = Timing(
    quiet_s=0.05,
    settle_max_s=0.5,
    ghost_s=3.0,
    ghost_rest_s=0.3,
    reconnect_s=0.02,
    backoff_s=0.05,
    backoff_max_s=0.1,
)
LATE_MAX_S = 0.25
TIMEOUT_S = 0.05
GAP_S = 0.02
REQUESTS = 100
LINES = 24
BLOCK = Span(4, 0x10, 24, spare=6, step=2)  # four counts, as most profiles have


def bus_to(server):
    return Bus(LineOptions(port=server.address, baudrate=115200), now=lambda: None, gap_s=GAP_S, timing=QUICK)


def judged(answer, sequence):
    """`right`: what the line served just then. `late`: what it served before, and the bus says that it is not sure."""
    found = list(answer.registers)
    if found == registers(sequence, BLOCK.address, BLOCK.count):
        return "right"
    served = (registers(earlier, BLOCK.address, BLOCK.count) for earlier in range(sequence))
    return "late" if not answer.sure and found in served else "WRONG"


async def poll(server, script, requests):
    """Poll a bus until it has asked so often: what came back, held against what the line served."""
    await server.start()
    bus = bus_to(server)
    seen = Counter()
    while script.sequence < requests:
        try:
            answer = await bus.read(1, BLOCK, timeout_s=TIMEOUT_S, attempts=1)
        except BusError as e:
            seen[e.code] += 1
            await asyncio.sleep(0.01)
        else:
            seen[judged(answer, script.sequence)] += 1
    return bus, seen


@pytest.mark.parametrize("transport", [FaultRtu, FaultTcp])
def test_no_wrong_value_over_thousands_of_polls_with_every_fault(transport):
    async def campaign():
        scripts = [FaultScript(seed, rate=0.5, late_max_s=LATE_MAX_S) for seed in range(LINES)]
        servers = [transport(script) for script in scripts]
        results = await asyncio.gather(
            *(poll(s, script, REQUESTS) for s, script in zip(servers, scripts, strict=True))
        )
        total = sum((seen for _, seen in results), Counter())
        faults = Counter()
        for (bus, _), script, server in zip(results, scripts, servers, strict=True):
            faults.update(script.counts)
            script.only = LineFault.NONE
            await recovered(bus, script)
            await bus.close()
            await server.stop()
        return total, faults

    total, faults = asyncio.run(campaign())
    assert (total["WRONG"], total["late"]) == (0, 0)
    assert total["right"] > LINES * REQUESTS / 4
    assert all(faults[fault] for fault in LineFault)


async def recovered(bus, script):
    """A right reading comes within a few attempts, once nothing goes wrong any more."""
    for _ in range(12):
        try:
            answer = await bus.read(1, BLOCK, timeout_s=1.0, attempts=1)
        except BusError:
            await asyncio.sleep(0.1)
        else:
            assert list(answer.registers) == registers(script.sequence, BLOCK.address, BLOCK.count)
            return
    pytest.fail("the bus did not recover")


@pytest.mark.parametrize("transport", [FaultRtu, FaultTcp])
def test_each_fault_alone_gives_nothing_wrong_and_is_recovered_from(transport):
    async def one(fault):
        script = FaultScript(7, rate=0, late_max_s=LATE_MAX_S)
        script.only = fault
        server = transport(script)
        bus, seen = await poll(server, script, 8)
        script.only = LineFault.NONE
        await recovered(bus, script)
        await bus.close()
        await server.stop()
        return seen["WRONG"] + seen["late"]

    async def campaign():
        return await asyncio.gather(*(one(fault) for fault in LineFault))

    assert not any(asyncio.run(campaign()))


@pytest.mark.parametrize("transport", [FaultRtu, FaultTcp])
def test_a_cancelled_read_leaves_no_reply_for_the_next_one(transport):
    async def campaign():
        script = FaultScript(3, rate=0, late_max_s=LATE_MAX_S)
        server = transport(script)
        await server.start()
        bus = bus_to(server)
        for _ in range(10):
            script.only = LineFault.LATE
            asking = asyncio.create_task(bus.read(1, BLOCK, timeout_s=5, attempts=1))
            await asyncio.sleep(0.02)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            script.only = LineFault.NONE
            try:
                answer = await bus.read(1, BLOCK, timeout_s=1, attempts=1)
            except BusError:
                continue
            assert list(answer.registers) == registers(script.sequence, BLOCK.address, BLOCK.count)
        await recovered(bus, script)
        await bus.close()
        await server.stop()

    asyncio.run(campaign())
