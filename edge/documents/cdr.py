"""The OCPI Charge Detail Record, 2.2.1 and 2.3.0 (`mod_cdrs`), as agreed to the cent with the invoice.

Costs are the invoice's, so that who pays the CDR pays the invoice (`invoice_reference_id`). Volumes are rounded to
a 10,000th once, on the running sum: the periods add up to the totals. What the till does not know is left out,
also where OCPI wants it (a site's coordinates, where the configuration has none): a made-up place would be billed as a
true one.

A credit note is a credit CDR: `credit` is true, `credit_reference_id` names the CDR that it takes back, and its costs
are negative. An invoice that replaces another one has a CDR with an id of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from edge.documents.address import Operator, of_place, operator
from edge.documents.countries import alpha_3
from edge.documents.sale import NotExpressible, Sale
from edge.domain.invoice import Invoice
from edge.domain.money import from_minor, round_half_up
from edge.domain.pricing import Bill, BillPeriod, Exact, InvoiceLine, rational
from edge.domain.tariffs import TaxRate
from edge.domain.tariffs.taxes import stacked

Version = Literal["2.2.1", "2.3.0"]

_PLACES = 4  # OCPI number: four decimals
_TEXT_MAX = 45  # CdrLocation.address and city
_ID_MAX = 36
_REFERENCE_MAX = 39
_PLAIN_MAX = 512  # SignedValue.plain_data
#: The connector that AFIR demands for each kind of current; the till is not told more than the kind.
_CONNECTORS = {
    "AC": ("IEC_62196_T2", "SOCKET", "AC_3_PHASE"),
    "DC": ("IEC_62196_T2_COMBO", "CABLE", "DC"),
}
_TOKENS = {"account": "RFID", "terminal": "AD_HOC_USER", "card": "AD_HOC_USER", "upstream": "OTHER"}
#: Who was asked: the till's own list, or somebody at the time.
_AUTH = {
    "account": "WHITELIST",
    "terminal": "AUTH_REQUEST",
    "card": "AUTH_REQUEST",
    "upstream": "AUTH_REQUEST",
}
_COSTS = {
    "total_energy_cost": "ENERGY",
    "total_time_cost": "TIME",
    "total_parking_cost": "PARKING_TIME",
    "total_fixed_cost": "FLAT",
}


def cdr(sale: Sale, version: Version) -> dict[str, Any]:
    """The CDR as JSON. Raises NotExpressible where the journal no longer holds the session's bill."""
    invoice, draft = sale.invoice, sale.invoice.draft
    owner = _owner(sale)
    if sale.bill is None or sale.evse_kind is None:
        raise NotExpressible(
            f"the journal no longer holds the session of {invoice.number}",
            hint="ask the back office for its CDR",
        )
    if owner is None:
        raise NotExpressible(
            f"neither {draft.place.evse_id} nor the tariff names an operator",
            hint="OCPI needs an EVSE id such as DE*ABC*E1, or a tariff with country_code and party_id",
        )
    periods = _periods(sale.bill, draft.begin)
    parking = _hours(Fraction(_sum(p.parking_s for p in sale.bill.periods)))
    made: dict[str, Any] = {
        "country_code": owner.country,
        "party_id": owner.party,
        "id": _own_id(invoice)[:_ID_MAX],
        "start_date_time": _time(draft.begin),
        "end_date_time": _time(draft.end),
        "session_id": draft.session_id[:_ID_MAX],
        "cdr_token": _token(sale, owner.country, owner.party),
        "auth_method": _AUTH[draft.paid.method],
        "cdr_location": _location(sale),
        "meter_id": draft.meter.serial,
        "currency": draft.currency,
        "tariffs": _tariffs(sale, version),
        "charging_periods": periods,
        "signed_data": _signed(sale),
        "total_cost": _total(invoice, version),
        **_costs(invoice, version),
        "total_energy": _number(Fraction(draft.energy_wh, 1000)),
        "total_time": _hours(_seconds(draft.begin, draft.end)),
        "total_parking_time": parking or None,
        "remark": _remark(invoice),
        "invoice_reference_id": None if sale.kind == "statement" else invoice.number[:_REFERENCE_MAX],
        "credit": True if invoice.corrects else None,
        "credit_reference_id": _credited_id(invoice),
        "last_updated": _time(invoice.issued_at),
    }
    return {name: value for name, value in made.items() if value is not None}


