"""Tariffs: the model, its loaders, the linter, and the price in words."""

from __future__ import annotations

from edge.domain.tariffs.lint import Profile, UnlawfulTariff, lint, lint_document, require_lawful
from edge.domain.tariffs.loading import freeze, load_tariff, read_tariff
from edge.domain.tariffs.model import (
    DIMENSIONS,
    Dimension,
    EvseKind,
    FrozenTariff,
    PriceComponent,
    PriceLimit,
    Restrictions,
    Tariff,
    TariffElement,
    TaxRate,
    depends_on_time,
)
from edge.domain.tariffs.reading import Problem
from edge.domain.tariffs.wording import PriceSection, price_lines, words

__all__ = [
    "DIMENSIONS",
    "Dimension",
    "EvseKind",
    "FrozenTariff",
    "PriceComponent",
    "PriceLimit",
    "PriceSection",
    "Problem",
    "Profile",
    "Restrictions",
    "Tariff",
    "TariffElement",
    "TaxRate",
    "UnlawfulTariff",
    "depends_on_time",
    "freeze",
    "lint",
    "lint_document",
    "load_tariff",
    "price_lines",
    "read_tariff",
    "require_lawful",
    "words",
]
