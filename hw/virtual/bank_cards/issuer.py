"""The issuer of the test cards: keys for each card, and a yes or no to what the acquirer passes on.

It checks cryptograms with pyemv, which no card uses.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final, Literal

import pyemv
from cryptography.utils import CryptographyDeprecationWarning

from edge.emv.pan import truncate
from edge.emv.tlv import TlvError, parse
from hw.virtual.acquirer_host import Asked

#: pyemv asks for Triple DES where cryptography used to keep it; EMV knows no newer cipher for these versions.
warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning, module="pyemv")

Version = Literal[17, 18]

#: DE39 (ISO 8583:1987, annex A).
APPROVED: Final = "00"
DO_NOT_HONOR: Final = "05"
INVALID: Final = "12"
UNKNOWN_CARD: Final = "14"
FORMAT: Final = "30"
NO_FUNDS: Final = "51"
EXPIRED: Final = "54"
RESTRICTED: Final = "62"
FORGED: Final = "63"

_ARQC: Final = 0x80
_NEEDED: Final = (
    "82",
    "95",
    "9A",
    "9C",
    "5F2A",
    "9F02",
    "9F03",
    "9F10",
    "9F1A",
    "9F26",
    "9F27",
    "9F36",
    "9F37",
)

#: In 9F10: version 18 says its length first; version 17 has key index, version, six bytes of results, two of the
#: dynamic number, eight of counters.
_VISA_DATA_BYTES: Final = 6
_MASTERCARD_DATA_BYTES: Final = 18


@dataclass(slots=True, repr=False)
class Account:
    """A card as its issuer knows it. `available_minor` is not moved by holds: this issuer has no books."""

    pan: str
    sequence_no: int
    expiry: str
    version: Version
    available_minor: int = 1_000_000
    restricted: bool = False
    last_counter: int = 0


@dataclass
class Issuer:
    """`approve` is what hw.virtual.acquirer_host.Host asks; `answers` is what it said, by truncated number."""

    seed: int = 2026
    today: Callable[[], date] = lambda: datetime.now(UTC).date()
    accounts: dict[str, Account] = field(default_factory=dict)
    answers: list[tuple[str, str]] = field(default_factory=list)

    def open_account(self, account: Account) -> bytes:
        """Take a card in, and give it its key for cryptograms."""
        self.accounts[account.pan] = account
        cvn = self._crypto(account)
        key: bytes = cvn.icc_mk_ac
        return key

    def approve(self, asked: Asked) -> str:
        """DE39 for an authorization."""
        code = self._judge(asked)
        self.answers.append((truncate(asked.pan), code))
        return code

    def _judge(self, asked: Asked) -> str:
        account = self.accounts.get(asked.pan)
        if account is None:
            return UNKNOWN_CARD
        try:
            told = {each.tag: each.value for each in parse(asked.icc)}
        except TlvError:
            return FORMAT
        if any(tag not in told for tag in _NEEDED):
            return FORMAT
        if told["9F02"].hex() != f"{asked.amount_minor:012}" or told["5F2A"].hex() != asked.currency.rjust(
            4, "0"
        ):
            return INVALID
        if told["9F27"] != bytes((_ARQC,)):
            return DO_NOT_HONOR
        counter = int.from_bytes(told["9F36"], "big")
        if counter <= account.last_counter or not self._is_genuine(account, told):
            return FORGED
        account.last_counter = counter
        if asked.expiry != account.expiry or self._has_expired(account):
            return EXPIRED
        if account.restricted:
            return RESTRICTED
        return APPROVED if asked.amount_minor <= account.available_minor else NO_FUNDS

    def _is_genuine(self, account: Account, told: dict[str, bytes]) -> bool:
        """The cryptogram, made once more from what the terminal says that the card was told."""
        terminal = {
            f"tag_{tag.lower()}": told[tag]
            for tag in ("9F02", "9F03", "9F1A", "95", "5F2A", "9A", "9C", "9F37", "82", "9F36")
        }
        data = told["9F10"]
        match self._crypto(account):
            case pyemv.cvn.VisaCVN18() as visa:
                if data[:1] != bytes((_VISA_DATA_BYTES,)) or data[2:3] != bytes((18,)):
                    return False
                made = visa.generate_ac(**terminal, tag_9f10=data)
            case pyemv.cvn.MasterCardCVN17() as mastercard:
                if len(data) != _MASTERCARD_DATA_BYTES or data[:2] != b"\x01\x11":
                    return False
                made = mastercard.generate_ac(**terminal, cvr=data[2:8], counters=data[10:18])
        return made == told["9F26"]

    def _has_expired(self, account: Account) -> bool:
        today = self.today()
        return f"{today:%y%m}" > account.expiry

    def _crypto(self, account: Account) -> pyemv.cvn.VisaCVN18 | pyemv.cvn.MasterCardCVN17:
        ac, smi, smc = (
            hashlib.sha256(f"{self.seed} {use}".encode()).digest()[:16] for use in ("ac", "smi", "smc")
        )
        number = f"{account.sequence_no:02}"
        if account.version == 18:
            return pyemv.cvn.VisaCVN18(ac, smi, smc, account.pan, number)
        return pyemv.cvn.MasterCardCVN17(ac, smi, smc, account.pan, number)
