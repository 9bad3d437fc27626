"""What a meter says: one reading, with what is unknown left unknown."""

from __future__ import annotations

import msgspec

from edge.domain.instant import Instant


class MeterValue(msgspec.Struct, frozen=True, kw_only=True):
    """One fresh reading of one meter. `None` means that the meter did not say; it never means zero.

    `at` is the arrival of the reply. `energy_wh` is the cumulative imported-energy register in whole Wh;
    `resolution_wh` the register's step at this value (a float32 register in kWh steps 16 Wh at 131 MWh). A value
    that is not `sure` was true at some moment of the last half minute: on a bad line a reply may be as late as that.
    `flow_sure` says the same of power, current and voltage, where a meter tells them in replies of their own.
    """

    at: Instant
    energy_wh: int
    resolution_wh: int = 1
    power_w: int | None = None
    current_ma: tuple[int, ...] | None = None
    voltage_mv: tuple[int, ...] | None = None
    sure: bool = True
    flow_sure: bool = True

    @property
    def surely_wh(self) -> int:
        """What has surely flowed since a register that this one is compared with: a coarse step may have begun
        just before that one and ended just before this one, and what the meter signs of it is cut to a step again.
        """
        return self.energy_wh if self.resolution_wh == 1 else self.energy_wh - self.resolution_wh


class MeterIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Who the meter says it is. A session ends at another identity only as `estimated`."""

    model: str
    serial: str | None = None
    firmware: str | None = None
    ct_ratio: int | None = None


class SignedValue(msgspec.Struct, frozen=True, kw_only=True):
    """A record as the meter signed it, byte for byte (OCMF), and the meter's public key (DER).

    `verified`: the key verifies the record. One that does not is kept all the same: it is what the meter said.
    """

    ocmf: bytes
    public_key: bytes
    verified: bool
