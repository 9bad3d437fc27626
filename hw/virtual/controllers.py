"""Virtual charge controllers without a watchdog, with the registers of the real ones, before a virtual outlet.

They go on at the last current for ever, as the real ones do; `contactor` is the guard's, in series.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from hw.virtual.modbus_server import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, Refusal
from hw.virtual.outlet import CURRENT_MIN_A, Outlet


class _Controller(ABC):
    """What all of them do: keep registers, and follow them."""

    def __init__(self, outlet: Outlet, contactor: Callable[[], bool]) -> None:
        self.outlet, self.contactor = outlet, contactor
        self.silent = False
        self.holdings: dict[int, int] = {}
        self.coils: dict[int, int] = {}

    @abstractmethod
    def limit_a(self) -> int:
        """What the control pilot announces now; 0 is none."""

    def tick(self) -> None:
        """Let the contactor follow the registers and the guard."""
        limit_a = self.limit_a()
        self.outlet.limit(10 * limit_a)
        allowed = limit_a >= CURRENT_MIN_A and self.contactor()
        self.outlet.switch(closed=allowed and self.outlet.wants())

    def pilot(self) -> str:
        """The vehicle's state as a letter."""
        self.tick()
        if self.outlet.car is None:
            return "A"
        return "C" if self.outlet.wants() else "B"

    def read(self, function: int, address: int, count: int) -> list[int] | None:
        if self.silent:
            return None
        self.tick()
        table = {1: self.coils, 3: self.holdings, 4: self.inputs()}.get(function)
        if table is None:
            raise Refusal(ILLEGAL_FUNCTION)
        if not all(a in table for a in range(address, address + count)):
            raise Refusal(ILLEGAL_ADDRESS)
        return [table[a] for a in range(address, address + count)]

    def inputs(self) -> dict[int, int]:
        """Input registers, computed."""
        return {}

    def write(self, function: int, address: int, values: list[int]) -> bool:
        if self.silent:
            return False
        table = self.coils if function == 5 else self.holdings
        for i, value in enumerate(values):
            if address + i not in table:
                raise Refusal(ILLEGAL_ADDRESS)
            table[address + i] = value
        self.tick()
        return True


class VirtualSimpleEvse(_Controller):
    """EVSE-DIN."""

    def __init__(self, outlet: Outlet, contactor: Callable[[], bool]) -> None:
        super().__init__(outlet, contactor)
        self.holdings = {
            1000: 0,
            1001: 0,
            1002: 1,
            1003: 32,
            1004: 0,
            1005: 18,
            1006: 1,
            2000: 6,
            2001: 0,
            2002: 0,
        }

    def limit_a(self) -> int:
        return 0 if self.holdings[1004] & 1 else self.holdings[1000]

    def tick(self) -> None:
        super().tick()
        self.holdings[1001] = self.holdings[1000]

    def read(self, function: int, address: int, count: int) -> list[int] | None:
        self.holdings[1002] = {"A": 1, "B": 2, "C": 3}[self.pilot()]
        return super().read(function, address, count)


class VirtualCharx(_Controller):
    """CHARX SEC with one connector."""

    def __init__(self, outlet: Outlet, contactor: Callable[[], bool]) -> None:
        super().__init__(outlet, contactor)
        self.holdings = {1299: 0, 1300: 0, 1301: 6}
        self.managed = False
        """Load management gives the car nothing."""

    def limit_a(self) -> int:
        return self.holdings[1301] if self.holdings[1300] and not self.managed else 0

    def read(self, function: int, address: int, count: int) -> list[int] | None:
        letter = self.pilot()
        digit = "2" if self.limit_a() >= CURRENT_MIN_A else "1"
        self.holdings[1299] = ord(letter) << 8 | ord(digit)
        return super().read(function, address, count)


class VirtualEvCc(_Controller):
    """EV-CC-AC1-M."""

    def __init__(self, outlet: Outlet, contactor: Callable[[], bool]) -> None:
        super().__init__(outlet, contactor)
        self.holdings, self.coils = {22000: 6}, {20000: 0, 20001: 1, 20002: 0, 20003: 0}

    def limit_a(self) -> int:
        return self.holdings[22000] if self.coils[20000] else 0

    def inputs(self) -> dict[int, int]:
        return {24000: ord(self.pilot()) << 8, 24001: 0, 24002: self.limit_a(), 24003: self.limit_a()}
