"""A virtual Heidelberg-like wallbox: its registers, its watchdog and its control pilot, before a virtual
outlet.
"""

from __future__ import annotations

from collections.abc import Callable

from hw.virtual.modbus_server import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ILLEGAL_VALUE, Refusal
from hw.virtual.outlet import CURRENT_MIN_A, VOLTS, WH_NS, Outlet

CURRENT_MAX_DA = 160
WATCHDOG_DEFAULT_MS = 15_000


class VirtualWallbox:
    """A unit on a Modbus server. Time is the outlet's: virtual nanoseconds from `now_ns`."""

    def __init__(self, outlet: Outlet, now_ns: Callable[[], int]) -> None:
        self.outlet = outlet
        self.silent = False
        self.fault = False
        self.derating = False
        self.locked = False
        """The external lock contact: load management withholds power."""
        self._now_ns = now_ns
        self._heard_ns = now_ns()
        self._holdings = {257: WATCHDOG_DEFAULT_MS, 258: 0, 259: 1, 260: 0, 261: 0, 262: 0}
        self._effective_da = 0

    def read(self, function: int, address: int, count: int) -> list[int] | None:
        """Functions 3 and 4. Any request that the wallbox hears feeds its watchdog."""
        if self.silent:
            return None
        self._heard()
        table = {3: self._holdings, 4: self._inputs()}.get(function)
        if table is None:
            raise Refusal(ILLEGAL_FUNCTION)
        wanted = range(address, address + count)
        if not all(a in table for a in wanted):
            raise Refusal(ILLEGAL_ADDRESS)
        return [table[a] for a in wanted]

    def write(self, function: int, address: int, values: list[int]) -> bool:
        """Functions 6 and 16."""
        if self.silent:
            return False
        self._heard()
        if function not in {6, 16}:
            raise Refusal(ILLEGAL_FUNCTION)
        for i, value in enumerate(values):
            register = address + i
            if register not in self._holdings:
                raise Refusal(ILLEGAL_ADDRESS)
            if register in {261, 262} and value and not 10 * CURRENT_MIN_A <= value <= CURRENT_MAX_DA:
                raise Refusal(ILLEGAL_VALUE)
            self._holdings[register] = value
        self.tick()
        return True

    def tick(self) -> None:
        """Let the wallbox act: called with every request, and by the virtual world as its time passes."""
        self._watch()
        allowed = self._allowed() and not self.fault
        self._hold()
        self.outlet.switch(closed=allowed and self.outlet.wants())

    def state(self) -> int:
        """Input register 5."""
        self.tick()
        allowed = self._allowed()
        if self.fault:
            return 9
        if self.outlet.car is None:
            return 3 if allowed else 2
        if not self.outlet.wants():
            return 5 if allowed else 4
        if self.derating and allowed:
            return 8
        return 7 if allowed else 6

    def _allowed(self) -> bool:
        return self._effective_da >= 10 * CURRENT_MIN_A and self._holdings[259] == 1 and not self.locked

    def _heard(self) -> None:
        self.tick()
        self._heard_ns = self._now_ns()
        self.tick()

    def _watch(self) -> None:
        """After the watchdog's time without a request the failsafe current holds."""
        watchdog_ns = self._holdings[257] * 1_000_000
        expired = watchdog_ns > 0 and self._now_ns() - self._heard_ns > watchdog_ns
        self._effective_da = self._holdings[262] if expired else self._holdings[261]

    def _hold(self) -> None:
        watchdog_ms, failsafe_da = self._holdings[257], self._holdings[262]
        until_ns = self._heard_ns + watchdog_ms * 1_000_000 if watchdog_ms else None
        self.outlet.limit(self._effective_da, until_ns=until_ns, then_tenths_a=failsafe_da)

    def _inputs(self) -> dict[int, int]:
        state = self.state()
        power_w = self.outlet.power_w()
        energy_wh = self.outlet.energy_wns() // WH_NS
        high, low = energy_wh >> 16 & 0xFFFF, energy_wh & 0xFFFF
        currents = [ma // 100 for ma in self.outlet.current_ma()]
        return {
            4: 0x0108, 5: state, 6: currents[0], 7: currents[1], 8: currents[2], 9: 250,
            10: VOLTS, 11: VOLTS, 12: VOLTS, 13: int(not self.locked), 14: power_w,
            15: high, 16: low, 17: high, 18: low,
        }  # fmt: skip
