"""What can be wrong with a card's data, and with the keys that it is checked against."""

from __future__ import annotations

from typing import ClassVar

from edge.errors import InputError


class CardDataInvalid(InputError):
    """A card said what EMV does not allow. The message never repeats it: it may be card data."""

    code: ClassVar[str] = "emv.card_data"
    hint = "this card cannot be used here; try another card"


class NotAuthentic(InputError):
    """A certificate or signature is not what its key would have made, or its key may not be used any more."""

    code: ClassVar[str] = "emv.not_authentic"
    hint = "this card cannot prove that it is genuine; try another card"


class CaKeysInvalid(InputError):
    """The file of certification authority keys cannot be used."""

    code: ClassVar[str] = "emv.ca_keys"
    hint = 'a JSON list of {"rid", "index", "modulus", "exponent", "expires"?}, in hex'


class LiveKeysRefused(InputError):
    """Keys of real cards outside of a laboratory: real cards are paid with at a certified terminal."""

    code: ClassVar[str] = "emv.live_keys"
    hint = "remove the keys, or add a section [lab]; real cards are for the certified terminal"
