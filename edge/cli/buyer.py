"""A buyer as an operator writes one down: a small JSON file."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from edge.domain.buyer import Buyer, BuyerRecord
from edge.errors import CallError


class BuyerUnreadable(CallError):
    code = "call.buyer"
    hint = 'JSON such as {"name": "Acme GmbH", "address": "Weg 1, 10115 Berlin", "country": "DE", "vat_id": "DE..."}'


class _Written(Buyer, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that nobody knows is a mistake."""


def read_buyer(path: Path) -> BuyerRecord:
    """The buyer in a file, with a fresh salt. Raises BuyerUnreadable."""
    try:
        written = msgspec.json.decode(path.read_bytes(), type=_Written)
    except OSError as e:
        raise BuyerUnreadable(f"{path}: {e.strerror}") from e
    except msgspec.DecodeError as e:
        raise BuyerUnreadable(f"{path}: {e}") from e
    buyer = msgspec.convert(msgspec.to_builtins(written), Buyer)
    return BuyerRecord(buyer=buyer, salt=secrets.token_hex(16))
