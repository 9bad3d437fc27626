"""A recorded register dump as a unit on a virtual line: a real meter's registers, replayed.

How one is recorded and written down: hw/README.md, "How to record a meter".
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hw.virtual.modbus_server import ILLEGAL_ADDRESS, Refusal, Registers

Address = Annotated[str, Meta(pattern=r"^(0[xX][0-9A-Fa-f]{1,4}|[0-9]{1,5})$")]
Words = Annotated[str, Meta(pattern=r"^\s*([0-9A-Fa-f]{4}\s*)+$")]


class Expected(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the meter's display said, in the fields of edge.domain.energy.MeterValue, and its serial number. What is
    left out is not compared.
    """

    energy_wh: int
    power_w: int | None = None
    current_ma: tuple[int, ...] | None = None
    voltage_mv: tuple[int, ...] | None = None
    serial: str | None = None


class Dump(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One recording: address of the first word -> words in hex, by the table that they were read from."""

    profile: str
    source: str
    registers: dict[Literal["input", "holding"], dict[Address, Words]]
    expected: Expected

    def unit(self) -> Registers:
        """The recorded device: it refuses what was not recorded."""
        return _Recorded(self._table("input"), self._table("holding"))

    def _table(self, name: Literal["input", "holding"]) -> dict[int, int]:
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
