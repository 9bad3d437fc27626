"""The linter: what cannot be meant, and what may not be sold under AFIR."""

from __future__ import annotations

import pytest

from edge.domain.tariffs import UnlawfulTariff, lint_document, load_tariff, require_lawful


def component(kind: str = "ENERGY", price: object = "0.49", **more: object) -> dict:
    return {"type": kind, "price": price, "vat": 19, **more}


def tariff(*elements: tuple, **fields: object) -> dict:
    shaped = [
        {"price_components": list(components)} | ({"restrictions": r} if r else {})
        for *components, r in elements
    ]
    return {"id": "1", "currency": "EUR", "elements": shaped, **fields}


def found(document: dict, profile: str = "none") -> list[tuple[str, str]]:
    return [(p.severity, p.place) for p in lint_document(document, profile=profile)]


def test_a_sound_tariff_has_no_problems():
    document = tariff(
        (component(price="0.39"), {"start_time": "22:00", "end_time": "06:00"}), (component(), None)
    )
    for profile in ("none", "afir", "afir_50kw"):
        assert found(document, profile) == []


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (tariff((component(), {"min_kwh": 5, "max_kwh": 5})), ("error", "elements[0].restrictions")),
        (
            tariff((component(), {"start_date": "2026-02-01", "end_date": "2026-01-01"})),
            ("error", "elements[0].restrictions"),
        ),
        (tariff((component(), {"max_duration": 0})), ("error", "elements[0].restrictions")),
        (
            tariff((component(), None), (component(price=1), {"min_kwh": 5})),
            ("warning", "elements[1].price_components[0]"),
        ),
        (
            tariff((component(), {"start_time": "22:00", "end_time": "06:00", "day_of_week": ["FRIDAY"]})),
            ("warning", "elements[0].restrictions"),
        ),
        (tariff((component(), None), max_price={"excl_vat": 10, "incl_vat": 10.5}), ("warning", "max_price")),
        (
            tariff(({"type": "ENERGY", "price": 1}, None), tax_included="YES"),
            ("warning", "elements[0].price_components[0]"),
        ),
        (tariff((component(), {"dayOfWeek": []})), ("error", "elements[0].restrictions.dayOfWeek")),
    ],
)
def test_what_can_hardly_be_meant(document, expected):
    assert found(document) == [expected]


@pytest.mark.parametrize(
    ("document", "afir", "afir_50kw"),
    [
        (tariff((component("TIME", "2.00"), None)), 1, 2),  # 2.38/60 with tax has no end; no price per kWh
        (tariff((component(), component("PARKING_TIME", "6.00"), None)), 0, 0),
        (tariff((component(), component("PARKING_TIME", "6.00", step_size=900), None)), 1, 1),
        (tariff((component(), component("FLAT", "1.00"), None)), 0, 1),
        (tariff((component(), None), min_price={"excl_vat": 1}), 0, 1),
        (tariff((component("FLAT", "0.00"), None)), 0, 0),
        (tariff((component("TIME", "2.40"), None), tax_included="YES"), 0, 1),
        (tariff((component(), None), (component("FLAT", "1.00"), {"reservation": "RESERVATION"})), 0, 0),
    ],
)
def test_what_may_not_be_sold(document, afir, afir_50kw):
    assert len(found(document, "none")) == 0
    assert [severity for severity, _ in found(document, "afir")] == ["error"] * afir
    assert [severity for severity, _ in found(document, "afir_50kw")] == ["error"] * afir_50kw


def test_an_unlawful_tariff_is_refused_where_it_is_loaded():
    document = load_tariff(tariff((component(), component("FLAT", "1.00"), None)))
    require_lawful(document, profile="afir")
    with pytest.raises(UnlawfulTariff) as refused:
        require_lawful(document, profile="afir_50kw")
    assert refused.value.place == "elements[0].price_components[1]"
