#!/usr/bin/env python3
"""One Modbus poll next to libmodbus, of the same server in the same run: p50 and CPU time per poll.

    .venv/bin/python scripts/benchmarks/modbus.py --json

The server is C, so that it costs both the same little; the peer is a small C client. Both are built here from
Debian's libmodbus-dev, which is installed when this runs as root or may use sudo. Over TCP both poll 80 input
registers, as a meter is polled; the order of the runs alternates.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hw.bus.bus import Bus
from hw.bus.frames import Span
from hw.bus.line import LineOptions

GOAL_P50, GOAL_CPU = 1.5, 2.0
REGISTERS = 80
POLLS, ROUNDS, WARM = 3000, 5, 200

SERVER = r"""
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(void) {
    modbus_t *ctx = modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *map = modbus_mapping_new(0, 0, 256, 256);
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    int port = 20000 + getpid() % 20000, listener;
    for (int i = 0; i < 256; i++) map->tab_input_registers[i] = i * 257;
    for (;; port++) {
        ctx = modbus_new_tcp("127.0.0.1", port);
        listener = modbus_tcp_listen(ctx, 4);
        if (listener >= 0) break;
        modbus_free(ctx);
    }
    printf("%d\n", port);
    fflush(stdout);
    for (;;) {
        if (modbus_tcp_accept(ctx, &listener) < 0) return 1;
        for (;;) {
            int n = modbus_receive(ctx, query);
            if (n > 0) modbus_reply(ctx, query, n, map);
            else if (n < 0) break;
        }
        modbus_close(ctx);
    }
}
"""
CLIENT = r"""
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
static double wall(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static double cpu(void) {
    struct rusage u; getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}
int main(int argc, char **argv) {
    int port = atoi(argv[1]), polls = atoi(argv[2]), count = atoi(argv[3]), warm = atoi(argv[4]);
    uint16_t registers[125];
    modbus_t *ctx = modbus_new_tcp("127.0.0.1", port);
    if (argc < 5 || modbus_connect(ctx) < 0) return 1;
    modbus_set_slave(ctx, 1);
    for (int i = 0; i < warm; i++) if (modbus_read_input_registers(ctx, 0, count, registers) != count) return 1;
    double began = cpu();
    double *times = malloc(polls * sizeof *times);
    for (int i = 0; i < polls; i++) {
        double asked = wall();
        if (modbus_read_input_registers(ctx, 0, count, registers) != count) return 1;
        times[i] = wall() - asked;
    }
    printf("%.9f\n", (cpu() - began) / polls);
    for (int i = 0; i < polls; i++) printf("%.9f\n", times[i]);
    return 0;
}
"""


def build(folder: Path) -> tuple[Path, Path] | str:
    """Server and client, or why they cannot be built."""
    if shutil.which("gcc") is None or not Path("/usr/include/modbus/modbus.h").exists():
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
        command = [*sudo, "apt-get", "install", "-y", "-q", "gcc", "libc6-dev", "libmodbus-dev"]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return "libmodbus-dev and gcc are missing, and may not be installed from here"
    built = []
    for name, source in (("server", SERVER), ("client", CLIENT)):
        path = folder / f"{name}.c"
        path.write_text(source)
        command = ["gcc", "-O2", "-o", str(folder / name), str(path), "-I/usr/include/modbus", "-lmodbus"]
        subprocess.run(command, check=True)
        built.append(folder / name)
    return built[0], built[1]


def peer(client: Path, port: int) -> tuple[float, list[float]]:
    """libmodbus: CPU seconds per poll, and the time of each."""
    command = [str(client), str(port), str(POLLS), str(REGISTERS), str(WARM)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    first, *times = map(float, done.stdout.split())
    return first, times


def ours(port: int) -> tuple[float, list[float]]:
    """The guarded bus: CPU seconds per poll, and the time of each."""

    async def poll() -> tuple[float, list[float]]:
        bus = Bus(LineOptions(port=f"tcp://127.0.0.1:{port}"), now=time.monotonic_ns)
        span = Span(4, 0, REGISTERS - 6, spare=6, step=2)
        for _ in range(WARM):
            await bus.read(1, span)
        times = []
        began = time.process_time()
        for _ in range(POLLS):
            asked = time.perf_counter()
            await bus.read(1, span)
            times.append(time.perf_counter() - asked)
        spent = time.process_time() - began
        await bus.close()
        return spent / POLLS, times

    return asyncio.run(poll())


def run() -> dict[str, Any]:
    """The figures: medians of the rounds, in microseconds, and their ratios."""
    with tempfile.TemporaryDirectory() as folder:
        built = build(Path(folder))
        if isinstance(built, str):
            return {"skipped": built}
        server, client = built
        with subprocess.Popen([str(server)], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                port = int(process.stdout.readline())
                rounds = [(peer(client, port), ours(port)) for _ in range(ROUNDS)]
            finally:
                process.kill()
    theirs_us = [statistics.median(times) * 1e6 for (_, times), _ in rounds]
    ours_us = [statistics.median(times) * 1e6 for _, (_, times) in rounds]
    their_cpu_us = [cpu * 1e6 for (cpu, _), _ in rounds]
    our_cpu_us = [cpu * 1e6 for _, (cpu, _) in rounds]
    p50 = statistics.median(a / b for a, b in zip(ours_us, theirs_us, strict=True))
    cpu = statistics.median(a / b for a, b in zip(our_cpu_us, their_cpu_us, strict=True))
    return {
        "libmodbus": {"p50_us": median(theirs_us), "cpu_us": median(their_cpu_us)},
        "ours": {"p50_us": median(ours_us), "cpu_us": median(our_cpu_us)},
        "p50_ratio": round(p50, 2),
        "cpu_ratio": round(cpu, 2),
        "goals": {"p50_ratio": GOAL_P50, "cpu_ratio": GOAL_CPU},
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "met": p50 <= GOAL_P50 and cpu <= GOAL_CPU,
    }


def median(values: list[float]) -> float:
    return round(statistics.median(values), 1)


def main() -> int:
    parser = argparse.ArgumentParser(description="one Modbus poll next to libmodbus")
    parser.add_argument("--json", action="store_true")
    figures = run()
    if parser.parse_args().json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:12} {value}")
    return 0 if figures.get("met") else 1


if __name__ == "__main__":
    sys.exit(main())
