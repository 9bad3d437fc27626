"""A contactor on a GPIO line, kept by the guard process, with a contact that says whether a vehicle is there.

It knows no control pilot: a vehicle that is plugged in counts as wanting energy (state C).
"""

from __future__ import annotations

from edge.ports import Clock, EvseStatus, Lease
from hw.bus.pool import BusPool
from hw.evse.contactor import Contactor, GuardOptions, Pin
from hw.evse.errors import EvseError
from hw.evse.guard import Line, line
from hw.worker import Worker

PIN_MAX_S = 2.0  # a pin is read in microseconds; the first time its library is loaded


class PinFailed(EvseError):
    code = "evse.pin_failed"
    hint = "check the pin's number and that gpiozero and lgpio are installed (the extra `gpio`)"


class Options(GuardOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`driver = "gpio_contactor"`. `vehicle` is the contact that closes when a vehicle is plugged in."""

    vehicle: Pin


def create(options: Options, *, clock: Clock, buses: BusPool) -> GpioContactor:
    """The contactor. Opens nothing yet."""
    del buses
    return GpioContactor(options, clock=clock)


class GpioContactor:
    """Implements edge.ports.Evse."""

    lease: Lease = "guard"

    def __init__(self, options: Options, *, clock: Clock) -> None:
        self._contactor = Contactor(options)
        self._options, self._clock = options, clock
        self._vehicle: Line | None = None
        self._worker: Worker | None = None
        self._allowed = False

    async def prepare(self) -> None:
        """Open, and seen open where there is an auxiliary contact. Raises EvseError."""
        self._allowed = False
        await self._contactor.prepare()

    async def intact(self) -> bool:
        """A guard that was started anew has opened; there is nothing else to lose. Raises EvseError."""
        return self._allowed or not (await self._contactor.state()).relay

    async def status(self) -> EvseStatus:
        """Raises EvseError."""
        state = await self._contactor.state()
        plugged = await self._contact()
        return EvseStatus(
            at=self._clock.now(),
            pilot="C" if plugged else "A",
            contactor_closed=state.closed,
            welded=state.welded,
        )

    async def permit(self, *, current_a: int) -> None:
        """Closed for another lease; a contactor has no current to set, so only 0 means open. Raises EvseError.

        Not while the vehicle's contact cannot be read: nobody would see the plug being pulled.
        """
        self._allowed = current_a > 0
        if self._allowed:
            await self._contact()
            await self._contactor.keep()
        else:
            await self._contactor.open()

    async def revoke(self) -> None:
        self._allowed = False
        await self._contactor.open()

    async def close(self) -> None:
        await self._contactor.close()
        if self._worker is not None:
            self._worker.close(self._release)

    async def _contact(self) -> bool:
        """Read on a thread of its own; one that hangs in the pin's driver is left behind."""
        if self._worker is None or not self._worker.usable:
            if self._worker is not None:
                self._worker.close()
            self._vehicle = None
            self._worker = Worker(f"pin {self._options.vehicle}")
        return await self._worker.call(self._plugged, timeout_s=PIN_MAX_S)

    def _release(self) -> None:
        if self._vehicle is not None:
            self._vehicle.release()

    def _plugged(self) -> bool:
        try:
            self._vehicle = self._vehicle or line(self._options.vehicle, output=False)
            seen = self._vehicle.get()
        except Exception as e:  # gpiozero and its pin factories raise many kinds
            raise PinFailed(f"the pin {self._options.vehicle}: {e}") from e
        if seen is None:
            raise PinFailed(f"the pin {self._options.vehicle} cannot be read")
        return seen == 1
