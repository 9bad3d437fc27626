"""Who stands before a virtual payment terminal, what its till asked for, and what is to go wrong."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final, Literal

#: Commands that a fault may wait for.
RESERVE: Final = 0x0622
RELEASE: Final = 0x0623
BOOK: Final = 0x0624
REVERSE: Final = 0x0625
REFUND: Final = 0x0631
END_OF_DAY: Final = 0x0650
READ_CARD: Final = 0x06C0

Kind = Literal[
    "lost_command",
    "lost_reply",
    "lost_completion",
    "silent",
    "duplicate",
    "decline",
    "refuse",
    "abort",
    "reboot_before",
    "reboot_after",
    "slow",
    "no_result",
    "other_amount",
    "forget",
    "expire",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one command: the next `on`, or the next of any kind.

    `lost_command`: the connection ends before anything happens; `lost_reply`: it happens, then the connection
    ends; `lost_completion`: the result is told, the end is not; `silent`: it happens and nothing more is said.
    `duplicate`: the result comes twice, and once more after the end. `decline`, `refuse`, `abort` with `code`.
    `reboot_before`, `reboot_after` the effect: gone for `seconds`. `slow`: `seconds` in small steps of
    intermediate status. `no_result`: it happens and ends without a result; `other_amount`: the result names
    another amount. `forget`, `expire`: the hold is no longer what the till thinks when the command comes.
    """

    kind: Kind
    on: int | None = None
    code: int = 0x05
    seconds: float = 0.2


@dataclass(frozen=True, slots=True)
class Registration:
    """What a till asked for with 06 00; it outlives the connection. `text_blocks`: it takes 06 D3."""

    config: int
    text_blocks: bool


@dataclass(frozen=True, slots=True)
class Presented:
    """A card or phone at the terminal. `pan` is what the terminal puts into its results, whole, as real ones do;
    None where nothing pays. `declines` is the issuer's code, 0 for yes.
    """

    name: str
    uid: bytes
    aids: tuple[str, ...]
    pan: str | None = None
    token: str | None = None
    card_type: int = 6
    declines: int = 0


def bank_card(*, declines: int = 0) -> Presented:
    """A plastic card with a UID of its own and a token that the terminal knows it by."""
    return Presented(
        name="Mastercard",
        uid=bytes.fromhex("04A1B2C3D4E580"),
        aids=("A0000000041010",),
        pan="5413330089020011",
        token="3F56A32065CC4DBE8330C37609F91996",  # noqa: S106 - a name for a card, no secret
        declines=declines,
    )


def phone_wallet(*, declines: int = 0) -> Presented:
    """A phone: another UID at each tap, and a number of its own for the card."""
    return Presented(
        name="Visa",
        uid=b"\x08" + secrets.token_bytes(3),
        aids=("A0000000031010",),
        pan="4761739001010119",
        card_type=10,
        declines=declines,
    )


def member_card(uid: bytes = bytes.fromhex("0463C8B2AE4F80")) -> Presented:
    """A membership card: a UID and an application that pays nothing."""
    return Presented(name="member", uid=uid, aids=())
