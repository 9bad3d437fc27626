"""Tariffs: the model, its loaders, the linter, and the price in words."""

from __future__ import annotations

from edge.domain.tariffs.loading import freeze, load_tariff, read_tariff
from edge.domain.tariffs.model import (
    DIMENSIONS,
    Dimension,
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

__all__ = [
    "DIMENSIONS",
    "Dimension",
    "FrozenTariff",
    "PriceComponent",
    "PriceLimit",
    "Problem",
    "Restrictions",
    "Tariff",
    "TariffElement",
    "TaxRate",
    "depends_on_time",
    "freeze",
    "load_tariff",
    "read_tariff",
]
