"""Every price again: from what was measured, with the tariff and the plan that the ledger itself holds (I3)."""

from __future__ import annotations

import msgspec

from edge.domain import pricing
from edge.domain.ledger import facts
from edge.domain.plan import load_plan
from edge.domain.pricing import Accrual, Bill, CompiledTariff
from edge.domain.tariffs import EvseKind, load_tariff


class Prices:
    """The frozen documents of a ledger, compiled once each."""

    def __init__(self) -> None:
        self._documents: dict[str, str] = {}
        self._compiled: dict[tuple[str, str, str | None, EvseKind], CompiledTariff] = {}

    def add(self, fact: facts.TariffFrozen | facts.PlanFrozen) -> None:
        """The document behind a hash; the first one counts."""
        self._documents.setdefault(fact.hash, fact.document)

    def again(self, opened: facts.SessionOpened, accrual: Accrual, *, hold_minor: int | None) -> Bill:
        """What the session costs. Raises KeyError for a document that the ledger does not hold, TillError, and
        whatever a forged accrual leads to.
        """
        named = (opened.tariff_hash, opened.time_zone, opened.plan_hash, opened.evse_kind)
        compiled = self._compiled.get(named)
        if compiled is None:
            tariff = load_tariff(self._documents[opened.tariff_hash].encode())
            plan = None
            if opened.plan_hash is not None:
                plan = load_plan(msgspec.json.decode(self._documents[opened.plan_hash]))
            compiled = pricing.compile_tariff(
                tariff, time_zone=opened.time_zone, plan=plan, evse_kind=opened.evse_kind
            )
            self._compiled[named] = compiled
        return pricing.settle(compiled, accrual, cap_minor=hold_minor)
