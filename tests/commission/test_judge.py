"""A wiring or a unit that is wrong is named by the ratio that it leaves."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.commission.facts import Sample
from edge.commission.judge import judge

VOLTS_MV = (230_000, 231_000, 229_000)


def charging(*, amperes=16, factor=Fraction(1), scale=Fraction(1), phases=3, seconds=40, voltages=VOLTS_MV):
    """One reading a second of a car that takes `amperes` on so many phases; the register counts `scale` times."""
    currents = tuple(amperes * 1000 if n < phases else 0 for n in range(3))
    true_w = sum(mv * ma for mv, ma in zip(VOLTS_MV, currents, strict=True)) // 1_000_000
    return [
        Sample(
            at_s=s,
            energy_wh=1_000_000 + int(Fraction(true_w * s, 3600) * scale * abs(factor)),
            power_w=int(true_w * factor),
            current_ma=currents,
            voltage_mv=voltages,
        )
        for s in range(seconds)
    ]


def found(samples, **given_):
    given_ = {"permitted_a": 16, "own_wh": None, "wanted_wh": 100, **given_}
    return {f.what: f for f in judge(samples, **given_)}


@pytest.mark.parametrize("phases", [1, 3])
def test_a_right_installation_passes(phases):
    samples = charging(phases=phases, seconds=120)
    assert {f.result for f in found(samples, own_wh=samples[-1].energy_wh - 1_000_000).values()} == {"ok"}


@pytest.mark.parametrize(
    ("scale", "says"),
    [(1000, "1000 times too much"), (10, "10 times too much"), (Fraction(1, 10), "10 times too little")],
)
def test_a_register_in_another_unit(scale, says):
    finding = found(charging(scale=Fraction(scale), seconds=200))["unit of the energy register"]
    assert finding.result == "fail"
    assert says in finding.found


@pytest.mark.parametrize(
    ("factor", "says"),
    [
        (Fraction(-1), "all current transformers"),
        (Fraction(1, 3), "one current transformer is"),
        (Fraction(-1, 3), "two current transformers"),
        (Fraction(0), "two phases are exchanged"),
        (Fraction(-1, 2), "rotated"),
        (Fraction(3, 5), "does not fit"),
    ],
)
def test_a_wiring_that_is_wrong(factor, says):
    finding = found(charging(factor=factor))["phase order and direction"]
    assert finding.result == "fail"
    assert says in finding.found
    assert finding.todo


def test_a_transformer_ratio_that_is_wrong():
    finding = found(charging(amperes=80), permitted_a=16)["current transformers: ratio"]
    assert finding.result == "fail"
    assert "80.0 A" in finding.found
    assert found(charging(amperes=3), permitted_a=16)["current transformers: ratio"].result == "warn"


def test_the_meter_of_another_cable():
    assert found(charging(seconds=120), own_wh=5)["charge point's own counter"].result == "fail"


def test_a_neutral_that_is_missing():
    finding = found(charging(voltages=(310_000, 120_000, 230_000)))["phases"]
    assert finding.result == "fail"
    assert "L1 L2" in finding.found


def test_a_car_that_takes_nothing():
    assert found(charging(amperes=0))["energy"].result == "fail"
    assert found([])["energy"].result == "fail"


def test_a_meter_that_tells_only_energy():
    bare = [Sample(at_s=s.at_s, energy_wh=s.energy_wh) for s in charging(seconds=60)]
    results = {f.what: f.result for f in judge(bare, permitted_a=16, own_wh=None, wanted_wh=100)}
    assert results == {"energy": "ok", "unit of the energy register": "warn", "phases": "warn"}


@given(st.integers(6, 32), st.integers(1, 3), st.integers(60, 400))
def test_no_right_installation_fails(amperes, phases, seconds):
    samples = charging(amperes=amperes, phases=phases, seconds=seconds)
    own_wh = samples[-1].energy_wh - samples[0].energy_wh
    assert "fail" not in {f.result for f in judge(samples, permitted_a=amperes, own_wh=own_wh, wanted_wh=1)}
