"""What is known of a session by the token of its receipt: nothing yet, that it runs, what it cost, or its documents."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Protocol

import msgspec

from edge.documents.sale import Sale
from edge.domain.identity import receipt_token_hash

#: 128 random bits in base64url: nobody guesses one.
_TOKEN = re.compile(r"^[A-Za-z0-9_-]{22}$")


class Running(msgspec.Struct, frozen=True):
    """The session has not been priced yet."""


class NothingToPay(msgspec.Struct, frozen=True):
    """The session ended and cost nothing: there is no document."""


class Provisional(msgspec.Struct, frozen=True, kw_only=True):
    """What the session cost; its invoice waits for a time that may date it, or for its payment."""

    evse_id: str
    energy_wh: int | None
    currency: str
    payable_minor: int
    time_zone: str | None = None
    began_at: datetime | None = None
    ended_at: datetime | None = None


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The documents of a session in the order in which they were sealed: an invoice or statement, credit notes, and
    what took the invoice's place. Never empty.
    """

    documents: tuple[Sale, ...]


Receipt = Running | NothingToPay | Provisional | Ready


class Receipts(Protocol):
    """Where receipts are looked up, by the SHA-256 of their token."""

    def find(self, token_hash: str) -> Receipt | None:
        """None: no such receipt is here, and it may still come. Raises TillError."""
        ...


def token_hash(token: str) -> str | None:
    """What a token is known by; None for a text that is none."""
    return receipt_token_hash(token) if _TOKEN.fullmatch(token) else None
