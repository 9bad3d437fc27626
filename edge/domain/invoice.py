"""The invoice as a frozen fact: everything that it says, sealed with its number, never edited (I4).

Amounts stand in minor units; `lines`, `taxes`, `allowances` and `charges` are the pricing engine's own figures.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from edge.domain.pricing import Invoice as Figures


class Seller(msgspec.Struct, frozen=True, kw_only=True):
    """Who sells: EN 16931 BG-4."""

    name: str
    address: str
    country: str
    tax_id: str


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was sold: the EVSE, its label at the site and the address."""

    evse_id: str
    label: str
    address: str
    time_zone: str


class MeterRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The register at begin and end, and whose register it is. `signed`: the meter itself signed the values."""

    begin_wh: int
    end_wh: int
    serial: str | None
    signed: bool = False


class Paid(msgspec.Struct, frozen=True, kw_only=True):
    """How it was paid, and the final state of the hold. `account`: captured on the member's account.

    `expired` and `reversed`: nothing could be captured, and the loss is the seller's (I2).
    """

    method: Literal["account", "terminal", "card", "upstream"]
    hold_minor: int | None
    captured_minor: int
    status: Literal["captured", "expired", "reversed"]


class TariffText(msgspec.Struct, frozen=True, kw_only=True):
    """The price that was on the screen at the tap, in words (a plan by its name), and the hash of its document."""

    hash: str
    text: str


class InvoiceDraft(msgspec.Struct, frozen=True, kw_only=True):
    """All of an invoice but its number and issue date, which are drawn in the commit that seals it.

    `tax_included`: unit prices are what the driver pays, amounts of lines are net all the same (EN 16931).
    `dated` is False where begin and end come from a clock that was never found right; `estimated` is about
    the energy.
    """

    session_id: str
    seller: Seller
    place: Place
    begin: datetime
    end: datetime
    energy_wh: int
    meter: MeterRecord
    ended_by: str
    estimated: bool
    dated: bool
    currency: str
    tax_included: bool
    figures: Figures
    paid: Paid
    tariff: TariffText
    plan: TariffText | None = None
    account: str | None = None


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed invoice. `number` is `series` and `sequence`; a series has no gaps."""

    number: str
    series: str
    sequence: int
    issued_at: datetime
    draft: InvoiceDraft


def seal(draft: InvoiceDraft, *, series: str, sequence: int, now: datetime) -> Invoice:
    """The draft with its number and its issue date in the place's own time."""
    zone = ZoneInfo(draft.place.time_zone)
    return Invoice(
        number=f"{series}-{sequence:06d}",
        series=series,
        sequence=sequence,
        issued_at=now.astimezone(zone).replace(microsecond=0),
        draft=draft,
    )
