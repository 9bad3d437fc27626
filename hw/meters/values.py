"""Register bytes as numbers: exact, and None where the meter says that it does not know.

Pure. Integers stay exact; a float is read as the shortest decimal that it stands for (the float32 of 0.7
kWh is 700 Wh, not 699.99), because that decimal is what the meter's firmware meant to say, as long as it can.
"""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from fractions import Fraction
from typing import Literal, assert_never

import msgspec

NumberType = Literal["u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"]
RegisterType = Literal[NumberType, "ascii"]
Order = Literal["big", "little"]  # of the 16-bit words; the bytes inside a word are always big-endian

REGISTERS: dict[NumberType, int] = {
    "u16": 1, "s16": 1, "u32": 2, "s32": 2, "u64": 4, "s64": 4, "f32": 2, "f64": 4,
}  # fmt: skip
ENERGY_MAX_WH = 10**12  # 1 MW for more than a century
POWER_MAX_W = 10**9  # a profile's largest rating in the wrong unit must still be seen, and halts a session
CURRENT_MAX_MA = 10**7  # 10 kA: nothing that a meter in a charger is wired with
VOLTAGE_MAX_MV = 1_500_000  # low voltage ends there, for direct current (IEC 60038)
_FLOAT32_DIGITS_MAX = 9  # IEEE 754: nine significant digits tell any two float32 values apart

#: Meters of large values show hundredths. Where a float32 steps more coarsely, no decimal is what the firmware meant,
#: and the shortest ones of two neighbors may lie almost two steps apart.
_MEANT_STEP = Fraction(1, 100)


class Number(msgspec.Struct, frozen=True):
    """An exact value and the step of its register at that value, in the register's unit."""

    value: Fraction
    step: Fraction


def number(raw: bytes, kind: NumberType, order: Order, *, sentinels: bool = True) -> Number | None:
    """The value of a register. None for NaN, infinity and, with `sentinels`, the customary "not available".

    Those are all ones, and the largest or smallest value of a signed register (SunSpec, and many vendors'
    maps). Of a signed register longer than a word the highest word alone says so: Carlo Gavazzi shows an
    overflow there and leaves the rest as it is.
    """
    if order == "little":
        raw = b"".join(raw[i : i + 2] for i in range(len(raw) - 2, -2, -2))
    match kind:
        case "f32" | "f64":
            return _float(raw, kind)
        case "u16" | "u32" | "u64" | "s16" | "s32" | "s64":
            signed = kind[0] == "s"
            if sentinels and _is_sentinel(raw, signed=signed):
                return None
            return Number(Fraction(int.from_bytes(raw, "big", signed=signed)), Fraction(1))
        case _:
            assert_never(kind)


def within(value: Fraction, most: int) -> int | None:
    """Rounded, and None where it lies outside of `-most..most`: such a register holds something else."""
    return round(value) if abs(value) <= most else None


def encode(value: Fraction, kind: NumberType, order: Order) -> bytes:
    """The register bytes of a value, the way a meter would serve it. Integers are cut off."""
    match kind:
        case "f32" | "f64":
            raw = struct.pack(">f" if kind == "f32" else ">d", float(value))
        case "u16" | "u32" | "u64" | "s16" | "s32" | "s64":
            raw = math.floor(value).to_bytes(2 * REGISTERS[kind], "big", signed=kind[0] == "s")
        case _:
            assert_never(kind)
    if order == "little":
        raw = b"".join(raw[i : i + 2] for i in range(len(raw) - 2, -2, -2))
    return raw


def text(raw: bytes) -> str | None:
    """ASCII registers without their padding. None when nothing printable is left."""
    kept = raw.split(b"\0", 1)[0].decode("ascii", "replace").strip()
    return kept if kept.isprintable() and "\ufffd" not in kept and kept else None


def _is_sentinel(raw: bytes, *, signed: bool) -> bool:
    if not signed:
        return raw == b"\xff" * len(raw)
    return raw[:2] in {b"\x7f\xff", b"\x80\x00"}


def _float(raw: bytes, kind: Literal["f32", "f64"]) -> Number | None:
    form = ">f" if kind == "f32" else ">d"
    (value,) = struct.unpack(form, raw)
    if not math.isfinite(value):
        return None
    if kind == "f64":
        return Number(Fraction(Decimal(repr(value))), Fraction(math.ulp(value)))
    exponent = max(math.frexp(value)[1], -125)
    step = Fraction(2) ** (exponent - 24)
    return Number(_shortest_float32(value) if step <= _MEANT_STEP else Fraction(value), step)


def _shortest_float32(value: float) -> Fraction:
    wanted = struct.pack(">f", value)
    for digits in range(6, _FLOAT32_DIGITS_MAX + 1):
        spelled = f"{value:.{digits}g}"
        if struct.pack(">f", float(spelled)) == wanted:
            return Fraction(Decimal(spelled))
    return Fraction(value)
