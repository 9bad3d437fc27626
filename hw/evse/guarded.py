"""Charge controllers without a watchdog of their own: they may only stand behind a guarded contactor.

EVSE-DIN and the Phoenix controllers go on charging at the last current when nobody talks to them. Their
drivers say what registers to write; here stands the rule that permission is the guard's lease first.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta

from edge.errors import ConfigError
from edge.ports import EvseStatus, Lease, Pilot
from hw.bus.budget import Load, read_characters, write_characters
from hw.bus.line import Baudrate, LineOptions, Parity, Port
from hw.evse.contactor import Contactor, GuardOptions
from hw.evse.errors import EvseError

CURRENT_MIN_A = 6  # IEC 61851-1: a control pilot cannot announce less


class NoWatchdog(ConfigError):
    """The controller would go on charging when the till stops."""

    code = "evse.no_watchdog"
    hint = "put a contactor before it and name its pins under `guard`"


class GuardedOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all these drivers share: the line, the unit, and the guard before the controller."""

    port: Port
    unit: Annotated[int, Meta(ge=1, le=255)] = 1
    baudrate: Baudrate = 9600
    parity: Parity = "N"
    stopbits: Literal[1, 2] = 1
    timeout_s: Annotated[float, Meta(gt=0, le=10)] = 1.0
    gap_ms: Annotated[int, Meta(ge=0, le=1000)] | None = None
    current_max_a: Annotated[int, Meta(ge=6, le=80)] = 32
    guard: GuardOptions | None = None

    def line(self) -> LineOptions:
        return LineOptions(port=self.port, baudrate=self.baudrate, parity=self.parity, stopbits=self.stopbits)

    def gap_s(self, default_ms: int) -> float:
        """The gap between frames: as given, else the device's own on a serial line."""
        if self.gap_ms is not None:
            return self.gap_ms / 1000
        return 0.0 if self.line().is_tcp else default_ms / 1000


def load(options: GuardedOptions, *, name: str, gap_ms: int, registers: int) -> Load:
    """What one look of `registers` and one renewed permission cost the line."""
    return Load(
        name=f"{name} unit {options.unit}",
        line=options.line(),
        exchanges=(read_characters(registers), write_characters(), read_characters(1)),
        gap_s=options.gap_s(gap_ms),
        timeout_s=options.timeout_s,
    )


class Controller(Protocol):
    """What a driver adds: its registers."""

    async def prepare(self) -> None:
        """No current now, nor after its own restart where it can be told so."""
        ...

    async def intact(self) -> bool:
        """Whether what `prepare` set still stands, no current included where none is allowed."""
        ...

    async def status(self) -> EvseStatus:
        """`limited` by `withheld`."""
        ...

    async def allow(self, current_a: int) -> None:
        """Up to `current_a`; 0 is none."""
        ...


def withheld(pilot: Pilot, *, allowed: bool, gives: bool) -> bool:
    """Whether the station keeps a car from charging: by load management, another master or a switch where it is
    `allowed` to; and where it is not, a car that waits for the pilot's signal in state B has not chosen to.
    """
    return not gives and pilot != "A" and (allowed or pilot == "B")


class Guarded:
    """Implements edge.ports.Evse: a controller behind a guarded contactor."""

    lease: Lease = "guard"

    def __init__(self, controller: Controller, options: GuardedOptions, *, name: str) -> None:
        if options.guard is None:
            raise NoWatchdog((f"{name} has no watchdog of its own",))
        self._controller, self._contactor = controller, Contactor(options.guard)
        self._current_max_a = options.current_max_a
        self._allowed = False

    async def prepare(self) -> None:
        """Contactor open, controller told to give nothing. Raises EvseError: the contactor's, where both have one."""
        self._allowed = False
        try:
            await self._contactor.prepare()
        except EvseError:
            with suppress(EvseError):
                await self._controller.prepare()
            raise
        await self._controller.prepare()

    async def intact(self) -> bool:
        """Raises EvseError."""
        closed = (await self._contactor.state()).relay
        return (self._allowed or not closed) and await self._controller.intact()

    async def status(self) -> EvseStatus:
        """The controller's state; closed only where the contactor is, too. Raises EvseError."""
        status = await self._controller.status()
        contactor = await self._contactor.state()
        closed = contactor.closed and status.contactor_closed
        return msgspec.structs.replace(status, contactor_closed=closed, welded=contactor.welded)

    async def permit(self, *, current_a: int) -> None:
        """The lease is renewed once the controller has answered: where its line is lost, it runs out.

        An open contactor closes before anything may flow, so that it never switches a load. Raises EvseError.
        """
        wanted_a = min(current_a, self._current_max_a) if current_a >= CURRENT_MIN_A else 0
        self._allowed = wanted_a > 0
        if not wanted_a:
            await self._controller.allow(0)
            return
        if (await self._contactor.state()).relay:
            await self._controller.allow(wanted_a)
            if (await self._contactor.state()).relay:  # the answer may have taken longer than the lease
                await self._contactor.keep()
                return
        await self._controller.allow(0)
        await self._contactor.keep()
        try:
            await self._controller.allow(wanted_a)
        except EvseError:
            await self._contactor.open()
            raise

    async def revoke(self) -> None:
        """Both, whatever one of them says. Raises EvseError."""
        self._allowed = False
        try:
            await self._controller.allow(0)
        finally:
            await self._contactor.open()

    async def close(self) -> None:
        await self._contactor.close()
