"""The invoice as a frozen fact: everything that it says, sealed with its number, never edited (I4).

Amounts stand in minor units; `lines`, `taxes`, `allowances` and `charges` are the pricing engine's own figures.
A credit note is the same document with what it `corrects`; its amounts are what is given back, not negative. A
statement is an invoice's content without a number: the account's collective invoice bills it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from edge.domain.buyer import ZeroTax
from edge.domain.pricing import Invoice as Figures

Billing = Literal["invoice", "statement"]


class Seller(msgspec.Struct, frozen=True, kw_only=True):
    """Who sells: EN 16931 BG-4."""

    name: str
    address: str
    country: str
    tax_id: str


class Coordinates(msgspec.Struct, frozen=True, kw_only=True):
    """WGS 84 in degrees, as OCPI writes them: five to seven decimals."""

    latitude: Annotated[str, Meta(pattern=r"^-?[0-9]{1,2}\.[0-9]{5,7}$")]
    longitude: Annotated[str, Meta(pattern=r"^-?[0-9]{1,3}\.[0-9]{5,7}$")]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was sold: the EVSE, its label at the site and the address."""

    evse_id: str
    label: str
    address: str
    time_zone: str
    coordinates: Coordinates | None = None


class MeterRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The register at begin and end, and whose register it is. `signed`: the meter itself signed the values."""

    begin_wh: int
    end_wh: int
    serial: str | None
    signed: bool = False


class Paid(msgspec.Struct, frozen=True, kw_only=True):
    """How it was paid, and the final state of the hold. `account`: captured on the member's account.

    `expired` and `reversed`: nothing could be captured, and the loss is the seller's (I2). `refund`: a credit
    note, whose amount goes back that way.
    """

    method: Literal["account", "terminal", "card", "upstream"]
    hold_minor: int | None
    captured_minor: int
    status: Literal["captured", "expired", "reversed", "refund"]


class TariffText(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The price that was on the screen at the tap, in words (a plan by its name), and the hash of its document.

    `fallback`: it was sold in the place of one that depends on the time, which was not known.
    """

    hash: str
    text: str
    fallback: bool = False


class InvoiceDraft(msgspec.Struct, frozen=True, kw_only=True):
    """All of an invoice but its number and issue date, which are drawn in the commit that seals it.

    `tax_included`: unit prices are what the driver pays, amounts of lines are net all the same (EN 16931).
    `dated` is False where begin and end come from a clock that was never found right; `estimated` is about
    the energy. `buyer` is the commitment to a BuyerRecord; `zero_tax` says why prices without tax have none.
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
    billing: Billing = "invoice"
    buyer: str | None = None
    zero_tax: ZeroTax | None = None


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """Which invoice a credit note corrects (BT-25, BT-26), and why. `full`: nothing is left of it afterwards; `whole`:
    this one takes all of it back, line by line. `replaces` is what the corrected invoice itself stood for.
    """

    number: str
    issued_at: datetime
    reason: str
    full: bool
    whole: bool
    replaces: str | None = None


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed invoice, or a credit note where it `corrects` one. `number` is `series` and `sequence`; a series has
    no gaps. `replaces`: the invoice of the same session that was credited in full for this one.
    """

    number: str
    series: str
    sequence: int
    issued_at: datetime
    draft: InvoiceDraft
    corrects: Correction | None = None
    replaces: str | None = None


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What a session on a collective account cost: no invoice, and without a number (I4)."""

    issued_at: datetime
    draft: InvoiceDraft


def series_of(prefix: str, *, epoch: str, issued_at: datetime, credit: bool = False) -> str:
    """The series that a number is drawn from: `CT-7CHFYKPE`, or `CT-2026-7CHFYKPE` for the prefix `CT-{year}`.

    The year is that of issue in the place's time, so that each year has a series of its own that begins at 1.
    Credit notes have another series.
    """
    named = prefix.replace("{year}", str(issued_at.year))
    return f"{named}-CN-{epoch}" if credit else f"{named}-{epoch}"


def local_second(at: datetime, place: Place) -> datetime:
    """A whole second in the place's own time."""
    return at.astimezone(ZoneInfo(place.time_zone)).replace(microsecond=0)


def seal(
    draft: InvoiceDraft,
    *,
    series: str,
    sequence: int,
    now: datetime,
    corrects: Correction | None = None,
    replaces: str | None = None,
) -> Invoice:
    """The draft with its number and its issue date in the place's own time."""
    return Invoice(
        number=f"{series}-{sequence:06d}",
        series=series,
        sequence=sequence,
        issued_at=local_second(now, draft.place),
        draft=draft,
        corrects=corrects,
        replaces=replaces,
    )
