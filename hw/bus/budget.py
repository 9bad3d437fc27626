"""What the devices on one line cost it: how long a round of polls takes, and how old a value gets beside a dead unit.

Pure. `config check` asks before anything is opened.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hw.bus.bus import Timing
from hw.bus.line import LineOptions

TURNAROUND_S = 0.03  # between a request and its reply; meters take 5 to 50 ms


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One device's poll: characters sent and received in each exchange, how often it is due, and how old what it says
    may get.
    """

    name: str
    line: LineOptions
    exchanges: tuple[tuple[int, int], ...]
    gap_s: float
    timeout_s: float
    poll_s: float = 1.0
    stale_s: float = 10.0

    def cost_s(self, gap_s: float) -> float:
        """How long one poll keeps the line, with the gap that the line keeps."""
        turnaround_s = 0.0 if self.line.is_tcp else TURNAROUND_S
        return sum(self.line.wire_s(sent + got) + turnaround_s + gap_s for sent, got in self.exchanges)


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
    round_s = sum(load.cost_s(gap_s) for load in loads)
    dead_unit_s = round_s + max(load.timeout_s for load in loads) + Timing().quiet_s
    problems = []
    names = ", ".join(load.name for load in loads)
    if sum(load.cost_s(gap_s) / load.poll_s for load in loads) > 1:
        due_s = min(load.poll_s for load in loads)
        problems.append(
            f"{port}: one round of polls ({names}) takes {round_s:.2f} s, and is due every {due_s:g} s; raise the baud "
            "rate or poll_s, lower gap_ms, or use another line"
        )
    first = min(loads, key=lambda load: load.stale_s - load.poll_s)
    beside = len(loads) > 1  # whoever waits for another unit was read a poll or a round ago
    old_s = dead_unit_s + (max(first.poll_s - round_s, 0.0) if beside else 0.0)
    if old_s > first.stale_s:
        cause = "beside a dead unit" if beside else "after a lost reply"
        problems.append(
            f"{port}: {cause} what {first.name} says gets {old_s:.1f} s old, and {first.stale_s:g} s open the "
            "contactor; lower timeout_s, raise stale_s, or use another line"
        )
    return Budget(
        port=port,
        devices=len(loads),
        round_s=round_s,
        dead_unit_s=dead_unit_s,
        problems=tuple(problems),
    )
