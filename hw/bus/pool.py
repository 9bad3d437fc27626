"""All lines of one till: a bus per port, handed to every driver on that line."""

from __future__ import annotations

from edge.domain.instant import Instant
from edge.ports import Clock
from hw.bus.bus import Bus
from hw.bus.errors import LineConflict
from hw.bus.line import LineOptions


class BusPool:
    """Gives each line its one bus. Replies are stamped by `clock`.

    >>> pool = BusPool(clock)
    >>> bus = pool.bus(LineOptions(port="/dev/meter0", baudrate=9600), gap_s=0.1)
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buses: dict[str, Bus[Instant]] = {}

    def bus(self, options: LineOptions, *, gap_s: float = 0.0) -> Bus[Instant]:
        """The bus of this line; its gap is the longest that any of its units needs. Raises LineConflict."""
        bus = self._buses.get(options.port)
        if bus is None:
            bus = self._buses[options.port] = Bus(options, now=self._clock.now, gap_s=gap_s)
        elif bus.options != options and not options.is_tcp:  # over TCP the gateway has its own
            raise LineConflict(
                (
                    f"{options.port}: {_settings(options)} here, {_settings(bus.options)} for the devices before",
                )
            )
        bus.gap_s = max(bus.gap_s, gap_s)
        return bus

    async def close(self) -> None:
        for bus in self._buses.values():
            await bus.close()


def _settings(options: LineOptions) -> str:
    return f"{options.baudrate} Bd 8{options.parity}{options.stopbits}"
