"""The facts of pricing: what is given to it, and what a session has used so far."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import Literal

import msgspec

from edge.domain.pricing.exact import Exact, exact, rational
from edge.domain.pricing.selection import Number
from edge.domain.tariffs.wall import from_us
from edge.errors import CallError

#: `SuspendedEV` is parking; `SuspendedEVSE` (load management) is neither charging nor parking time.
ChargingState = Literal["Charging", "SuspendedEV", "SuspendedEVSE"]


#: A year and a day: longer is a clock that jumped, and would be cut at hundreds of midnights.
SESSION_US_MAX = 366 * 86_400_000_000


class PricingError(CallError):
    """Intervals or quantities that cannot be priced."""

    code = "pricing.invalid"


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """What happened since the last interval: its own `energy_wh`, the state, what the meter said meanwhile.

    `current_ma` is the sum over the phases; None where it is not known. An interval without length may carry
    energy (the register after a power cut).
    """

    end: datetime
    energy_wh: Number
    state: ChargingState = "Charging"
    current_ma: Number | None = None
    power_w: Number | None = None


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A reservation before the session, or instead of it when it expired."""

    begin: datetime
    end: datetime
    expired: bool = False


class Run(msgspec.Struct, frozen=True, array_like=True):
    """The stretch that goes on: priced alike from its start until the next limit in time or energy."""

    state: ChargingState
    bands: int
    started_us: Exact
    started_wh: Exact
    energy_slot: int
    time_slot: int
    until_us: int
    until_wh: int


class Tally(msgspec.Struct, frozen=True, array_like=True):
    """What runs that have ended brought to a slot, in Wh or microseconds."""

    slot: int
    quantity: Exact


class Period(msgspec.Struct, frozen=True, array_like=True):
    """A charging period of the CDR: from its start to that of the next, with its volumes."""

    start_us: Exact
    energy_wh: Exact
    charging_us: Exact
    parking_us: Exact


class Accrual(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the price of a session follows from. Goes through JSON unchanged; its size is bounded.

    `left_wh` and `left_us` (included units not used) are as of the run's start, and so are `charging_us` and
    `parking_us`, which only count where a price depends on them (OCPP 2.1).
    """

    begun_us: int
    ended_us: int
    energy: Exact = 0
    reservation: Reservation | None = None
    flat_slot: int = -1
    last_energy: int = -1
    last_time: int = -1
    last_parking: int = -1
    charging_us: Exact = 0
    parking_us: Exact = 0
    left_wh: Exact = 0
    left_us: Exact = 0
    buys_pass: bool = False
    run: Run | None = None
    tallies: tuple[Tally, ...] = ()
    periods: tuple[Period, ...] = ()

    @property
    def begun_at(self) -> datetime:
        return from_us(self.begun_us)

    @property
    def ended_at(self) -> datetime:
        return from_us(self.ended_us)

    @property
    def energy_wh(self) -> Number:
        """Energy of the session so far, exactly."""
        return rational(self.energy)

    @property
    def duration_s(self) -> Number:
        """Seconds of the session so far, exactly."""
        return rational(exact(Fraction(self.ended_us - self.begun_us, 1_000_000)))
