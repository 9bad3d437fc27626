"""Who buys, where that is known: a company with its VAT id, or a member by name. Personal data: beside the chain.

An invoice in the chain carries a salted commitment only. Whoever holds the buyer's record can show it with the
invoice and prove that it is the one; once the record is erased the commitment says nothing (I6).
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

_Text = Annotated[str, Meta(min_length=1, max_length=200)]

#: A guess must be tried against a salt that nobody knows: 128 random bits, in hex.
Salt = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]


class ZeroTax(msgspec.Struct, frozen=True, kw_only=True):
    """Why a price bears no VAT: the category (UNTDID 5305), its reason (BT-120) and VATEX code (BT-121).

    E exempt, AE the buyer owes the tax (reverse charge), O outside the scope of VAT, Z a rate of zero (no reason).
    """

    category: Literal["E", "AE", "O", "Z"] = "E"
    reason: Annotated[str, Meta(max_length=200)] = ""
    code: Annotated[str, Meta(pattern="^(VATEX-[A-Z0-9-]{2,40})?$")] = ""


class Buyer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """EN 16931 BG-7. `reference` is what the buyer wants to find on the invoice (BT-10)."""

    name: _Text
    address: _Text
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$")]
    vat_id: Annotated[str, Meta(pattern="^[A-Z]{2}[A-Z0-9+*]{2,13}$")] | None = None
    reference: _Text | None = None


class BuyerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A buyer with the salt of the commitment; erased as a whole."""

    buyer: Buyer
    salt: Salt

    @property
    def commitment(self) -> str:
        """What an invoice in the chain says of the buyer: SHA-256, hex."""
        return hashlib.sha256(bytes.fromhex(self.salt) + msgspec.json.encode(self.buyer)).hexdigest()


class Invoicing(msgspec.Struct, frozen=True, kw_only=True):
    """How an account is billed: `collective` sessions end on a statement, and the back office bills them together.

    `zero_tax` says why prices without tax have none for this account, such as reverse charge.
    """

    collective: bool = False
    buyer: BuyerRecord | None = None
    zero_tax: ZeroTax | None = None
