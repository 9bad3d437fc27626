"""The physics of one virtual socket: a car behind a contactor, and the only energy integral of the virtual
world.

Time is virtual nanoseconds, given by whoever asks. Energy is counted in watt-nanoseconds, as integers, so
that nothing drifts: what any virtual meter shows is this count, divided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

WH_NS = 3600 * 1_000_000_000
VOLTS = 230
CURRENT_MIN_A = 6  # IEC 61851-1: a car draws nothing below


@dataclass(slots=True)
class Car:
    """What a car takes: up to `current_a` on `phases`, until it has `wants_wh`; None wants without end."""

    current_a: int = 16
    phases: int = 3
    wants_wh: int | None = None
    suspended: bool = False


class Outlet:
    """Where the car plugs in. Everything that changes its power goes through here, after time has been
    advanced.
    """

    def __init__(self, now_ns: Callable[[], int], *, energy_wh: int = 0) -> None:
        self._now_ns = now_ns
        self._at_ns = now_ns()
        self._energy_wns = energy_wh * WH_NS
        self._taken_wns = 0
        self._car: Car | None = None
        self._limit_da = 0
        self._lapses: tuple[int, int] | None = None
        self._closed = False
        self._welded = False

    @property
    def car(self) -> Car | None:
        self.advance()
        return self._car

    @property
    def closed(self) -> bool:
        """The contactor."""
        return self._closed

    def plug(self, car: Car) -> None:
        self.advance()
        self._car, self._taken_wns = car, 0

    def unplug(self) -> None:
        """The contactor opens with the plug: the control pilot falls to state A."""
        self.advance()
        self._car, self._closed = None, False

    def suspend(self, *, on: bool) -> None:
        """The car stops, or takes up, drawing current of its own accord."""
        self.advance()
        if self._car is not None:
            self._car.suspended = on

    def switch(self, *, closed: bool) -> None:
        """The contactor; it does not close without a car."""
        self.advance()
        self._closed = closed and self._car is not None

    def weld(self, *, on: bool) -> None:
        """The contactor stays closed whatever it is told, and the car draws on whatever the pilot says."""
        self.advance()
        self._welded = on

    def limit(self, tenths_a: int, *, until_ns: int | None = None, then_tenths_a: int = 0) -> None:
        """What the control pilot allows the car to draw on each phase; after `until_ns`, `then_tenths_a`."""
        self.advance()
        self._limit_da = tenths_a
        self._lapses = None if until_ns is None else (until_ns, then_tenths_a)

    def wants(self) -> bool:
        """Whether the car asks for energy (state C rather than B)."""
        self.advance()
        car = self._car
        return car is not None and not car.suspended and self._left_wns(car) != 0

    def current_ma(self) -> tuple[int, int, int]:
        """Current of the three phases."""
        self.advance()
        car = self._car
        drawn = self._phase_ma()
        phases = 0 if car is None else car.phases
        return drawn if phases > 0 else 0, drawn if phases > 1 else 0, drawn if phases > 2 else 0

    def power_w(self) -> int:
        self.advance()
        return self._power_w()

    def energy_wns(self) -> int:
        """Everything that ever went through, in watt-nanoseconds."""
        self.advance()
        return self._energy_wns

    def energy_wh(self) -> int:
        return self.energy_wns() // WH_NS

    def advance(self) -> None:
        """Bring the integral up to now. A car that gets full, or a limit that lapses, does so on the
        moment.
        """
        now_ns = max(self._now_ns(), self._at_ns)
        if self._lapses is not None and self._lapses[0] < now_ns:
            self._flow(max(self._at_ns, self._lapses[0]))
            self._limit_da, self._lapses = self._lapses[1], None
        self._flow(now_ns)

    def _flow(self, until_ns: int) -> None:
        flowed_wns = self._power_w() * (until_ns - self._at_ns)
        car = self._car
        if flowed_wns and car is not None:
            left_wns = self._left_wns(car)
            if left_wns is not None:
                flowed_wns = min(flowed_wns, left_wns)
            self._taken_wns += flowed_wns
            self._energy_wns += flowed_wns
        self._at_ns = until_ns

    def _left_wns(self, car: Car) -> int | None:
        return None if car.wants_wh is None else max(0, car.wants_wh * WH_NS - self._taken_wns)

    def _phase_ma(self) -> int:
        car = self._car
        if car is None or car.suspended or self._left_wns(car) == 0:
            return 0
        if self._welded:
            return 1000 * car.current_a
        if not self._closed:
            return 0
        if self._limit_da < 10 * CURRENT_MIN_A:
            return 0
        return min(1000 * car.current_a, 100 * self._limit_da)

    def _power_w(self) -> int:
        car = self._car
        return 0 if car is None else self._phase_ma() * car.phases * VOLTS // 1000
