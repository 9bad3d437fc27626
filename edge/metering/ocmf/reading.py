"""The readings of an OCMF record (OCMF 1.2, table 7), and the energy between its begin and its end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import msgspec

from edge.metering.ocmf.errors import RecordMalformed

READINGS_MAX = 1000  # one a minute for 16 hours; with one in 15 minutes, ten days
BEGIN = "B"
ENDS = frozenset("ELRAP")
EXCEPTION = "X"
NUMBER_DIGITS_MAX = 40  # no register has more; a number of megabytes would be worked on for hours
_EXACT = Context(prec=4 * NUMBER_DIGITS_MAX)  # sums and products of such numbers are never rounded
_WH = {"wh": Decimal(1), "kwh": Decimal(1000)}
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:[,.](\d{1,6}))?\s*([+-]\d\d):?(\d\d)(?:\s+([UISR]))?"
)
_OBIS = re.compile(
    r"(?:[0-9a-z]+-[0-9a-z]+:)?([0-9a-f]{1,2})\.([0-9a-f]{1,2})(?:\.([0-9a-z]{1,2}))?(?:[*.&][0-9a-z]+)?"
)
#: OBIS value group C of imported energy, in the order of preference: the sum register, then those that
#: count for the vehicle (B3: at the plug, after cable losses; B2 before them) or for the device.
_IMPORT = ("1", "98", "b3", "b2", "b1", "b0")
_TOTAL = "8"  # value group D: time integral 1, the register's absolute value


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One reading. What it leaves out is that of the reading before it; what nobody said is None.

    `time` is aware; `time_status` is U, I, S or R (table 19); `value` is exact and in `unit`.
    """

    time: datetime | None
    time_status: str | None
    transaction: str | None
    value: Decimal | None
    register: str | None
    unit: str | None
    status: str | None
    error_flags: str | None

    @property
    def energy_wh(self) -> Decimal | None:
        """The register in Wh; None when it is no energy."""
        factor = _WH.get((self.unit or "").strip().lower())
        return None if factor is None or self.value is None else _EXACT.multiply(self.value, factor)

    @property
    def counts(self) -> bool:
        """A register that counts energy on and on, as far as its unit and its OBIS code say.

        False for what some meters tell beside it, at the end alone: the seconds, or the energy, of this charge.
        """
        match = _OBIS.fullmatch((self.register or "").strip().lower())
        total = match is None or match[2].lstrip("0") == _TOTAL
        return total and (self.unit is None or self.unit.strip().lower() in _WH)

    @property
    def usable(self) -> bool:
        """The meter vouches for the energy: status good, no energy error."""
        return self.status == "G" and "E" not in (self.error_flags or "")


_NOTHING = Reading(
    time=None, time_status=None, transaction=None, value=None, register=None, unit=None, status=None,
    error_flags=None,
)  # fmt: skip


class Delivery(msgspec.Struct, frozen=True):
    """The begin and the end of one register within a charge. `energy_wh` is None where it may not be billed."""

    begin: Reading
    end: Reading

    @property
    def energy_wh(self) -> Decimal | None:
        begin_wh, end_wh = self.begin.energy_wh, self.end.energy_wh
        if begin_wh is None or end_wh is None or end_wh < begin_wh or self.begin.unit != self.end.unit:
            return None
        return _EXACT.subtract(end_wh, begin_wh) if self.begin.usable and self.end.usable else None


def readings(data: Any) -> tuple[Reading, ...]:
    """The readings of the list RD, each completed from the one before. Raises RecordMalformed."""
    if data is None:
        return ()
    if not isinstance(data, list) or len(data) > READINGS_MAX:
        raise RecordMalformed(f"RD is not a list of at most {READINGS_MAX} readings")
    found: list[Reading] = []
    for number, raw in enumerate(data):
        if not isinstance(raw, dict):
            raise RecordMalformed(f"reading {number + 1} is not an object")
        found.append(_reading(raw, found[-1] if found else None))
    return tuple(found)


def delivery(found: Sequence[Reading]) -> Delivery | None:
    """Begin and end of the register of imported energy; None when there is not exactly one of each."""
    best: tuple[tuple[int, bool], Delivery] | None = None
    tied = False
    for register in {reading.register for reading in found}:
        rank = _rank(register)
        of_register = [reading for reading in found if reading.register == register]
        begins = [r for r in of_register if r.transaction == BEGIN]
        ends = [r for r in of_register if r.transaction in ENDS]
        if rank is None or len(begins) != 1 or len(ends) != 1:
            continue
        if best is not None and best[0] == rank:
            tied = True
        if best is None or rank < best[0]:
            best, tied = (rank, Delivery(begins[0], ends[0])), False
    return None if best is None or tied else best[1]


def time_of(found: Sequence[Reading], *, end: bool) -> datetime | None:
    """When the begin, or the end, was read."""
    wanted = ENDS if end else {BEGIN}
    return next((r.time for r in found if r.transaction in wanted), None)


def _rank(register: str | None) -> tuple[int, bool] | None:
    """How well a register says how much was imported; None when it says something else."""
    if register is None:
        return len(_IMPORT), False  # RI is optional, and a record without it has one register
    match = _OBIS.fullmatch(register.strip().lower())
    if match is None:
        return None
    quantity, kind, tariff = match[1].lstrip("0") or "0", match[2].lstrip("0") or "0", match[3]
    if quantity not in _IMPORT or kind != _TOTAL:
        return None
    return _IMPORT.index(quantity), tariff not in {None, "0", "00", "e"}


def _reading(raw: dict[str, Any], before: Reading | None) -> Reading:
    before = before or _NOTHING

    def inherited(key: str, known: str | None) -> str | None:
        value = raw.get(key)
        return value if isinstance(value, str) else known

    value = raw.get("RV")  # some meters write it as text
    time, time_status = before.time, before.time_status
    if "TM" in raw:
        time, time_status = _time(raw["TM"])
    return Reading(
        time=time,
        time_status=time_status,
        transaction=inherited("TX", before.transaction),
        value=exact(value) if isinstance(value, str) else value if isinstance(value, Decimal) else None,
        register=inherited("RI", before.register),
        unit=inherited("RU", before.unit),
        status=inherited("ST", before.status),
        error_flags=inherited("EF", before.error_flags),
    )


def _time(value: object) -> tuple[datetime | None, str | None]:
    """`2018-07-24T13:22:04,000+0200 S`; a time that cannot be one is unknown."""
    match = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None, None
    day, clock, fraction, hours, minutes, status = match.groups()
    try:
        return datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0'):0<6}{hours}:{minutes}"), status
    except ValueError:
        return None, status


def exact(digits: str) -> Decimal | None:
    """The number that these characters spell; None when they spell none, or one beyond every register."""
    if len(digits) > NUMBER_DIGITS_MAX:
        return None
    try:
        found = Decimal(digits.strip())
    except InvalidOperation:
        return None
    within = found.is_finite() and abs(found.adjusted()) <= NUMBER_DIGITS_MAX
    return found if within else None
