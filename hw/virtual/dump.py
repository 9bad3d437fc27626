"""A recorded register dump as a unit on a virtual line: a real meter's registers, replayed.

profile = "eastron_sdm630"
source = "read from a meter on 2026-11-22, 8 A on three phases"
[registers.input]          # or registers.holding: address of the first word = words in hex
0x0000 = "4366 3334"
[expected]                 # what `meter read` has to say
energy_wh = 123
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from hw.virtual.modbus_server import ILLEGAL_ADDRESS, Refusal, Registers


class Dump(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One recording. `expected` holds fields of edge.domain.energy.MeterValue, and `serial`."""

    profile: str
    source: str
    registers: dict[str, dict[str, str]]
    expected: dict[str, Any]

    def unit(self) -> Registers:
        """The recorded device: it refuses what was not recorded."""
        return _Recorded(self._table("input"), self._table("holding"))

    def _table(self, name: str) -> dict[int, int]:
        table: dict[int, int] = {}
        for address, text in self.registers.get(name, {}).items():
            for i, word in enumerate(text.split()):
                table[int(address, 0) + i] = int(word, 16)
        return table


class _Recorded(Registers):
    def read(self, function: int, address: int, count: int) -> list[int] | None:
        table = self.tables.get(function, {})
        if not all(a in table for a in range(address, address + count)):
            raise Refusal(ILLEGAL_ADDRESS)
        return super().read(function, address, count)


def load(path: Path) -> Dump:
    """A recording from its file. Raises msgspec.ValidationError, tomllib.TOMLDecodeError or OSError."""
    return msgspec.convert(tomllib.loads(path.read_text("utf-8")), Dump)
