"""A virtual energy meter of any profiled model: its registers are computed from what the outlet delivered."""

from __future__ import annotations

from enum import Enum, auto
from fractions import Fraction

from hw.meters.profile import WH, A, Field, Profile, V, W
from hw.meters.values import REGISTERS, encode
from hw.virtual.modbus_server import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, Refusal
from hw.virtual.outlet import VOLTS, WH_NS, Outlet

NAN_WORDS = (0x7FF8, 0x0000, 0x0000, 0x0000)
_FUNCTION = {"holding": 3, "input": 4}


class Fault(Enum):
    """What the meter does wrong."""

    NAN = auto()
    SPIKE = auto()
    FREEZE = auto()
    BACKWARDS = auto()
    ZERO = auto()
    SILENT = auto()


class VirtualMeter:
    """A unit on a Modbus server. `offset_wh` is what the register showed when the outlet was new."""

    SPIKE_WH = 5_000_000
    BACK_WH = 2_000

    def __init__(
        self, profile: Profile, outlet: Outlet, *, serial_number: int = 20240001, offset_wh: int = 0
    ) -> None:
        self.profile, self.outlet = profile, outlet
        self.serial_number, self.offset_wh = serial_number, offset_wh
        self.fault: Fault | None = None
        self._frozen: dict[tuple[int, int], int] | None = None

    def fail(self, fault: Fault | None) -> None:
        """Do this wrong from now on; None is well again. A frozen meter shows the values of this moment."""
        self._frozen = self._tables() if fault is Fault.FREEZE else None
        self.fault = fault

    def read(self, function: int, address: int, count: int) -> list[int] | None:
        """Registers of the profile's blocks and identity; others are refused."""
        if self.fault is Fault.SILENT:
            return None
        if function not in {3, 4}:
            raise Refusal(ILLEGAL_FUNCTION)
        table = self._frozen or self._tables()
        wanted = [(function, a) for a in range(address, address + count)]
        if not all(key in table for key in wanted):
            raise Refusal(ILLEGAL_ADDRESS)
        return [table[key] for key in wanted]

    def write(self, function: int, address: int, values: list[int]) -> bool:
        del function, address, values
        raise Refusal(ILLEGAL_FUNCTION)

    def _tables(self) -> dict[tuple[int, int], int]:
        table: dict[tuple[int, int], int] = {}
        for block in self.profile.blocks:
            for register in range(block.address, block.address + block.count + block.spare):
                table[_FUNCTION[block.function], register] = 0
        serial = self.profile.serial_number
        if serial is not None:
            raw = (
                str(self.serial_number).encode().ljust(2 * serial.length, b"\0")
                if serial.type == "ascii"
                else encode(Fraction(self.serial_number), serial.type, serial.order)
            )
            _place(table, _FUNCTION[serial.function], serial.address, raw)
        currents = [Fraction(ma) for ma in self.outlet.current_ma()]
        self._field(table, self.profile.energy_import, [self._energy_wh()], WH)
        for more in self.profile.energy_more:
            self._field(table, more, [Fraction(0)], WH)
        self._field(table, self.profile.power, [Fraction(self.outlet.power_w())], W)
        self._field(table, self.profile.current, currents, A)
        self._field(table, self.profile.voltage, [Fraction(1000 * VOLTS)] * 3, V)
        if self.fault is Fault.NAN:
            energy = self.profile.energy_import
            function = _FUNCTION[self.profile.block_of(energy).function]
            for i in range(REGISTERS[energy.type]):
                table[function, energy.address + i] = NAN_WORDS[i] if energy.type[0] == "f" else 0xFFFF
        return table

    def _energy_wh(self) -> Fraction:
        energy_wh = Fraction(self.outlet.energy_wns(), WH_NS) + self.offset_wh
        match self.fault:
            case Fault.SPIKE:
                return energy_wh + self.SPIKE_WH
            case Fault.BACKWARDS:
                return max(Fraction(0), energy_wh - self.BACK_WH)
            case Fault.ZERO:
                return Fraction(0)
            case _:
                return energy_wh

    def _field(
        self,
        table: dict[tuple[int, int], int],
        field: Field | None,
        wanted: list[Fraction],
        units: dict[str, Fraction],
    ) -> None:
        if field is None:
            return
        function = _FUNCTION[self.profile.block_of(field).function]
        for phase in range(field.phases):
            raw = encode(wanted[phase] / units[field.unit] / Fraction(field.scale), field.type, field.order)
            _place(table, function, field.address + phase * field.step, raw)


def _place(table: dict[tuple[int, int], int], function: int, address: int, raw: bytes) -> None:
    for i in range(0, len(raw), 2):
        table[function, address + i // 2] = int.from_bytes(raw[i : i + 2], "big")
