"""What the devices on one line cost it: how long a round of polls takes, and how old a value gets beside a dead unit.

Pure. `config check` asks before anything is opened.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hw.bus.bus import Timing
from hw.bus.line import LineOptions

TURNAROUND_S = 0.03  # between a request and its reply; meters take 5 to 50 ms
ROUND_MAX_S = 1.0  # every device is polled once a second
STALE_S = 10.0  # a reading older than this opens the contactor


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One device's poll: characters sent and received in each exchange."""

    name: str
    line: LineOptions
    exchanges: tuple[tuple[int, int], ...]
    gap_s: float
    timeout_s: float


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """One line: a round of polls when all is well, a round in which one unit is dead, and what is wrong with it."""

    port: str
    devices: int
    round_s: float
    dead_unit_s: float
    problems: tuple[str, ...]


def read_characters(registers: int) -> tuple[int, int]:
    """Characters of a read of so many registers, request and reply (MODBUS over Serial Line V1.02, 2.5.1)."""
    return 8, 5 + 2 * registers


def write_characters() -> tuple[int, int]:
    """Characters of the write of one register."""
    return 8, 8


def budgets(loads: Iterable[Load]) -> tuple[Budget, ...]:
    """The budget of each line."""
    lines: dict[str, list[Load]] = {}
    for load in loads:
        lines.setdefault(load.line.port, []).append(load)
    return tuple(_budget(port, here) for port, here in lines.items())


def _budget(port: str, loads: list[Load]) -> Budget:
    gap_s = max(load.gap_s for load in loads)  # the line keeps the longest that any unit needs
    round_s = sum(
        load.line.wire_s(sent + received) + (0.0 if load.line.is_tcp else TURNAROUND_S) + gap_s
        for load in loads
        for sent, received in load.exchanges
    )
    dead_unit_s = round_s + max(load.timeout_s for load in loads) + Timing().quiet_s
    problems = []
    names = ", ".join(load.name for load in loads)
    if round_s > ROUND_MAX_S:
        problems.append(
            f"{port}: one round of polls ({names}) takes {round_s:.2f} s; raise the baud rate, lower gap_ms, "
            "or use another line"
        )
    if dead_unit_s > STALE_S:
        problems.append(
            f"{port}: beside a dead unit a reading gets {dead_unit_s:.1f} s old, and {STALE_S:g} s open the "
            "contactor; lower timeout_s, or use another line"
        )
    return Budget(
        port=port,
        devices=len(loads),
        round_s=round_s,
        dead_unit_s=dead_unit_s,
        problems=tuple(problems),
    )
