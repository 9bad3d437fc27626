"""Memberships and subscriptions: what a plan changes in the price of a session."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from edge.domain.tariffs.model import Dimension, PriceComponent, Tariff


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A member's plan."""

    id: str
    percent_off: dict[Dimension, Decimal] = {}
    included_energy_wh: int = 0
    included_time_s: int = 0
    free: bool = False
    tariff_document: dict[str, Any] | None = None

    @property
    def tariff(self) -> Tariff | None:
        return None

    def covers(self, dimension: Dimension) -> bool:
        """True when units of this dimension are included."""
        return (dimension == "ENERGY" and self.included_energy_wh > 0) or (
            dimension == "TIME" and self.included_time_s > 0
        )


def price_with_plan(component: PriceComponent, plan: Plan | None) -> Decimal:
    """The unit price that the plan leaves of a component's."""
    if plan is None:
        return component.price
    if plan.free:
        return Decimal(0)
    off = plan.percent_off.get(component.dimension, Decimal(0))
    return component.price * (100 - off) / 100 if off else component.price
