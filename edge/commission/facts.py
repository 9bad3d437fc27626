"""What a commissioning test measured and found: the content of its report."""

from __future__ import annotations

from datetime import datetime

import msgspec

from edge.doctor.finding import Finding
from edge.domain.energy import MeterIdentity


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One reading while charging. `at_s` counts from the first one; None is not known."""

    at_s: float
    energy_wh: int
    resolution_wh: int = 1
    power_w: int | None = None
    current_ma: tuple[int, ...] | None = None
    voltage_mv: tuple[int, ...] | None = None


class Charged(msgspec.Struct, frozen=True, kw_only=True):
    """One EVSE's test. `own_wh` is what the charge point itself counted, where it counts."""

    evse_id: str
    label: str
    meter: str
    charge_point: str
    lease: str
    permitted_a: int
    identity: MeterIdentity | None
    samples: tuple[Sample, ...]
    own_wh: int | None
    findings: tuple[Finding, ...]

    @property
    def energy_wh(self) -> int | None:
        """What the meter counted; None when there were no two readings."""
        if len(self.samples) < 2:
            return None
        return self.samples[-1].energy_wh - self.samples[0].energy_wh


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it, for HTML, PDF and JSON."""

    at: datetime
    installer: str
    site: str
    device: str
    address: str
    seller: str
    version: str
    ledger_key_id: str
    ledger_public_key: str
    doctor: tuple[Finding, ...]
    evses: tuple[Charged, ...]

    @property
    def passed(self) -> bool:
        """Nothing failed, and at least one EVSE charged."""
        findings = [f for e in self.evses for f in e.findings] + list(self.doctor)
        return bool(self.evses) and all(f.result != "fail" for f in findings)
