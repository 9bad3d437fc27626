"""The registers of a charge controller: every write is read back.

The reply to a single write cannot be told from the echo of an RS-485 adapter; only the register itself can
say what it holds.
"""

from __future__ import annotations

from msgspec.structs import replace

from edge.domain.instant import Instant
from hw.bus.bus import ATTEMPTS, Answer, Bus
from hw.bus.errors import Refused
from hw.bus.frames import Span
from hw.evse.errors import EvseError, EvseNotSafe, translated

_NO_SUCH_REGISTERS = {2, 3}  # Modbus exceptions: illegal data address, illegal data value


class Controls:
    """One controller on its line. Every method raises EvseError."""

    def __init__(self, bus: Bus[Instant], unit: int, timeout_s: float) -> None:
        self._bus, self._unit, self._timeout_s = bus, unit, timeout_s
        self._exact: set[Span] = set()
        """What this firmware reads only without the spare registers behind it."""
        self._missing: set[Span] = set()

    async def read(self, span: Span, *, attempts: int = ATTEMPTS) -> Answer[Instant]:
        exact = replace(span, spare=0) if span in self._exact else span
        with translated():
            try:
                return await self._bus.read(self._unit, exact, timeout_s=self._timeout_s, attempts=attempts)
            except Refused as e:
                if not exact.spare or e.exception not in _NO_SUCH_REGISTERS:
                    raise
        self._exact.add(span)
        return await self.read(span, attempts=attempts)

    async def read_either(self, first: Span, other: Span) -> tuple[Span, Answer[Instant]]:
        """One of two, each asked once: a lost reply costs a time-out, and not the rest that its request needs before it
        may be repeated on a serial line.
        """
        try:
            return first, await self.read(first, attempts=1)
        except EvseError:
            return other, await self.read(other, attempts=1)

    async def holds(self, span: Span, value: int) -> bool:
        """Whether the register is what it was set to; False only by a sure answer: what a late reply says of another
        register must not end a charge.
        """
        answer = await self.read(span)
        return answer.registers[0] == value or not answer.sure

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

    async def set_where_there(self, register: int, value: int, *, spare: int = 0) -> None:
        """Like `set`, for a register that not every firmware has."""
        try:
            await self.set(register, value, spare=spare)
        except EvseError as e:
            if not _is_missing(e):
                raise

    async def read_where_there(self, span: Span) -> Answer[Instant] | None:
        """None from a firmware that does not have all of these registers."""
        if span in self._missing:
            return None
        try:
            return await self.read(span)
        except EvseError as e:
            if not _is_missing(e):
                raise
        self._missing.add(span)
        return None

    async def switch(self, coil: Span, *, on: bool) -> None:
        """Write the coil that `coil` reads, with function 5."""
        with translated():
            await self._bus.write_coil(self._unit, coil.address, on=on, timeout_s=self._timeout_s)
        held = (await self.read(coil)).data[0] & 1
        if held != on:
            raise EvseNotSafe(f"coil {coil.address} is {held} after {int(on)} was written to it")


def _is_missing(error: EvseError) -> bool:
    cause = error.__cause__
    return isinstance(cause, Refused) and cause.exception in _NO_SUCH_REGISTERS
