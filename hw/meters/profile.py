"""A meter model as a file of facts: which registers hold what, and what this model can and cannot do.

Addresses are those of the protocol, from zero. Numbers in the files are read as Decimal, so a scale of 0.1 is
exactly that.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge.errors import CallError
from hw.bus.frames import READ_REGISTERS_MAX, Span
from hw.meters.values import REGISTERS, NumberType, Order

_PROFILES = Path(__file__).parent / "profiles"

Address = Annotated[int, Meta(ge=0, le=0xFFFF)]
FUNCTIONS: dict[str, Literal[3, 4]] = {"holding": 3, "input": 4}
PHASES_MAX = 3
WH = {"Wh": Fraction(1), "kWh": Fraction(1000), "MWh": Fraction(1_000_000)}
W = {"W": Fraction(1), "kW": Fraction(1000)}
A = {"A": Fraction(1000), "mA": Fraction(1)}
V = {"V": Fraction(1000), "mV": Fraction(1)}


class UnknownProfile(CallError):
    code = "meter.unknown_profile"
    hint = "`chargetill meter list` shows the models"


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Registers read in one request. Up to `spare` more behind them exist and may be read along, in `step`s."""

    function: Literal["input", "holding"]
    address: Address
    count: Annotated[int, Meta(ge=1, le=READ_REGISTERS_MAX)]
    spare: Annotated[int, Meta(ge=0, le=READ_REGISTERS_MAX)] = 0
    step: Literal[1, 2, 4] = 2

    @property
    def span(self) -> Span:
        return Span(FUNCTIONS[self.function], self.address, self.count, self.spare, self.step)


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number, or the same number of each phase, `step` registers apart.

    The value in `unit` is the register times `scale`.
    """

    address: Address
    type: NumberType
    unit: Literal["Wh", "kWh", "MWh", "W", "kW", "A", "mA", "V", "mV"]
    order: Order = "big"
    scale: Decimal = Decimal(1)
    phases: Annotated[int, Meta(ge=1, le=PHASES_MAX)] = 1
    step: Annotated[int, Meta(ge=1, le=16)] = 2

    @property
    def last(self) -> int:
        """The last register of the field."""
        return self.address + (self.phases - 1) * self.step + REGISTERS[self.type] - 1


class IdentityField(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A register that tells who the meter is: a number, or `length` registers of text."""

    function: Literal["input", "holding"]
    address: Address
    type: Literal["u16", "u32", "u64", "ascii"]
    order: Order = "big"
    length: Annotated[int, Meta(ge=1, le=32)] = 1

    @property
    def count(self) -> int:
        return self.length if self.type == "ascii" else REGISTERS[self.type]

    @property
    def span(self) -> Span:
        return Span(FUNCTIONS[self.function], self.address, self.count)


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model.

    `source` confirms width, order and unit of the registers, `rating` the current and voltage from which
    `rated_power_w` follows: on all phases, at 230 V. It bounds what is plausible. The energy register wraps to 0 at
    `rollover_wh`; without it a fall is never taken for a rollover. `energy_more` are further registers (other
    tariffs) that belong to the sum.
    """

    model: str
    source: Annotated[str, Meta(min_length=1)]
    rating: Annotated[str, Meta(min_length=1)]
    rated_power_w: Annotated[int, Meta(ge=1, le=1_000_000)]
    blocks: Annotated[tuple[Block, ...], Meta(min_length=1, max_length=6)]
    energy_import: Field
    rollover_wh: Annotated[int, Meta(ge=1_000_000)] | None = None
    energy_more: tuple[Field, ...] = ()
    power: Field | None = None
    current: Field | None = None
    voltage: Field | None = None
    serial_number: IdentityField | None = None
    firmware: IdentityField | None = None
    max_registers: Annotated[int, Meta(ge=1, le=READ_REGISTERS_MAX)] = READ_REGISTERS_MAX
    gap_ms: Annotated[int, Meta(ge=0, le=1000)] = 100
    sentinels: bool = True
    baudrate: Annotated[int, Meta(ge=300, le=1_000_000)] = 9600
    parity: Literal["N", "E", "O"] = "N"
    note: str = ""

    def fields(self) -> tuple[Field, ...]:
        """The fields that are polled: the energy first, and neighbors of different lengths."""
        others = (self.voltage, self.power, self.current)
        return (self.energy_import, *self.energy_more, *(field for field in others if field is not None))

    def block_of(self, field: Field) -> Block:
        """The block that holds a field. Raises ValueError when none does."""
        for block in self.blocks:
            if block.address <= field.address and field.last < block.address + block.count:
                return block
        raise ValueError(f"no block holds the registers {field.address}-{field.last}")


def names() -> tuple[str, ...]:
    """The profiles that exist."""
    folder = _PROFILES
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


@cache
def load(name: str) -> Profile:
    """The profile of that name. Raises UnknownProfile."""
    if name not in names():
        raise UnknownProfile(f"no meter profile `{name}`")
    path = _PROFILES / f"{name}.toml"
    return parse(path.read_text("utf-8"))


def parse(toml: str) -> Profile:
    """A profile from its text. Raises msgspec.ValidationError, tomllib.TOMLDecodeError or ValueError."""
    raw: dict[str, Any] = tomllib.loads(toml, parse_float=Decimal)
    profile = msgspec.convert(raw, Profile)
    energies = [(field, WH) for field in (profile.energy_import, *profile.energy_more)]
    for field, units in [*energies, (profile.power, W), (profile.current, A), (profile.voltage, V)]:
        if field is None:
            continue
        profile.block_of(field)
        if field.scale <= 0:
            raise ValueError(f"register {field.address} has no scale")
        if field.unit not in units:
            raise ValueError(f"register {field.address} cannot be in {field.unit}")
    for block in profile.blocks:
        if block.count + block.spare > profile.max_registers:
            raise ValueError(f"the block at {block.address} is longer than {profile.max_registers} registers")
    return profile
