"""The local list of members: a TOML file, read at the start, looked up by token so that it works offline.

[[member]]
account = "A-1001"
uid = "04A1B2C3D4E5F6"
limit_minor = 6000      # for one session
sun = true              # an NTAG 424 DNA that has to prove itself; without it the UID is enough
invoice = "collective"  # one invoice a month, made by the back office; "session" (default): one for each session
buyer = { name = "Acme GmbH", address = "Weg 1, 10115 Berlin", country = "DE", vat_id = "DE123456789" }
zero_tax = { category = "AE" }  # why prices without VAT have none: the buyer owes it
"""

from __future__ import annotations

import secrets
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge import strict
from edge.domain.buyer import Buyer, BuyerRecord, Invoicing, ZeroTax
from edge.domain.identity import IdToken, Member, is_random_uid, sun_token, uid_token
from edge.errors import ConfigError
from edge.ports import MemberList

_Uid = Annotated[
    str,
    Meta(
        pattern=r"^([0-9A-Fa-f]{8}|[0-9A-Fa-f]{14}|[0-9A-Fa-f]{20})$",
        description="8, 14 or 20 hex digits without spaces or colons",
    ),
]


class _Buyer(Buyer, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As a person writes it: a key that nobody knows is a mistake."""


class _ZeroTax(ZeroTax, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As a person writes it."""


class _Listed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    account: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
    uid: _Uid
    sun: bool = False
    limit_minor: Annotated[int, Meta(ge=1, le=100_000_000)]
    group: Annotated[str, Meta(max_length=60)] = ""
    blocked: bool = False
    invoice: Literal["session", "collective"] = "session"
    buyer: _Buyer | None = None
    zero_tax: _ZeroTax | None = None
    valid_until: Annotated[datetime, Meta(tz=True)] | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    member: tuple[_Listed, ...] = ()


class FileMembers:
    """Implements edge.ports.MemberList. Holds tokens, not UIDs."""

    def __init__(self, by_token: dict[str, Member]) -> None:
        self._by_token = by_token

    @classmethod
    def load(cls, path: Path, *, key: bytes, key_id: str, currency: str) -> FileMembers:
        """The members of a file. Raises ConfigError with every mistake in it."""
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as e:
            raise ConfigError((f"{path}: cannot be read: {e.strerror}",)) from e
        except ValueError as e:  # TOML, UTF-8, or a name that no file can have
            raise ConfigError((f"{path}: {e}",), hint="correct the list of members") from e
        listed, wrong = strict.decode(_File, table)
        if listed is None:
            raise ConfigError(tuple(f"{path}: {w}" for w in wrong), hint="correct the list of members")
        found: dict[str, Member] = {}
        problems = []
        for number, member in enumerate(listed.member, start=1):
            uid = bytes.fromhex(member.uid)
            token = (sun_token if member.sun else uid_token)(uid, key=key, key_id=key_id)
            if is_random_uid(uid):
                problems.append(
                    f"{path}: member {number}: a UID that starts with 08 is another one at each tap"
                )
            if token.value in found:
                problems.append(f"{path}: member {number}: the same card stands in the list twice")
            found[token.value] = Member(
                account=member.account,
                token=token.value,
                limit_minor=member.limit_minor,
                currency=currency,
                group=member.group,
                blocked=member.blocked,
                invoicing=_invoicing(member),
                valid_until=member.valid_until,
            )
        if problems:
            raise ConfigError(tuple(problems), hint="correct the list of members")
        return cls(found)

    def find(self, token: IdToken) -> Member | None:
        return self._by_token.get(token.value)


def _invoicing(member: _Listed) -> Invoicing:
    """A buyer's salt is drawn anew at each start: a guess has to be tried against each invoice's own."""
    buyer, zero = member.buyer, member.zero_tax
    return Invoicing(
        collective=member.invoice == "collective",
        buyer=None
        if buyer is None
        else BuyerRecord(
            buyer=msgspec.convert(msgspec.to_builtins(buyer), Buyer), salt=secrets.token_hex(16)
        ),
        zero_tax=None if zero is None else msgspec.convert(msgspec.to_builtins(zero), ZeroTax),
    )


class JoinedMembers:
    """Several lists as one: the first that knows a card says what it may; whoever blocks it is heard first."""

    def __init__(self, *lists: MemberList) -> None:
        self._lists = lists

    def find(self, token: IdToken) -> Member | None:
        """Implements edge.ports.MemberList."""
        found = [member for each in self._lists if (member := each.find(token)) is not None]
        return next((member for member in found if member.blocked), found[0] if found else None)
