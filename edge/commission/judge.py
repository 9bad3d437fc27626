"""Whether what was measured fits together. Pure.

A register in the wrong unit, a transformer with the wrong ratio or the wrong way round, and voltages and currents
of different phases each leave a ratio of their own, by which they are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Final

from edge.commission.facts import Sample
from edge.doctor.finding import Finding, fail, ok, warn

#: Beyond the register's own steps: the power between two readings is taken as a straight line.
_UNIT_SLACK: Final = Fraction(1, 10)

#: A car's power factor is above 0.95 once it charges; meters and the sampling take the rest.
_FACTOR_MIN: Final = Fraction(4, 5)
_FACTOR_MAX: Final = Fraction(23, 20)
#: cos(phi) of wirings that are wrong, three phases under equal load: what it is, and what it means.
_WIRINGS: Final = (
    (Fraction(-1), "all current transformers are the wrong way round", "turn them, or swap k and l of each"),
    (Fraction(1, 3), "one current transformer is the wrong way round", "turn the one with negative power"),
    (Fraction(-1, 3), "two current transformers are the wrong way round", "turn those with negative power"),
    (Fraction(0), "two phases are exchanged between voltage and current", "put L1 to L1, L2 to L2, L3 to L3"),
    (Fraction(-1, 2), "the phases are rotated between voltage and current", "put L1 to L1, L2 to L2, L3 to L3"),
)  # fmt: skip
_WIRING_SLACK: Final = Fraction(3, 20)

#: What a car may take above the current that it was told: IEC 61851-1 allows none, meters a little.
_OVER: Final = Fraction(5, 4)

#: A phase carries current from here on; less is a charger's own supply.
CARRIES_MA: Final = 1_000
_LIVE_MV: Final = range(195_000, 265_001)

#: The charge point's own counter is a check, not a meter: many count VAh.
_OWN_MIN, _OWN_MAX = Fraction(4, 5), Fraction(5, 4)


def judge(
    samples: Sequence[Sample], *, permitted_a: int, own_wh: int | None, wanted_wh: int
) -> list[Finding]:
    """Every check that the measurement allows; one that it does not allow says so."""
    if len(samples) < 2:
        return [fail("energy", "the meter gave no two readings", "`chargetill doctor` says why")]
    energy_wh = samples[-1].energy_wh - samples[0].energy_wh
    found = [
        ok("energy", f"{energy_wh} Wh in {samples[-1].at_s:.0f} s")
        if energy_wh >= wanted_wh
        else fail(
            "energy", f"{energy_wh} Wh of {wanted_wh} Wh", "does the car take energy? Is its battery full?"
        )
    ]
    found.append(_unit(samples, energy_wh))
    loaded = [s for s in samples if s.current_ma is not None and max(s.current_ma) >= CARRIES_MA]
    if not loaded:
        found.append(warn("phases", "the meter tells no currents", "check the transformers by hand"))
        return found
    found += [_phases(loaded), _ratio(loaded, permitted_a), _wiring(loaded)]
    if own_wh is not None:
        found.append(_second_opinion(energy_wh, own_wh, samples[-1].resolution_wh))
    return found


def _unit(samples: Sequence[Sample], energy_wh: int) -> Finding:
    """Energy against the integral of power."""
    what = "unit of the energy register"
    integral = _integral_wh(samples)
    if integral is None or integral <= 0:
        return warn(what, "the meter tells no power to compare with", "compare with its display by hand")
    ratio = energy_wh / integral
    slack = _UNIT_SLACK + Fraction(2 * samples[-1].resolution_wh) / integral
    seen = f"register {energy_wh} Wh, power over time {float(integral):.1f} Wh"
    if abs(ratio - 1) <= slack:
        return ok(what, seen)
    for factor in (10, 100, 1000):
        if abs(ratio / factor - 1) <= slack:
            return fail(
                what, f"{seen}: {factor} times too much", "wrong profile or unit: `chargetill meter scan`"
            )
        if abs(ratio * factor - 1) <= slack:
            return fail(
                what, f"{seen}: {factor} times too little", "wrong profile or unit: `chargetill meter scan`"
            )
    return fail(
        what,
        f"{seen}: they contradict each other",
        "wrong profile, or a CT ratio that holds for one of them only",
    )


def _integral_wh(samples: Sequence[Sample]) -> Fraction | None:
    total = Fraction(0)
    for earlier, later in pairwise(samples):
        if earlier.power_w is None or later.power_w is None:
            return None
        seconds = Fraction(later.at_s) - Fraction(earlier.at_s)
        total += Fraction(abs(earlier.power_w) + abs(later.power_w), 2) * seconds / 3600
    return total


def _phases(loaded: Sequence[Sample]) -> Finding:
    last = loaded[-1]
    assert last.current_ma is not None
    carrying = [f"L{n}" for n, ma in enumerate(last.current_ma, start=1) if ma >= CARRIES_MA]
    amperes = ", ".join(f"{ma / 1000:.1f} A" for ma in last.current_ma)
    if last.voltage_mv is not None:
        odd = [f"L{n}" for n, mv in enumerate(last.voltage_mv, start=1) if mv and mv not in _LIVE_MV]
        if odd:
            volts = ", ".join(f"{mv / 1000:.0f} V" for mv in last.voltage_mv)
            return fail("phases", f"{volts}: {' '.join(odd)} is no mains voltage", "check neutral and fuses")
    if len(carrying) == 2 and len(last.current_ma) == 3:
        return warn(
            "phases", f"{amperes}: {' and '.join(carrying)} carry", "a car of two phases, or a blown fuse"
        )
    return ok("phases", f"{amperes}: {', '.join(carrying)}")


def _ratio(loaded: Sequence[Sample], permitted_a: int) -> Finding:
    """Measured current against what the car was told it may take."""
    what = "current transformers: ratio"
    most = max(max(s.current_ma) for s in loaded if s.current_ma is not None)
    seen = f"{most / 1000:.1f} A at most, {permitted_a} A permitted"
    if Fraction(most, 1000) > permitted_a * _OVER:
        return fail(
            what, seen, "the ratio set in the meter is too high, or the charge point ignores its limit"
        )
    if Fraction(most, 1000) < Fraction(permitted_a, 4):
        return warn(
            what, seen, "a car that takes little, or a ratio that is too low: compare with a clamp meter"
        )
    return ok(what, seen)


def _wiring(loaded: Sequence[Sample]) -> Finding:
    """Power against volts times amperes: the cosine tells which wire is wrong."""
    what = "phase order and direction"
    factors = []
    for s in loaded:
        if s.power_w is None or s.current_ma is None or s.voltage_mv is None:
            continue
        apparent = sum(mv * ma for mv, ma in zip(s.voltage_mv, s.current_ma, strict=False))
        if apparent:
            factors.append(Fraction(s.power_w * 1_000_000, apparent))
    if not factors:
        return warn(
            what, "the meter tells too little to compare", "check the direction of the arrows by hand"
        )
    factor = sorted(factors)[len(factors) // 2]
    seen = f"power factor {float(factor):.2f}"
    if _FACTOR_MIN <= factor <= _FACTOR_MAX:
        return ok(what, seen)
    for cosine, meaning, todo in _WIRINGS:
        if abs(factor - cosine) <= _WIRING_SLACK:
            return fail(what, f"{seen}: {meaning}", todo)
    return fail(
        what, f"{seen}: power does not fit volts and amperes", "check the wiring of voltages and transformers"
    )


def _second_opinion(energy_wh: int, own_wh: int, resolution_wh: int) -> Finding:
    what = "charge point's own counter"
    seen = f"meter {energy_wh} Wh, charge point {own_wh} Wh"
    slack = 2 * resolution_wh
    if _OWN_MIN * own_wh - slack <= energy_wh <= _OWN_MAX * own_wh + slack:
        return ok(what, seen)
    return fail(
        what, seen, "another EVSE's meter, a CT ratio, or a unit: check which meter belongs to this cable"
    )
