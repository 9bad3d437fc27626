"""Talking to a card: the words are made elsewhere, without I/O; here they go to the card and back."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from edge import log
from edge.errors import CardLost, HardwareError
from edge.ports import Card

T = TypeVar("T")


async def converse(card: Card, talk: Generator[bytes, bytes, T]) -> T | None:
    """Carry a conversation that yields commands; its result, or None where the card fails. Raises CardLost."""
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
        value: T = end.value
        return value
