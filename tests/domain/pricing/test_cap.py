"""A total above the amount held is given away over the VAT categories, and the invoice still closes (I2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.domain import pricing
from edge.domain.tariffs import load_tariff

START = datetime(2026, 6, 1, 10, tzinfo=UTC)


def compiled(included):
    return pricing.compile_tariff(
        load_tariff(
            {
                "country_code": "DE",
                "party_id": "CHT",
                "id": "T",
                "currency": "EUR",
                "tax_included": included,
                "elements": [
                    {
                        "price_components": [
                            {"type": "ENERGY", "price": 0.49, "vat": 19, "step_size": 1},
                            {"type": "TIME", "price": 3.6, "vat": 7, "step_size": 1},
                            {"type": "FLAT", "price": 0.35, "step_size": 1},
                        ]
                    }
                ],
                "last_updated": "2026-01-01T00:00:00Z",
            }
        ),
        time_zone="Europe/Berlin",
    )


def measured(tariff, energy_wh, seconds):
    accrual = pricing.begin(tariff, at=START)
    end = START + timedelta(seconds=seconds)
    return pricing.extend(tariff, accrual, pricing.Interval(end=end, energy_wh=energy_wh))


@pytest.mark.parametrize("included", ["YES", "NO"])
@given(energy_wh=st.integers(1, 200_000), seconds=st.integers(1, 90_000), cap=st.integers(1, 20_000))
def test_nobody_pays_more_than_was_held_and_the_arithmetic_closes(included, energy_wh, seconds, cap):
    tariff = compiled(included)
    accrual = measured(tariff, energy_wh, seconds)
    free = pricing.settle(tariff, accrual).invoice
    invoice = pricing.settle(tariff, accrual, cap_minor=cap).invoice

    assert invoice.payable_minor == min(cap, free.payable_minor)
    assert invoice.lines == free.lines
    net = sum(line.before_taxes_minor for line in invoice.lines)
    net -= sum(a.amount_minor for a in invoice.allowances)
    net += sum(c.amount_minor for c in invoice.charges)
    assert net == invoice.total_before_taxes_minor
    assert net + sum(t.amount_minor for t in invoice.taxes) == invoice.total_after_taxes_minor
    assert invoice.total_after_taxes_minor + invoice.rounding_minor == invoice.payable_minor
    assert abs(invoice.rounding_minor) <= 3
    if free.payable_minor > cap:
        assert {a.reason for a in (*invoice.allowances, *invoice.charges)} == {"amount held"}
    else:
        assert invoice == free
