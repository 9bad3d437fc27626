"""Whose card is in the field: from a tap to a token, or to the word that the driver is told.

A bank card is what `edge/runtime/bank_cards.py` makes of it. A card that proves itself (SUN) is asked to, before
anything else; its counter is durable before the tap counts, so that no address of it works twice. Any other card is
its UID, which can be copied. The two kinds of token differ: a copy of a proving card's UID is a card that nobody knows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, assert_never

import msgspec

from edge import log
from edge.domain.identity import IdToken, is_random_uid, sun_token, uid_token
from edge.emv import ndef, sun
from edge.errors import CardLost
from edge.ports import Card, Tap
from edge.runtime.conversation import converse

if TYPE_CHECKING:
    from edge.emv.kernel.outcome import OnlineRequest

#: Keeps the highest counter of a card; False when this one is not above it (a replay).
RaiseCounter = Callable[[IdToken, int], Awaitable[bool]]


class TokenKey(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's key that turns a card into a token, and its id."""

    key: bytes
    key_id: str

    def __repr__(self) -> str:
        return f"TokenKey(key_id={self.key_id!r})"


class Named(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A card that can be recognized, and is asked for nothing else."""

    token: IdToken


class Pays(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A card that asks its issuer: `request` is in memory only, for one pre-authorization."""

    token: IdToken
    request: OnlineRequest


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Why not, as a code that the screen has words for."""

    code: str


class BankCardReader(Protocol):
    """Reads bank cards (edge/runtime/bank_cards.py); a till that takes none never loads the kernels."""

    async def read(self, card: Card) -> Named | Pays | Refused | None:
        """Who the card is, and whether it pays; None where nothing on it does. Raises HardwareError."""
        ...


class Unrecognized(msgspec.Struct, frozen=True):
    """Why there is no token: a code that the screen has words for."""

    code: str


class Recognition:
    """Turns taps into tokens. Without `sun_keys` and `bank_cards` every card is its UID."""

    def __init__(
        self,
        token_key: TokenKey,
        *,
        sun_keys: sun.SunKeys | None,
        raise_counter: RaiseCounter,
        bank_cards: BankCardReader | None = None,
    ) -> None:
        self._key = token_key
        self._sun_keys = sun_keys
        self._raise_counter = raise_counter
        self._bank_cards = bank_cards

    async def recognize(self, tap: Tap) -> IdToken | Pays | Unrecognized:
        """The token of the card, or what its driver is told. Raises HardwareError when the reader is gone."""
        try:
            found = None if tap.card is None else await self._asked(tap.card)
        except CardLost:
            return Unrecognized("hold_longer")
        if found is not None:
            return found
        if is_random_uid(tap.uid):
            return Unrecognized("card_unreadable")
        return uid_token(tap.uid, key=self._key.key, key_id=self._key.key_id)

    async def _asked(self, card: Card) -> IdToken | Pays | Unrecognized | None:
        """What the card says of itself when it is asked; None where it says nothing. Raises CardLost."""
        if self._sun_keys is not None:
            address = await converse(card, ndef.read_uri())
            if address is not None:
                return await self._proven(address, self._sun_keys)
        if self._bank_cards is None:
            return None
        found = await self._bank_cards.read(card)
        match found:
            case Named(token=token):
                return token
            case Refused(code=code):
                return Unrecognized(code)
            case Pays() | None:
                return found
            case _:
                assert_never(found)

    async def _proven(self, address: str, keys: sun.SunKeys) -> IdToken | Unrecognized:
        message = sun.message_in(address)
        proof = message if isinstance(message, sun.Refused) else sun.verify(message, keys)
        if isinstance(proof, sun.Refused):
            log.event("card.not_proven", reason=proof.reason)
            return Unrecognized("card_unreadable")
        token = sun_token(proof.uid, key=self._key.key, key_id=self._key.key_id)
        if not await self._raise_counter(token, proof.read_counter):
            log.warning("card.replayed", read_counter=proof.read_counter)
            return Unrecognized("card_unreadable")
        return token
