"""Carries a kernel's conversation to the card in the field."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from edge.emv.kernel.outcome import EndApplication, TryAgain
from edge.errors import CardError, CardLost
from edge.ports import Card

Result = TypeVar("Result")


async def carry(card: Card, talk: Generator[bytes, bytes, Result]) -> Result | TryAgain | EndApplication:
    """The outcome of edge.emv.kernel.entry.pay or identify. A card that leaves at any command is tried again: nothing
    was asked of anybody yet. Raises HardwareError when the reader is gone.
    """
    try:
        command = next(talk)
        while True:
            command = talk.send(await card.apdu(command))
    except StopIteration as end:
        result: Result = end.value
        return result
    except CardLost as e:
        return TryAgain(detail=e.message)
    except CardError as e:
        return EndApplication(why="card_data", detail=e.message)
    finally:
        talk.close()
