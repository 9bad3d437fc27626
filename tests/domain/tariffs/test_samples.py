"""The sample tariffs load, read back, are sound, and can be told and priced."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.domain.pricing import compile_tariff, quote
from edge.domain.tariffs import freeze, lint, load_tariff, words

SAMPLES = sorted((Path(__file__).parents[2] / "data" / "tariffs").glob("*.json"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_sample(path):
    frozen = freeze(path.read_bytes())
    assert load_tariff(frozen.document.encode()) == frozen.tariff
    assert lint(frozen.tariff) == ()
    at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert words(frozen.tariff, at=at, time_zone="Europe/Berlin")[0].lines
    bill = quote(
        compile_tariff(frozen.tariff, time_zone="Europe/Berlin"), at=at, energy_wh=20_000, duration_s=3600
    )
    assert (bill.invoice.payable_minor == 0) == (path.stem == "free")


def test_a_flat_rate_costs_the_same_for_its_duration_and_overtime_after():
    compiled = compile_tariff(
        load_tariff((SAMPLES[0].parent / "flat_rate.json").read_bytes()), time_zone="UTC"
    )
    at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    bills = [
        quote(compiled, at=at, energy_wh=wh, duration_s=s)
        for wh, s in ((1, 60), (90_000, 7200), (90_000, 10800))
    ]
    assert [bill.invoice.payable_minor for bill in bills] == [1000, 1000, 1300]
