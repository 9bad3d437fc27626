"""One line of address, taken apart as far as formats with fields of their own for town and country need it."""

from __future__ import annotations

import re

import msgspec

from edge.domain.invoice import InvoiceDraft

#: `Street 1, 10115 Berlin`: a street, and after the last comma a town, with its postal code or without.
_TOWN = re.compile(
    r"(?P<street>.+),\s*(?:(?:[A-Z]{1,2}-)?(?P<code>\d{4,6}|\d{3} \d{2})\s+)?(?P<town>[^,\d]+)"
)
_EVSE = re.compile(r"(?P<country>[A-Z]{2})\*?(?P<party>[A-Z0-9]{3})\*?E.+", re.IGNORECASE)


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """`street` is the whole line where no town could be told from it."""

    street: str
    postal_code: str | None
    town: str | None
    country: str


class Operator(msgspec.Struct, frozen=True):
    """Who operates an EVSE: the first two parts of its id (ISO 15118, eMI3)."""

    country: str
    party: str


def taken_apart(line: str, *, country: str) -> Address:
    """`Street 1, 10115 Berlin` or `Street 1, Berlin` in its parts; any other shape stays whole."""
    found = _TOWN.fullmatch(line.strip())
    if found is None:
        return Address(street=line.strip(), postal_code=None, town=None, country=country)
    return Address(
        street=found["street"], postal_code=found["code"], town=found["town"].strip(), country=country
    )


def operator(evse_id: str) -> Operator | None:
    """The operator in `DE*CHT*E1`; None for an id of another shape."""
    found = _EVSE.fullmatch(evse_id)
    return None if found is None else Operator(found["country"].upper(), found["party"].upper())


def of_place(draft: InvoiceDraft) -> Address:
    """Where it was sold. The country is the EVSE id's; where that says none, the seller's."""
    known = operator(draft.place.evse_id)
    return taken_apart(draft.place.address, country=known.country if known else draft.seller.country)
