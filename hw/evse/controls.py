"""The registers of a charge controller: every write is read back.

The reply to a single write cannot be told from the echo of an RS-485 adapter; only the register itself can
say what it holds.
"""

from __future__ import annotations

from edge.domain.instant import Instant
from hw.bus.bus import Answer, Bus
from hw.bus.frames import Span
from hw.evse.errors import EvseNotSafe, translated


class Controls:
    """One controller on its line. Every method raises EvseError."""

    def __init__(self, bus: Bus[Instant], unit: int, timeout_s: float) -> None:
        self._bus, self._unit, self._timeout_s = bus, unit, timeout_s

    async def read(self, span: Span) -> Answer[Instant]:
        with translated():
            return await self._bus.read(self._unit, span, timeout_s=self._timeout_s)

    async def set(self, register: int, value: int, *, spare: int = 0, many: bool = False) -> None:
        """Write a holding register with function 6, or 16 where `many`. `spare` registers follow it."""
        with translated():
            if many:
                await self._bus.write_registers(self._unit, register, (value,), timeout_s=self._timeout_s)
            else:
                await self._bus.write_register(self._unit, register, value, timeout_s=self._timeout_s)
        held = (await self.read(Span(3, register, spare=spare))).registers[0]
        if held != value:
            raise EvseNotSafe(f"register {register} is {held} after {value} was written to it")

    async def switch(self, coil: int, *, on: bool) -> None:
        """Write a coil with function 5."""
        with translated():
            await self._bus.write_coil(self._unit, coil, on=on, timeout_s=self._timeout_s)
        held = (await self.read(Span(1, coil))).data[0] & 1
        if held != on:
            raise EvseNotSafe(f"coil {coil} is {held} after {int(on)} was written to it")