def _own_id(invoice: Invoice) -> str:
    """The session's for its first CDR; another document about it is called by its number."""
    first = invoice.corrects is None and invoice.replaces is None
    return invoice.draft.session_id if first else invoice.number


def _credited_id(invoice: Invoice) -> str | None:
    """The id of the CDR that a credit note takes back."""
    corrects = invoice.corrects
    if corrects is None:
        return None
    return (invoice.draft.session_id if corrects.replaces is None else corrects.number)[:_ID_MAX]


def _owner(sale: Sale) -> Operator | None:
    """The operator of the EVSE; where its id names none, the tariff's."""
    owner = operator(sale.invoice.draft.place.evse_id)
    if owner is not None or sale.tariff is None:
        return owner
    found = json.loads(sale.tariff)
    country, party = found.get("country_code"), found.get("party_id")
    return Operator(country, party) if country and party else None


def _time(at: datetime) -> str:
    return at.astimezone(UTC).replace(microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(begin: datetime, end: datetime) -> Fraction:
    elapsed = end - begin
    return Fraction(elapsed.days * 86_400 + elapsed.seconds) + Fraction(elapsed.microseconds, 1_000_000)


def _number(value: Fraction) -> Decimal:
    return Decimal(round_half_up(value * 10**_PLACES)).scaleb(-_PLACES)


def _hours(seconds: Fraction) -> Decimal:
    return _number(seconds / 3600)


def _sum(values: Iterable[Exact]) -> Fraction:
    return sum((Fraction(rational(value)) for value in values), Fraction(0))


def _running(values: Iterable[Fraction]) -> list[Decimal]:
    """Differences of the rounded running sum: each as near as it can be, all together exact."""
    shares, reached, before = [], Fraction(0), Decimal(0)
    for value in values:
        reached += value
        now = _number(reached)
        shares.append(now - before)
        before = now
    return shares


def _periods(bill: Bill, begin: datetime) -> list[dict[str, Any]]:
    """The bill's periods on the invoice's clock, which may have been set right since."""
    shift = begin - bill.begin
    volumes: tuple[tuple[str, Callable[[BillPeriod], Exact], int], ...] = (
        ("ENERGY", lambda p: p.energy_wh, 1000),
        ("TIME", lambda p: p.charging_s, 3600),
        ("PARKING_TIME", lambda p: p.parking_s, 3600),
    )
    shares = {
        name: _running(Fraction(rational(volume(p))) / unit for p in bill.periods)
        for name, volume, unit in volumes
    }
    periods: list[dict[str, Any]] = []
    for i, period in enumerate(bill.periods):
        used = [
            {"type": name, "volume": shares[name][i]}
            for name, volume, _ in volumes
            if rational(volume(period))
        ]
        start = _time(period.begin + shift)
        if not used and periods and periods[-1]["start_date_time"] == start:
            continue  # the one before says already that nothing more is counted from here on
        dimensions = used or [{"type": "TIME", "volume": Decimal(0)}]
        periods.append({"start_date_time": start, "dimensions": dimensions})
    if not periods:
        energy = _number(Fraction(rational(bill.energy_wh)) / 1000)
        periods.append(
            {"start_date_time": _time(begin), "dimensions": [{"type": "ENERGY", "volume": energy}]}
        )
    return periods


def _token(sale: Sale, country: str, party: str) -> dict[str, Any]:
    """Never a card's UID (I6): the salted commitment of the chain, and the opaque account."""
    draft = sale.invoice.draft
    uid = (sale.token_commitment or draft.session_id)[:_ID_MAX]
    kind = _TOKENS[draft.paid.method]
    return {
        "country_code": country,
        "party_id": party,
        "uid": uid,
        "type": kind,
        "contract_id": (draft.account or uid)[:_ID_MAX],
    }


def _location(sale: Sale) -> dict[str, Any]:
    draft = sale.invoice.draft
    assert sale.evse_kind is not None
    address = of_place(draft)
    standard, shape, power = _CONNECTORS[sale.evse_kind]
    country = alpha_3(address.country)
    if country is None:
        raise NotExpressible(
            f"OCPI writes countries with three letters; those of {address.country} are not known"
        )
    parts: dict[str, Any] = {
        "id": draft.place.evse_id[:_ID_MAX],
        "name": draft.place.label,
        "address": address.street[:_TEXT_MAX],
        "city": (address.town or address.street)[:_TEXT_MAX],
        "postal_code": address.postal_code,
        "country": country,
        "coordinates": draft.place.coordinates,
        "evse_uid": draft.place.evse_id[:_ID_MAX],
        "evse_id": draft.place.evse_id,
        "connector_id": "1",
        "connector_standard": standard,
        "connector_format": shape,
        "connector_power_type": power,
    }
    return {name: value for name, value in parts.items() if value is not None}


def _tariffs(sale: Sale, version: Version) -> list[Any] | None:
    """The frozen tariff, where it is one of this version of OCPI."""
    if sale.tariff is None:
        return None
    found = json.loads(sale.tariff, parse_float=Decimal)
    if "elements" not in found or ("tax_included" in found) != (version == "2.3.0"):
        return None
    return [found]


def _signed(sale: Sale) -> dict[str, Any] | None:
    """The meter's records. `plain_data` is what is signed, or the register alone where OCPI has no room for it."""
    values, meter = sale.signed, sale.invoice.draft.meter
    if not values:
        return None
    records = []
    for value in values:
        last = value is values[-1]
        record = value.ocmf.decode("utf-8", "replace")
        payload = record.removeprefix("OCMF|").rpartition("|{")[0]
        register_wh = meter.end_wh if last else meter.begin_wh
        fits = payload and len(payload) <= _PLAIN_MAX
        records.append(
            {
                "nature": "End" if last else "Start",
                "plain_data": payload if fits else f"{Decimal(register_wh) / 1000} kWh",
                "signed_data": record,
            }
        )
    return {
        "encoding_method": "OCMF",
        "public_key": values[-1].public_key.hex().upper(),
        "signed_values": records,
    }


def _price(version: Version, net: Decimal, taxes: list[dict[str, Any]], gross: Decimal) -> dict[str, Any]:
    if version == "2.2.1":
        return {"excl_vat": net, "incl_vat": gross}
    return {"before_taxes": net, "taxes": taxes}


def _total(invoice: Invoice, version: Version) -> dict[str, Any]:
    """2.2.1 says what is payable; 2.3.0 has no place for a cent of rounding, which the remark then names."""
    draft, figures = invoice.draft, invoice.draft.figures
    counted = _sign(invoice)
    taxes = [
        {
            "name": t.name,
            "percentage": t.percent,
            "amount": counted * from_minor(t.amount_minor, draft.currency),
        }
        for t in figures.taxes
    ]
    net = counted * from_minor(figures.total_before_taxes_minor, draft.currency)
    return _price(version, net, taxes, counted * from_minor(figures.payable_minor, draft.currency))


def _sign(invoice: Invoice) -> int:
    """What a credit CDR takes back is negative."""
    return -1 if invoice.corrects else 1


def _costs(invoice: Invoice, version: Version) -> dict[str, Any]:
    lines = invoice.draft.figures.lines
    if invoice.corrects is not None and not invoice.corrects.whole:
        return {}  # a part of the total is taken back, not of one dimension
    return {
        name: _cost(
            [line for line in lines if line.dimension == dimension],
            invoice.draft.currency,
            version,
            counted=_sign(invoice),
        )
        for name, dimension in _COSTS.items()
    }


def _cost(
    lines: list[InvoiceLine], currency: str, version: Version, *, counted: int
) -> dict[str, Any] | None:
    """The lines of one dimension, before document allowances and charges, with their tax."""
    if not lines:
        return None
    bases: dict[tuple[TaxRate, ...], int] = {}
    for line in lines:
        bases[line.taxes] = bases.get(line.taxes, 0) + line.before_taxes_minor
    taxes, gross = [], sum(bases.values())
    for rates, base in bases.items():
        for rate, amount_minor in zip(rates, stacked(rates).amounts_minor(base), strict=True):
            gross += amount_minor
            amount = counted * from_minor(amount_minor, currency)
            taxes.append({"name": rate.name, "percentage": rate.percent, "amount": amount})
    net = counted * from_minor(sum(bases.values()), currency)
    return _price(version, net, taxes, counted * from_minor(gross, currency))


def _remark(invoice: Invoice) -> str:
    draft, figures = invoice.draft, invoice.draft.figures
    said = [f"credit: {invoice.corrects.reason}"] if invoice.corrects else []
    said += [f"ended by {draft.ended_by}"]
    said += [a.reason for a in (*figures.allowances, *figures.charges)]
    if figures.rounding_minor:
        said.append(f"rounding {from_minor(figures.rounding_minor, draft.currency)} {draft.currency}")
    if draft.estimated:
        said.append("energy estimated")
    if not draft.dated:
        said.append("time not confirmed")
    return ", ".join(dict.fromkeys(said))[:255]
