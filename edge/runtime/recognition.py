"""Whose card is in the field: from a tap to a token, or to the word that the driver is told.

A card that proves itself (SUN) is asked to, before anything else; its counter is durable before the tap counts, so
that no address of it works twice. Any other card is its UID, which can be copied. The two kinds of token differ:
a copy of a proving card's UID is a card that nobody knows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator

import msgspec

from edge import log
from edge.domain.identity import IdToken, is_random_uid, sun_token, uid_token
from edge.emv import ndef, sun
from edge.errors import CardLost, HardwareError
from edge.ports import Card, Tap

#: Keeps the highest counter of a card; False when this one is not above it (a replay).
RaiseCounter = Callable[[IdToken, int], Awaitable[bool]]


class TokenKey(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's key that turns a card into a token, and its id."""

    key: bytes
    key_id: str

    def __repr__(self) -> str:
        return f"TokenKey(key_id={self.key_id!r})"


class Unrecognized(msgspec.Struct, frozen=True):
    """Why there is no token: a code that the screen has words for."""

    code: str


class Recognition:
    """Turns taps into tokens. Without `sun_keys` every card is its UID."""

    def __init__(
        self, token_key: TokenKey, *, sun_keys: sun.SunKeys | None, raise_counter: RaiseCounter
    ) -> None:
        self._key = token_key
        self._sun_keys = sun_keys
        self._raise_counter = raise_counter

    async def recognize(self, tap: Tap) -> IdToken | Unrecognized:
        """The token of the card, or what its driver is told. Raises HardwareError when the reader is gone."""
        if self._sun_keys is not None and tap.card is not None:
            try:
                address = await _converse(tap.card, ndef.read_uri())
            except CardLost:
                return Unrecognized("hold_longer")
            if address is not None:
                return await self._proven(address, self._sun_keys)
        if is_random_uid(tap.uid):
            return Unrecognized("card_unreadable")
        return uid_token(tap.uid, key=self._key.key, key_id=self._key.key_id)

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


async def _converse(card: Card, talk: Generator[bytes, bytes, str | None]) -> str | None:
    """Carry a conversation that yields commands to a card. Raises HardwareError."""
    try:
        command = next(talk)
        while True:
            try:
                answer = await card.apdu(command)
            except CardLost:
                raise
            except HardwareError as e:
                log.event("card.failed", error=str(e))
                return None
            command = talk.send(answer)
    except StopIteration as end:
        value: str | None = end.value
        return value
