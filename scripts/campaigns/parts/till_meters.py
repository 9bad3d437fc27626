"""The meters of a trial: any model by its profile, and those that sign, with what a power cut leaves of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal

from hw.meters import profile as profiles
from hw.virtual.meter import Fault, VirtualMeter
from hw.virtual.outlet import Outlet
from hw.virtual.signed_meters import SigningUnit, VirtualBsm, VirtualEm580, VirtualWm3m4

MeterModel = Literal["register", "em580", "wm3m4", "bsm"]
SIGNING: Final[tuple[MeterModel, ...]] = ("em580", "wm3m4", "bsm")

_PLAIN: Final = "eastron_sdm630"

#: How each driver is told which meter it has.
OPTIONS: Final[dict[MeterModel, str]] = {
    model: f'driver = "{model}"{more}\nbaudrate = 9600\nparity = "N"'
    for model, more in (("register", f'\nprofile = "{_PLAIN}"'), ("em580", ""), ("wm3m4", ""), ("bsm", ""))
}

#: What the register of each shows, in Wh.
RESOLUTION_WH: Final[dict[MeterModel, int]] = {"register": 1, "em580": 1, "wm3m4": 10, "bsm": 10}


class SiteMeter:
    """One meter at an outlet, a unit on the line. `offset_wh`: what it showed when the outlet was new."""

    def __init__(
        self, model: MeterModel, outlet: Outlet, now: Callable[[], datetime], *, number: int, offset_wh: int
    ) -> None:
        self.model, self.offset_wh = model, offset_wh
        self.resolution_wh = RESOLUTION_WH[model]
        self._signing: SigningUnit | None = None
        self._plain: VirtualMeter | None = None
        self._dark = False

        def energy_wh() -> int:
            return offset_wh + outlet.energy_wh()

        match model:
            case "register":
                self._plain = VirtualMeter(
                    profiles.load(_PLAIN), outlet, serial_number=number, offset_wh=offset_wh
                )
            case "em580":
                self._plain = VirtualMeter(
                    profiles.load("carlo_gavazzi_em580"), outlet, serial_number=number, offset_wh=offset_wh
                )
                self._signing = VirtualEm580(
                    energy_wh=energy_wh, now=now, serial=str(number), plain=self._plain
                )
            case "wm3m4":
                self._signing = VirtualWm3m4(
                    energy_wh=energy_wh, now=now, serial=str(number), power_w=outlet.power_w
                )
            case "bsm":
                self._signing = VirtualBsm(
                    energy_wh=energy_wh, now=now, serial=f"001BZR15{number}", power_w=outlet.power_w
                )

    @property
    def signs(self) -> bool:
        return self._signing is not None

    def fail(self, fault: Fault | None) -> None:
        """Do this wrong from now on; None is well again. A meter that has only its own registers falls silent."""
        if self._plain is not None:
            self._plain.fail(fault)
        self._dark = fault is Fault.SILENT or (self._plain is None and fault is not None)

    def cut_power(self) -> None:
        """What the maker keeps in permanent memory stays."""
        if self._signing is not None:
            self._signing.cut_power()

    def read(self, function: int, address: int, count: int) -> list[int] | None:
        if self._dark:
            return None
        unit = self._signing or self._plain
        assert unit is not None
        return unit.read(function, address, count)

    def write(self, function: int, address: int, values: list[int]) -> bool:
        if self._dark:
            return False
        unit = self._signing or self._plain
        assert unit is not None
        return unit.write(function, address, values)
