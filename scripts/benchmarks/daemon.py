#!/usr/bin/env python3
"""What the daemon needs with two EVSEs at 1 Hz: memory, processor, time to its readiness; how many EVSEs fit a core.

.venv/bin/python scripts/benchmarks/daemon.py --json [--evses 64]

The daemon is a process of its own on real time; its meters and wallboxes are served over Modbus TCP by this one. It
runs as systemd would start it, without a screen and a back office, and finds its bytecode, as an installed till does.
Memory is VmRSS, shared libraries included, in MB of 10^6 bytes; processor time is its own, read from /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from parts.sync_world import compile_house

from hw.meters import profile as profiles
from hw.virtual.charge_point import VirtualWallbox
from hw.virtual.meter import VirtualMeter
from hw.virtual.modbus_server import TcpServer, Unit
from hw.virtual.outlet import Car, Outlet
from hw.virtual.place import evse, furnish, head

GOAL_RSS_MB: Final = 48
GOAL_CPU: Final = 0.02
GOAL_READY_S: Final = 1.5
GOAL_EVSES: Final = 64
#: Of a core, with as many EVSEs as shall fit: what is left is for taps and screens.
FULL_CPU: Final = 0.9
#: EVSEs on one Modbus line, as one gateway has them.
_ON_A_LINE: Final = 8
_WARM_S: Final = 5.0
_MEASURED_S: Final = 20.0
_READY_MAX_S: Final = 60.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class _Counted(VirtualMeter):
    """A meter that counts what it is asked."""

    asked = 0

    def read(self, function: int, address: int, count: int) -> list[int] | None:
        _Counted.asked += 1
        return super().read(function, address, count)


def _build(folder: Path, lines: list[tuple[str, str]], evses: int) -> None:
    sections = [head(), "[lab]\nvirtual = true\n"]
    for n in range(evses):
        meters, wallboxes = lines[n // _ON_A_LINE]
        unit = n % _ON_A_LINE + 1
        sections.append(
            evse(f"E{n + 1}", label=str(n + 1), meter_at=meters, charge_point_at=wallboxes, unit=unit)
        )
    furnish(folder, "".join(sections))


async def _lines(evses: int) -> tuple[list[tuple[str, str]], list[TcpServer]]:
    """Meters and wallboxes, each with a car, a line of meters and one of wallboxes for each eight."""
    profile = profiles.load("eastron_sdm630")
    addresses: list[tuple[str, str]] = []
    servers: list[TcpServer] = []
    for first in range(0, evses, _ON_A_LINE):
        meters: dict[int, Unit] = {}
        wallboxes: dict[int, Unit] = {}
        for unit in range(1, min(_ON_A_LINE, evses - first) + 1):
            outlet = Outlet(time.monotonic_ns)
            outlet.plug(Car())
            meters[unit] = _Counted(profile, outlet, serial_number=first + unit, offset_wh=1000)
            wallboxes[unit] = VirtualWallbox(outlet, time.monotonic_ns)
        pair = TcpServer(meters), TcpServer(wallboxes)
        for server in pair:
            await server.start()
        servers += pair
        addresses.append((pair[0].address, pair[1].address))
    return addresses, servers


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kb,) = (line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(kb) * 1024 / 1e6


async def _ready(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    async with asyncio.timeout(_READY_MAX_S):
        while line := await process.stderr.readline():
            if b"till.ready" in line:
                return
    raise RuntimeError("the daemon ended before it was ready")


async def _drain(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    while await process.stderr.readline():
        pass


async def measure(evses: int) -> dict[str, Any]:
    """The second start of a daemon with so many EVSEs: its database is there, as on every day but the first."""
    addresses, servers = await _lines(evses)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _build(folder, addresses, evses)
        found: dict[str, Any] = {"evses": evses}
        for first in (True, False):
            began = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "edge", "--config", str(folder / "config.toml"), "run",
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            await _ready(process)
            ready_s = time.monotonic() - began
            start_cpu_s = _cpu_s(process.pid)
            reading = asyncio.ensure_future(_drain(process))
            if not first:
                await asyncio.sleep(_WARM_S)
                before_s, at, asked = _cpu_s(process.pid), time.monotonic(), _Counted.asked
                await asyncio.sleep(_MEASURED_S)
                cpu = (_cpu_s(process.pid) - before_s) / (time.monotonic() - at)
                found |= {
                    "requests_per_s": round((_Counted.asked - asked) / _MEASURED_S, 1),
                    "ready_s": round(ready_s, 2), "ready_cpu_s": round(start_cpu_s, 2),
                    "rss_mb": round(_rss_mb(process.pid), 1), "cpu": round(cpu, 4),
                }  # fmt: skip
            process.terminate()
            await process.wait()
            await reading
    for server in servers:
        await server.stop()
    return found


def main() -> None:
    """Print the figures; exit 1 when a goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--evses", type=int, default=GOAL_EVSES, help="how many shall fit one core")
    given = parser.parse_args()
    compile_house()
    small, large = asyncio.run(measure(2)), asyncio.run(measure(given.evses))
    ok = (
        small["rss_mb"] <= GOAL_RSS_MB
        and small["cpu"] <= GOAL_CPU
        and small["ready_s"] <= GOAL_READY_S
        and large["cpu"] <= FULL_CPU
    )
    goals = {"rss_mb": GOAL_RSS_MB, "cpu": GOAL_CPU, "ready_s": GOAL_READY_S, "evses": GOAL_EVSES}
    found = {"small": small, "large": large, "goals": goals, "ok": ok}
    if given.json:
        print(json.dumps(found))
    else:
        for figures in (small, large):
            print(
                f"{figures['evses']} EVSEs at 1 Hz: {figures['rss_mb']} MB, {100 * figures['cpu']:.1f} % of a core for "
                f"{figures['requests_per_s']} requests to meters a second, "
                f"ready after {figures['ready_s']} s ({figures['ready_cpu_s']} s of processor time)"
            )
    if not ok:
        sys.exit(1)


if __name__ == "__main__":
    main()
