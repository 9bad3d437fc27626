"""Pricing: one engine for the quote, the live price and the invoice (I3).

`compile_tariff` once, `begin` a session, `extend` it with what the meter says, `payable_minor` for the live price,
`settle` at the end. Everything is exact until `invoice` rounds it.
"""

from __future__ import annotations

from edge.domain.plan import Grant
from edge.domain.pricing.accrual import begin, extend
from edge.domain.pricing.bill import Bill, BillLine, BillPeriod, TaxAmount, payable_minor, settle
from edge.domain.pricing.compiled import CompiledTariff, compile_tariff
from edge.domain.pricing.exact import Exact, exact, rational
from edge.domain.pricing.facts import Accrual, ChargingState, Interval, PricingError, Reservation
from edge.domain.pricing.history import History, extend_all
from edge.domain.pricing.invoice import Adjustment, Invoice, InvoiceLine, InvoiceTax
from edge.domain.pricing.outlook import Remaining, next_boundary, quote, remaining

__all__ = [
    "Accrual",
    "Adjustment",
    "Bill",
    "BillLine",
    "BillPeriod",
    "ChargingState",
    "CompiledTariff",
    "Exact",
    "Grant",
    "History",
    "Interval",
    "Invoice",
    "InvoiceLine",
    "InvoiceTax",
    "PricingError",
    "Remaining",
    "Reservation",
    "TaxAmount",
    "begin",
    "compile_tariff",
    "exact",
    "extend",
    "extend_all",
    "next_boundary",
    "payable_minor",
    "quote",
    "rational",
    "remaining",
    "settle",
]
