"""How many wrong values each client takes for right ones on a line that misbehaves, and how soon it is right again.

All three poll the same virtual line, of the same seed: every second reply late, lost, doubled, torn, foreign, damaged
and so on (hw.virtual.fault_line). A wrong value is one that is not of the request it was given for; failed are also
polls that a client refuses while the line settles. Time runs ten times as fast as on a real line: a time-out is 0.05 s,
and replies come up to 0.25 s late.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from hw.bus.bus import Bus, Timing
from hw.bus.errors import BusError
from hw.bus.frames import Span
from hw.bus.line import LineOptions
from hw.virtual.fault_line import FaultRtu, FaultScript, FaultTcp, LineFault, registers

RATE, LATE_MAX_S, TIMEOUT_S, PAUSE_S = 0.5, 0.25, 0.05, 0.01
LINES, POLLS = 12, 100
ADDRESS, COUNT = 0x10, 24
TENTH = Timing(
    quiet_s=0.05,
    settle_max_s=0.5,
    ghost_s=3.0,
    ghost_rest_s=0.3,
    reconnect_s=0.05,
    backoff_s=0.1,
    backoff_max_s=0.8,
)
_RECOVERY_POLLS = 100  # who is not right after so many good replies never will be

#: One poll: the registers, or None where the client says that it failed.
Poll = Callable[[], Awaitable[list[int] | None]]
#: Opens a client on a port, and returns how it is polled.
Connect = Callable[[str], Awaitable[Poll]]

CLIENT = r"""
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int tcp = !strncmp(argv[1], "tcp:", 4), address = atoi(argv[2]), count = atoi(argv[3]);
    uint16_t registers[125];
    char line[16];
    modbus_t *ctx = tcp ? modbus_new_tcp("127.0.0.1", atoi(strrchr(argv[1], ':') + 1))
                        : modbus_new_rtu(argv[1], 115200, 'N', 8, 1);
    if (argc < 5 || modbus_connect(ctx) < 0) return 1;
    modbus_set_slave(ctx, 1);
    modbus_set_response_timeout(ctx, 0, atoi(argv[4]));
    modbus_set_error_recovery(ctx, MODBUS_ERROR_RECOVERY_LINK | MODBUS_ERROR_RECOVERY_PROTOCOL);
    while (fgets(line, sizeof line, stdin)) {
        int got = modbus_read_input_registers(ctx, address, count, registers);
        for (int i = 0; i < count && got == count; i++) printf("%d ", registers[i]);
        printf("\n");
        fflush(stdout);
    }
    return 0;
}
"""


async def _ours(port: str) -> Poll:
    bus = Bus(LineOptions(port=port, baudrate=115200), now=lambda: None, gap_s=0.02, timing=TENTH)
    span = Span(4, ADDRESS, COUNT, spare=6, step=2)

    async def poll() -> list[int] | None:
        try:
            return list((await bus.read(1, span, timeout_s=TIMEOUT_S, attempts=1)).registers)
        except BusError:
            return None

    return poll


async def _pymodbus(port: str) -> Poll:
    client: AsyncModbusTcpClient | AsyncModbusSerialClient
    if port.startswith("tcp:"):
        client = AsyncModbusTcpClient(
            "127.0.0.1", port=int(port.rpartition(":")[2]), timeout=TIMEOUT_S, retries=0
        )
    else:
        client = AsyncModbusSerialClient(port, baudrate=115200, timeout=TIMEOUT_S, retries=0)
    await client.connect()

    async def poll() -> list[int] | None:
        try:
            if not client.connected:
                await client.connect()
            reply = await client.read_input_registers(ADDRESS, count=COUNT, device_id=1)
        except ModbusException:
            return None
        return None if reply.isError() else list(reply.registers)

    return poll


def _libmodbus(client: Path) -> Connect:
    async def connect(port: str) -> Poll:
        process = await asyncio.create_subprocess_exec(
            str(client), port, str(ADDRESS), str(COUNT), str(int(TIMEOUT_S * 1e6)),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        reader, writer = process.stdout, process.stdin

        async def poll() -> list[int] | None:
            writer.write(b"\n")
            return [int(word) for word in (await reader.readline()).split()] or None

        return poll

    return connect


async def _line(server: FaultRtu | FaultTcp, script: FaultScript, connect: Connect) -> Counter[str]:
    await server.start()
    poll = await connect(server.address)
    seen: Counter[str] = Counter()
    while script.sequence < POLLS:
        seen[_judged(await poll(), script)] += 1
        await asyncio.sleep(PAUSE_S)
    script.only = LineFault.NONE
    good_since = time.monotonic()
    for _ in range(_RECOVERY_POLLS):
        verdict = _judged(await poll(), script)
        if verdict == "right":
            seen["recovery_ms"] = round((time.monotonic() - good_since) * 1000)
            break
        seen[verdict] += 1
        await asyncio.sleep(PAUSE_S)
    else:
        seen["lost"] = 1
    return seen


def _judged(found: list[int] | None, script: FaultScript) -> str:
    if found is None:
        return "failed"
    return "right" if found == registers(script.sequence, ADDRESS, COUNT) else "wrong"


async def _play(kind: type[FaultRtu | FaultTcp], connect: Connect) -> dict[str, float]:
    scripts = [FaultScript(seed, rate=RATE, late_max_s=LATE_MAX_S) for seed in range(LINES)]
    results = await asyncio.gather(*(_line(kind(script), script, connect) for script in scripts))
    total = sum(results, Counter())
    return {
        "right": total["right"],
        "failed": total["failed"],
        "wrong": total["wrong"],
        "recovery_max_s": max(seen["recovery_ms"] for seen in results) / 1000,
        "never_right_again": total["lost"],
    }


def compared(client: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Transport -> client -> polls that were right, failed, and wrong, and the longest way back. `client` is CLIENT,
    built.
    """
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # it prints each bad frame
    clients = {"ours": _ours, "pymodbus": _pymodbus, "libmodbus": _libmodbus(client)}
    return {
        transport: {name: asyncio.run(_play(kind, connect)) for name, connect in clients.items()}
        for transport, kind in (("tcp", FaultTcp), ("rtu", FaultRtu))
    }
