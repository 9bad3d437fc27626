"""The bank behind the test cards: one authority, one issuer, and a drawer of cards and phones by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Final, Literal

from edge.emv.pan import luhn
from hw.virtual.bank_cards.application import Application, Behavior, Holder, Personal
from hw.virtual.bank_cards.authority import MASTERCARD, VISA, IssuerKey, TestAuthority
from hw.virtual.bank_cards.card import BankCard
from hw.virtual.bank_cards.issuer import Account, Issuer
from hw.virtual.bank_cards.mastercard import MastercardLike
from hw.virtual.bank_cards.visa import VisaLike

Scheme = Literal["visa", "mastercard"]

_RIDS: Final = {"visa": VISA, "mastercard": MASTERCARD}

#: The first eight digits of each number: ranges that the schemes keep for tests. Phones have numbers of their own.
_RANGES: Final = {"visa": "47617390", "mastercard": "54133300"}
_PHONE_RANGES: Final = {"visa": "47617391", "mastercard": "54133301"}

#: A payment account reference: four characters for who gave it, 25 for the account (EMVCo, PAR white paper).
_PAR: Final = "{scheme}001{account:025}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a card in the drawer is. `account`: two kinds with the same one are card and phone of one account."""

    scheme: Scheme
    account: int
    behavior: Behavior = field(default_factory=Behavior)
    expiry: str = "3112"
    certificate_expires: str = "1231"
    revoked: bool = False
    restricted: bool = False
    available_minor: int = 1_000_000
    known: bool = True


KINDS: Final = {
    "visa": Kind(scheme="visa", account=1),
    "mastercard": Kind(scheme="mastercard", account=2),
    "visa phone": Kind(scheme="visa", account=1, behavior=Behavior(phone=True)),
    "mastercard phone": Kind(scheme="mastercard", account=2, behavior=Behavior(phone=True)),
    "locked phone": Kind(scheme="visa", account=3, behavior=Behavior(phone=True, locked=True)),
    "expired visa": Kind(scheme="visa", account=4, expiry="2403"),
    "expired mastercard": Kind(scheme="mastercard", account=4, expiry="2403"),
    "expired certificate": Kind(scheme="visa", account=5, certificate_expires="0324"),
    "revoked": Kind(scheme="visa", account=6, revoked=True),
    "revoked mastercard": Kind(scheme="mastercard", account=6, revoked=True),
    "declined by itself": Kind(scheme="visa", account=7, behavior=Behavior(declines=True)),
    "declined by itself, mastercard": Kind(scheme="mastercard", account=7, behavior=Behavior(declines=True)),
    "contact only": Kind(scheme="visa", account=8, behavior=Behavior(contact_only=True)),
    "forged visa": Kind(scheme="visa", account=9, behavior=Behavior(forged=True)),
    "forged mastercard": Kind(scheme="mastercard", account=9, behavior=Behavior(forged=True)),
    "wrong cryptogram": Kind(scheme="visa", account=10, behavior=Behavior(wrong_cryptogram=True)),
    "wrong cryptogram, mastercard": Kind(
        scheme="mastercard", account=10, behavior=Behavior(wrong_cryptogram=True)
    ),
    "offline visa": Kind(scheme="visa", account=11, behavior=Behavior(offline=True)),
    "offline mastercard": Kind(scheme="mastercard", account=11, behavior=Behavior(offline=True)),
    "no money": Kind(scheme="mastercard", account=12, available_minor=100),
    "stolen": Kind(scheme="visa", account=13, restricted=True),
    "of no bank": Kind(scheme="visa", account=14, known=False),
}


class Bank:
    """Cards are made when they are asked for; the same seed makes the same ones. `today`: the issuer's date."""

    def __init__(
        self, seed: int = 2026, *, today: Callable[[], date] = lambda: datetime.now(UTC).date()
    ) -> None:
        self._seed = seed
        self.authority = TestAuthority(seed)
        self.issuer = Issuer(seed, today)
        self._issuer_keys: dict[tuple[str, str, bool], IssuerKey] = {}
        self._cards: dict[str, BankCard] = {}

    def card(self, name: str) -> BankCard:
        """One of KINDS, or `co-badged`: a Mastercard-like first, a Visa-like second application."""
        if name not in self._cards:
            self._cards[name] = self._make(name)
        return self._cards[name]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Everything in the drawer."""
        return (*KINDS, "co-badged")

    def _make(self, name: str) -> BankCard:
        kinds = [KINDS["mastercard"], KINDS["visa"]] if name == "co-badged" else [KINDS[name]]
        draw = random.Random(f"{self._seed} {name}")  # noqa: S311 - a test card's random numbers
        phone = any(kind.behavior.phone for kind in kinds)
        applications = [self._application(kind, draw, shared=name == "co-badged") for kind in kinds]
        return BankCard(applications, uid=None if phone else b"\x04" + draw.randbytes(6), draw=draw)

    def _application(self, kind: Kind, draw: random.Random, *, shared: bool) -> Application:
        phone = kind.behavior.phone
        first = (_PHONE_RANGES if phone else _RANGES)[kind.scheme]
        pan = _number(first, kind.account + (50 if shared else 0))
        holder = Holder(
            pan=pan,
            expiry=kind.expiry,
            par=_PAR.format(scheme="V" if kind.scheme == "visa" else "M", account=kind.account).ljust(
                29, "0"
            )[:29],
            label="TEST " + kind.scheme.upper(),
        )
        account = Account(
            pan=pan,
            sequence_no=holder.sequence_no,
            expiry=kind.expiry,
            version=18 if kind.scheme == "visa" else 17,
            available_minor=kind.available_minor,
            restricted=kind.restricted,
        )
        master = self.issuer.open_account(account)
        if not kind.known:
            del self.issuer.accounts[pan]
        personal = Personal(holder, kind.behavior, self.authority, self._issuer_key(kind, pan), master, draw)
        return VisaLike(personal) if kind.scheme == "visa" else MastercardLike(personal)

    def _issuer_key(self, kind: Kind, pan: str) -> IssuerKey:
        name = (pan[:8], kind.certificate_expires, kind.revoked)
        if name not in self._issuer_keys:
            key = self.authority.certify_issuer(_RIDS[kind.scheme], pan, expires=kind.certificate_expires)
            if kind.revoked:
                self.authority.revoke(key)
            self._issuer_keys[name] = key
        return self._issuer_keys[name]


def _number(first: str, account: int) -> str:
    """Sixteen digits with the check digit that makes them a card number."""
    body = f"{first}{account:07}"
    return next(body + digit for digit in "0123456789" if luhn(body + digit))
