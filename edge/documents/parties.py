"""Who sells and who buys, as EN 16931 wants to know it (BG-4, BG-7)."""

from __future__ import annotations

import msgspec

from edge.documents.address import Address, taken_apart
from edge.documents.sale import NotExpressible
from edge.domain.buyer import Buyer
from edge.domain.invoice import Seller


class Party(msgspec.Struct, frozen=True, kw_only=True):
    """BG-4 or BG-7. `vat_id` begins with a country's code; any other number of the tax office is `tax_number`."""

    name: str
    address: Address
    vat_id: str | None = None
    tax_number: str | None = None


def parties(
    seller: Seller, buyer: Buyer | None, *, unnamed: Party, categories: set[str]
) -> tuple[Party, Party]:
    """BG-4 and BG-7; `unnamed` is the buyer that nobody named. Raises NotExpressible for reverse charge without the
    VAT ids of both (BR-AE-2 to 4); what is outside the scope of VAT is written without them (BR-O-2 to 4).
    """
    compact = seller.tax_id.replace(" ", "")
    is_vat = compact[:2].isalpha() and compact[:2].isupper() and "O" not in categories
    sells = Party(
        name=seller.name,
        address=taken_apart(seller.address, country=seller.country),
        vat_id=compact if is_vat else None,
        tax_number=None if is_vat else seller.tax_id,
    )
    buys = unnamed
    if buyer is not None:
        buys = Party(
            name=buyer.name,
            address=taken_apart(buyer.address, country=buyer.country),
            vat_id=buyer.vat_id if "O" not in categories else None,
        )
    if "AE" in categories and not (sells.vat_id and buys.vat_id):
        raise NotExpressible(
            "reverse charge needs the VAT ids of seller and buyer",
            hint="the member list names the buyer with `vat_id`",
        )
    return sells, buys
