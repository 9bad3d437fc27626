#!/usr/bin/env python3
"""One Modbus poll next to libmodbus, of the same server in the same run: p50 and CPU time per poll; and what becomes of
it on a line that misbehaves.

    .venv/bin/python scripts/benchmarks/modbus.py --json

tcp      libmodbus' own server
rtu      a bare one on a pty; no gap between the frames, which libmodbus does not keep either
faults   every second reply goes wrong: polls that were right, failed, or gave a wrong value, next to pymodbus and
         libmodbus (scripts/benchmarks/parts/modbus_faults.py)

Servers and peer are C, so that they cost little, and are built here from Debian's libmodbus-dev, which is installed
when this runs as root or may use sudo. Both clients poll about 80 input registers, as a meter is polled.
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
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from parts import modbus_faults

from hw.bus.bus import Bus
from hw.bus.frames import Span
from hw.bus.line import LineOptions

GOAL_P50, GOAL_CPU = 1.5, 2.0
REGISTERS = 80
POLLS, ROUNDS, WARM = 2000, 11, 200  # many short rounds: what disturbs one of the two disturbs few of them

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
RTU_SERVER = r"""
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>
#include <fcntl.h>
static uint16_t crc16(const uint8_t *data, int length) {
    uint16_t crc = 0xFFFF;
    while (length--) {
        crc ^= *data++;
        for (int i = 0; i < 8; i++) crc = crc & 1 ? crc >> 1 ^ 0xA001 : crc >> 1;
    }
    return crc;
}
int main(void) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master)) return 1;
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    struct termios raw;
    tcgetattr(slave, &raw);
    cfmakeraw(&raw);
    tcsetattr(slave, TCSANOW, &raw);
    printf("%s\n", ptsname(master));
    fflush(stdout);
    uint8_t request[8], reply[256];
    for (;;) {
        for (int got = 0; got < 8;) {
            int n = read(master, request + got, 8 - got);
            if (n <= 0) return 1;
            got += n;
        }
        int count = request[4] << 8 | request[5], first = request[2] << 8 | request[3], n = 0;
        reply[n++] = request[0];
        reply[n++] = request[1];
        reply[n++] = 2 * count;
        for (int i = 0; i < count; i++) {
            reply[n++] = (first + i) & 0xFF;
            reply[n++] = (first + i) & 0xFF;
        }
        uint16_t crc = crc16(reply, n);
        reply[n++] = crc & 0xFF;
        reply[n++] = crc >> 8;
        if (write(master, reply, n) != n) return 1;
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
    modbus_t *ctx = port ? modbus_new_tcp("127.0.0.1", port) : modbus_new_rtu(argv[1], 115200, 'N', 8, 1);
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


def build(folder: Path) -> list[Path] | str:
    """The two servers and the two clients, or why they cannot be built."""
    if shutil.which("gcc") is None or not Path("/usr/include/modbus/modbus.h").exists():
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
        command = [*sudo, "apt-get", "install", "-y", "-q", "gcc", "libc6-dev", "libmodbus-dev"]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return "libmodbus-dev and gcc are missing, and may not be installed from here"
    built = []
    sources = {
        "server": SERVER,
        "rtu_server": RTU_SERVER,
        "client": CLIENT,
        "faults_client": modbus_faults.CLIENT,
    }
    for name, source in sources.items():
        path = folder / f"{name}.c"
        path.write_text(source)
        command = ["gcc", "-O2", "-o", str(folder / name), str(path), "-I/usr/include/modbus", "-lmodbus"]
        subprocess.run(command, check=True)
        built.append(folder / name)
    return built


def peer(client: Path, port: str) -> tuple[float, list[float]]:
    """libmodbus: CPU seconds per poll, and the time of each."""
    where = port.rpartition(":")[2] if port.startswith("tcp:") else port
    command = [str(client), where, str(POLLS), str(REGISTERS), str(WARM)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    first, *times = map(float, done.stdout.split())
    return first, times


def ours(port: str) -> tuple[float, list[float]]:
    """The guarded bus: CPU seconds per poll, and the time of each."""

    async def poll() -> tuple[float, list[float]]:
        bus = Bus(LineOptions(port=port, baudrate=115200), now=time.monotonic_ns)
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


def compare(client: Path, port: str) -> dict[str, Any]:
    """Medians over the rounds, in microseconds, and the ratios."""
    rounds = [(peer(client, port), ours(port)) for _ in range(ROUNDS)]
    theirs = [(statistics.median(times) * 1e6, cpu * 1e6) for (cpu, times), _ in rounds]
    mine = [(statistics.median(times) * 1e6, cpu * 1e6) for _, (cpu, times) in rounds]
    pairs = list(zip(mine, theirs, strict=True))
    return {
        "libmodbus": {"p50_us": median(t[0] for t in theirs), "cpu_us": median(t[1] for t in theirs)},
        "ours": {"p50_us": median(m[0] for m in mine), "cpu_us": median(m[1] for m in mine)},
        "p50_ratio": median(m[0] / t[0] for m, t in pairs),
        "cpu_ratio": median(m[1] / t[1] for m, t in pairs),
    }


def run() -> dict[str, Any]:
    """The figures over TCP and on a pty."""
    with tempfile.TemporaryDirectory() as folder:
        built = build(Path(folder))
        if isinstance(built, str):
            return {"skipped": built}
        *servers, client, faults_client = built
        figures: dict[str, Any] = {}
        for name, server in zip(("tcp", "rtu"), servers, strict=True):
            with subprocess.Popen([str(server)], stdout=subprocess.PIPE, text=True) as process:
                try:
                    assert process.stdout is not None
                    port = process.stdout.readline().strip()
                    figures[name] = compare(client, f"tcp://127.0.0.1:{port}" if name == "tcp" else port)
                finally:
                    process.kill()
        faults = modbus_faults.compared(faults_client)
    met = all(f["p50_ratio"] <= GOAL_P50 and f["cpu_ratio"] <= GOAL_CPU for f in figures.values())
    met = met and not any(clients["ours"]["wrong"] for clients in faults.values())
    return {
        **figures,
        "faults": faults,
        "goals": {"p50_ratio": GOAL_P50, "cpu_ratio": GOAL_CPU, "wrong": 0},
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "met": met,
    }


def median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 2)


def main() -> int:
    parser = argparse.ArgumentParser(description="one Modbus poll next to libmodbus")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = run()
    if options.json:
        print(json.dumps(figures))
    else:
        for transport, clients in figures.pop("faults", {}).items():
            for name, value in clients.items():
                print(f"{'faults ' + transport:12} {name:12} {value}")
        for name, value in figures.items():
            print(f"{name:12} {value}")
    return 0 if figures.get("met") else 1


if __name__ == "__main__":
    sys.exit(main())
